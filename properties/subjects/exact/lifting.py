"""LIFT by the exact reference."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from spec import Array
from spec.coverage import Predicted
from spec.lifting import (
    UNLIFTABLE,
    Effects,
    Entered,
    Lifted,
    as_float,
    as_tuples,
    is_interval,
    lift,
    orientation,
    unlift,
)


class ExactLifting:
    """Lifts element by element."""

    default = "float64"

    def using_default_dtype(self, dtype: str) -> AbstractContextManager[object]:
        return mock.patch.object(self, "default", dtype)

    def as_floats(self, y: Array) -> Array:
        if y.dtype in UNLIFTABLE:
            raise TypeError(f"{y.dtype} has no lift")
        if "float" in y.dtype:
            return y
        values = tuple(as_float(value, self.default) for value in y.values)
        return Array(values, y.shape, self.default)

    def lift(self, y: Array) -> tuple[Array, Array]:
        floats = self.as_floats(y)
        pairs = [lift(value) for value in floats.values]
        n, d = ([pair[part] for pair in pairs] for part in (0, 1))
        return floats.with_values(n), floats.with_values(d)

    def lift_interval(self, lower: Array, upper: Array) -> tuple[Lifted, Lifted]:
        self.check_interval(lower, upper)
        return self.lift(lower), self.lift(upper)

    def check_interval(self, lower: Array, upper: Array) -> None:
        if lower.shape != upper.shape or not all(map(is_interval, lower.values, upper.values)):
            raise ValueError(f"no intervals from {lower} to {upper}")

    def orientation(self, y: Array) -> Array:
        sides = tuple(float(orientation(value)) for value in self.as_floats(y).values)
        return Array(sides, y.shape, "int8")

    def lift_effects(self, y: Array) -> Effects:
        """Return the input: immutable values have no effects."""
        self.lift(y)
        return Effects(y, tracked=False)

    def unlift(self, y: Array) -> Array:
        Y_n, Y_d = self.lift(y)
        return y.with_values([unlift(n, d) for n, d in zip(Y_n.values, Y_d.values, strict=True)])

    def as_tuples(self, outputs: Predicted) -> tuple[Array, Array]:
        return as_tuples(outputs)

    def loss_of_outputs(self, outputs: Predicted) -> Entered:
        """Return the training loss of their tuples, and its gradient in what is not ⊥."""
        options = {"fit": "chordal", "tau": 0.5, "goal": 1.0, "weights": None, "given": {}}
        losses: Any = self  # the other parts of the reference
        P, Q = self.as_tuples(outputs)
        total, _ = losses.training_loss(P, Q, outputs.targets, options)
        pairs = zip(total.in_P.values, outputs.bottoms(0.0), strict=True)
        slopes = [0.0 if bottom and outputs.form != "tuple" else g for g, bottom in pairs]
        return Entered(total.value, P.with_values(slopes))
