"""Lifts that go wrong."""

from __future__ import annotations

import math

from properties.subjects.broken.register import breaks
from properties.subjects.exact import Exact
from spec import Array


@breaks("LIFT-3")
class OrientedNaN(Exact):
    """NaN is taken for +∞, orientation included."""

    def orientation(self, y: Array) -> Array:
        """Return the side of the lift's numerator."""
        Y_n, Y_d = self.lift(y)
        pairs = zip(Y_n.values, Y_d.values, strict=True)
        return Array(tuple(0.0 if d else n for n, d in pairs), y.shape, "int8")


@breaks("LIFT-4")
class LostZero(Exact):
    """A finite target passes through an addition, which loses the sign of −0.0."""

    def lift(self, y: Array) -> tuple[Array, Array]:
        """Return ``(y + 0, Y_d)``."""
        Y_n, Y_d = super().lift(y)
        return Y_n.with_values([n + 0.0 for n in Y_n.values]), Y_d


@breaks("LIFT-2")
class ClippedInfinity(Exact):
    """±∞ is clipped to a large finite number."""

    def lift(self, y: Array) -> tuple[Array, Array]:
        """Lift the clipped targets."""
        clipped = [min(max(v, -1e4), 1e4) if math.isinf(v) else v for v in y.values]
        return super().lift(y.with_values(clipped))
