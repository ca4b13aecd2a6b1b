"""THR by the exact reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from spec import certifying, choosing
from spec.choosing import TIE, Certified, HeldOut, Row, intervals
from spec.quotients import below


class ExactChoosing:
    """Chooses by exact costs and exact probabilities."""

    cost = staticmethod(choosing.cost)
    usual_unit = staticmethod(choosing.usual_unit)
    allowed = staticmethod(certifying.allowed)
    usual_confidence = 0.95

    def choose_threshold(self, held: HeldOut, unit: float | None = None) -> float:
        self.check_rows(held)
        if unit is not None and not 0 < unit < math.inf:
            raise ValueError("the unit is outside its range")
        rows = held.rows
        if all(math.isfinite(row.target) for row in rows):
            return self.without_singular(rows)
        scale = self.usual_unit(rows) if unit is None else Fraction(unit)
        costs = {pair: self.cost(rows, pair[1], scale) for pair in intervals(rows)}
        least = min(costs.values())
        return self.among([pair for pair in costs if costs[pair] <= least + TIE * (1 + least)])

    def without_singular(self, rows: Sequence[Row]) -> float:
        return min(row.size for row in rows) / 2

    def among(self, equal: Sequence[tuple[float, float]]) -> float:
        """Return the threshold, given neighbours between which the cost is least."""
        low, high = max(equal, key=lambda pair: pair[1] - pair[0])
        return (low + high) / 2

    def check_rows(self, held: HeldOut) -> None:
        if len({x.shape for x in vars(held).values()}) > 1 or not held.P.values:
            raise ValueError("shapes differ, or there are no rows")

    def certify_threshold(
        self, held: HeldOut, rate: float, confidence: float | None = None
    ) -> Certified:
        level = self.usual_confidence if confidence is None else confidence
        self.check_rows(held)
        if not (0 < rate < 1 and 0 < level < 1):
            raise ValueError("the rate or the confidence is outside its range")
        kinds: dict[bool, list[float]] = {True: [], False: []}
        for row, P, Q in zip(held.rows, held.P.values, held.Q.values, strict=True):
            kinds[math.isfinite(row.target)].append(self.bottom_from(row, P, Q))
        finite, singular = kinds[True], sorted(kinds[False])
        k = self.allowed(len(singular), rate, level)
        if k < 0:
            raise ValueError(f"it takes {self.takes(rate, level)} singular rows")
        tau = singular[-1 - k]
        lost = sum(least <= tau for least in finite) / len(finite) if finite else math.nan
        errors = sum(least > tau for least in singular)
        return Certified(tau, rate, level, len(singular), errors, lost)

    def bottom_from(self, row: Row, P: float, Q: float) -> float:
        """Return the least threshold at which a tuple decodes to ⊥."""
        is_bottom = not row.size or below(P, Q, row.size, "unit")
        return row.size if is_bottom else math.nextafter(row.size, math.inf)

    def takes(self, rate: float, level: float) -> int:
        """Return how many singular rows it takes at least."""
        return math.ceil(Fraction(math.log1p(-level)) / Fraction(math.log1p(-rate)))
