"""``zeroproof`` as a subject: arrays become tensors, and what it returns becomes arrays."""

from properties.subjects.ours.algebra import OursAlgebra
from properties.subjects.ours.lifting import OursLifting


class Ours(
    OursAlgebra,
    OursLifting,
):
    """All of ``zeroproof``."""
