"""Learnable rational functions of one variable, smooth and strict."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from zeroproof.autodiff.policies import GradientPolicy, apply_policy, get_policy, register_policy
from zeroproof.inference.strict import InferenceConfig, strict_inference
from zeroproof.scm.outputs import as_tuple, gate_outputs
from zeroproof.training.gap import check_thresholds


def _horner(coefficients: Tensor, x: Tensor) -> Tensor:
    result = coefficients[-1].expand_as(x)
    for coefficient in coefficients[:-1].flip(0):
        result = result * x + coefficient
    return result


class ProjectiveRationalHead(nn.Module):
    """Two polynomials of the input: ``(P(x), Q(x))``, elementwise, smooth through poles.

    Starts as ``x / 1`` (as ``0 / 1`` for numerator degree 0). Coefficients are learned, lowest
    power first.

    Args:
        numerator_degree: degree of P, ≥ 0.
        denominator_degree: degree of Q, ≥ 0.

    Raises:
        ValueError: a negative degree.

    Meets: POL-8.

    Example:
        >>> P, Q = ProjectiveRationalHead(3, 2)(torch.tensor([2.0]))
        >>> P.item(), Q.item()
        (2.0, 1.0)
    """

    def __init__(self, numerator_degree: int, denominator_degree: int) -> None:
        super().__init__()
        for name, degree in (
            ("numerator_degree", numerator_degree),
            ("denominator_degree", denominator_degree),
        ):
            if degree < 0:
                raise ValueError(f"{name} must be ≥ 0, got {degree!r}")
        self.numerator = nn.Parameter(torch.zeros(numerator_degree + 1))
        self.denominator = nn.Parameter(torch.zeros(denominator_degree + 1))
        with torch.no_grad():
            if numerator_degree > 0:
                self.numerator[1] = 1.0
            self.denominator[0] = 1.0

    def forward(
        self, x: Float[Tensor, "*shape"]
    ) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
        """Return ``(P(x), Q(x))``."""
        P, Q = _horner(self.numerator, x), _horner(self.denominator, x)
        return as_tuple(gate_outputs((P, Q), get_policy(ProjectiveRationalHead)))


class SCMRationalLayer(nn.Module):
    """``P(x) / Q(x)`` with its mask of ⊥, elementwise: a projective head, decoded strictly.

    The gradient at ⊥ follows the policy in force (default CLAMP, registered for this class).

    Args:
        numerator_degree: degree of P, ≥ 0.
        denominator_degree: degree of Q, ≥ 0.
        tau: ``|Q| < tau`` decodes to ⊥; ≥ 0.

    Raises:
        ValueError: a negative degree or threshold.

    Meets: DEC-1, POL-8.

    Example:
        >>> value, bottom = SCMRationalLayer(1, 1)(torch.tensor([0.5, torch.inf]))
        >>> value.tolist(), bottom.tolist()
        ([0.5, 0.0], [False, True])
    """

    def __init__(self, numerator_degree: int, denominator_degree: int, *, tau: float = 0.0) -> None:
        super().__init__()
        check_thresholds(tau, tau, ("tau", "tau"))
        self.head = ProjectiveRationalHead(numerator_degree, denominator_degree)
        self.config = InferenceConfig(tau_infer=tau, tau_train=tau)

    def forward(
        self, x: Float[Tensor, "*shape"]
    ) -> tuple[Float[Tensor, "*shape"], Bool[Tensor, "*shape"]]:
        """Return the value (0 under the mask) and the mask of ⊥."""
        defined = torch.isfinite(x)
        # x itself may be ⊥: its powers must reach neither the value nor the coefficients.
        P, Q = self.head(x.masked_fill(~defined, 0.0))
        value, bottom, _ = strict_inference(P, Q, self.config)
        bottom = bottom | ~defined
        value = value.masked_fill(bottom, 0.0)
        return apply_policy(value, bottom, layer=SCMRationalLayer), bottom


register_policy(ProjectiveRationalHead, GradientPolicy.PASSTHROUGH)
register_policy(SCMRationalLayer, GradientPolicy.CLAMP)
