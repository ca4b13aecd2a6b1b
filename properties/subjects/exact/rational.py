"""Rational layers by the exact reference."""

from __future__ import annotations

import math

from spec import Array
from spec.bottom import Bottom, round_to
from spec.rational import Ball, Evaluated, Rational, element, in_coefficients


def floats(balls: list[Ball], dtype: str) -> list[float]:
    """Return the numbers, rounded; those beyond the largest as ±∞."""
    rounded = [(ball.value, round_to(dtype, ball.value)) for ball in balls]
    return [math.inf * (x > 0 or -1) if isinstance(r, Bottom) else r for x, r in rounded]


class ExactRational:
    """Evaluates exactly, and rounds once."""

    def rational(self, case: Rational) -> Evaluated:
        """Evaluate."""
        elements = [element(case, *row) for row in zip(case.x.values, case.g.values, strict=True)]
        values = floats([e.value for e in elements], case.dtype)
        rows = {"in_P": case.numerator, "in_Q": case.denominator}
        in_P, in_Q = (
            row.with_values(floats(in_coefficients(case, [getattr(e, name) for e in elements],
                                                   len(row.values)), row.dtype))
            for name, row in rows.items()
        )  # fmt: skip
        value = Array(tuple(values), case.x.shape, case.dtype)
        in_x = case.x.with_values(floats([e.in_x for e in elements], case.x.dtype))
        return Evaluated(value, tuple(e.bottom is not False for e in elements), in_x, in_P, in_Q)

    def new_rational(self, degrees: tuple[int, int], tau: float) -> tuple[Array, Array]:
        """Return the coefficients of the identity."""
        if min(degrees) < 0 or not 0 <= tau < math.inf:
            raise ValueError(f"no layer has degrees {degrees} and τ = {tau}")
        rows = [0.0, 1.0], [1.0]
        numerator, denominator = (
            (row + [0.0] * degree)[: degree + 1] for row, degree in zip(rows, degrees, strict=True)
        )
        return Array.of(numerator, "float32"), Array.of(denominator, "float32")
