"""LIFT: targets to tuples."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.formats import every
from properties.strategies import TELLING, labels, picks
from spec import Array
from spec.lifting import INTEGERS, UNLIFTABLE, Lifts

HALVES = ("float16", "bfloat16")
CLAUSES_OF_ONE_ELEMENT = ("LIFT-1", "LIFT-2", "LIFT-3", "LIFT-4", "LIFT-5")


@given(labels())
@example(TELLING)
def test_LIFT_1_finite(subject: Lifts, y: Array) -> None:
    assert_clause("LIFT-1", subject, y)


@given(labels())
@example(TELLING)
def test_LIFT_2_infinite(subject: Lifts, y: Array) -> None:
    assert_clause("LIFT-2", subject, y)


@given(labels())
@example(TELLING)
def test_LIFT_3_unoriented(subject: Lifts, y: Array) -> None:
    assert_clause("LIFT-3", subject, y)


@given(labels())
@example(TELLING)
def test_LIFT_4_round_trip(subject: Lifts, y: Array) -> None:
    assert_clause("LIFT-4", subject, y)


@given(labels())
@example(TELLING)
def test_LIFT_5_parts(subject: Lifts, y: Array) -> None:
    assert_clause("LIFT-5", subject, y)


@given(labels())
@example(TELLING)
def test_LIFT_6_keeps(subject: Lifts, y: Array) -> None:
    assert_clause("LIFT-6", subject, y)


@given(labels(), st.data())
def test_LIFT_7_elementwise(subject: Lifts, y: Array, data: st.DataObject) -> None:
    assert_clause("LIFT-7", subject, y, data.draw(picks(y), label="chosen"))


@given(st.sampled_from(INTEGERS), st.lists(st.integers(0, 127), max_size=5))
def test_LIFT_8_integers(subject: Lifts, dtype: str, values: list[int]) -> None:
    assert_clause("LIFT-8", subject, Array.of(values, dtype))


@given(st.sampled_from(UNLIFTABLE), st.integers(0, 3))
def test_LIFT_8_no_lift(subject: Lifts, dtype: str, size: int) -> None:
    assert_clause("LIFT-8", subject, Array.of([False] * size, dtype))


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("clause", CLAUSES_OF_ONE_ELEMENT)
def test_LIFT_1_to_5_everywhere(subject: Lifts, clause: str, dtype: str) -> None:
    """Over all values of the half-precision formats."""
    assert_clause(clause, subject, every(dtype))
