"""LOSS by the exact reference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction

from spec import Array
from spec.formats import FORMATS
from spec.loss_terms import (
    Row,
    Slope,
    composite,
    mean,
    rejection,
    saturate,
    slope,
    term,
)
from spec.losses import GAMMA, GOAL, TAU, Case, Measured, cast, counted, lacking, row, working
from spec.training_loss import Options, lifted, used_weights


class ExactLosses:
    """Losses element by element, rounded once."""

    def loss(
        self,
        name: str,
        P: Array,
        Q: Array,
        Y_n: Array,
        Y_d: Array,
        *,
        mask: Array | None = None,
        tau: float = TAU,
        gamma: float = GAMMA,
        goal: float = GOAL,
    ) -> Measured:
        """Return the mean of a loss over the elements that count."""
        case = P, Q, Y_n, Y_d
        if len({x.shape for x in (*case, P if mask is None else mask)}) > 1:
            raise ValueError("shapes differ")
        if name == "rejection":
            return self.rejection(case, mask, tau, goal)
        kept, guard = self.counted(name, Y_d, mask), Fraction(gamma if name == "implicit" else tau)
        slopes = {i: self.slope(name, row(case, i), guard) for i in kept}
        terms = [self.term(name, row(case, i), guard, case) for i in kept]
        return self.measured(case, self.mean(terms, case), self.shared(slopes))

    def counted(self, name: str, Y_d: Array, mask: Array | None) -> list[int]:
        """Return the positions that count."""
        return counted(name, Y_d, mask)

    def term(self, name: str, element: Row, guard: Fraction, case: Case) -> Fraction:
        """Return the term of an element."""
        form = FORMATS[working(case[0].dtype)]
        return saturate(term(name, *element, guard), form, len(case[0].values))

    def slope(self, name: str, element: Row, guard: Fraction) -> Slope:
        """Return the slope of an element."""
        return slope(name, *element, guard)

    def mean(self, terms: list[Fraction], case: Case) -> Fraction:
        """Return the mean of the terms that count."""
        return mean(terms)

    def shared(self, slopes: Mapping[int, Slope]) -> dict[int, Slope]:
        """Return each element's share of the gradient of a mean."""
        return {i: (P / len(slopes), Q / len(slopes)) for i, (P, Q) in slopes.items()}

    def measured(self, case: Case, value: Fraction, slopes: Mapping[int, Slope]) -> Measured:
        """Round a value and a gradient, as the tuples' format wants."""
        P, dtype = case[0], working(case[0].dtype)
        none = Fraction(0), Fraction(0)
        pairs = [slopes.get(i, none) for i in range(len(P.values))]
        in_P, in_Q = (
            P.with_values([cast(cast(pair[part], dtype), P.dtype) for pair in pairs])
            for part in (0, 1)
        )
        return Measured(cast(value, dtype), in_P, in_Q)

    def rejection(self, case: Case, mask: Array | None, tau: float, goal: float) -> Measured:
        """Return the rejection loss, with the gradient of the soft coverage ``mean |Q|``."""
        coverage, bottoms = lacking(case, tau, mask)
        value = rejection(coverage, Fraction(goal))
        if not value or coverage is None:
            return self.measured(case, value, {})
        push = -2 * (Fraction(goal) - coverage) / len(case[0].values)
        sides = {i: math.copysign(1.0, case[1].values[i]) for i in bottoms}
        slopes = {i: (Fraction(0), push * Fraction(side)) for i, side in sides.items()}
        return self.measured(case, value, slopes)

    def reduced_precision(self) -> AbstractContextManager[object]:
        """Return a context that changes nothing."""
        return nullcontext()

    def training_loss(
        self, P: Array, Q: Array, y: Array, options: Options
    ) -> tuple[Measured, dict[str, float]]:
        """Return the weighted sum, and its terms."""
        case, oriented = lifted(P, Q, y)
        weights, given = self.weights(options)
        own: dict[str, Measured] = {}
        for name in ("fit", "margin", "sign", "rejection"):
            loss = options["fit"] if name == "fit" else name
            mask = oriented if name == "sign" else None
            tau, goal = options["tau"], options["goal"]
            own[name] = self.loss(loss, *case, mask=mask, tau=tau, goal=goal)
        terms = {name: measured.value for name, measured in own.items()}
        total = composite({n: Fraction(v) for n, v in terms.items()}, weights, given)
        used = weights | given
        slopes: dict[int, Slope] = {}
        for i in range(len(P.values)):
            in_P = self.sum({n: m.in_P.values[i] for n, m in own.items()}, used)
            in_Q = self.sum({n: m.in_Q.values[i] for n, m in own.items()}, used)
            slopes[i] = in_P, in_Q
        return self.measured(case, total, slopes), terms

    def weights(self, options: Options) -> tuple[dict[str, Fraction], dict[str, Fraction]]:
        """Return the weights that are configured, and those given with the call."""
        given = {name: Fraction(weight) for name, weight in options["given"].items()}
        return used_weights(options), given

    def sum(self, slopes: Mapping[str, float], weights: Mapping[str, Fraction]) -> Fraction:
        """Return the weighted sum of what is finite."""
        finite = {name: value for name, value in slopes.items() if math.isfinite(value)}
        return sum((weights[name] * Fraction(v) for name, v in finite.items()), Fraction(0))
