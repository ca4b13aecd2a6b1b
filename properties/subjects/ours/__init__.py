"""``zeroproof`` as a subject: arrays become tensors, and what it returns becomes arrays."""

from properties.subjects.ours.algebra import OursAlgebra
from properties.subjects.ours.lifting import OursLifting
from properties.subjects.ours.losses import OursLosses


class Ours(
    OursAlgebra,
    OursLifting,
    OursLosses,
):
    """All of ``zeroproof``."""
