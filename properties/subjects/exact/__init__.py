"""The exact reference: what the functions of ``spec`` say, offered as a subject."""

from properties.subjects.exact.decoding import ExactDecoding
from properties.subjects.exact.lifting import ExactLifting
from properties.subjects.exact.thresholds import ExactThresholds
from properties.subjects.exact.training import ExactTraining


class Exact(
    ExactLifting,
    ExactTraining,
    ExactThresholds,
    ExactDecoding,
):
    """All of the exact reference."""
