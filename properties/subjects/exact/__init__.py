"""The exact reference: what the functions of ``spec`` say, offered as a subject."""

from properties.subjects.exact.bottom import ExactBottom
from properties.subjects.exact.choosing import ExactChoosing
from properties.subjects.exact.coverage import ExactCoverage
from properties.subjects.exact.decoding import ExactDecoding
from properties.subjects.exact.lifting import ExactLifting
from properties.subjects.exact.likelihood import ExactLikelihoods
from properties.subjects.exact.losses import ExactLosses
from properties.subjects.exact.mixtures import ExactMixtures
from properties.subjects.exact.policies import ExactPolicies
from properties.subjects.exact.refusals import ExactRefusals
from properties.subjects.exact.replays import ExactReplays
from properties.subjects.exact.schedules import ExactSchedules
from properties.subjects.exact.training import ExactTraining


class Exact(
    ExactBottom,
    ExactChoosing,
    ExactCoverage,
    ExactDecoding,
    ExactLifting,
    ExactLikelihoods,
    ExactLosses,
    ExactMixtures,
    ExactPolicies,
    ExactRefusals,
    ExactReplays,
    ExactSchedules,
    ExactTraining,
):
    """All of the exact reference."""
