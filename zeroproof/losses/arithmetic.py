"""What losses share: angles between tuples, means under masks, and given gradients.

All of it is computed in float32 or wider. A tuple is first divided by the larger of its two
components, held constant. Where a term is invariant under scaling this changes nothing, also not
the gradient, and no square can overflow or lose both components to underflow.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from zeroproof.autodiff.functions import has_gradient, save_tensors, with_forward_mode
from zeroproof.scm.outputs import widen
from zeroproof.utils.checks import check_floats, check_mask, check_same_shape, check_scalar

Scalar: TypeAlias = Float[Tensor, ""]
"""A loss."""
PARTS = "P", "Q", "Y_n", "Y_d"
ENDS = "P", "Q", "lower[0]", "lower[1]", "upper[0]", "upper[1]"


class _Angle(torch.autograd.Function):
    """Sine and cosine of the angles from predicted tuples to unit targets, elementwise.

    The gradient is analytic, since autograd cancels where the two are nearly orthogonal. ``(0, 0)``
    is at a right angle to every target, without a gradient.

    Meets: LOSS-19.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(P: Tensor, Q: Tensor, n: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
        p, q, _, _, missing = _unit(P, Q)
        sine = p * d - q * n + missing  # not fused, so that it is 0 for equal ones
        cosine = p * n + q * d
        return sine.clamp(-1.0, 1.0), cosine.clamp(-1.0, 1.0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        save_tensors(ctx, *inputs[:2], *output)

    @staticmethod
    def backward(ctx: Any, in_sine: Tensor, in_cosine: Tensor) -> tuple[Any, ...]:
        P, Q, sine, cosine = ctx.saved_tensors
        p, q, norm, larger, _ = _unit(P, Q)
        turn = (in_sine * cosine - in_cosine * sine) / norm
        return turn * q / larger, -turn * p / larger, None, None

    @staticmethod
    def tangent(ctx: Any, saved: list[Tensor], in_P: Tensor, in_Q: Tensor, *targets: Any) -> Any:
        P, Q, sine, cosine = saved
        p, q, norm, larger, _ = _unit(P, Q)
        turn = (in_P / larger * q - in_Q / larger * p) / norm
        return cosine * turn, -sine * turn


_turn = with_forward_mode(_Angle)


def _unit(P: Tensor, Q: Tensor) -> tuple[Tensor, ...]:
    """Return tuples of norm 1 (``(0, 0)`` stays), two factors of their norm, and where it is 0."""
    larger = torch.maximum(P.abs(), Q.abs()).detach()
    missing = larger == 0
    larger = larger + missing
    p, q = P / larger, Q / larger
    norm = torch.hypot(p, q + missing)  # whose own gradient at (0, 0) is NaN
    return p / norm, q / norm, norm, larger, missing


def with_gradient(value: Tensor, x: Tensor, gradient: Tensor) -> Tensor:
    """Return a value whose gradient in ``x`` is the given one, whatever it was computed from."""
    x = torch.where(gradient == 0, 0.0, x)  # an infinite x less itself would be NaN
    return value.detach() + (gradient.detach() * (x - x.detach())).sum()


def angle(P: Tensor, Q: Tensor, Y_n: Tensor, Y_d: Tensor) -> tuple[Tensor, Tensor]:
    """Return sine and cosine of the angle to the target; see :func:`prepare_tuples`."""
    norm = torch.hypot(Y_n, Y_d)
    sine, cosine = _turn(P, Q, Y_n / norm, Y_d / norm)
    return sine, cosine


def prepare_tuples(mask: Tensor | None, *parts: Tensor) -> list[Tensor]:
    """Check predicted and target tuples, and make them such that an angle lies between them.

    A target ``(0, 0)`` is moved to the prediction, where it counts just the same.
    """
    P, Q, Y_n, Y_d = mask_tuples(mask, *widen_alike(*parts))
    larger = torch.maximum(Y_n.abs(), Y_d.abs())
    # By powers of two, which change no bit of the angle.
    factor = torch.ones_like(larger).masked_fill(larger < 2.0**-60, 2.0**64)
    factor = factor.masked_fill(larger > 2.0**60, 2.0**-64)
    nothing = larger == 0
    P, Q = P.masked_fill(nothing, 0.0), Q.masked_fill(nothing, 0.0)
    return [P, Q, (Y_n * factor).masked_fill(nothing, 1.0), Y_d * factor]


def mask_tuples(mask: Tensor | None, *parts: Tensor) -> Sequence[Tensor]:
    """Return tuples, given by their parts, with ``(0, 1)`` for those that a mask leaves out."""
    if mask is None:
        return parts
    check_mask(mask, parts[0])
    return [torch.where(mask, x, float(index % 2)) for index, x in enumerate(parts)]


def widen_alike(*tensors: Tensor) -> list[Tensor]:
    """Return tensors of one shape in one dtype, float32 or wider.

    Raises TypeError for what is no floating-point tensor, and ValueError for shapes that differ
    and for targets with a gradient.
    """
    named = dict(zip(PARTS if len(tensors) < 5 else ENDS, tensors, strict=False))
    check_floats(**named)
    check_same_shape(**named)
    check_constant(*tensors[2:])
    dtype = reduce(torch.promote_types, [x.dtype for x in tensors])
    return widen(*(x.to(dtype) for x in tensors))


def check_constant(*values: object) -> None:
    """Raise ValueError for a target, threshold or weight that requires a gradient.

    Meets: LOSS-19.
    """
    if any(isinstance(x, Tensor) and has_gradient(x) for x in values):
        raise ValueError(
            "targets, tau and weights must not require a gradient, which a loss has only in its "
            "predictions; detach them"
        )


def check_tau(tau: object) -> float | Tensor:
    """Return a threshold; TypeError or ValueError unless a number ≥ 0 without a gradient."""
    check_constant(tau)
    return check_scalar("tau", tau, "[0, ∞]")


def mean(terms: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean of the terms under the mask; 0 if there are none. Meets: LOSS-13."""
    if mask is None:
        return terms.sum() / max(terms.numel(), 1)
    return torch.where(mask, terms, 0.0).sum() / at_least_one(mask)


def at_least_one(mask: Tensor) -> Tensor:
    """Return how many elements the mask has, but at least 1, to divide by."""
    return mask.sum().clamp(min=1)


def capped_square(x: Tensor, largest: float | None = None) -> Tensor:
    """Return ``x²``, at most largest/(4n) for n elements, with its gradient kept."""
    bound = (largest or torch.finfo(x.dtype).max) / 4 / max(x.numel(), 1)
    square, step = x * x, x.detach() * (x - x.detach())
    return torch.where(square > bound, bound + step + step, square)
