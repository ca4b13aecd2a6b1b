"""Strict decoding: smooth tuples in, values or ⊥ out."""

from zeroproof.inference.certainty import (
    central_interval,
    certainty,
    combine_tuples,
    median_and_scale,
    probability,
)
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
    "combine_tuples",
    "median_and_scale",
    "probability",
    "strict_inference",
    "unit_denominator",
]
