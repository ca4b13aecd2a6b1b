"""ALG for all real numbers and ⊥.

An element is a pair of symbols, whether it is ⊥ and, where it is not, a real number. The laws are
those of ``spec.laws``, the very functions, computed with symbols in place of numbers.
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
from spec.laws import LAWS, Law

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
        """Return ``x + y``."""
        return Symbol(z3.Or(x.bottom, y.bottom), x.value + y.value)

    def neg(self, x: Symbol) -> Symbol:
        """Return ``−x``."""
        return Symbol(x.bottom, -x.value)

    def mul(self, x: Symbol, y: Symbol) -> Symbol:
        """Return ``x · y``."""
        return Symbol(z3.Or(x.bottom, y.bottom), x.value * y.value)

    def inv(self, x: Symbol) -> Symbol:
        """Return ``x⁻¹``; z3 leaves open what 1/0 is, and ⊥ hides it."""
        return Symbol(z3.Or(x.bottom, x.value == 0), 1 / x.value)

    def absolute(self, x: Symbol) -> Symbol:
        """Return ``|x|``."""
        return Symbol(x.bottom, z3.If(x.value < 0, -x.value, x.value))

    def sign(self, x: Symbol) -> Symbol:
        """Return ``s(x)``."""
        return Symbol(x.bottom, z3.If(x.value > 0, 1.0, z3.If(x.value < 0, -1.0, 0.0)))


def equal(x: Symbol, y: Symbol) -> z3.BoolRef:
    """Say that two elements are both ⊥, or the same number."""
    return z3.And(x.bottom == y.bottom, z3.Or(x.bottom, x.value == y.value))


def variables(law: Law) -> list[Symbol]:
    """Return a law's variables, any elements of ℝ ∪ {⊥}."""
    return [Symbol(z3.Bool(f"⊥{i}"), z3.Real(f"x{i}")) for i in range(law.arity)]


def proof_of(id: str) -> Callable[[], None]:
    """Return the test that a law holds of all elements, or that ⊥ breaks it."""

    def test() -> None:
        law, meadow = LAWS[id], Reals()
        elements = variables(law)
        left, right = law.sides(meadow, *elements)
        if law.floats is None:
            counterexample = refute(id, left.bottom == right.bottom)
            print(f"{id} is broken at {counterexample}")  # noqa: T201 (for pytest -s)
        elif law.given is None:
            prove(id, equal(left, right))
        else:
            prove(id, equal(left, right), given=equal(*law.given(meadow, *elements)))

    return test


test_ALG_1_addition_commutes = proof_of("ALG-1")
test_ALG_2_addition_associates = proof_of("ALG-2")
test_ALG_3_multiplication_commutes = proof_of("ALG-3")
test_ALG_4_multiplication_associates = proof_of("ALG-4")
test_ALG_5_zero_is_neutral = proof_of("ALG-5")
test_ALG_6_opposites_cancel = proof_of("ALG-6")
test_ALG_7_one_is_neutral = proof_of("ALG-7")
test_ALG_8_multiplication_distributes = proof_of("ALG-8")
test_ALG_9_negation_undoes_itself = proof_of("ALG-9")
test_ALG_10_zeros_agree = proof_of("ALG-10")
test_ALG_11_bottom_absorbs_sums = proof_of("ALG-11")
test_ALG_12_inverses_cancel = proof_of("ALG-12")
test_ALG_13_inverse_of_product = proof_of("ALG-13")
test_ALG_14_inverse_of_one = proof_of("ALG-14")
test_ALG_15_inverse_of_zero = proof_of("ALG-15")
test_ALG_16_division_by_inverse = proof_of("ALG-16")
test_ALG_17_denominator_one = proof_of("ALG-17")
test_ALG_18_negated_fraction = proof_of("ALG-18")
test_ALG_19_product_of_fractions = proof_of("ALG-19")
test_ALG_20_sum_of_fractions = proof_of("ALG-20")
test_ALG_21_fraction_of_fraction = proof_of("ALG-21")
test_ALG_22_zero_moves_up = proof_of("ALG-22")
test_ALG_23_bottom_is_a_fraction = proof_of("ALG-23")
test_ALG_24_bottom_absorbs_products = proof_of("ALG-24")
test_ALG_25_negated_bottom = proof_of("ALG-25")
test_ALG_26_inverse_of_bottom = proof_of("ALG-26")
test_ALG_27_inverse_of_inverse = proof_of("ALG-27")
test_ALG_28_fraction_of_equals = proof_of("ALG-28")
test_ALG_29_sign_by_absolute = proof_of("ALG-29")
test_ALG_30_sign_of_zero = proof_of("ALG-30")
test_ALG_31_sign_of_bottom = proof_of("ALG-31")
test_ALG_32_sign_of_one = proof_of("ALG-32")
test_ALG_33_sign_of_difference_from_one = proof_of("ALG-33")
test_ALG_34_sign_of_minus_one = proof_of("ALG-34")
test_ALG_35_sign_of_product = proof_of("ALG-35")
test_ALG_36_sign_of_fraction = proof_of("ALG-36")
test_ALG_37_sign_of_sign = proof_of("ALG-37")
test_ALG_38_sign_of_sum = proof_of("ALG-38")
test_ALG_39_cube_of_sign = proof_of("ALG-39")
test_ALG_40_every_inverse_cancels = proof_of("ALG-40")
test_ALG_41_zero_annihilates = proof_of("ALG-41")
test_ALG_42_difference_of_equals = proof_of("ALG-42")
test_ALG_43_inversion_undoes_itself = proof_of("ALG-43")
test_ALG_44_fractions_cancel = proof_of("ALG-44")
test_ALG_45_fraction_turns_over = proof_of("ALG-45")
test_ALG_46_sign_of_inverse = proof_of("ALG-46")


def symbol(x: Number) -> Symbol:
    """Return a number in symbols."""
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


@pytest.mark.parametrize(
    ("operation", "arity"),
    [
        *((name, 2) for name in ("add", "sub", "mul", "div")),
        *((name, 1) for name in ("neg", "inv", "absolute", "sign")),
    ],
)
def test_symbols_compute_as_the_specification_does(operation: str, arity: int) -> None:
    for values in itertools.product(SAMPLES, repeat=arity):
        found = getattr(Reals(), operation)(*map(symbol, values))
        expected = getattr(Rationals(), operation)(*values)
        assert number(found) == expected, f"{operation} of {values}"


def test_symbols_are_equal_as_numbers_are() -> None:
    for x, y in itertools.product(SAMPLES, repeat=2):
        assert z3.is_true(z3.simplify(equal(symbol(x), symbol(y)))) == (x == y), f"{x} and {y}"
