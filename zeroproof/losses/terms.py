"""The elementwise terms: implicit, chordal, margin and sign consistency.

All four are computed in float32 or wider. A tuple is first divided by the larger of its two
components, held constant. Where a term is invariant under scaling this changes nothing, also not
the gradient, and no square can overflow or lose both components to underflow.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zeroproof.scm.outputs import widen
from zeroproof.utils.checks import check_mask, check_same_shape, explains


class _Angle(torch.autograd.Function):
    """Sine and cosine of the angles from predicted tuples to unit targets, elementwise.

    The gradient is analytic, since autograd cancels where the two are nearly orthogonal. ``(0, 0)``
    is at a right angle to every target, without a gradient. The further outputs are what a first
    backward needs of :func:`_unit`.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(P: Tensor, Q: Tensor, n: Tensor, d: Tensor) -> tuple[Tensor, ...]:
        p, q, norm, larger, missing = _unit(P, Q)
        sine = p * d - q * n + missing  # not fused, so that it is 0 for equal ones
        cosine = p * n + q * d
        return sine.clamp(-1.0, 1.0), cosine.clamp(-1.0, 1.0), p, q, norm, larger

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*outputs[2:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[:2], *outputs)

    @staticmethod
    def backward(ctx: Any, in_sine: Any, in_cosine: Any, *others: Any) -> tuple[Any, ...]:
        P, Q, sine, cosine, p, q, norm, larger = ctx.saved_tensors
        if torch.is_grad_enabled():  # this is to be differentiated again
            p, q, norm, larger, _ = _unit(P, Q)
        rises = 0.0 if in_sine is None else in_sine * cosine
        falls = 0.0 if in_cosine is None else in_cosine * sine
        turn = (rises - falls) / norm
        return turn * q / larger, -turn * p / larger, None, None


def _unit(P: Tensor, Q: Tensor) -> tuple[Tensor, ...]:
    """Return tuples of norm 1 (``(0, 0)`` stays), two factors of their norm, and where it is 0."""
    larger = torch.maximum(P.abs(), Q.abs()).detach()
    missing = larger == 0
    larger = larger + missing
    p, q = P / larger, Q / larger
    norm = torch.hypot(p, q) + missing
    return p / norm, q / norm, norm, larger, missing


