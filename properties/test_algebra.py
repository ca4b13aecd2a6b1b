"""ALG: the laws of common meadows, over rational numbers and over floats."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.strategies import numbers, rounded, singular_numbers
from spec import BOTTOM, CLAUSES
from spec.algebra import Bottom, Number
from spec.formats import FORMATS, Floats, Format, round_to
from spec.laws import LAWS, Computes

FEW = (BOTTOM, Fraction(0), Fraction(1), Fraction(-1), Fraction(2), Fraction(-1, 3))


@cache
def variables(kind: str, arity: int) -> st.SearchStrategy[Any]:
    """Numbers of a kind, 0 and ⊥ among them; often all are ordinary, so that nothing overflows."""
    if kind == "rational":
        return st.tuples(*[st.one_of(st.sampled_from(FEW), st.fractions())] * arity)
    # These have all their digits, and so show what is rounded.
    ordinary = st.integers(-2048, 2048).map(lambda n: rounded(n / 256, kind))
    anything = st.one_of(
        numbers(kind), singular_numbers, st.sampled_from([0.0, -0.0, 1.0, -1.0, 49.0])
    )
    return st.one_of(st.tuples(*[ordinary] * arity), st.tuples(*[anything] * arity))


@cache
def assignments(id: str, kind: str) -> st.SearchStrategy[Any]:
    """Values for the variables of a law; for one that ⊥ breaks, several, ⊥ and 0 in each place."""
    arity = LAWS[id].arity
    values = variables(kind, arity)
    if not CLAUSES[id].must_fail:
        return values
    bottom, zero, one = FEW[:3] if kind == "rational" else (math.nan, 0.0, 1.0)
    rest = [one] * (arity - 1)
    breaking = [(*rest[:i], x, *rest[i:]) for i in range(arity) for x in (zero, bottom)]
    return st.lists(values, max_size=2).map(lambda drawn: (*drawn, *breaking))


def property_of(id: str) -> Callable[[Computes], None]:
    """Return the property that a subject meets a law with all kinds of its numbers."""

    @given(st.data())
    def test(subject: Computes, data: st.DataObject) -> None:
        kind = data.draw(st.sampled_from(subject.kinds), label="kind")
        assert_clause(id, subject, kind, *data.draw(assignments(id, kind), label="elements"))

    return test


test_ALG_1_addition_commutes = property_of("ALG-1")
test_ALG_2_addition_associates = property_of("ALG-2")
test_ALG_3_multiplication_commutes = property_of("ALG-3")
test_ALG_4_multiplication_associates = property_of("ALG-4")
test_ALG_5_zero_is_neutral = property_of("ALG-5")
test_ALG_6_opposites_cancel = property_of("ALG-6")
test_ALG_7_one_is_neutral = property_of("ALG-7")
test_ALG_8_multiplication_distributes = property_of("ALG-8")
test_ALG_9_negation_undoes_itself = property_of("ALG-9")
test_ALG_10_zeros_agree = property_of("ALG-10")
test_ALG_11_bottom_absorbs_sums = property_of("ALG-11")
test_ALG_12_inverses_cancel = property_of("ALG-12")
test_ALG_13_inverse_of_product = property_of("ALG-13")
test_ALG_14_inverse_of_one = property_of("ALG-14")
test_ALG_15_inverse_of_zero = property_of("ALG-15")
test_ALG_16_division_by_inverse = property_of("ALG-16")
test_ALG_17_denominator_one = property_of("ALG-17")
test_ALG_18_negated_fraction = property_of("ALG-18")
test_ALG_19_product_of_fractions = property_of("ALG-19")
test_ALG_20_sum_of_fractions = property_of("ALG-20")
test_ALG_21_fraction_of_fraction = property_of("ALG-21")
test_ALG_22_zero_moves_up = property_of("ALG-22")
test_ALG_23_bottom_is_a_fraction = property_of("ALG-23")
test_ALG_24_bottom_absorbs_products = property_of("ALG-24")
test_ALG_25_negated_bottom = property_of("ALG-25")
test_ALG_26_inverse_of_bottom = property_of("ALG-26")
test_ALG_27_inverse_of_inverse = property_of("ALG-27")
test_ALG_28_fraction_of_equals = property_of("ALG-28")
test_ALG_29_sign_by_absolute = property_of("ALG-29")
test_ALG_30_sign_of_zero = property_of("ALG-30")
test_ALG_31_sign_of_bottom = property_of("ALG-31")
test_ALG_32_sign_of_one = property_of("ALG-32")
test_ALG_33_sign_of_difference_from_one = property_of("ALG-33")
test_ALG_34_sign_of_minus_one = property_of("ALG-34")
test_ALG_35_sign_of_product = property_of("ALG-35")
test_ALG_36_sign_of_fraction = property_of("ALG-36")
test_ALG_37_sign_of_sign = property_of("ALG-37")
test_ALG_38_sign_of_sum = property_of("ALG-38")
test_ALG_39_cube_of_sign = property_of("ALG-39")
test_ALG_40_every_inverse_cancels = property_of("ALG-40")
test_ALG_41_zero_annihilates = property_of("ALG-41")
test_ALG_42_difference_of_equals = property_of("ALG-42")
test_ALG_43_inversion_undoes_itself = property_of("ALG-43")
test_ALG_44_fractions_cancel = property_of("ALG-44")
test_ALG_45_fraction_turns_over = property_of("ALG-45")
test_ALG_46_sign_of_inverse = property_of("ALG-46")


@pytest.mark.exhaustive
@pytest.mark.parametrize("id", LAWS)
def test_ALG_among_a_few_numbers(subject: Computes, id: str) -> None:
    """All assignments of ⊥, 0 and a few other numbers to the variables of a law."""
    if "rational" in subject.kinds and not CLAUSES[id].must_fail:
        for values in itertools.product(FEW, repeat=LAWS[id].arity):
            assert_clause(id, subject, "rational", *values)


@pytest.mark.exhaustive
@pytest.mark.parametrize("id", [id for id, law in LAWS.items() if law.floats])
def test_ALG_says_of_each_law_what_survives_rounding(
    monkeypatch: pytest.MonkeyPatch, id: str
) -> None:
    """Among all numbers of a tiny format a law is exact if and only if it is said to be."""
    monkeypatch.setitem(FORMATS, "tiny", Format(precision=2, least=-1, greatest=1))
    rounded = {round_to("tiny", Fraction(k, 4)) for k in range(-12, 13)}
    every: list[Number] = [BOTTOM, *(Fraction(x) for x in rounded if not isinstance(x, Bottom))]
    law, exact = LAWS[id], True
    choice = every if law.arity < 4 else every[:7]
    for values in itertools.product(choice, repeat=law.arity):
        floats = Floats("tiny")
        left, right = law.sides(floats, *values)
        if law.given is None or len(set(law.given(floats, *values))) == 1:
            exact &= left == right
    assert exact == (law.floats == "exact")
