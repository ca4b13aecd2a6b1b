"""Arcs of the projective line, and the probability that a tuple gives them.

With ``ρ² = P² + Q²``, a tuple stands for the wrapped Cauchy distribution on the projective line
that is centred at its line and has concentration ``ρ²/(1 + ρ²)``: its length is its certainty.
Computed in float64, where no square of a float32 overflows.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from typing_extensions import TypeIs

Ends: TypeAlias = tuple[Tensor, Tensor]
"""The lifted ends ``(n, d)`` of intervals, with ``d ≥ 0``; ``−∞`` is ``(−1, 0)``."""

Lifted: TypeAlias = Ends | tuple[Ends, Ends]
"""Lifted targets, exact ones or lower and upper ends."""

LONGEST = 2.0**120  # longer tuples count as this long, so that float32 can hold their gradients
SMALLEST = 2.0**-1022


def lift(values: Tensor) -> Ends:
    """Return the tuple of a number, ``(±1, 0)`` of ±∞ and ``(1, 0)`` of NaN, elementwise."""
    n = values.nan_to_num(nan=1.0, posinf=1.0, neginf=-1.0)
    return n, (values == n).to(values.dtype)


def is_interval(lifted: Lifted) -> TypeIs[tuple[Ends, Ends]]:
    """Tell whether lifted targets are intervals."""
    return not isinstance(lifted[0], Tensor)


def kinds(lifted: Lifted) -> tuple[Tensor, Tensor]:
    """Return which lifted targets are finite, and which are singular.

    An interval is finite if both ends are, and singular if they are one infinity. Meets: COV-5.
    """
    (l_n, l_d), (u_n, u_d) = lifted if is_interval(lifted) else (lifted, lifted)
    return (l_d != 0) & (u_d != 0), (l_d == 0) & (u_d == 0) & (l_n == u_n)


class Arc(NamedTuple):
    """The turn from one line up to another, in [0, π], and where a tuple lies to it."""

    sine: Tensor
    cosine: Tensor
    product: Tensor  # of the tuple's cross products with the two lines
    square: Tensor  # ρ² of the tuple

    def weighed(self, resolution: Tensor | float = 0.0) -> Tensor:
        """Return ``π`` times the probability; a resolution widens the distribution (LIK-8)."""
        more, sine, cosine = 1.0 + self.square, self.sine, self.cosine
        height = (1.0 + 2.0 * self.square) / more * sine
        # The square of the half angle's cosine, which 1 + C would lose near the whole line.
        half = torch.where(cosine < 0, sine * sine / (1.0 - cosine), 1.0 + cosine) / 2.0
        product = self.product + self.square * squared(resolution) * half
        return torch.atan2(height, cosine / more + 4.0 * product)


def squared(resolution: Tensor | float) -> Tensor | float:
    """Return the square of a resolution, in float64; a number is capped, to overflow nowhere."""
    if isinstance(resolution, Tensor):
        return resolution.double().square()
    return min(resolution, 2.0**200) ** 2


def unit(n: Tensor, d: Tensor) -> Ends:
    """Return tuples of the same lines, of length 1, in float64; ``(0, 0)`` stays."""
    if n.dtype == torch.float64:  # whose squares may overflow, or be lost
        larger = torch.maximum(n.abs(), d.abs()).clamp(min=SMALLEST)
        n, d = n / larger, d / larger
    norm = torch.hypot(n.double(), d).clamp(min=SMALLEST)
    return n / norm, d / norm


def shortened(*tensors: Tensor) -> list[Tensor]:
    """Return tensors in float64, the first two of them tuples of at most ``LONGEST``."""
    P, Q, *others = tensors
    larger = torch.maximum(P.abs(), Q.abs()).detach()
    if P.shape != Q.shape:  # outputs that share Q are one tuple
        larger = larger.amax(-1, keepdim=True)
    excess = (larger.double() / LONGEST).clamp(min=1.0)
    return [P / excess, Q / excess, *(t.double() for t in others)]


def arc(P: Tensor, Q: Tensor, lower: Ends, upper: Ends) -> Arc:
    """Return the arcs from ``lower`` up to ``upper``; through infinity if ``lower`` is larger."""
    P, Q, *ends = shortened(P, Q, *lower, *upper)
    (l_n, l_d), (u_n, u_d) = unit(*lower), unit(*upper)
    # Not of the unit tuples, whose rounding could swap ends that are nearly equal.
    rising = torch.sign(ends[1] * (ends[2] / 2) - (ends[0] / 2) * ends[3])
    sine = rising * (l_d * u_n - l_n * u_d).abs()
    cosine = l_d * u_d + l_n * u_n
    point = (rising == 0) & (cosine < 0) & (l_n > 0)  # from +∞ up to −∞
    side = torch.where((rising < 0) | point, -1.0, 1.0)
    product = (P * l_d - Q * l_n) * (P * u_d - Q * u_n)
    return Arc(side * sine, side * cosine, side * product, P * P + Q * Q)
