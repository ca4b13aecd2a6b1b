"""TAU: the training threshold is drawn, so that no model leans on one value of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction


def check(tau_min: float, tau_max: float) -> None:
    """TAU-3: an end that is negative, NaN or infinite, or ``τ_min > τ_max``, is a ValueError."""
    if not (math.isfinite(tau_min) and math.isfinite(tau_max)):
        raise ValueError("the ends must be finite")
    if not 0 <= tau_min <= tau_max:
        raise ValueError("the ends must satisfy 0 ≤ tau_min ≤ tau_max")


def threshold(tau_min: float, tau_max: float, u: Fraction) -> Fraction:
    """Return the threshold at ``u`` in ``[0, 1]``.

    TAU-1: every draw lies in ``[τ_min, τ_max]``.
    TAU-2: equal ends give exactly that value.
    TAU-6: the draw is linear in a ``u`` that is uniform on ``[0, 1]``.
    """
    check(tau_min, tau_max)
    return Fraction(tau_min) + u * (Fraction(tau_max) - Fraction(tau_min))


def midpoint(tau_min: float, tau_max: float) -> Fraction:
    """TAU-8: validation uses the threshold half-way between the ends."""
    return threshold(tau_min, tau_max, Fraction(1, 2))


def distance_from_uniform(draws: Sequence[float], tau_min: float, tau_max: float) -> Fraction:
    """Return the Kolmogorov–Smirnov distance of draws from the uniform law.

    TAU-6: it does not exceed :func:`critical_distance`, but for a chance of the stated size.
    """
    width = Fraction(tau_max) - Fraction(tau_min)
    quantiles = sorted((Fraction(draw) - Fraction(tau_min)) / width for draw in draws)
    count = len(quantiles)
    return max(
        max(Fraction(rank + 1, count) - u, u - Fraction(rank, count))
        for rank, u in enumerate(quantiles)
    )


def critical_distance(count: int, chance: float) -> float:
    """TAU-6: uniform draws lie farther away than this with at most this chance (DKW bound)."""
    return math.sqrt(math.log(2 / chance) / (2 * count))
