"""ALG for all real numbers and ⊥.

An element is a pair of symbols, whether it is ⊥ and, where it is not, a real number. The laws are
the very equations of ``spec.meadows``, computed with symbols in place of numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import pytest
import z3

from properties.proofs.solver import prove, refute
from spec.algebra import BOTTOM, Bottom, Meadow, Number, Rationals
from spec.carriers import ARITY, RATIONAL
from spec.laws import LAWS, Law, sides

pytestmark = pytest.mark.proved

SAMPLES: tuple[Number, ...] = (BOTTOM, *map(Fraction, ("0", "1", "-1", "2", "-1/3", "7/5")))


@dataclass(frozen=True)
class Symbol:
    """Whether an element is ⊥, and the real number that it is otherwise."""

    bottom: z3.BoolRef
    value: z3.ArithRef


class Reals(Meadow[Symbol]):
    """ℝ ∪ {⊥} in symbols; a value under ⊥ may be anything."""

    zero = Symbol(z3.BoolVal(False), z3.RealVal(0))
    one = Symbol(z3.BoolVal(False), z3.RealVal(1))
    bottom = Symbol(z3.BoolVal(True), z3.RealVal(0))

    def add(self, x: Symbol, y: Symbol) -> Symbol:
        return Symbol(z3.Or(x.bottom, y.bottom), x.value + y.value)

    def neg(self, x: Symbol) -> Symbol:
        return Symbol(x.bottom, -x.value)

    def mul(self, x: Symbol, y: Symbol) -> Symbol:
        return Symbol(z3.Or(x.bottom, y.bottom), x.value * y.value)

    def inv(self, x: Symbol) -> Symbol:
        # z3 leaves open what 1/0 is, and ⊥ hides it.
        return Symbol(z3.Or(x.bottom, x.value == 0), 1 / x.value)

    def absolute(self, x: Symbol) -> Symbol:
        return Symbol(x.bottom, z3.If(x.value < 0, -x.value, x.value))

    def sign(self, x: Symbol) -> Symbol:
        return Symbol(x.bottom, z3.If(x.value > 0, 1.0, z3.If(x.value < 0, -1.0, 0.0)))


def equal(x: Symbol, y: Symbol) -> z3.BoolRef:
    return z3.And(x.bottom == y.bottom, z3.Or(x.bottom, x.value == y.value))


def variables(law: Law) -> list[Symbol]:
    """Return a law's variables, any elements of ℝ ∪ {⊥}."""
    return [Symbol(z3.Bool(f"⊥{i}"), z3.Real(f"x{i}")) for i in range(len(law.variables))]


def proof_of(id: str) -> Callable[[], None]:
    """Return the test that a law holds of all elements, or that ⊥ breaks it."""

    def test() -> None:
        law, meadow = LAWS[id], Reals()
        elements = variables(law)
        left, right = sides(law.equation, meadow, *elements)
        if law.floats is None:
            counterexample = refute(id, left.bottom == right.bottom)
            print(f"{id} is broken at {counterexample}")  # noqa: T201 (for pytest -s)
        elif not law.given:
            prove(id, equal(left, right))
        else:
            prove(id, equal(left, right), given=equal(*sides(law.given, meadow, *elements)))

    return test


# Such as test_ALG_1_addition_commutes.
for _id, _law in LAWS.items():
    globals()[f"test_{_id.replace('-', '_')}_{_law.name}"] = proof_of(_id)


def symbol(x: Number) -> Symbol:
    if isinstance(x, Bottom):
        return Reals.bottom
    return Symbol(z3.BoolVal(False), z3.Q(x.numerator, x.denominator))


def number(x: Symbol) -> Number:
    """Return the number that a symbol without variables stands for."""
    if z3.is_true(z3.simplify(x.bottom)):
        return BOTTOM
    value = z3.simplify(x.value)
    assert z3.is_rational_value(value), f"{x} is no number"
    return Fraction(value.numerator_as_long(), value.denominator_as_long())


@pytest.mark.parametrize("operation", RATIONAL)
def test_symbols_compute_as_the_specification_does(operation: str) -> None:
    for values in itertools.product(SAMPLES, repeat=ARITY[operation]):
        found = getattr(Reals(), operation)(*map(symbol, values))
        expected = getattr(Rationals(), operation)(*values)
        assert number(found) == expected, f"{operation} of {values}"


def test_symbols_are_equal_as_numbers_are() -> None:
    for x, y in itertools.product(SAMPLES, repeat=2):
        assert z3.is_true(z3.simplify(equal(symbol(x), symbol(y)))) == (x == y), f"{x} and {y}"
