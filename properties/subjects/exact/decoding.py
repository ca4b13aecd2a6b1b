"""DEC by the exact reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import get_args

from spec import Array
from spec.algebra import Bottom
from spec.decoding import Strict, Tuples, Wrapped
from spec.formats import round_to
from spec.heads import Row, mapped, polynomial
from spec.losses import cast
from spec.quotients import Decoded, Gauge, decode, gradient
from spec.ranges import Graded, repeated
from spec.thresholds import check


def nearest(x: Fraction, dtype: str, sign: float) -> float:
    """Return a finite number of the dtype, a zero of the given sign, ±∞ beyond the largest."""
    rounded = round_to(dtype, x)
    size = math.inf if isinstance(rounded, Bottom) else abs(rounded)
    return math.copysign(size, sign)


class ExactDecoding:
    """Decodes element by element."""

    def decode(self, case: Tuples) -> Strict:
        if case.P.shape != case.Q.shape:
            raise ValueError(f"P has shape {case.P.shape}, Q {case.Q.shape}")
        check(case.tau_infer, case.tau_train)
        if case.gauge not in get_args(Gauge):
            raise ValueError(f"no gauge is {case.gauge!r}")
        decoded = [self.one(case, P, Q) for P, Q in case.rows]
        values = [self.value_of(case, row, d) for row, d in zip(case.rows, decoded, strict=True)]
        bottoms = tuple(isinstance(d.value, Bottom) for d in decoded)
        value = case.P.with_values(values)
        return Strict(value, bottoms, tuple(d.gap for d in decoded))

    def wrapped(self, case: Tuples, modes: Sequence[bool]) -> Wrapped:
        return Wrapped((case.P, case.Q), tracked=True, decoded=self.decode(case))

    def one(self, case: Tuples, P: float, Q: float) -> Decoded:
        return decode(P, Q, case.tau_infer, case.tau_train, case.gauge, case.P.dtype)

    def value_of(self, case: Tuples, row: tuple[float, float], decoded: Decoded) -> float:
        """Return the value as IEEE writes it."""
        if isinstance(decoded.value, Bottom):
            return math.nan
        sign = math.copysign(1.0, row[0]) * math.copysign(1.0, row[1])
        return nearest(decoded.value, case.P.dtype, sign)

    def decode_gradients(self, case: Tuples) -> tuple[Array, Array]:
        """Return the exact gradients, rounded; 0 at ⊥."""
        bottoms, rows = self.decode(case).bottom, list[tuple[float, float]]()
        for (P, Q), bottom in zip(case.rows, bottoms, strict=True):
            slopes = (Fraction(0), Fraction(0)) if bottom else gradient(P, Q)
            in_P, in_Q = (nearest(g, case.P.dtype, -1.0 if g < 0 else 1.0) for g in slopes)
            rows.append((in_P, in_Q))
        return case.P.with_values([r[0] for r in rows]), case.Q.with_values([r[1] for r in rows])

    def decode_within(self, case: Tuples, lower: float, upper: float) -> Graded:
        self.check_range(lower, upper)
        strict, slopes = self.decode(case), self.decode_gradients(case)
        sides = [self.side(y, lower, upper) for y in strict.value.values]
        pairs = zip(sides, strict.value.values, strict=True)
        value = strict.value.with_values([side * math.inf if side else y for side, y in pairs])
        inside = [not side for side in sides]
        bottom = tuple(b or not i for b, i in zip(strict.bottom, inside, strict=True))
        gap = tuple(g and i for g, i in zip(strict.gap, inside, strict=True))
        in_P, in_Q = (self.only(x, inside) for x in slopes)
        return Graded(found := Strict(value, bottom, gap), in_P, in_Q, found)

    def check_range(self, lower: float, upper: float) -> None:
        if not lower <= upper:
            raise ValueError("the ends make no range")

    def side(self, y: float, lower: float, upper: float) -> int:
        """Return -1 below the range, 1 above it, 0 inside, and for NaN."""
        return (y > upper) - (y < lower)

    def only(self, x: Array, inside: Sequence[bool]) -> Array:
        return x.with_values([v if i else 0.0 for v, i in zip(x.values, inside, strict=True)])

    def decode_shared(self, case: Tuples) -> Strict:
        return self.decode(repeated(case))

    def rational(
        self, P: Row, Q: Row, domain: tuple[float, float] | None, x: Array
    ) -> tuple[Array, Array]:
        at = [mapped(domain, v) if domain else Fraction(v) for v in x.values]
        p, q = (x.with_values([cast(polynomial(row, t), x.dtype) for t in at]) for row in (P, Q))
        return p, q
