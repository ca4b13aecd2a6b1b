"""The trainer, its options, its targets and what it reads them from."""

from zeroproof.training.batches import TensorBatches
from zeroproof.training.checkpoint import CheckpointError, read_checkpoint
from zeroproof.training.curriculum import GeometricRamp, LinearRamp, LossWeightsCurriculum
from zeroproof.training.targets import lift_targets, orientation
from zeroproof.training.thresholds import perturbed_threshold
from zeroproof.training.trainer import NonFiniteError, SCMTrainer, TrainingConfig

__all__ = [
    "CheckpointError",
    "GeometricRamp",
    "LinearRamp",
    "LossWeightsCurriculum",
    "NonFiniteError",
    "SCMTrainer",
    "TensorBatches",
    "TrainingConfig",
    "lift_targets",
    "orientation",
    "perturbed_threshold",
    "read_checkpoint",
]
