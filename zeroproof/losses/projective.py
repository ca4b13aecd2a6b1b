"""The elementwise terms: implicit, chordal, margin and sign consistency.

All four are computed in float32 or wider, with their slopes. A tuple is first divided by the larger
of its two components, held constant. Where a term is invariant under scaling this changes nothing,
also not the gradient, and no square can overflow or lose both components to underflow.

The functions ``*_term`` are what the composite is made of, too; each gives its value, and what its
slope is made of. The rules that begin with an underscore put the two together.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zeroproof.losses.slopes import Angle, alike, check_mask, count, some, with_slopes
from zeroproof.training.transfer import Number, bounded, number

Slopes: TypeAlias = tuple[Tensor, Tensor]


def implicit_term(
    P: Tensor, Q: Tensor, Y_n: Tensor, Y_d: Tensor, gamma: float, mask: Tensor | None
) -> tuple[Number, Slopes]:
    """Return the implicit loss and its slopes."""
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
    cross, n = p * y_d - q * y_n, some(count(mask, P))
    terms = (cross.square() / weight).clamp(max=limits.max / 4 / max(P.numel(), 1))
    push = cross / weight * (2.0 / n)
    return number(terms.sum()) / n, (push * y_d / size, push * y_n / -size)


def chordal_term(angle: Angle, n: Number) -> Number:
    """Return the chordal loss; ``2/n`` times sine and cosine is its slope in the angle."""
    sine, missing = angle.sine, angle.missing
    terms = sine * sine if missing is None else torch.addcmul(missing, sine, sine)
    return bounded(number(terms.sum()) / n, 0.0, 1.0)


def sign_term(angle: Angle, oriented: Tensor) -> tuple[Number, Number]:
    """Return the sign loss, and ``1/n``: where oriented, times the sine it is the slope."""
    kept = count(oriented, angle.cosine)
    if not isinstance(kept, Tensor) and not kept:
        return 0.0, 0.0
    n = some(kept)
    cosines = number(torch.where(oriented, angle.cosine, 0.0).sum())
    return bounded((kept - cosines) / n, 0.0, 2.0), 1 / n


def margin_term(size: Tensor, tau: Number, mask: Tensor | None, n: Number) -> tuple[Number, Tensor]:
    """Return the margin loss, and what ``size`` lacks: ``−2/n`` times that is its slope there."""
    largest = torch.finfo(size.dtype).max
    bound = (largest / 4 / max(size.numel(), 1)) ** 0.5
    if isinstance(tau, Tensor):
        lack = (tau.to(size.dtype).clamp(max=largest) - size).relu()
    else:
        lack = (min(tau, largest) - size).relu()
    if mask is not None:
        lack = torch.where(mask, lack, 0.0)
    # The value is bounded, not the slope, which must still lead down from there.
    most = lack if not isinstance(tau, Tensor) and tau <= bound else lack.clamp(max=bound)
    return number(most.square().sum()) / n, lack


def lines(mask: Tensor | None, *parts: Tensor) -> list[Tensor]:
    """Check tuples and targets, of any kind, and make them such as an angle can lie between.

    What the mask leaves out becomes ``(0, 1)`` against itself. A target ``(0, 0)`` is moved to the
    prediction, where it counts just the same.
    """
    P, Q, Y_n, Y_d = alike(*parts)
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


Ruled: TypeAlias = tuple[tuple[Number], tuple[Tensor, ...]]


def _implicit(
    gradient: Number,
    P: Tensor,
    Q: Tensor,
    Y_n: Tensor,
    Y_d: Tensor,
    gamma: float,
    mask: Tensor | None,
) -> Ruled:
    value, slopes = implicit_term(P, Q, Y_n, Y_d, gamma, mask)
    return (value,), tuple(slope * gradient for slope in slopes)


def _chordal(
    gradient: Number, P: Tensor, Q: Tensor, Y_n: Tensor, Y_d: Tensor, mask: Tensor | None
) -> Ruled:
    angle, n = Angle.between(P, Q, Y_n, Y_d), some(count(mask, P))
    in_P, fall = angle.turn(angle.cosine * (gradient * (2.0 / n)))
    return (chordal_term(angle, n),), (in_P, -fall)


def _sign(gradient: Number, P: Tensor, Q: Tensor, Y_n: Tensor, Y_d: Tensor, mask: Tensor) -> Ruled:
    angle = Angle.between(P, Q, Y_n, Y_d)
    value, speed = sign_term(angle, mask)
    in_P, fall = angle.turn(mask.to(P.dtype) * (gradient * speed))
    return (value,), (in_P, -fall)


def _margin(gradient: Number, Q: Tensor, tau: Number, mask: Tensor | None) -> Ruled:
    n = some(count(mask, Q))
    value, lack = margin_term(Q.abs(), tau, mask, n)
    return (value,), (lack * Q.sgn() * (gradient * (-2.0 / n)),)


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
    P, Q, Y_n, Y_d = alike(P, Q, Y_n, Y_d)
    if mask is not None:
        check_mask(mask, P)
        P, Q, Y_n, Y_d = (torch.where(mask, x, 0.0) for x in (P, Q, Y_n, Y_d))
    (value,) = with_slopes(_implicit, (P, Q), Y_n, Y_d, gamma, mask)
    return value


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
    P, Q, Y_n, Y_d = lines(mask, P, Q, Y_n, Y_d)
    (value,) = with_slopes(_chordal, (P, Q), Y_n, Y_d, mask)
    return value


def margin_loss(
    Q: Float[Tensor, "*shape"],
    tau: Number,
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
    (Q,) = alike(Q)
    if mask is not None:
        check_mask(mask, Q)
    (value,) = with_slopes(_margin, (Q,), tau, mask)
    return value


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
    P, Q, Y_n, Y_d = lines(mask, P, Q, Y_n, Y_d)
    (value,) = with_slopes(_sign, (P, Q), Y_n, Y_d, mask)
    return value
