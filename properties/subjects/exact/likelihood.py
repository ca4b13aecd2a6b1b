"""LIK by the exact reference."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from spec import Array, joint_likelihood, likelihood_terms
from spec.formats import FORMATS
from spec.joint_likelihood import Samples
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

    def ends(
        self, p: float | Fraction, q: float | Fraction, level: float, dtype: str
    ) -> tuple[float, float]:
        if not (math.isfinite(p) and math.isfinite(q)):
            return math.nan, math.nan
        if not (p or q):
            return -math.inf, math.inf
        lines = self.central(Fraction(p), Fraction(q), level, FORMATS[dtype])
        first, second = (self.number(n, d, dtype) for n, d, *_ in lines)
        return first, second

    def number(self, n: Real, d: Real, dtype: str) -> float:
        return cast(rational(n / d), dtype) if d else math.copysign(math.inf, n)

    joint = staticmethod(joint_likelihood.outcome)
    alone = staticmethod(joint_likelihood.alone)

    def joint_likelihood(
        self, P: Array, Q: Array, *line: Array, resolution: float = 0.0, mask: Array | None = None
    ) -> Measured:
        self.check_joint([P, Q, *line], resolution, mask)
        kept, k = mask.values if mask else (True,) * len(Q.values), P.shape[-1]
        counted = [
            P.values[i * k : i * k + k] + Q.values[i : i + 1] for i, x in enumerate(kept) if x
        ]
        if not all(math.isfinite(v) for row in counted for v in row):
            return Measured(math.nan, Array.full(math.nan, P), Array.full(math.nan, Q))
        rows = zip(Samples(P, Q, line[0], line[1]).rows, kept, strict=True)
        nothing, n = NOTHING._replace(in_P=[MP.zero] * k), max(sum(kept), 1)
        found = [self.joint(row, resolution) if keep else nothing for row, keep in rows]
        in_P = self.rounded((g / n for row in found for g in row.in_P), P.dtype)
        in_Q = self.rounded((row.in_Q / n for row in found), P.dtype)
        (loss,) = self.rounded([sum(row.loss for row in found) / n], P.dtype)
        return Measured(loss, P.with_values(in_P), Q.with_values(in_Q))

    def check_joint(self, parts: Sequence[Array], resolution: float, mask: Array | None) -> None:
        (*batch, k), n = parts[0].shape, parts[0].shape[:-1]
        wanted = [(*batch, k), (*batch, 1), (*batch, k), (*batch, k), n]
        found = [x.shape for x in parts] + [mask.shape if mask else n]
        if wanted != found or not 0 <= resolution < math.inf:
            raise ValueError("shapes do not fit, or the resolution is outside its range")

    def joint_probability(self, P: Array, Q: Array, lower: Lines, upper: Lines) -> Array:
        rows = [row for sample in Samples(P, Q, *lower).rows for row in self.alone(sample)]
        ends = zip(*(map(Fraction, x.values) for x in (*lower, *upper)), strict=True)
        pairs = zip(rows, ends, strict=True)
        ms = [self.outcome(Element(*row, *end)).m for row, end in pairs]
        return P.with_values(self.rounded(ms, P.dtype))

    def joint_interval(self, P: Array, Q: Array, level: float) -> tuple[Array, Array]:
        rows = [row for sample in Samples(P, Q, P, P).rows for row in self.alone(sample)]
        columns = zip(*(self.ends(*row, level, working(P.dtype)) for row in rows), strict=True)
        lower, upper = map(P.with_values, columns)
        return lower, upper
