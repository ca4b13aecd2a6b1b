"""``zeroproof`` as a subject: arrays become tensors, and what it returns becomes arrays."""

from properties.subjects.ours.algebra import OursAlgebra
from properties.subjects.ours.bottom import OursBottom
from properties.subjects.ours.checkpoints import OursCheckpoints
from properties.subjects.ours.coverage import OursCoverage
from properties.subjects.ours.decoding import OursDecoding
from properties.subjects.ours.lifting import OursLifting
from properties.subjects.ours.losses import OursLosses
from properties.subjects.ours.policies import OursPolicies
from properties.subjects.ours.thresholds import OursThresholds
from properties.subjects.ours.training import OursTraining


class Ours(
    OursAlgebra,
    OursBottom,
    OursCheckpoints,
    OursCoverage,
    OursDecoding,
    OursLifting,
    OursLosses,
    OursPolicies,
    OursThresholds,
    OursTraining,
):
    """All of ``zeroproof``."""
