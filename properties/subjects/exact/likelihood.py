"""LIK by the exact reference."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Any

from spec import Array, joint_terms, likelihood_terms
from spec.formats import FORMATS
from spec.joint_terms import Sample, Samples
from spec.likelihood_terms import MP, NOTHING, Arcs, Element, Lines, Real, rational
from spec.losses import Measured, cast, working


class ExactLikelihoods:
    """Likelihoods element by element, rounded once."""

    outcome = staticmethod(likelihood_terms.exact)
    central = staticmethod(likelihood_terms.central)

    def likelihood(self, P: Array, Q: Array, *line: Array, **options: Any) -> Measured:
        return self.mean_loss(Arcs(P, Q, (line[0], line[1])), **options)

    def interval_likelihood(self, P: Array, Q: Array, *ends: Lines, **options: Any) -> Measured:
        return self.mean_loss(Arcs(P, Q, *ends), **options)

    def mean_loss(self, arcs: Arcs, resolution: float = 0.0, mask: Array | None = None) -> Measured:
        self.check_loss(arcs, resolution, mask)
        P, kept = arcs.P, mask.values if mask else (True,) * len(arcs.P.values)
        counted = zip(P.values, arcs.Q.values, kept, strict=True)
        if not all(math.isfinite(p) and math.isfinite(q) for p, q, keep in counted if keep):
            return Measured(math.nan, Array.full(math.nan, P), Array.full(math.nan, P))
        rows = [self.outcome(row, resolution) if keep else NOTHING
                for row, keep in zip(arcs.rows, kept, strict=True)]  # fmt: skip
        n, dtype = max(sum(kept), 1), working(P.dtype)
        parts = (self.rounded((row[part] / n for row in rows), dtype) for part in (1, 2))
        in_P, in_Q = (P.with_values([cast(g, P.dtype) for g in slopes]) for slopes in parts)
        (loss,) = self.rounded([sum(row.loss for row in rows) / n], dtype)
        return Measured(loss, in_P, in_Q)

    def check_loss(self, arcs: Arcs, resolution: float, mask: Array | None) -> None:
        shapes = {x.shape for x in (*arcs.parts, mask or arcs.P)}
        if len(shapes) > 1 or not 0 <= resolution < math.inf:
            raise ValueError("shapes differ, or the resolution is outside its range")

    def rounded(self, values: Iterable[Real], dtype: str) -> list[float]:
        return [cast(rational(value), dtype) for value in values]

    def probability(self, P: Array, Q: Array, *ends: Lines) -> Array:
        ms, dtype = [self.outcome(row).m for row in Arcs(P, Q, *ends).rows], working(P.dtype)
        return replace(P.with_values(self.rounded(ms, dtype)), dtype=dtype)

    def central_interval(self, P: Array, Q: Array, level: float) -> tuple[Array, Array]:
        self.check_level(level)
        dtype = working(P.dtype)
        pairs = [self.ends(p, q, level, dtype) for p, q in zip(P.values, Q.values, strict=True)]
        columns = ([pair[side] for pair in pairs] for side in (0, 1))
        lower, upper = (replace(P.with_values(column), dtype=dtype) for column in columns)
        return lower, upper

    def check_level(self, level: float) -> None:
        if not 0 <= level < 1:
            raise ValueError("the level is outside [0, 1)")

    def ends(self, p: float, q: float, level: float, dtype: str) -> tuple[float, float]:
        if not (math.isfinite(p) and math.isfinite(q)):
            return math.nan, math.nan
        if not (p or q):
            return -math.inf, math.inf
        lines = self.central(Fraction(p), Fraction(q), level, FORMATS[dtype])
        first, second = (self.number(n, d, dtype) for n, d, *_ in lines)
        return first, second

    def number(self, n: Real, d: Real, dtype: str) -> float:
        return cast(rational(n / d), dtype) if d else math.copysign(math.inf, n)

    joint = staticmethod(joint_terms.joint)
    alone = staticmethod(joint_terms.alone)

    def joint_likelihood(
        self, P: Array, Q: Array, Y_n: Array, Y_d: Array, *, resolution: float = 0.0,
        mask: Array | None = None,
    ) -> Measured:  # fmt: skip
        self.check_joint(P, Q, Y_n, Y_d, resolution, mask)
        samples, k = Samples(P, Q, Y_n, Y_d), P.shape[-1]
        kept = mask.values if mask else (True,) * len(Q.values)
        counted = [keep for keep in kept for _ in range(k)]
        flags = zip((*P.values, *Q.values), (*counted, *kept), strict=True)
        if not all(math.isfinite(x) for x, keep in flags if keep):
            return Measured(math.nan, Array.full(math.nan, P), Array.full(math.nan, Q))
        n, dtype = max(sum(kept), 1), working(P.dtype)
        rows = zip(samples.rows, kept, strict=True)
        found = [self.joint(row, resolution) if keep else None for row, keep in rows]
        slopes = [[x / n for x in row.slopes] if row else [MP.zero] * (k + 1) for row in found]
        in_P = self.rounded((x for row in slopes for x in row[:-1]), dtype)
        in_Q = self.rounded((row[-1] for row in slopes), dtype)
        (loss,) = self.rounded([sum(row.loss for row in found if row) / n], dtype)
        parts = (x.with_values([cast(g, x.dtype) for g in gs]) for x, gs in ((P, in_P), (Q, in_Q)))
        return Measured(loss, *parts)

    def check_joint(
        self, P: Array, Q: Array, Y_n: Array, Y_d: Array, resolution: float, mask: Array | None
    ) -> None:
        wanted = P.shape, (*P.shape[:-1], 1), P.shape, P.shape, P.shape[:-1]
        shapes = P.shape, Q.shape, Y_n.shape, Y_d.shape, mask.shape if mask else P.shape[:-1]
        if wanted != shapes or not 0 <= resolution < math.inf:
            raise ValueError("shapes do not fit, or the resolution is outside its range")

    def joint_probability(self, P: Array, Q: Array, lower: Lines, upper: Lines) -> Array:
        ends = zip(*(map(Fraction, x.values) for x in (*lower, *upper)), strict=True)
        pairs = zip(self.tuples(P, Q, lower), ends, strict=True)
        ms = [self.outcome(Element(*row, *end)).m for row, end in pairs]
        return replace(P.with_values(self.rounded(ms, working(P.dtype))), dtype=working(P.dtype))

    def tuples(self, P: Array, Q: Array, line: Lines) -> list[tuple[Fraction, Fraction]]:
        rows: list[Sample] = Samples(P, Q, *line).rows
        return [row for sample in rows for row in self.alone(sample)]

    def joint_interval(self, P: Array, Q: Array, level: float) -> tuple[Array, Array]:
        lines = [self.central(*row, level, FORMATS[working(P.dtype)])
                 for row in self.tuples(P, Q, (P, P))]  # fmt: skip
        first, second = (
            [self.number(*pair[side][:2], P.dtype) for pair in lines] for side in (0, 1)
        )
        return P.with_values(first), P.with_values(second)
