"""LIFT: targets become projective tuples."""

from __future__ import annotations

import math


def lift(y: float) -> tuple[float, float]:
    """Return ``(Y_n, Y_d)``, which stands for ``Y_n / Y_d``.

    LIFT-1: a finite target ``y`` lifts to ``(y, 1)``.
    LIFT-2: ``±∞`` lifts to ``(±1, 0)``.
    LIFT-3: NaN lifts to ``(1, 0)``.
    LIFT-5: ``Y_d`` is 0 or 1, and both parts are finite.
    """
    if math.isnan(y):
        return 1.0, 0.0
    if math.isinf(y):
        return math.copysign(1.0, y), 0.0
    return y, 1.0


def orientation(y: float) -> int:
    """Return the side from which a pole is reached.

    LIFT-3: the orientation is −1 for ``−∞``, +1 for ``+∞``, and 0 for finite targets and NaN.
    """
    if math.isinf(y):
        return 1 if y > 0 else -1
    return 0


def unlift(Y_n: float, Y_d: float) -> float:
    """Return the target that a lift stands for, NaN for every singular one.

    LIFT-4: decoding the lift of a finite target gives it back, its sign of zero included, and
    decoding the lift of a singular one gives ⊥.
    """
    return Y_n / Y_d if Y_d else math.nan
