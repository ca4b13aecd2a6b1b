"""Strict decoding: smooth tuples in, values or ⊥ out."""

from zeroproof.inference.certainty import central_interval, certainty, probability
from zeroproof.inference.strict import (
    Decoded,
    InferenceConfig,
    SCMInferenceWrapper,
    strict_inference,
    unit_denominator,
)

__all__ = [
    "Decoded",
    "InferenceConfig",
    "SCMInferenceWrapper",
    "central_interval",
    "certainty",
    "probability",
    "strict_inference",
    "unit_denominator",
]
