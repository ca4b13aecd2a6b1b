"""What a model may return, and which of it is ⊥.

Four forms: a tensor with NaN for ⊥, a :class:`~zeroproof.scm.carrier.SCMTensor`, a pair of a value
and a boolean mask of ⊥ (these three are *SCM mode*), and a pair ``(P, Q)`` of floating-point
tensors (*projective mode*). There a ``Q`` of one column is the denominator of all columns of ``P``.
"""

from __future__ import annotations

import math
from typing import TypeAlias, TypeGuard

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from typing_extensions import TypeIs

from zeroproof.autodiff.policies import GradientPolicy, apply_policy
from zeroproof.scm.carrier import SCMTensor, attach_gradient
from zeroproof.utils.checks import check_floats, check_same_shape, check_scalar, describe

Outputs: TypeAlias = Tensor | SCMTensor | tuple[Tensor, Tensor]
Part: TypeAlias = Float[Tensor, "*shape"]
"""A part of tuples, predicted ``P`` or ``Q``, or target ``Y_n`` or ``Y_d``; or their quotients."""
Denominator: TypeAlias = Float[Tensor, "*#shape"]
"""``Q`` of predicted tuples; one column may be that of all columns of ``P``."""
Mask: TypeAlias = Bool[Tensor, "*shape"]
"""Which elements are meant."""


def is_projective(outputs: Outputs) -> TypeGuard[tuple[Tensor, Tensor]]:
    """Tell whether the outputs are a pair ``(P, Q)`` of floating-point tensors.

    Raises the errors of :func:`bottom_mask` for another pair that is no form of outputs.
    """
    return _is_pair(outputs) and _pair(outputs)[1].is_floating_point()


def _is_pair(outputs: object) -> TypeIs[tuple[object, object] | list[object]]:
    return isinstance(outputs, (tuple, list)) and len(outputs) == 2


def _pair(outputs: object) -> tuple[Tensor, Tensor]:
    first, second = outputs if _is_pair(outputs) else (None, None)
    if not (isinstance(first, Tensor) and isinstance(second, Tensor)):
        raise TypeError(
            f"the model returned {describe(outputs)}; expected a tensor, an SCMTensor, (value, "
            "bottom mask) or (P, Q). Keep what else it computes in an attribute; of an "
            "SCMInferenceWrapper train the model inside"
        )
    check_floats(**({"value": first} if second.dtype == torch.bool else {"P": first, "Q": second}))
    shared = second.is_floating_point() and shares_denominator(first, second)
    if first.shape != second.shape and not shared:
        raise ValueError(
            f"the model returned a pair of shapes {tuple(first.shape)} and "
            f"{tuple(second.shape)}; both parts must have the same shape, or Q one column for all "
            "outputs of a sample"
        )
    return first, second


def shares_denominator(P: Tensor, Q: Tensor) -> bool:
    """Tell whether ``Q`` is one column for several outputs of a sample. Meets: DEC-9."""
    return P.dim() > 1 and P.shape != Q.shape and Q.shape == (*P.shape[:-1], 1)


def check_tuple(P: Tensor, Q: Tensor) -> None:
    """Raise TypeError unless both are floating-point tensors, and ValueError for two shapes."""
    check_floats(P=P, Q=Q)
    if not shares_denominator(P, Q):
        check_same_shape(P=P, Q=Q)


def own_denominators(P: Tensor, Q: Tensor) -> Tensor:
    """Return ``Q``, a shared one repeated for each output. Meets: DEC-9."""
    return Q.expand_as(P) if shares_denominator(P, Q) else Q


def _carrier(outputs: Outputs) -> SCMTensor:
    if isinstance(outputs, SCMTensor):
        return outputs
    if isinstance(outputs, Tensor):
        check_floats(outputs=outputs)
        return SCMTensor(outputs)
    return SCMTensor(*_pair(outputs))


def tuple_bottom(P: Part, Q: Denominator, tau: float | Tensor = 0.0) -> Mask:
    """Mark the tuples that decode to ⊥ at threshold ``tau`` on ``|Q|``.

    A tuple is ⊥ if a part is not finite, ``Q = 0``, ``|Q| < tau``, compared exactly, or ``P / Q``
    overflows. Strict inference, coverage and the rejection loss all ask here.
    Meets: COV-1, DEC-1.
    """
    check_tuple(P, Q)
    size = Q.abs()
    return ~((size.double() >= tau) & _has_finite_quotient(P, Q, size))


