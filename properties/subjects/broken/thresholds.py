"""Draws of thresholds that go wrong."""

from __future__ import annotations

import random

from properties.subjects.broken.register import breaks
from properties.subjects.exact import Exact


@breaks("TAU-4")
class GlobalGenerator(Exact):
    """τ is drawn from the global generator."""

    def draw(self, tau_min: float, tau_max: float, seed: int | None, count: int) -> list[float]:
        """Draw from the global generator."""
        return [random.uniform(tau_min, tau_max) for _ in range(count)]


@breaks("TAU-5")
class Unseeded(Exact):
    """The seed is ignored."""

    def draw(self, tau_min: float, tau_max: float, seed: int | None, count: int) -> list[float]:
        """Draw from what nobody can foretell."""
        return super().draw(tau_min, tau_max, None, count)


@breaks("TAU-6")
class Bell(Exact):
    """τ is the mean of three draws, so it keeps to the middle."""

    def draw(self, tau_min: float, tau_max: float, seed: int | None, count: int) -> list[float]:
        """Average."""
        draws = super().draw(tau_min, tau_max, seed, 3 * count)
        return [sum(draws[3 * i : 3 * i + 3]) / 3 for i in range(count)]


@breaks("TAU-1")
class Normal(Exact):
    """τ is normal about the midpoint, so some draws lie beyond the ends."""

    def draw(self, tau_min: float, tau_max: float, seed: int | None, count: int) -> list[float]:
        """Draw with a standard deviation of half the width."""
        super().draw(tau_min, tau_max, seed, count)
        source, half = random.Random(seed), (tau_max - tau_min) / 2
        return [source.gauss(tau_min + half, half) for _ in range(count)]


@breaks("TAU-4")
class GlobalWithoutSeed(Exact):
    """τ is drawn from the global generator where no seed is given."""

    def draw(self, tau_min: float, tau_max: float, seed: int | None, count: int) -> list[float]:
        """Fall back on the global generator."""
        drawn = super().draw(tau_min, tau_max, seed, count)
        return drawn if seed is not None else [random.uniform(tau_min, tau_max) for _ in drawn]


@breaks("TAU-5")
class OneDraw(Exact):
    """The generator is seeded anew for every micro-batch, so that all thresholds are one."""

    def draw(self, tau_min: float, tau_max: float, seed: int | None, count: int) -> list[float]:
        """Draw once."""
        return super().draw(tau_min, tau_max, seed, 1) * count


@breaks("TAU-3")
class SwappedEnds(Exact):
    """Crossed ends are swapped in silence."""

    def draw(self, tau_min: float, tau_max: float, seed: int | None, count: int) -> list[float]:
        """Sort the ends."""
        return super().draw(min(tau_min, tau_max), max(tau_min, tau_max), seed, count)


@breaks("TAU-2")
class Jittered(Exact):
    """A jitter is added after the draw."""

    def draw(self, tau_min: float, tau_max: float, seed: int | None, count: int) -> list[float]:
        """Add the jitter."""
        return [tau * (1 + 2.0**-50) for tau in super().draw(tau_min, tau_max, seed, count)]
