"""Train on smooth projective tuples, infer on strict values with ⊥.

The package implements signed common meadows, where division is total: ``x/0`` is
the absorbing value ⊥. Docstrings name the clauses of the specification they meet
(``spec/``), such as ``Meets: LIFT-1``.
"""

from zeroproof.autodiff import GradientPolicy, gradient_policy
from zeroproof.inference import InferenceConfig, SCMInferenceWrapper, strict_inference
from zeroproof.layers import ProjectiveMLP, ProjectiveRationalHead, SCMRationalLayer
from zeroproof.losses import LossConfig, SCMTrainingLoss, coverage
from zeroproof.scm import SCMTensor
from zeroproof.training import Interval, SCMTrainer, TensorBatches, TrainingConfig, lift_targets

__all__ = [
    "GradientPolicy",
    "InferenceConfig",
    "Interval",
    "LossConfig",
    "ProjectiveMLP",
    "ProjectiveRationalHead",
    "SCMInferenceWrapper",
    "SCMRationalLayer",
    "SCMTensor",
    "SCMTrainer",
    "SCMTrainingLoss",
    "TensorBatches",
    "TrainingConfig",
    "coverage",
    "gradient_policy",
    "lift_targets",
    "strict_inference",
]
__version__ = "0.4.0"
