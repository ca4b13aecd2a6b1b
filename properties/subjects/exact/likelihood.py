"""LIK by the exact reference."""

from __future__ import annotations

import math
from fractions import Fraction

from spec import Array
from spec import likelihood_terms as terms
from spec.formats import FORMATS
from spec.likelihood_terms import MP, Arcs, Lines, Outcome, Real, rational
from spec.losses import Measured, cast, working


class ExactLikelihoods:
    """Likelihoods element by element, rounded once."""

    outcome = staticmethod(terms.exact)
    central = staticmethod(terms.central)

    def likelihood(
        self, P: Array, Q: Array, Y_n: Array, Y_d: Array, *, resolution: float = 0.0,
        mask: Array | None = None,
    ) -> Measured:  # fmt: skip
        return self.mean_loss(Arcs(P, Q, (Y_n, Y_d)), resolution, mask)

    def interval_likelihood(
        self, P: Array, Q: Array, lower: Lines, upper: Lines, *, resolution: float = 0.0,
        mask: Array | None = None,
    ) -> Measured:  # fmt: skip
        return self.mean_loss(Arcs(P, Q, lower, upper), resolution, mask)

    def mean_loss(self, arcs: Arcs, resolution: float, mask: Array | None) -> Measured:
        self.check_arcs(arcs, resolution, mask)
        kept = mask.values if mask else (True,) * len(arcs.P.values)
        rows = [self.outcome(row, resolution) if keep else terms.NOTHING
                for row, keep in zip(arcs.rows, kept, strict=True)]  # fmt: skip
        return self.measured_mean(arcs, rows, sum(kept))

    def check_arcs(self, arcs: Arcs, resolution: float, mask: Array | None = None) -> None:
        if not 0 <= resolution < math.inf:
            raise ValueError("the resolution is outside its range")
        if len({x.shape for x in (*arcs.parts, mask or arcs.P)}) > 1:
            raise ValueError("shapes differ")

    def measured_mean(self, arcs: Arcs, rows: list[Outcome], count: int) -> Measured:
        n, P = max(count, 1), arcs.P
        if not all(math.isfinite(v) for x in (P, arcs.Q) for v in x.values):
            return Measured(math.nan, Array.full(math.nan, P), Array.full(math.nan, P))
        largest, value = FORMATS[working(P.dtype)].largest, sum(row.loss for row in rows) / n
        gradients = (
            [cast(float_of(max(-largest, min(largest, rational(g / n))), P.dtype), P.dtype)
             for g in column] for column in ([r.in_P for r in rows], [r.in_Q for r in rows])
        )  # fmt: skip
        return Measured(float_of(rational(value), P.dtype), *map(P.with_values, gradients))
