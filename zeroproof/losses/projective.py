"""The elementwise terms: implicit, chordal, margin and sign consistency.

All four are computed in float32 or wider. A tuple is first divided by the larger of its two
components, held constant. Where a term is invariant under scaling this changes nothing, also
not the gradient, and no square can overflow or lose both components to underflow.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zeroproof.scm.outputs import widen


def alike(*tensors: Tensor) -> list[Tensor]:
    """Return the tensors in float32 or wider, after checking that their shapes are equal."""
    shapes = [tuple(t.shape) for t in tensors]
    if len(set(shapes)) > 1:
        raise ValueError(
            f"shapes {shapes} must all be equal; broadcasting would pair every prediction with "
            "every target. Reshape one side, as in targets.reshape(outputs.shape)"
        )
    return widen(*tensors)


def _magnitude(a: Tensor, b: Tensor) -> Tensor:
    return torch.maximum(a.detach().abs(), b.detach().abs())


def _unit_scale(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Divide by the larger magnitude; ``(0, 0)`` becomes the constant ``(0, 0)`` and a True."""
    magnitude = _magnitude(a, b)
    zero = magnitude == 0
    safe = magnitude.masked_fill(zero, 1.0)
    return (a / safe).masked_fill(zero, 0.0), (b / safe).masked_fill(zero, 0.0), zero


def select(mask: Tensor | None, *tensors: Tensor, fill: float = 1.0) -> list[Tensor]:
    """Replace what the mask leaves out *before* arithmetic, so that no NaN or ∞ of it counts."""
    if mask is None:
        return list(tensors)
    check_mask(mask, tensors[0])
    return [t.masked_fill(~mask, fill) for t in tensors]


def check_mask(mask: Tensor, like: Tensor) -> None:
    """Raise ValueError unless the mask has the tensor's shape."""
    if mask.shape != like.shape:
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}, the tensors {tuple(like.shape)}; "
            "they must be equal"
        )


def at_most(terms: Tensor, ceiling: float) -> Tensor:
    """Bound the terms' values but not their gradient, which must still lead down from there."""
    return terms.detach().clamp(max=ceiling) + (terms - terms.detach())


def masked_mean(terms: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean of the terms under the mask; 0 where there is none."""
    if mask is None:
        return terms.sum() / max(terms.numel(), 1)
    return terms.masked_fill(~mask, 0.0).sum() / mask.sum().clamp(min=1)


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

    Meets: LOSS-1, LOSS-7, LOSS-8, LOSS-9, LOSS-10, LOSS-11, LOSS-12, LOSS-13.

    Example:
        >>> one = torch.ones(1)
        >>> implicit_loss(2 * one, one, one, one)
        tensor(0.2000)
    """
    if not gamma > 0:
        raise ValueError(f"gamma must be > 0, got {gamma!r}")
    P, Q, Y_n, Y_d = select(mask, *alike(P, Q, Y_n, Y_d))
    y_n, y_d, no_target = _unit_scale(Y_n, Y_d)
    target_size = _magnitude(Y_n, Y_d).masked_fill(no_target, 1.0)
    # γ sets a scale of its own: dividing by at least √γ keeps the gradient of tiny tuples.
    root = gamma**0.5
    largest, smallest = torch.finfo(P.dtype).max, torch.finfo(P.dtype).tiny
    size = torch.maximum(_magnitude(P, Q), (root / target_size).clamp(max=largest))
    p, q = P / size, Q / size
    guard = (root / size / target_size).square()
    weight = ((q * y_d).square() + (p * y_n).square() + guard).clamp(min=smallest)
    terms = (p * y_d - q * y_n).square() / weight.detach()
    ceiling = largest / 4 / max(terms.numel(), 1)
    return masked_mean(at_most(terms, ceiling), mask)


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
    P, Q, Y_n, Y_d = select(mask, *alike(P, Q, Y_n, Y_d))
    p, q, no_tuple = _unit_scale(P, Q)
    y_n, y_d, no_target = _unit_scale(Y_n, Y_d)
    undefined = no_tuple | no_target
    sizes = (p.square() + q.square()) * (y_n.square() + y_d.square())
    terms = (p * y_d - q * y_n).square() / sizes.masked_fill(undefined, 1.0)
    return masked_mean(at_most(terms, 1.0).masked_fill(undefined, 1.0), mask)


def margin_loss(
    Q: Float[Tensor, "*shape"],
    tau: float,
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
    (Q,) = select(mask, *alike(Q))
    largest = torch.finfo(Q.dtype).max
    missing = (min(tau, largest) - Q.abs()).clamp(min=0.0)
    bound = (largest / 4 / max(Q.numel(), 1)) ** 0.5
    constant = missing.detach()
    # The square of the bounded value, with the gradient of the square itself; at 0, where |Q| has
    # no slope, also not that of a shortfall whose double is infinite.
    push = constant.masked_fill(Q == 0, 0.0)
    terms = constant.clamp(max=bound).square() + 2 * (push * (missing - constant))
    return masked_mean(terms, mask)


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
    P, Q, Y_n, Y_d = select(mask, *alike(P, Q, Y_n, Y_d))
    p, q, no_tuple = _unit_scale(P, Q)
    y_n, y_d, no_target = _unit_scale(Y_n, Y_d)
    undefined = no_tuple | no_target
    size = (p.square() + q.square()).masked_fill(undefined, 1.0).sqrt()
    target_size = (y_n.square() + y_d.square()).masked_fill(undefined, 1.0).sqrt()
    # 1 − cos = |u − v|²/2 for unit vectors: never negative, and exact where they meet.
    chord = (p / size - y_n / target_size).square() + (q / size - y_d / target_size).square()
    return masked_mean(at_most(0.5 * chord, 2.0).masked_fill(undefined, 1.0), mask)
