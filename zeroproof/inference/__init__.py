"""Strict decoding: smooth tuples in, values or ⊥ out."""

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
    "strict_inference",
    "unit_denominator",
]
