"""``zeroproof`` as a subject: arrays become tensors, and what it returns becomes arrays."""

from properties.subjects.ours.checkpoints import OursCheckpoints
from properties.subjects.ours.decoding import OursDecoding
from properties.subjects.ours.lifting import OursLifting
from properties.subjects.ours.thresholds import OursThresholds
from properties.subjects.ours.training import OursTraining


class Ours(
    OursLifting,
    OursTraining,
    OursCheckpoints,
    OursThresholds,
    OursDecoding,
):
    """All of ``zeroproof``."""
