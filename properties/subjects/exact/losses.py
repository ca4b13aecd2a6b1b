"""LOSS by the exact reference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction

from spec import Array, loss_terms, losses, squares, training_loss
from spec.formats import FORMATS
from spec.loss_numerics import PARTS
from spec.loss_terms import Row, Slope, composite, mean, rejection, saturate
from spec.losses import GAMMA, GOAL, TAU, Case, Measured, cast, lacking, row, working
from spec.training_loss import TERMS, Options, number, own_terms


class ExactLosses:
    """Losses element by element, rounded once."""

    counted = staticmethod(losses.counted)
    slope = staticmethod(loss_terms.slope)
    rejection_slopes = staticmethod(losses.rejection_slopes)
    weights = staticmethod(training_loss.used_weights)
    dropped = staticmethod(training_loss.dropped)
    squared = staticmethod(squares.squared_error)
    compared = staticmethod(squares.counted)
    capped = staticmethod(saturate)

    def loss(
        self, name: str, P: Array, Q: Array, Y_n: Array, Y_d: Array, *,
        mask: Array | None = None, tau: float = TAU, gamma: float = GAMMA, goal: float = GOAL,
    ) -> Measured:  # fmt: skip
        if name == "squares":  # a fit of the training loss
            return self.squares(P, Q, Y_n, Y_d, tau=tau, mask=mask)
        case = P, Q, Y_n, Y_d
        entering = [case[i] for i in PARTS[name]]
        self.check_shapes(*entering, mask or P)
        if not (gamma > 0 and 0 <= goal <= 1):
            raise ValueError("a setting is outside its range")
        if name == "rejection":
            return self.rejection(case, mask, tau, goal)
        kept, guard = self.counted(name, Y_d, mask), Fraction(gamma if name == "implicit" else tau)
        if not all(math.isfinite(x.values[i]) for x in case for i in kept):
            return self.lost(case)
        slopes = {i: self.slope(name, row(case, i), guard) for i in kept}
        terms = [self.term(name, row(case, i), guard, case) for i in kept]
        return self.measured(case, self.mean(terms, case), self.shared(slopes))

    def squares(
        self, P: Array, Q: Array, Y_n: Array, Y_d: Array, *, tau: float, mask: Array | None = None
    ) -> Measured:
        case = P, Q, Y_n, Y_d
        self.check_shapes(*case, mask or P)
        outcomes = {i: self.squared(row(case, i)) for i in self.compared(case, tau, mask)}
        form, size = FORMATS[working(P.dtype)], len(P.values)
        terms = [self.capped(term, form, size) for term, _ in outcomes.values()]
        return self.measured(
            case, mean(terms), self.shared({i: s for i, (_, s) in outcomes.items()})
        )

    def check_shapes(self, *parts: Array) -> None:
        if len({x.shape for x in parts}) > 1:
            raise ValueError("shapes differ")

    def lost(self, case: Case) -> Measured:
        """Return the loss where a number that counts is not finite."""
        return Measured(math.nan, Array.full(math.nan, case[0]), Array.full(math.nan, case[1]))

    def term(self, name: str, element: Row, guard: Fraction, case: Case) -> Fraction:
        form = FORMATS[working(case[0].dtype)]
        return saturate(loss_terms.term(name, element, guard), form, len(case[0].values))

    def mean(self, terms: list[Fraction], case: Case) -> Fraction:
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
        value = rejection(lacking(case, tau, mask)[0], Fraction(goal))
        slopes = self.rejection_slopes(case, tau, goal, mask)
        return self.measured(case, value, {i: (Fraction(0), g) for i, g in slopes.items()})

    def reduced_precision(self) -> AbstractContextManager[object]:
        return nullcontext()

    def training_loss(
        self, P: Array, Q: Array, y: Array, options: Options
    ) -> tuple[Measured, dict[str, float]]:
        self.check_options(P, y, options)
        own, weights = own_terms(self, (P, Q, y), options), self.weights(options)
        case, terms = (P, Q, y, y), {name: measured.value for name, measured in own.items()}
        summed = {name: m for name, m in own.items() if name not in self.dropped(options)}
        if not all(math.isfinite(m.value) for m in summed.values()):
            return self.lost(case), terms
        total = composite({n: Fraction(m.value) for n, m in summed.items()}, weights)
        slopes: dict[int, Slope] = {}
        for i in range(len(P.values)):
            in_P = self.sum({n: m.in_P.values[i] for n, m in summed.items()}, weights)
            in_Q = self.sum({n: m.in_Q.values[i] for n, m in summed.items()}, weights)
            slopes[i] = in_P, in_Q
        return self.measured(case, total, slopes), terms

    def check_options(self, P: Array, y: Array, options: Options) -> None:
        configured = (options["weights"] or {}).values()
        if y.shape != P.shape or options["fit"] not in ("chordal", "implicit", "squares"):
            raise ValueError("the targets have another shape, or there is no such fit")
        if options.get("bare") and not 0 <= number(options["tau"]) < math.inf:
            raise ValueError("the threshold is outside its range")
        if not all(0 <= w < math.inf for w in configured) or not options["given"].keys() <= {
            *TERMS
        }:
            raise ValueError("a weight is unknown, or outside its range")

    def sum(self, slopes: Mapping[str, float], weights: Mapping[str, Fraction]) -> Fraction:
        finite = {name: value for name, value in slopes.items() if math.isfinite(value)}
        return sum((weights[name] * Fraction(v) for name, v in finite.items()), Fraction(0))

    def variable(self, part: str, name: str) -> None:
        raise ValueError(f"{part} of {name} require a gradient")

    def growth(self, name: str, case: Case) -> Measured:
        found = self.loss(name, *case)
        in_P, in_Q = (x.with_values([-v for v in x.values]) for x in (found.in_P, found.in_Q))
        return Measured(0.0, in_P, in_Q)
