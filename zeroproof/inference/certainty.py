"""What a tuple knows: probabilities and intervals of the value that it stands for.

A ``Q`` of one column is that of all columns of ``P``; other shapes that differ raise ValueError.
"""

from __future__ import annotations

import math
from numbers import Real

import torch
from jaxtyping import Float
from torch import Tensor

from zeroproof.scm.arcs import SMALLEST, Ends, arc, lift, shortened
from zeroproof.scm.outputs import Denominator, Part, check_tuple, shares_denominator, widen
from zeroproof.utils.checks import (
    check_floats,
    check_number,
    check_pair,
    check_same_shape,
    describe,
)


def probability(P: Part, Q: Denominator, lower: Ends | float, upper: Ends | float) -> Part:
    """Return the probability that the value lies between two ends.

    An interval runs upwards from its first end, through infinity if the second is smaller.

    Args:
        P, Q: tuples.
        lower, upper: the ends: a number for all, which may be ±∞, or one for each: pairs
            ``(n, d)``, as :func:`~zeroproof.training.targets.lift_targets` returns.

    Raises:
        TypeError: an end of another type.
        ValueError: shapes that differ, or a number that is NaN.

    Meets: LIK-2, LIK-3, LIK-10.

    Example:
        >>> probability(torch.zeros(1), torch.ones(1), 0.0, torch.inf)
        tensor([0.5000])
    """
    p, q = marginals(P, Q)
    found = arc(p, q, _lifted("lower", lower, p), _lifted("upper", upper, p))
    share = found.weighed() / math.pi
    # Of ends that are equal, one line; of −∞ and ∞, the whole line; NaN stays.
    flat = (found.cosine < 0).to(share.dtype)
    return torch.where(found.sine > 0, share, flat + 0.0 * share).to(widen(P)[0].dtype)


def _lifted(name: str, end: Ends | float, like: Tensor) -> Ends:
    """Return a lifted end of the shape of a tensor."""
    if isinstance(end, (float, Real)):
        return lift(torch.full_like(like, check_number(name, end, "[-∞, ∞]")))
    check_pair(name, end)
    named = {f"{name}[0]": end[0], f"{name}[1]": end[1]}
    check_floats(**named)
    check_same_shape(P=like, **named)
    return end


def central_interval(P: Part, Q: Denominator, level: float) -> tuple[Part, Part]:
    """Return the ends of the interval around the decoded value that has the probability ``level``.

    The interval runs from the first end upwards to the second, through infinity iff the first is
    the larger one. For ``(0, 0)``, which knows nothing, it is the whole line. Raises ValueError for
    a level outside [0, 1).

    Meets: LIK-6.

    Example:
        >>> lower, upper = central_interval(torch.zeros(1), torch.ones(1), 0.5)
        >>> lower.item(), upper.item()
        (-0.3333333432674408, 0.3333333432674408)
    """
    level = check_number("level", level, "[0, 1)")
    wide_P, wide_Q = marginals(P, Q)
    larger = torch.maximum(wide_P.abs(), wide_Q.abs())
    p, q = wide_P / larger, wide_Q / larger
    sharpness = 1.0 + 2.0 * (wide_P * wide_P + wide_Q * wide_Q)
    # Of half the interval's angle; near 1 what is left of the level tells it without rounding.
    left = math.tan(math.pi * (1.0 - level) / 2)
    slope = (1.0 / left if level > 0.5 else math.tan(math.pi * level / 2)) / sharpness
    ends = list[Tensor]()
    for side in (-1.0, 1.0):
        n, d = p + side * q * slope, q - side * p * slope
        infinity = torch.where(slope > 0, side, p) * torch.inf  # on which side of a pole
        end = torch.where(d == 0, infinity, n / d)
        ends.append(torch.where(larger == 0, side * torch.inf, end).to(widen(P)[0].dtype))
    return ends[0], ends[1]


def certainty(P: Part, Q: Denominator) -> Part:
    """Return the concentration ``ρ²/(1 + ρ²)`` of tuples: 0 knows nothing, 1 everything.

    Meets: LIK-11.

    Example:
        >>> certainty(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0]))
        tensor([0.0000, 0.6667])
    """
    p, q = marginals(P, Q)
    square = p * p + q * q
    return (square / (1.0 + square)).to(widen(P)[0].dtype)


