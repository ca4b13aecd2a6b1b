"""The exact reference: what the functions of ``spec`` say, offered as a subject."""

from properties.subjects.exact.lifting import ExactLifting


class Exact(ExactLifting):
    """All of the exact reference."""
