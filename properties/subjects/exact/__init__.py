"""The exact reference: what the functions of ``spec`` say, offered as a subject."""

from properties.subjects.exact.algebra import ExactAlgebra
from properties.subjects.exact.lifting import ExactLifting
from properties.subjects.exact.losses import ExactLosses


class Exact(
    ExactAlgebra,
    ExactLifting,
    ExactLosses,
):
    """All of the exact reference."""
