"""The elementwise terms: implicit, chordal, squares, margin and sign consistency.

Each loss is a mean, over the elements that a mask marks, of a term of predicted tuples ``(P, Q)``
and target tuples ``(Y_n, Y_d)``; None counts all. It is 0 if there are none (LOSS-13), and raises
ValueError for shapes that differ (LOSS-12).
"""

from __future__ import annotations

import torch
from torch import Tensor

from zeroproof.losses.arithmetic import (
    Scalar,
    angle,
    capped_square,
    check_tau,
    mask_tuples,
    mean,
    prepare_tuples,
    widen_alike,
)
from zeroproof.scm.outputs import Mask, Part, quotient, tuple_bottom, widen
from zeroproof.utils.checks import check_floats, check_mask, check_number, explains


def implicit_term(P: Tensor, Q: Tensor, Y_n: Tensor, Y_d: Tensor, gamma: float) -> Tensor:
    """Return the implicit loss, elementwise."""
    target = torch.maximum(Y_n.abs(), Y_d.abs())
    target = target + (target == 0)
    y_n, y_d = Y_n / target, Y_d / target
    # γ sets a scale of its own: dividing by at least √γ keeps the gradient of tiny tuples.
    root, limits = gamma**0.5, torch.finfo(P.dtype)
    size = torch.maximum(P.abs(), Q.abs()).detach()
    size = torch.maximum(size, (root / target).clamp(max=limits.max))
    size = size + (size == 0)  # (0, 0), beside a root that underflows
    p, q = P.detach() / size, Q.detach() / size
    guard = (root / size / target).square()
    weight = ((q * y_d).square() + (p * y_n).square() + guard).clamp(min=limits.tiny)
    # A part of the size divides last, so that a gradient on its way back meets it first, and does
    # not overflow before it; a power of two, which changes no bit.
    part = torch.exp2(torch.floor(torch.log2(size) / 2)).clamp(min=1.0)
    size = size / part
    return capped_square((P / size * y_d - Q / size * y_n) / weight.sqrt() / part)


def margin_term(Q: Tensor, tau: float | Tensor) -> Tensor:
    """Return ``max(0, τ − |Q|)²``, elementwise."""
    if not isinstance(tau, Tensor) and tau < 2.0**40:  # its square is far below the cap
        return (tau - Q.abs()).relu().square()
    largest = torch.finfo(Q.dtype).max
    tau = tau.to(Q.dtype).clamp(max=largest) if isinstance(tau, Tensor) else min(tau, largest)
    size = torch.where(Q == 0, 0.0, Q.abs())  # a slope that overflows, times sgn 0, would be NaN
    return capped_square((tau - size).relu())


def implicit_loss(
    P: Part, Q: Part, Y_n: Part, Y_d: Part, *, gamma: float = 1e-9, mask: Mask | None = None
) -> Scalar:
    """Mean of ``E / (sg(Q²Y_d² + P²Y_n²) + γ)`` with ``E = (P·Y_d − Q·Y_n)²``.

    The fit of the v0.4 guide; no distance on the projective line, see :func:`chordal_loss`. Terms
    are capped (LOSS-1), so that the sum is finite. Raises ValueError for ``gamma ≤ 0``.

    Meets: LOSS-1, LOSS-7, LOSS-8, LOSS-9, LOSS-10, LOSS-11, LOSS-12, LOSS-13, LOSS-17.

    Example:
        >>> one = torch.ones(1)
        >>> implicit_loss(2 * one, one, one, one)
        tensor(0.2000)
    """
    gamma = check_number("gamma", gamma, "(0, ∞]")
    P, Q, Y_n, Y_d = mask_tuples(mask, *widen_alike(P, Q, Y_n, Y_d))
    return mean(implicit_term(P, Q, Y_n, Y_d, gamma), mask)


