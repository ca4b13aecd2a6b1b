"""LIK-11 to LIK-13 and CUR-3 by the exact reference."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import reduce
from typing import Any

from spec import Array, likelihood_fit, mixtures
from spec.lifting import lift
from spec.likelihood_fit import Fit
from spec.likelihood_terms import MP, Real, rational, real
from spec.losses import TAU, Measured, cast, working
from spec.mixtures import SUREST, Vector, columns, groups, own_tuples
from spec.training_loss import WEIGHTS


class ExactMixtures:
    """What tuples know, by exact fractions, and eigenvectors of 256 bits."""

    known = staticmethod(mixtures.known)
    own_tuples = staticmethod(own_tuples)
    moment = staticmethod(mixtures.moment)
    groups = staticmethod(groups)
    narrowed = staticmethod(likelihood_fit.narrowed)
    own_fit: Any = likelihood_fit.own_fit
    loss: Any

    def certainty(self, P: Array, Q: Array) -> Array:
        return replace(self.knowledge(P, Q, 0, working(P.dtype)), dtype=working(P.dtype))

    def median_and_scale(self, P: Array, Q: Array) -> tuple[Array, Array]:
        median, scale = (self.knowledge(P, Q, part, "float64") for part in (1, 2))
        return replace(median, dtype="float64"), replace(scale, dtype="float64")

    def knowledge(self, P: Array, Q: Array, part: int, dtype: str) -> Array:
        self.check_columns(P, Q)
        found = [math.nan if X is None else cast(self.known(*X)[part], dtype)
                 for X in self.own_tuples(P, Q)]  # fmt: skip
        return P.with_values(found)

    def check_columns(self, P: Array, Q: Array) -> None:
        if Q.shape not in (P.shape, (*P.shape[:-1], 1)):
            raise ValueError("the shapes of P and Q do not fit")

    def combine(self, P: Array, Q: Array, weights: Array | None) -> tuple[Array, Array]:
        self.check_columns(P, Q)
        self.check_weights(P, weights)
        (rows, _, k), in_P, in_Q = P.shape, list[float](), list[float]()
        for _, members, own in self.groups(P, Q, weights):
            known = [X for X in members if X is not None]
            lost = len(known) < len(members)
            X = [math.nan] * (columns(P, Q) + 1) if lost else self.standing_for(known, own)
            in_P += X[:-1]
            in_Q += X[-1:]
        shape = (rows, len(in_Q) // max(rows, 1))
        return Array(tuple(in_P), (rows, k)), Array(tuple(in_Q), shape)

    def check_weights(self, P: Array, weights: Array | None) -> None:
        if weights and weights.shape != P.shape[:2]:
            raise ValueError("weights have another shape")
        if weights and not all(0 <= w < math.inf for w in weights.values):
            raise ValueError("a weight is negative or not finite")

    def standing_for(self, members: list[Vector], weights: list[Fraction]) -> list[float]:
        values, vectors = MP.eigsy(M := self.moment(members, weights))
        known, last = self.gap([*values]), len(M) - 1
        length = MP.sqrt(max(known, 0) / (1 - known))
        return [cast(rational(length * vectors[i, last]), "float64") for i in range(len(M))]

    def gap(self, values: list[Real]) -> Real:
        *others, first = values
        return min(first - sum(others) / len(others), real(SUREST))

    def likelihood_fit(
        self, fit: Fit, weighed: Sequence[str] | None, learned: bool = False
    ) -> tuple[Measured, dict[str, float]]:
        self.check_fit(fit, learned)
        own, k = self.own_fit(fit), columns(fit.P, fit.Q)
        Q = replace(fit.P, values=tuple(q for q in fit.Q.values for _ in range(k)))
        ends = zip(fit.lower.values, (fit.upper or fit.lower).values, strict=True)
        flags = [(math.isfinite(low) and math.isfinite(high), low == high) for low, high in ends]
        finite, same = (
            Array(tuple(kept), fit.P.shape, "bool") for kept in zip(*flags, strict=True)
        )
        lifted = [*zip(*map(lift, fit.lower.values), strict=True)]
        Y_n, Y_d = (fit.lower.with_values(column) for column in lifted)
        parts = {"fit": own}
        for name, mask in (("margin", finite), ("sign", same), ("rejection", finite)):
            goal = {"goal": 0.95} if name == "rejection" else {}
            parts[name] = self.loss(name, fit.P, Q, Y_n, Y_d, mask=mask, tau=TAU, **goal)
        terms = {name: part.value for name, part in parts.items()}
        if weighed is not None:
            return reduce(self.added, [parts[name] for name in weighed]), terms
        weights = self.fit_weights()
        total = sum(Fraction(weights[name]) * Fraction(term) for name, term in terms.items())
        return replace(own, value=cast(total, working(fit.P.dtype))), terms

    def added(self, one: Measured, other: Measured) -> Measured:
        """Return the sum of two losses, as far as gradients are concerned."""
        in_P, in_Q = (
            x.with_values([a + b for a, b in zip(x.values, y.values, strict=True)])
            for x, y in ((one.in_P, other.in_P), (one.in_Q, other.in_Q))
        )
        return Measured(one.value + other.value, in_P, in_Q)

    def fit_weights(self) -> dict[str, float]:
        return WEIGHTS | {"sign": 0.0}

    def check_fit(self, fit: Fit, learned: bool) -> None:
        wrong = fit.upper and (fit.fit != "likelihood" or fit.P.shape != fit.Q.shape)
        if learned or wrong or (fit.raw and fit.raw.shape != fit.P.shape):
            raise ValueError("a training loss cannot use this")

    def resolutions(
        self, fit: str, epochs: int, ends: tuple[float, float] | None, *weights: Mapping[str, float]
    ) -> list[tuple[float | None, float | None]]:
        if not all(0 <= end < math.inf for end in ends or ()):
            raise ValueError("a resolution is outside its range")
        given = self.given(*weights)
        found: Iterable[float | None]
        found = [self.narrowed(ends, epochs, e) if fit == "likelihood" else None
                 for e in range(epochs)]  # fmt: skip
        return [(given.get("resolution", x), given.get("resolution")) for x in found]

    def given(self, fixed: Mapping[str, float], curriculum: Mapping[str, float]) -> Any:
        return {**fixed, **curriculum}
