"""TAU: the training threshold is drawn, so that no model leans on one value of it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from fractions import Fraction
from typing import Final, Protocol

from .clause import clause, refused, require

CHANCE: Final = 1e-12


def check(tau_min: float, tau_max: float) -> None:
    """Raise ValueError for an end that is negative, NaN or infinite, or crossed ends; TAU-3."""
    if not 0 <= tau_min <= tau_max < math.inf:
        raise ValueError("the ends must satisfy 0 ≤ tau_min ≤ tau_max < ∞")


def threshold(tau_min: float, tau_max: float, u: Fraction) -> Fraction:
    """Return the threshold at ``u`` in ``[0, 1]``; TAU-1, TAU-2, TAU-6."""
    check(tau_min, tau_max)
    return Fraction(tau_min) + u * (Fraction(tau_max) - Fraction(tau_min))


def midpoint(tau_min: float, tau_max: float) -> Fraction:
    """Return the threshold half-way between the ends; TAU-8."""
    return threshold(tau_min, tau_max, Fraction(1, 2))


def require_uniform(draws: Sequence[float], tau_min: float, tau_max: float) -> None:
    """Hold draws to the uniform law, by their Kolmogorov–Smirnov distance from it; TAU-6."""
    width, count = Fraction(tau_max) - Fraction(tau_min), len(draws)
    quantiles = [(Fraction(draw) - Fraction(tau_min)) / width for draw in sorted(draws)]
    distance = max(
        max(Fraction(rank + 1, count) - u, u - Fraction(rank, count))
        for rank, u in enumerate(quantiles)
    )
    # What uniform draws exceed with at most this chance, the bound of Dvoretzky, Kiefer, Wolfowitz.
    bound = math.sqrt(math.log(2 / CHANCE) / (2 * count))
    complaint = "{} draws: distance {} from uniform exceeds {}"
    require(distance <= bound, complaint, count, float(distance), bound)


class Draws(Protocol):
    """A subject that draws thresholds."""

    def draw(self, tau_min: float, tau_max: float, seed: int | None, count: int) -> list[float]:
        """Return draws of one generator, with no seed of an unpredictable one; ValueError for ends
        that do not fit.
        """

    def global_random_state(self) -> Hashable:
        """Return the state of every random generator that a user's code shares."""


@clause("TAU-1", source="Guide: perturbed_threshold", since="0.2.0")
def between(subject: Draws, tau_min: float, tau_max: float, seed: int) -> None:
    """Every draw lies in ``[τ_min, τ_max]``, ends included."""
    low, high = (threshold(tau_min, tau_max, Fraction(u)) for u in (0, 1))
    for tau in subject.draw(tau_min, tau_max, seed, 20):
        inside = math.isfinite(tau) and low <= Fraction(tau) <= high
        require(inside, "{} was drawn from [{}, {}]", tau, tau_min, tau_max)


@clause("TAU-2", source="Guide: perturbed_threshold", since="0.2.0")
def equal_ends(subject: Draws, end: float, seed: int) -> None:
    """Equal ends give exactly that value."""
    for source in (seed, None):
        drawn = subject.draw(end, end, source, 2)
        require(drawn == [end, end], "{} was drawn from [{}, {}]", drawn, end, end)


@clause("TAU-3", source="Ours: a bad threshold must show before training, not in it", since="0.2.0")
def bad_ends(subject: Draws, tau_min: float, tau_max: float) -> None:
    """The ends of the thresholds are checked.

    1. A negative, NaN or infinite end raises ValueError.
    2. ``τ_min > τ_max`` raises ValueError.
    3. Every other pair is accepted.
    """
    bad = not all(math.isfinite(end) and end >= 0 for end in (tau_min, tau_max))
    expected = refused(ValueError, lambda: check(tau_min, tau_max))
    claim = 1 if bad else 2 if expected else 3
    found = refused(ValueError, lambda: subject.draw(tau_min, tau_max, 0, 1), claim=claim)
    complaint = "[{}, {}] refused: {}"
    require(found == expected, complaint, tau_min, tau_max, found, claim=claim)


@clause(
    "TAU-4",
    source="Ours: a threshold must not move the dropout masks and the shuffling of a run",
    since="0.2.0",
)
def own_generator(subject: Draws, seed: int) -> None:
    """Drawing thresholds leaves the global random state untouched, with and without a seed."""
    before = subject.global_random_state()
    for source in (seed, None):
        subject.draw(0.0, 1.0, source, 3)
        untouched = subject.global_random_state() == before
        require(untouched, "drawing with seed {} moved the global random state", source)


@clause("TAU-5", source="Ours: a run must be repeatable", since="0.2.0")
def repeatable(subject: Draws, tau_min: float, tau_max: float, seed: int) -> None:
    """Thresholds follow from the seed. Let ``τ_max`` be, for claims 2 and 3, at least 2²⁰ of its
    units in the last place above ``τ_min``.

    1. The same seed gives the same thresholds.
    2. Different seeds below 2³² give different thresholds.
    3. Without a seed the thresholds cannot be predicted: no two generators give the same.
    """
    first, second = (subject.draw(tau_min, tau_max, seed, 5) for _ in range(2))
    require(first == second, "seed {} gave {} and then {}", seed, first, second)
    if tau_max - tau_min < 2**20 * math.ulp(tau_max):
        return
    small = seed % 2**32
    for other in small ^ 1, small ^ 2**31:
        one, two = (subject.draw(tau_min, tau_max, source, 5) for source in (small, other))
        require(one != two, "seeds {} and {} both gave {}", small, other, one, claim=2)
    one, two = (subject.draw(tau_min, tau_max, None, 5) for _ in range(2))
    require(one != two, "two generators without a seed gave {}", one, claim=3)


@clause("TAU-6", source="Guide: perturbed_threshold", since="0.2.0")
def uniform(subject: Draws, tau_min: float, tau_max: float, seed: int) -> None:
    """4000 draws of one generator are uniform, as far as chance allows: that uniform draws fail has
    for each claim a probability of at most 10⁻¹².

    1. Their Kolmogorov–Smirnov distance stays within the bound that uniform draws exceed with
       probability 10⁻¹²: 0.0595.
    2. A draw lies in every part of the interval that is a hundredth of it long.
    3. At least 3900 of them differ, where ``τ_max`` is at least 2²⁰ of its units in the last place
       above ``τ_min``.
    """
    draws = sorted(subject.draw(tau_min, tau_max, seed, 4000))
    require_uniform(draws, tau_min, tau_max)
    steps = zip([tau_min, *draws], [*draws, tau_max], strict=True)
    low, high = max(steps, key=lambda step: step[1] - step[0])
    right = 100 * (Fraction(high) - Fraction(low)) <= Fraction(tau_max) - Fraction(tau_min)
    require(right, "no draw from [{}, {}] is in [{}, {}]", tau_min, tau_max, low, high, claim=2)
    wide, levels = tau_max - tau_min >= 2**20 * math.ulp(tau_max), len({*draws})
    require(levels >= 3900 or not wide, "4000 draws have {} values", levels, claim=3)
