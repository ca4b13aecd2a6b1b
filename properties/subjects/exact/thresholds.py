"""TAU by the exact reference."""

from __future__ import annotations

import random
from collections.abc import Hashable
from fractions import Fraction

from spec.thresholds import check, threshold


class ExactThresholds:
    """Draws rationals of a generator's own, and rounds the thresholds."""

    def draw(self, tau_min: float, tau_max: float, seed: int | None, count: int) -> list[float]:
        """Return draws."""
        check(tau_min, tau_max)
        source = random.Random(seed)
        return [float(threshold(tau_min, tau_max, Fraction(source.random()))) for _ in range(count)]

    def global_random_state(self) -> Hashable:
        """Return the state of Python's own generator."""
        return random.getstate()
