"""LOSS, for all real numbers: ranges, invariance, and slopes that are derivatives.

The formulas are ``spec.loss_terms``' own, run on symbols, and on dual numbers of symbols.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import z3

from properties.proofs.dual import Dual, derivatives
from properties.proofs.solver import prove, refute
from spec import loss_terms

pytestmark = pytest.mark.proved

# The formulas are typed for fractions, and run on whatever has their operations.
terms: Any = loss_terms

P, Q, Y_n, Y_d, factor, gamma, sizes = z3.Reals("P Q Y_n Y_d factor gamma sizes")
ELEMENT = P, Q, Y_n, Y_d
SIZE = P * P + Q * Q
SQUARED_SIZES = terms.squared_sizes(*ELEMENT)
TUPLES = SQUARED_SIZES != 0
# ‖(P, Q)‖·‖(Y_n, Y_d)‖, without a root.
NORMS = z3.And(sizes > 0, sizes * sizes == SQUARED_SIZES)


def prove_slope(
    id: str, slope: Sequence[z3.ArithRef], derivatives: Sequence[z3.ArithRef], given: z3.BoolRef
) -> None:
    for found, derivative in zip(slope, derivatives, strict=True):
        prove(id, found == derivative, given=given)


def test_two_tuples_are_no_tuple_only_if_one_is_none() -> None:
    none = z3.Or(z3.And(P == 0, Q == 0), z3.And(Y_n == 0, Y_d == 0))
    prove("LOSS-10", (SQUARED_SIZES == 0) == none)


def test_the_squared_sine_lies_between_0_and_1() -> None:
    """By Lagrange's identity, and it takes both ends."""
    cross, dot = terms.cross(*ELEMENT), terms.dot(*ELEMENT)
    prove("LOSS-2", cross * cross + dot * dot == SQUARED_SIZES)
    sine = terms.squared_sine(*ELEMENT)
    prove("LOSS-2", z3.And(sine >= 0, sine <= 1), given=TUPLES)
    refute("LOSS-2", z3.Implies(TUPLES, sine > 0))
    refute("LOSS-2", z3.Implies(TUPLES, sine < 1))


def test_the_squared_sine_is_of_lines() -> None:
    """It does not change when either tuple is scaled, and is 0 for one line only."""
    sine, scaled = terms.squared_sine(*ELEMENT), z3.And(TUPLES, factor != 0)
    ours = terms.squared_sine(factor * P, factor * Q, Y_n, Y_d)
    theirs = terms.squared_sine(P, Q, factor * Y_n, factor * Y_d)
    prove("LOSS-14", z3.And(ours == sine, theirs == sine), given=scaled)
    prove("LOSS-2", (sine == 0) == (P * Y_d == Q * Y_n), given=TUPLES)


def test_the_implicit_loss_is_not() -> None:
    weight = terms.implicit_weight(*ELEMENT, gamma)
    scaled = factor * P, factor * Q, Y_n, Y_d
    other = terms.implicit(*scaled, terms.implicit_weight(*scaled, gamma))
    same = other == terms.implicit(*ELEMENT, weight)
    refute("LOSS-1", z3.Implies(z3.And(gamma > 0, factor != 0), same))


def test_the_chordal_slope_is_the_derivative() -> None:
    derivative = derivatives(terms.squared_sine, *ELEMENT)
    prove_slope("LOSS-2", terms.squared_sine_slope(*ELEMENT), derivative, TUPLES)


def test_the_chordal_slope_turns() -> None:
    """It is orthogonal to the tuple, and at most 1/‖(P, Q)‖ long."""
    in_P, in_Q = terms.squared_sine_slope(*ELEMENT)
    prove("LOSS-15", in_P * P + in_Q * Q == 0, given=TUPLES)
    squared = in_P * in_P + in_Q * in_Q
    prove("LOSS-15", squared * SIZE <= 1, given=TUPLES)
    refute("LOSS-15", z3.Implies(TUPLES, squared * SIZE < 1))


def test_the_sign_lies_between_0_and_2() -> None:
    term = terms.one_minus_cosine(*ELEMENT, sizes)
    prove("LOSS-4", z3.And(term >= 0, term <= 2), given=NORMS)
    refute("LOSS-4", z3.Implies(NORMS, term > 0))
    refute("LOSS-4", z3.Implies(NORMS, term < 2))


def test_the_sign_slope_is_the_derivative() -> None:
    """The product of the norms is √x, whose derivative is x'/(2√x)."""

    def formula(P: Any, Q: Any) -> Any:
        squared = terms.squared_sizes(P, Q, Y_n, Y_d)
        return terms.one_minus_cosine(P, Q, Y_n, Y_d, Dual(sizes, squared.slope / (2 * sizes)))

    slope = terms.one_minus_cosine_slope(*ELEMENT, sizes)
    prove_slope("LOSS-4", slope, derivatives(formula, P, Q), NORMS)


def test_the_sign_tells_the_orientations_apart() -> None:
    """Turned round, a tuple costs two minus what it did."""
    term = terms.one_minus_cosine(*ELEMENT, sizes)
    turned = terms.one_minus_cosine(-P, -Q, Y_n, Y_d, sizes)
    prove("LOSS-4", turned == 2 - term, given=NORMS)


def test_the_implicit_slope_is_the_derivative_under_a_constant_weight() -> None:
    weight = terms.implicit_weight(*ELEMENT, gamma)
    prove("LOSS-1", weight > 0, given=gamma > 0)
    derivative = derivatives(terms.implicit, *ELEMENT, weight)
    prove_slope("LOSS-1", terms.implicit_slope(*ELEMENT, weight), derivative, gamma > 0)


def test_the_implicit_slope_is_not_that_of_the_quotient() -> None:
    def formula(P: Any, Q: Any) -> Any:
        return terms.implicit(P, Q, Y_n, Y_d, terms.implicit_weight(P, Q, Y_n, Y_d, gamma))

    found, _ = terms.implicit_slope(*ELEMENT, terms.implicit_weight(*ELEMENT, gamma))
    refute("LOSS-1", z3.Implies(gamma > 0, found == derivatives(formula, P, Q)[0]))


def test_no_term_is_negative() -> None:
    weight = terms.implicit_weight(*ELEMENT, gamma)
    prove("LOSS-9", terms.implicit(*ELEMENT, weight) >= 0, given=gamma > 0)
    prove("LOSS-9", terms.one_minus_cosine(*ELEMENT, sizes) >= 0, given=NORMS)
    prove("LOSS-9", terms.squared_sine(*ELEMENT) >= 0, given=TUPLES)
