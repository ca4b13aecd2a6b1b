"""``zeroproof`` as a subject: arrays become tensors, and what it returns becomes arrays."""

from properties.subjects.zeroproof.bottom import ZeroProofBottom
from properties.subjects.zeroproof.checkpoints import ZeroProofCheckpoints
from properties.subjects.zeroproof.choosing import ZeroProofChoosing
from properties.subjects.zeroproof.compiling import ZeroProofCompiling
from properties.subjects.zeroproof.coverage import ZeroProofCoverage
from properties.subjects.zeroproof.decoding import ZeroProofDecoding
from properties.subjects.zeroproof.keeping import ZeroProofKeeping
from properties.subjects.zeroproof.lifting import ZeroProofLifting
from properties.subjects.zeroproof.likelihood import ZeroProofLikelihoods
from properties.subjects.zeroproof.losses import ZeroProofLosses
from properties.subjects.zeroproof.mixtures import ZeroProofMixtures
from properties.subjects.zeroproof.policies import ZeroProofPolicies
from properties.subjects.zeroproof.refusals import ZeroProofRefusals
from properties.subjects.zeroproof.replays import ZeroProofReplays
from properties.subjects.zeroproof.schedules import ZeroProofSchedules
from properties.subjects.zeroproof.signals import ZeroProofSignals
from properties.subjects.zeroproof.training import ZeroProofTraining


class ZeroProof(
    ZeroProofBottom,
    ZeroProofCheckpoints,
    ZeroProofChoosing,
    ZeroProofCompiling,
    ZeroProofCoverage,
    ZeroProofDecoding,
    ZeroProofKeeping,
    ZeroProofLifting,
    ZeroProofLikelihoods,
    ZeroProofLosses,
    ZeroProofMixtures,
    ZeroProofPolicies,
    ZeroProofRefusals,
    ZeroProofReplays,
    ZeroProofSchedules,
    ZeroProofSignals,
    ZeroProofTraining,
):
    """All of ``zeroproof``."""
