"""LIFT by the exact reference."""

from __future__ import annotations

from spec import Array
from spec.lifting import UNLIFTABLE, Effects, lift, orientation, unlift


class ExactLifting:
    """Lifts element by element."""

    default_dtype = "float64"

    def lift(self, y: Array) -> tuple[Array, Array]:
        """Return ``(Y_n, Y_d)``."""
        if y.dtype in UNLIFTABLE:
            raise TypeError(f"{y.dtype} has no lift")
        dtype = y.dtype if "float" in y.dtype else self.default_dtype
        pairs = [lift(value) for value in y.values]
        parts = [tuple(pair[part] for pair in pairs) for part in (0, 1)]
        return Array(parts[0], y.shape, dtype), Array(parts[1], y.shape, dtype)

    def orientation(self, y: Array) -> Array:
        """Return the orientations."""
        if y.dtype in UNLIFTABLE:
            raise TypeError(f"{y.dtype} has no orientation")
        return Array(tuple(float(orientation(value)) for value in y.values), y.shape, "int8")

    def lift_effects(self, y: Array) -> Effects:
        """Return the input: immutable values have no effects."""
        self.lift(y)
        return Effects(y, tracked=False)

    def unlift(self, y: Array) -> Array:
        """Return what the lifts stand for."""
        Y_n, Y_d = self.lift(y)
        return y.with_values([unlift(n, d) for n, d in zip(Y_n.values, Y_d.values, strict=True)])
