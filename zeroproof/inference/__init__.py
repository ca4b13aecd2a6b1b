"""Strict decoding: smooth tuples in, values or ⊥ out."""

from zeroproof.inference.certainty import central_interval, certainty, probability
from zeroproof.inference.strict import (
    Decoded,
    InferenceConfig,
    SCMInferenceWrapper,
    strict_inference,
    unit_denominator,
)
from zeroproof.inference.thresholds import Certificate, certify_threshold, choose_threshold

__all__ = [
    "Certificate",
    "Decoded",
    "InferenceConfig",
    "SCMInferenceWrapper",
    "central_interval",
    "certainty",
    "certify_threshold",
    "choose_threshold",
    "probability",
    "strict_inference",
    "unit_denominator",
]