class _WithGradient(torch.autograd.Function):
    """A value, with a given gradient in another tensor."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, x: Tensor, gradient: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def backward(ctx: Any, arriving: Tensor) -> tuple[None, Tensor, None]:
        return None, arriving * ctx.saved_tensors[0], None


def with_gradient(value: Tensor, x: Tensor, gradient: Tensor) -> Tensor:
    """Return a value whose gradient in ``x`` is the given one, whatever it was computed from."""
    result: Tensor = _WithGradient.apply(value.detach(), x, gradient.detach())  # type: ignore[no-untyped-call]
    return result


def angle(P: Tensor, Q: Tensor, Y_n: Tensor, Y_d: Tensor) -> tuple[Tensor, Tensor]:
    """Return sine and cosine of the angle to the target; see :func:`prepare_tuples`."""
    norm = torch.hypot(Y_n, Y_d)
    sine, cosine, *_ = _Angle.apply(P, Q, Y_n / norm, Y_d / norm)  # type: ignore[no-untyped-call]
    return sine, cosine


def prepare_tuples(mask: Tensor | None, *parts: Tensor) -> list[Tensor]:
    """Check predicted and target tuples, and make them such that an angle lies between them.

    What the mask leaves out becomes ``(0, 1)`` against itself. A target ``(0, 0)`` is moved to the
    prediction, where it counts just the same.
    """
    P, Q, Y_n, Y_d = widen_alike(*parts)
    if mask is not None:
        check_mask(mask, P)
        P, Y_n = (torch.where(mask, x, 0.0) for x in (P, Y_n))
        Q, Y_d = (torch.where(mask, x, 1.0) for x in (Q, Y_d))
    larger = torch.maximum(Y_n.abs(), Y_d.abs())
    # By powers of two, which change no bit of the angle.
    factor = torch.where(larger < 2.0**-60, 2.0**64, torch.where(larger > 2.0**60, 2.0**-64, 1.0))
    nothing = larger == 0
    P, Q = P.masked_fill(nothing, 0.0), Q.masked_fill(nothing, 0.0)
    return [P, Q, (Y_n * factor).masked_fill(nothing, 1.0), Y_d * factor]


def widen_alike(*tensors: Tensor) -> list[Tensor]:
    """Return tensors of one shape in float32 or wider; ValueError for targets with a gradient."""
    check_same_shape(*tensors)
    check_constant(*tensors[2:])
    return widen(*tensors)


def check_constant(*values: object) -> None:
    """Raise ValueError for a target, threshold or weight that requires a gradient."""
    if any(isinstance(x, Tensor) and x.requires_grad for x in values):
        raise ValueError(
            "targets, tau and weights must not require a gradient, which a loss has only in its "
            "predictions; detach them"
        )


def mean(terms: Tensor, mask: Tensor | None = None, n: Tensor | None = None) -> Tensor:
    """Return the mean of the terms under the mask; 0 if there are none. Meets: LOSS-13.

    ``n`` is the number of elements under the mask, at least 1, if it is known.
    """
    if mask is None:
        return terms.sum() / max(terms.numel(), 1)
    return torch.where(mask, terms, 0.0).sum() / (at_least_one(mask) if n is None else n)


def at_least_one(mask: Tensor) -> Tensor:
    """Return how many elements the mask has, but at least 1, to divide by."""
    return mask.sum().clamp(min=1)


def capped_square(x: Tensor) -> Tensor:
    """Return ``x²``, at most largest/(4n) for n elements, with its gradient kept."""
    bound = torch.finfo(x.dtype).max / 4 / max(x.numel(), 1)
    square, step = x * x, x.detach() * (x - x.detach())
    return torch.where(square > bound, bound + step + step, square)


def implicit_term(P: Tensor, Q: Tensor, Y_n: Tensor, Y_d: Tensor, gamma: float) -> Tensor:
    """Return the implicit loss, elementwise."""
    target = torch.maximum(Y_n.abs(), Y_d.abs())
    target = target + (target == 0)
    y_n, y_d = Y_n / target, Y_d / target
    # γ sets a scale of its own: dividing by at least √γ keeps the gradient of tiny tuples.
    root, limits = gamma**0.5, torch.finfo(P.dtype)
    size = torch.maximum(P.abs(), Q.abs()).detach()
    size = torch.maximum(size, (root / target).clamp(max=limits.max))
    p, q = P / size, Q / size
    guard = (root / size / target).square()
    weight = ((q * y_d).square() + (p * y_n).square() + guard).clamp(min=limits.tiny).detach()
    return capped_square((p * y_d - q * y_n) / weight.sqrt())


def margin_term(Q: Tensor, tau: float | Tensor) -> Tensor:
    """Return ``max(0, τ − |Q|)²``, elementwise."""
    limits = torch.finfo(Q.dtype)
    if not isinstance(tau, Tensor) and tau < 2.0**40:  # its square is far below the cap
        return (tau - Q.abs()).relu().square()
    size = torch.where(Q == 0, 0.0, Q.abs())  # a slope that overflows, times sgn 0, would be NaN
    if isinstance(tau, Tensor):
        return capped_square((tau.to(Q.dtype).clamp(max=limits.max) - size).relu())
    return capped_square((min(tau, limits.max) - size).relu())


def implicit_loss(
    P: Float[Tensor, "*shape"],
    Q: Float[Tensor, "*shape"],
    Y_n: Float[Tensor, "*shape"],
    Y_d: Float[Tensor, "*shape"],
    *,
    gamma: float = 1e-9,
    mask: Bool[Tensor, "*shape"] | None = None,
) -> Float[Tensor, ""]:
    """Mean of ``E / (sg(Q²Y_d² + P²Y_n²) + γ)`` with ``E = (P·Y_d − Q·Y_n)²``.

    The fit of the v0.4 guide; no distance on the projective line, see :func:`chordal_loss`.

    Args:
        P, Q: predicted tuples.
        Y_n, Y_d: target tuples.
        gamma: guards the division; > 0.
        mask: elements to count; None counts all.

    Returns:
        A scalar ≥ 0. An element larger than a quarter of the dtype's maximum over the number of
        elements counts as that bound, so that the sum is finite; its gradient is kept.

    Raises:
        ValueError: shapes that differ, or ``gamma ≤ 0``.

    Meets: LOSS-1, LOSS-7, LOSS-8, LOSS-9, LOSS-10, LOSS-11, LOSS-12, LOSS-13, LOSS-17.

    Example:
        >>> one = torch.ones(1)
        >>> implicit_loss(2 * one, one, one, one)
        tensor(0.2000)
    """
    if not gamma > 0:
        raise ValueError(f"gamma must be > 0, got {gamma!r}")
    P, Q, Y_n, Y_d = widen_alike(P, Q, Y_n, Y_d)
    if mask is not None:
        check_mask(mask, P)
        P, Q, Y_n, Y_d = (torch.where(mask, x, 0.0) for x in (P, Q, Y_n, Y_d))
    return mean(implicit_term(P, Q, Y_n, Y_d, gamma), mask)


def chordal_loss(
    P: Float[Tensor, "*shape"],
    Q: Float[Tensor, "*shape"],
    Y_n: Float[Tensor, "*shape"],
    Y_d: Float[Tensor, "*shape"],
    *,
    mask: Bool[Tensor, "*shape"] | None = None,
) -> Float[Tensor, ""]:
    """Mean squared sine of the angle between predicted and target lines.

    ``E / ((P² + Q²)(Y_n² + Y_d²))`` with ``E = (P·Y_d − Q·Y_n)²``: in [0, 1], unchanged when
    either tuple is scaled by any λ ≠ 0; 1 without gradient at ``(0, 0)``.

    Args:
        P, Q: predicted tuples.
        Y_n, Y_d: target tuples.
        mask: elements to count; None counts all.

    Raises:
        ValueError: shapes that differ.

    Meets: LOSS-2, LOSS-7, LOSS-8, LOSS-9, LOSS-10, LOSS-11, LOSS-12, LOSS-13, LOSS-14, LOSS-15.

    Example:
        >>> one = torch.ones(1)
        >>> chordal_loss(one, 0 * one, one, one)
        tensor(0.5000)
    """
    sine, _ = angle(*prepare_tuples(mask, P, Q, Y_n, Y_d))
    return mean(sine * sine, mask)


@explains(tau_train="it is called tau", mask_finite="it is called mask")
def margin_loss(
    Q: Float[Tensor, "*shape"],
    tau: float | Tensor,
    *,
    mask: Bool[Tensor, "*shape"] | None = None,
) -> Float[Tensor, ""]:
    """Mean of ``max(0, τ − |Q|)²`` over the elements under the mask; 0 if there is none.

    Args:
        Q: predicted denominators.
        tau: threshold, in the unit of ``Q``.
        mask: finite-target elements; None counts all.

    Returns:
        A scalar ≥ 0. An element counts for no more than a quarter of the dtype's maximum over the
        number of elements, so that the sum is finite for every τ; its gradient is kept.

    Raises:
        ValueError: shapes that differ.

    Meets: LOSS-3, LOSS-7, LOSS-8, LOSS-9, LOSS-11, LOSS-12, LOSS-13.

    Example:
        >>> margin_loss(torch.tensor([0.5, 2.0]), tau=1.0)
        tensor(0.1250)
    """
    check_constant(tau)
    (Q,) = widen(Q)
    if mask is not None:
        check_mask(mask, Q)
        Q = torch.where(mask, Q, 0.0)
    return mean(margin_term(Q, tau), mask)


@explains(mask_singular="it is called oriented", gamma="the angle needs no guard")
def sign_consistency_loss(
    P: Float[Tensor, "*shape"],
    Q: Float[Tensor, "*shape"],
    Y_n: Float[Tensor, "*shape"],
    Y_d: Float[Tensor, "*shape"],
    *,
    oriented: Bool[Tensor, "*shape"] | None = None,
) -> Float[Tensor, ""]:
    """Mean of ``1 − cos∠((P, Q), (Y_n, Y_d))`` over oriented targets; 0 if there is none.

    Args:
        P, Q: predicted tuples.
        Y_n, Y_d: target tuples.
        oriented: which targets are ±∞; None takes every ``Y_d = 0``, which cannot tell the
            unoriented NaN from +∞.

    Returns:
        A scalar in [0, 2]; a tuple ``(0, 0)`` counts as a right angle, without gradient.

    Raises:
        ValueError: shapes that differ.

    Meets: LOSS-4, LOSS-7, LOSS-8, LOSS-9, LOSS-10, LOSS-11, LOSS-12, LOSS-13.

    Example:
        >>> one = torch.ones(1)
        >>> sign_consistency_loss(-one, 0 * one, one, 0 * one)
        tensor(2.)
    """
    mask = Y_d == 0 if oriented is None else oriented
    _, cosine = angle(*prepare_tuples(mask, P, Q, Y_n, Y_d))
    return mean(1.0 - cosine, mask)
