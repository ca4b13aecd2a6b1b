"""Gradient policies at ⊥."""

from zeroproof.autodiff.policies import (
    GradientPolicy,
    apply_policy,
    get_policy,
    gradient_policy,
    register_policy,
)

__all__ = ["GradientPolicy", "apply_policy", "get_policy", "gradient_policy", "register_policy"]