def chordal_loss(P: Part, Q: Part, Y_n: Part, Y_d: Part, *, mask: Mask | None = None) -> Scalar:
    """Mean squared sine of the angle between predicted and target lines.

    ``E / ((P² + Q²)(Y_n² + Y_d²))`` with ``E = (P·Y_d − Q·Y_n)²``: in [0, 1], unchanged when
    either tuple is scaled by any λ ≠ 0; 1 without gradient at ``(0, 0)``.

    Meets: LOSS-2, LOSS-7, LOSS-8, LOSS-9, LOSS-10, LOSS-11, LOSS-12, LOSS-13, LOSS-14, LOSS-15.

    Example:
        >>> one = torch.ones(1)
        >>> chordal_loss(one, 0 * one, one, one)
        tensor(0.5000)
    """
    sine, _ = angle(*prepare_tuples(mask, P, Q, Y_n, Y_d))
    return mean(sine * sine, mask)


def squares_loss(
    P: Part, Q: Part, Y_n: Part, Y_d: Part, *, tau: float | Tensor = 0.0, mask: Mask | None = None
) -> Scalar:
    """Mean of ``(P/Q − Y_n/Y_d)²``, over finite targets whose tuple does not decode to ⊥.

    In the square of the targets' unit. ``|Q| < tau`` decodes to ⊥. Terms are capped.

    Meets: LOSS-18.

    Example:
        >>> one = torch.ones(1)
        >>> squares_loss(2 * one, one, 5 * one, one)
        tensor(9.)
    """
    tau = check_tau(tau)
    wide = widen_alike(P, Q, Y_n, Y_d)
    counts = (Y_d != 0) & ~tuple_bottom(P, Q, tau)
    if mask is not None:
        check_mask(mask, P)
        counts = counts & mask
    return squares_term(counts, *wide)


def squares_term(counts: Mask, *parts: Tensor) -> Scalar:
    """Return the squares loss over the elements that count."""
    P, Q, Y_n, Y_d = mask_tuples(counts, *parts)
    half = quotient(P, Q) / 2 - (Y_n / Y_d).nan_to_num() / 2  # whose difference does not overflow
    return mean(4.0 * capped_square(half, torch.finfo(P.dtype).max / 4), counts)


@explains(tau_train="it is called tau", mask_finite="it is called mask")
def margin_loss(Q: Part, tau: float | Tensor, *, mask: Mask | None = None) -> Scalar:
    """Mean of ``max(0, τ − |Q|)²`` over the elements with a finite target, which the mask marks.

    Terms are capped (LOSS-3), so that the sum is finite for every τ.

    Meets: LOSS-3, LOSS-7, LOSS-8, LOSS-9, LOSS-11, LOSS-12, LOSS-13.

    Example:
        >>> margin_loss(torch.tensor([0.5, 2.0]), tau=1.0)
        tensor(0.1250)
    """
    check_floats(Q=Q)
    tau = check_tau(tau)
    (Q,) = widen(Q)
    if mask is not None:
        check_mask(mask, Q)
        Q = torch.where(mask, Q, 0.0)
    return mean(margin_term(Q, tau), mask)


@explains(mask_singular="it is called oriented", gamma="the angle needs no guard")
def sign_consistency_loss(
    P: Part, Q: Part, Y_n: Part, Y_d: Part, *, oriented: Mask | None = None
) -> Scalar:
    """Mean of ``1 − cos∠((P, Q), (Y_n, Y_d))`` over oriented targets.

    In [0, 2]; a tuple ``(0, 0)`` counts as a right angle, without gradient.

    Args:
        P, Q, Y_n, Y_d: predicted and target tuples.
        oriented: which targets are ±∞; None takes every ``Y_d = 0``, which cannot tell the
            unoriented NaN from +∞.

    Meets: LOSS-4, LOSS-7, LOSS-8, LOSS-9, LOSS-10, LOSS-11, LOSS-12, LOSS-13.

    Example:
        >>> one = torch.ones(1)
        >>> sign_consistency_loss(-one, 0 * one, one, 0 * one)
        tensor(2.)
    """
    P, Q, Y_n, Y_d = widen_alike(P, Q, Y_n, Y_d)
    mask = Y_d == 0 if oriented is None else oriented
    check_mask(mask, Y_d, "oriented")
    _, cosine = angle(*prepare_tuples(mask, P, Q, Y_n, Y_d))
    return mean(1.0 - cosine, mask)