def marginals(P: Tensor, Q: Tensor) -> tuple[Tensor, Tensor]:
    """Return tuples in float64, shortened; of a shared denominator those of each output alone.

    They are lengthened, since all outputs tell of the denominator. Meets: LIK-10, LIK-11.
    """
    check_tuple(P, Q)
    P, Q = shortened(P, Q)
    if shares_denominator(P, Q):
        own, more = P * P + Q * Q, 1.0 + P.square().sum(-1, keepdim=True) + Q * Q
        factor = (2.0 * more / (1.0 + (1.0 + 4.0 * more * own).sqrt())).sqrt()
        P, Q = shortened(P * factor, Q * factor)
    return P, Q


def combine_tuples(
    P: Float[Tensor, "rows members outputs"],
    Q: Float[Tensor, "rows members denominators"],
    weights: Float[Tensor, "rows members"] | None = None,
) -> tuple[Float[Tensor, "rows outputs"], Float[Tensor, "rows denominators"]]:
    """Return the tuple that stands for the mixture of several, in float64.

    It is that of their mean moment, where the moment of ``X`` is ``XXᵀ/(1 + ρ²)``: the mean's first
    eigenvector is the line, and what its eigenvalue exceeds the others by is the concentration.
    Tuples that disagree so make an uncertain one. Outputs that share ``Q`` are one tuple.

    Args:
        P, Q: tuples of each member; NaN or ±∞ in a part makes the result NaN.
        weights: of the members, ≥ 0; None gives all the same. A member of weight 0 changes nothing,
            whatever it holds; if all are 0, the result is ``(0, 0)``.

    Raises ValueError for shapes that do not fit, and for weights that are negative or not finite.
    Meets: LIK-12.

    Example:
        >>> P, Q = torch.tensor([[[1.0], [-1.0]]]), torch.ones(1, 2, 1)
        >>> P, Q = combine_tuples(P, Q)
        >>> P.abs().item() < 1e-7, round(certainty(P, Q).item(), 4)  # 0, of moments at ±45°
        (True, 0.0)
    """
    check_tuple(P, Q)
    shares = _shares(P, weights)[..., None, None]
    shared, (P, Q) = shares_denominator(P, Q), shortened(P, Q)
    X = torch.cat([P, Q], -1)[:, :, None] if shared else torch.stack([P, Q], -1)
    X = torch.where(shares > 0, X, 0.0)
    scaled = shares * X / (1.0 + X.square().sum(-1, keepdim=True))
    moments = torch.einsum("rmoi,rmoj->roij", scaled, X)
    values, vectors = torch.linalg.eigh(moments.nan_to_num())  # a NaN in one row would lose all
    found = (values[..., -1:] - values[..., :-1].mean(-1, keepdim=True)).clamp(0.0, 1.0 - 1e-12)
    X = vectors[..., -1] * (found / (1.0 - found)).sqrt()
    X = torch.where(moments[..., 0].isnan(), torch.nan, X)
    return (X[:, 0, :-1], X[:, 0, -1:]) if shared else (X[..., 0], X[..., 1])


def _shares(P: Tensor, weights: Tensor | None) -> Tensor:
    """Return the share of each member, in float64; all 0 where all weights are."""
    if P.dim() != 3 or 0 in P.shape[1:]:
        raise ValueError(f"P must have the shape (rows, members, outputs), got {tuple(P.shape)}")
    weights = torch.ones_like(P[..., 0]) if weights is None else weights
    check_floats(weights=weights)
    if weights.shape != P.shape[:2] or not ((weights >= 0) & (weights < torch.inf)).all():
        ends = f" from {weights.min():g} to {weights.max():g}" if weights.numel() else ""
        raise ValueError(
            f"weights must be finite, ≥ 0 and of the shape {tuple(P.shape[:2])}, one for each row "
            f"and member; got {describe(weights)}{ends}"
        )
    largest = weights.double().amax(1, keepdim=True)  # by which no sum overflows
    shares = weights / torch.where(largest > 0, largest, 1.0)
    shares = weights.sign() * shares.clamp(min=SMALLEST)  # so that who counts is told by them
    return shares / shares.sum(1, keepdim=True).clamp(min=1.0)


def median_and_scale(P: Part, Q: Denominator) -> tuple[Part, Part]:
    """Return median and half the interquartile range of the values that tuples stand for.

    Cut at infinity, the distribution of LIK-1 is Cauchy's, with these two parameters. The median is
    ``P/Q`` where the tuple is certain, and draws near 0 where it is not. In float64.
    Meets: LIK-11.

    Example:
        >>> median_and_scale(torch.ones(1), torch.ones(1))
        (tensor([0.9231], dtype=torch.float64), tensor([0.3846], dtype=torch.float64))
    """
    P, Q = marginals(P, Q)
    square = P * P + Q * Q
    spread = 4.0 * (1.0 + square)
    below = 1.0 + spread * Q * Q
    return spread * P * Q / below, (1.0 + 2.0 * square) / below
