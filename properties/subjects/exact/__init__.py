"""The exact reference: what the functions of ``spec`` say, offered as a subject."""

from properties.subjects.exact.algebra import ExactAlgebra
from properties.subjects.exact.lifting import ExactLifting


class Exact(
    ExactAlgebra,
    ExactLifting,
):
    """All of the exact reference."""
