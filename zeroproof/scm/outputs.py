"""What a model may return, and which of it is ⊥.

Four forms: a tensor with NaN for ⊥, a :class:`~zeroproof.scm.carrier.SCMTensor`, a pair of a value
and a boolean mask of ⊥ (these three are *SCM mode*), and a pair ``(P, Q)`` of floating-point
tensors (*projective mode*).
"""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zeroproof.autodiff.policies import GradientPolicy, apply_policy
from zeroproof.scm.carrier import SCMTensor

Outputs: TypeAlias = Tensor | SCMTensor | tuple[Tensor, Tensor]


def _pair(outputs: object) -> tuple[Tensor, Tensor] | None:
    if isinstance(outputs, (tuple, list)) and len(outputs) == 2:
        first, second = outputs
        if isinstance(first, Tensor) and isinstance(second, Tensor):
            if first.shape != second.shape:
                raise ValueError(
                    f"the model returned a pair of shapes {tuple(first.shape)} and "
                    f"{tuple(second.shape)}; both parts must have the same shape"
                )
            return first, second
    return None


def _projective(outputs: object) -> tuple[Tensor, Tensor] | None:
    pair = _pair(outputs)
    return pair if pair is not None and pair[1].is_floating_point() else None


def is_projective(outputs: Outputs) -> bool:
    """Tell whether the outputs are a pair ``(P, Q)`` of floating-point tensors."""
    return _projective(outputs) is not None


def _carrier(outputs: Outputs) -> SCMTensor:
    if isinstance(outputs, SCMTensor):
        return outputs
    if isinstance(outputs, Tensor):
        return SCMTensor(outputs)
    pair = _pair(outputs)
    if pair is None:
        raise TypeError(
            f"the model returned {type(outputs).__name__}; expected a tensor, an SCMTensor, "
            "(value, bottom mask) or (P, Q)"
        )
    return SCMTensor(*pair)


def least_size(tau: float, dtype: torch.dtype) -> float:
    """Return the least number of a dtype that is at least ``tau``."""
    limits, (_, exponent) = torch.finfo(dtype), math.frexp(tau)
    unit = limits.eps * max(2.0 ** (exponent - 1), limits.tiny)
    return math.ceil(tau / unit) * unit


def reaches(
    size: Float[Tensor, "*shape"], tau: float | Float[Tensor, "..."]
) -> Bool[Tensor, "*shape"]:
    """Tell where ``size`` ≥ 0 is at least ``tau``, and not 0; NaN never is.

    The comparison is exact, also where ``tau`` is no number of the dtype: a float is rounded up to
    one, and a tensor of another dtype compared in float64.
    """
    if isinstance(tau, Tensor) and tau.dtype == size.dtype:
        return (size >= tau) & (size > 0)
    if isinstance(tau, Tensor) or torch.compiler.is_compiling():
        return (size.double() >= tau) & (size > 0)
    return size >= least_size(tau, size.dtype) if tau else size > 0


def _has_finite_quotient(
    P: Float[Tensor, "*shape"], Q: Float[Tensor, "*shape"], size: Float[Tensor, "*shape"]
) -> Bool[Tensor, "*shape"]:
    """Tell where ``P``, ``Q`` and ``P / Q``, rounded to their dtype, are finite."""
    dtype = torch.promote_types(P.dtype, Q.dtype)
    if torch.compiler.is_compiling() and dtype != torch.float64:
        # Compiled quotients are not rounded to half precision, nor correctly to float32. These
        # products are exact. What is at least half a unit beyond the largest number overflows.
        limits = torch.finfo(dtype)
        bound = limits.max / (2 - limits.eps) * (2 - limits.eps / 2)
        return (P.double().abs() < size.double() * bound) & (size < torch.inf)
    return torch.maximum((P / Q).abs_(), size) < torch.inf


def tuple_bottom(
    P: Float[Tensor, "*shape"],
    Q: Float[Tensor, "*shape"],
    tau: float | Float[Tensor, "..."] = 0.0,
) -> Bool[Tensor, "*shape"]:
    """Mark the tuples that decode to ⊥ at threshold ``tau`` on ``|Q|``.

    A tuple is ⊥ if a part is not finite, ``Q = 0``, ``|Q| < tau``, compared exactly, or ``P / Q``
    overflows. Strict inference, coverage and the rejection loss all ask here.
    Meets: COV-1, DEC-1.
    """
    P, Q = P.detach(), Q.detach()
    size = Q.abs()
    return ~(reaches(size, tau) & _has_finite_quotient(P, Q, size))


def bottom_mask(outputs: Outputs, tau: float | Tensor = 0.0) -> Bool[Tensor, "..."]:
    """Mark the elements of a model's outputs that are ⊥, whatever their form.

    Args:
        outputs: any of the four forms.
        tau: threshold on ``|Q|``; used in projective mode only.

    Raises:
        TypeError: the outputs have none of the four forms.
        ValueError: the parts of a pair differ in shape.

    Meets: COV-1.

    Example:
        >>> bottom_mask((torch.tensor([1.0, 1.0]), torch.tensor([1e-3, 0.5])), tau=1e-2)
        tensor([ True, False])
    """
    pair = _projective(outputs)
    return _carrier(outputs).bottom if pair is None else tuple_bottom(*pair, tau)


def as_tuple(outputs: Outputs) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
    """Return the projective tuple ``(P, Q)`` that stands for the outputs.

    A value ``v`` is ``(v, 1)`` and ⊥ is ``(1, 0)``, as for targets (LIFT-1, LIFT-3).
    Raises the errors of :func:`bottom_mask`. Meets: LIFT-11.
    """
    pair = _projective(outputs)
    if pair is not None:
        return pair
    carrier = _carrier(outputs)
    return (
        carrier.payload.masked_fill(carrier.bottom, 1.0),
        (~carrier.bottom).to(carrier.payload.dtype),
    )


def widen(*tensors: Tensor) -> list[Tensor]:
    """Return half-precision tensors as float32, others as they are."""
    return [t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in tensors]


def widen_outputs(outputs: Outputs) -> Outputs:
    """Bring a model's half-precision outputs to float32, whatever their form. Meets: AMP-1."""
    if isinstance(outputs, Tensor):
        return widen(outputs)[0]
    if isinstance(outputs, SCMTensor):
        return SCMTensor(widen(outputs.payload)[0], outputs.bottom)
    pair = _pair(outputs)
    if pair is None:
        return outputs
    first, second = widen(*pair)
    return first, second


def gate_outputs(outputs: Outputs, policy: GradientPolicy) -> Outputs:
    """Put the gradient of a model's outputs under a policy; their form stays as it is.

    For a tuple a point at infinity is an ordinary point: ⊥ is only a part that is not finite,
    or ``(0, 0)``. Raises the errors of :func:`bottom_mask`. Meets: POL-9.
    """
    if policy is GradientPolicy.PASSTHROUGH:
        return outputs
    if isinstance(outputs, SCMTensor):
        return SCMTensor(apply_policy(outputs.payload, outputs.bottom, policy), outputs.bottom)
    pair = _pair(outputs)
    if pair is None:
        bottom = bottom_mask(outputs)
        return apply_policy(outputs, bottom, policy)  # type: ignore[arg-type]
    first, second = pair
    if not second.is_floating_point():
        return apply_policy(first, bottom_mask(outputs), policy), second
    bottom = ~(torch.isfinite(first) & torch.isfinite(second)) | ((first == 0) & (second == 0))
    return apply_policy(first, bottom, policy), apply_policy(second, bottom, policy)