def _has_finite_quotient(P: Part, Q: Denominator, size: Denominator) -> Mask:
    """Tell where ``P``, ``Q`` and ``P / Q``, rounded to their dtype, are finite; ``size = |Q|``.

    No quotient lies between the largest number and the next power of two, so it overflows iff
    ``|P| ≥ power · |Q|``. These products are exact, also where compiled quotients are not correctly
    rounded. The power is split between the two sides, since it overflows itself.
    """
    dtype = torch.promote_types(P.dtype, Q.dtype)
    root = math.ldexp(1.0, math.frexp(torch.finfo(dtype).max)[1] // 2)
    P, size = widen(P.to(dtype), size.to(dtype))
    return (P.abs() / root < size * root) & (size < torch.inf)


def quotient(P: Part, Q: Part) -> Part:
    """Return ``P / Q`` of tuples that are not ⊥, with a gradient of 0 where 0 arrives.

    Autograd would multiply that 0 by the slope ``P / Q²``, which may overflow.
    """
    return attach_gradient(torch.div, (P / Q).detach(), P, Q)


def bottom_mask(outputs: Outputs, tau: float | Tensor = 0.0) -> Bool[Tensor, "..."]:
    """Mark the elements of a model's outputs that are ⊥, whatever their form.

    ``tau`` is a threshold on ``|Q|`` in projective mode. Raises TypeError for outputs of none of
    the four forms, and ValueError for a pair whose parts differ in shape. Meets: COV-1.

    Example:
        >>> bottom_mask((torch.tensor([1.0, 1.0]), torch.tensor([1e-3, 0.5])), tau=1e-2)
        tensor([ True, False])
    """
    tau = check_scalar("tau", tau, "[0, ∞]")
    if is_projective(outputs):
        return tuple_bottom(*outputs, tau)
    return _carrier(outputs).bottom


def as_tuple(outputs: Outputs) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
    """Return the projective tuple ``(P, Q)`` that stands for the outputs.

    A value ``v`` is ``(v, 1)`` and ⊥ is ``(1, 0)``, as for targets (LIFT-1, LIFT-3); a shared
    denominator is repeated. Raises the errors of :func:`bottom_mask`. Meets: LIFT-11.
    """
    if is_projective(outputs):
        return outputs[0], own_denominators(*outputs)
    carrier = _carrier(outputs)
    payload, bottom = carrier.payload, carrier.bottom
    return payload.masked_fill(bottom, 1.0), (~bottom).to(payload.dtype)


def widen(*tensors: Tensor) -> list[Tensor]:
    """Return half-precision tensors as float32, others as they are."""
    return [t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in tensors]


def widen_outputs(outputs: Outputs) -> Outputs:
    """Bring a model's half-precision outputs to float32, whatever their form. Meets: AMP-1."""
    if isinstance(outputs, Tensor):
        check_floats(outputs=outputs)
        return widen(outputs)[0]
    if isinstance(outputs, SCMTensor):
        return SCMTensor(widen(outputs.payload)[0], outputs.bottom)
    P, Q = widen(*_pair(outputs))
    return P, Q


def gate_outputs(outputs: Outputs, policy: GradientPolicy) -> Outputs:
    """Put the gradient of a model's outputs under a policy; their form stays as it is.

    For a tuple a point at infinity is an ordinary point: ⊥ is only a part that is not finite,
    or ``(0, 0)``. Raises the errors of :func:`bottom_mask`. Meets: POL-9.
    """
    if policy is GradientPolicy.PASSTHROUGH:
        return outputs
    if is_projective(outputs):
        return gate_tuple(*outputs, policy)
    bottom = _carrier(outputs).bottom
    if isinstance(outputs, Tensor):
        return apply_policy(outputs, bottom, policy)
    if isinstance(outputs, SCMTensor):
        return SCMTensor(apply_policy(outputs.payload, bottom, policy), bottom)
    return apply_policy(outputs[0], bottom, policy), outputs[1]


def gate_tuple(P: Tensor, Q: Tensor, policy: GradientPolicy) -> tuple[Tensor, Tensor]:
    """Put the gradient of tuples under a policy.

    PASSTHROUGH has a gate, too: a checkpointed forward that runs again under another policy must
    save as many tensors. Meets: POL-13.
    """
    p, q = P.detach(), Q.detach()  # of which no mask saves anything
    lost, nothing = ~(torch.isfinite(p) & torch.isfinite(q)), (p == 0) & (q == 0)
    if P.shape != Q.shape:  # of a head, whose outputs may come without a batch dimension
        lost, nothing = lost.any(-1, keepdim=True), nothing.all(-1, keepdim=True)
    bottom = lost | nothing
    return apply_policy(P, bottom.expand_as(P), policy), apply_policy(Q, bottom, policy)
