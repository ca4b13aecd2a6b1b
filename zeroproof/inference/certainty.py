"""What a tuple knows: probabilities and intervals of the value that it stands for."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from zeroproof.scm.arcs import LONGEST, Ends, arc, shortened
from zeroproof.scm.outputs import check_tuple, shares_denominator, widen
from zeroproof.utils.checks import check_floats, check_number, check_pair, check_same_shape


def probability(
    P: Float[Tensor, "*shape"], Q: Float[Tensor, "*#shape"], lower: Ends, upper: Ends
) -> Float[Tensor, "*shape"]:
    """Return the probability that the value lies between two ends.

    An interval runs upwards from its first end, through infinity if the second is smaller.

    Args:
        P, Q: predicted tuples; a ``Q`` of one column is that of all columns of ``P``.
        lower, upper: lifted ends ``(n, d)``, each a pair of tensors; see
            :func:`~zeroproof.training.targets.lift_targets`.

    Raises:
        ValueError: shapes that differ.

    Meets: LIK-2, LIK-3, LIK-10.

    Example:
        >>> one, zero = torch.ones(1), torch.zeros(1)
        >>> probability(zero, one, (zero, one), (one, zero))  # of more than 0, at 0 ± …
        tensor([0.5000])
    """
    check_tuple(P, Q)
    working = widen(P)[0].dtype
    P, Q = marginals(P, Q)
    check_pair("lower", lower)
    check_pair("upper", upper)
    (l_n, l_d), (u_n, u_d) = lower, upper
    named = {"lower[0]": l_n, "lower[1]": l_d, "upper[0]": u_n, "upper[1]": u_d}
    check_floats(**named)
    check_same_shape(P=P, Q=Q, **named)
    found = arc(P, Q, lower, upper)
    share = found.weighed() / math.pi
    # Of ends that are equal, one line; of −∞ and ∞, the whole line.
    flat = torch.where(found.cosine < 0, 1.0, 0.0)
    return torch.where(found.sine > 0, share, flat.to(share.dtype)).to(working)


def central_interval(
    P: Float[Tensor, "*shape"], Q: Float[Tensor, "*#shape"], level: float
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Return the ends of the interval around the decoded value that has a probability.

    The interval runs from the first end upwards to the second, through infinity iff the first is
    the larger one. For ``(0, 0)``, which knows nothing, it is the whole line.

    Args:
        P, Q: predicted tuples; a ``Q`` of one column is that of all columns of ``P``.
        level: the probability, in [0, 1).

    Raises:
        ValueError: shapes that differ, or a level outside [0, 1).

    Meets: LIK-6.

    Example:
        >>> lower, upper = central_interval(torch.zeros(1), torch.ones(1), 0.5)
        >>> lower.item(), upper.item()
        (-0.3333333432674408, 0.3333333432674408)
    """
    level = check_number("level", level, "[0, 1)")
    check_tuple(P, Q)
    working = widen(P)[0].dtype
    P, Q = marginals(P, Q)
    larger = torch.maximum(P.abs(), Q.abs())
    p, q = P / larger, Q / larger
    sharpness = 1.0 + 2.0 * (p * p + q * q) * larger.clamp(max=LONGEST).square()
    slope = math.tan(math.pi * level / 2) / sharpness  # of half the interval's angle
    ends = [
        _ratio(p + side * q * slope, q - side * p * slope, torch.where(slope > 0, side, p))
        for side in (-1.0, 1.0)
    ]
    lower, upper = (
        torch.where(larger == 0, side * torch.inf, end)
        for side, end in zip((-1.0, 1.0), ends, strict=True)
    )
    return lower.to(working), upper.to(working)


def _ratio(n: Tensor, d: Tensor, side: Tensor) -> Tensor:
    """Return n/d, and at a pole the infinity on a side, which is the sign of a number."""
    return torch.where(d == 0, side * torch.inf, n / d)


def certainty(P: Float[Tensor, "*shape"], Q: Float[Tensor, "*#shape"]) -> Float[Tensor, "*shape"]:
    """Return the concentration ``ρ²/(1 + ρ²)`` of tuples: 0 knows nothing, 1 everything.

    Raises ValueError for shapes that differ.

    Example:
        >>> certainty(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0]))
        tensor([0.0000, 0.6667])
    """
    check_tuple(P, Q)
    working = widen(P)[0].dtype
    length = torch.hypot(*marginals(P, Q))
    return (1.0 - 1.0 / (1.0 + length * length)).to(working)


def marginals(P: Tensor, Q: Tensor) -> tuple[Tensor, Tensor]:
    """Return tuples in float64; of a shared denominator those of each output alone.

    They are lengthened, since all outputs tell of the denominator. Raises ValueError for shapes
    that differ. Meets: LIK-10.
    """
    check_tuple(P, Q)
    if not shares_denominator(P, Q):
        return P.double(), Q.double()
    P, Q = shortened(P, Q)
    own, more = P * P + Q * Q, 1.0 + P.square().sum(-1, keepdim=True) + Q * Q
    factor = (2.0 * more / (1.0 + (1.0 + 4.0 * more * own).sqrt())).sqrt()
    return P * factor, Q * factor
