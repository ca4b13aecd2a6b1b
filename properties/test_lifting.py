"""LIFT: targets to tuples."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.formats import HALVES, every
from properties.strategies import (
    FLAGS,
    TELLING,
    dtypes,
    intervals,
    labels,
    picks,
    several,
    with_drawn,
)
from properties.test_coverage import batches
from spec import Array
from spec.coverage import Predicted
from spec.lifting import INTEGERS, UNLIFTABLE, Lifts

OF_ONE_ELEMENT = ("LIFT-1", "LIFT-2", "LIFT-3", "LIFT-4", "LIFT-5")


@pytest.mark.parametrize("id", [*OF_ONE_ELEMENT, "LIFT-6"])
@given(y=labels())
@example(y=TELLING)
def test_LIFT_1_to_6_of_targets(subject: Lifts, id: str, y: Array) -> None:
    assert_clause(id, subject, y)


@given(with_drawn(labels(), picks))
@example((TELLING, [4]))
@example((TELLING, [*range(0, 22, 3), 0]))
def test_LIFT_7_elementwise(subject: Lifts, drawn: tuple[Array, list[int]]) -> None:
    assert_clause("LIFT-7", subject, *drawn)


@st.composite
def integers(draw: st.DrawFn) -> Array:
    """Draw integers of any dtype and size, its ends and halves of float numbers among them."""
    dtype = draw(st.sampled_from(INTEGERS), label="dtype")
    signed, bits = dtype[0] == "i", int(dtype.lstrip("uint"))
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    near = st.builds(
        lambda exponent, part, rest: 2**exponent + 2 ** max(exponent - part, 0) + rest,
        st.integers(0, bits),
        st.integers(1, 54),
        st.integers(-1, 1),
    )
    numbers = st.one_of(st.sampled_from([low, high]), st.integers(low, high), near)
    signs = st.sampled_from([1, -1])
    one = st.builds(lambda n, sign: min(max(sign * n, low), high), numbers, signs)
    return Array.of(draw(st.lists(one, min_size=1, max_size=5), label="values"), dtype)


LARGE = Array.of(
    [2**62 + 2**54 + 1, 2**52 + 2**44 + 1, -(2**63), 2**53 + 1, 2**24 + 1, 65520, 65519], "int64"
)
HIGH_BIT = Array.of([200, 255], "uint8")


@given(integers(), dtypes)
@example(LARGE, "float32")
@example(LARGE, "float64")
@example(LARGE, "bfloat16")
@example(LARGE, "float16")
@example(HIGH_BIT, "bfloat16")
def test_LIFT_8_integers(subject: Lifts, y: Array, default: str) -> None:
    assert_clause("LIFT-8", subject, y, default)


@given(st.sampled_from(UNLIFTABLE), st.integers(0, 3), dtypes)
def test_LIFT_8_no_lift(subject: Lifts, dtype: str, size: int, default: str) -> None:
    assert_clause("LIFT-8", subject, Array.of([False] * size, dtype), default)


ENDS = Array.of([-math.inf, -math.inf, 0.0, 1.0, 2.0, math.inf], "float32")
ONE, TWO = Array.of([1.0], "float32"), Array.of([2.0, 2.0], "float32")


@given(st.one_of(intervals(), several(2).map(tuple)))
@example((ENDS, ENDS.with_values([-math.inf, math.inf, -0.0, math.inf, 3.0, math.inf])))
@example((ENDS, ENDS))
@example((TWO, TWO.with_values([2.0, 1.0])))
@example((Array.of([2.0**53 + 2], "float64"), Array.of([2.0**53], "float64")))
@example((ONE, ONE.with_values([math.nan])))
@example((ONE.with_values([math.nan]), ONE))
@example((ONE, TWO))
@example((ONE, replace(ONE, shape=(1, 1))))
@example((Array.of([1, -7], "int64"), Array.of([1, 2**53 + 1], "int64")))
@example((Array.of([2**53 + 1], "int64"), Array.of([2**53], "int64")))
def test_LIFT_9_intervals(subject: Lifts, ends: tuple[Array, Array]) -> None:
    assert_clause("LIFT-9", subject, *ends)


@given(batches())
@example(Predicted("value", TELLING, TELLING, TELLING))
@example(Predicted("pair", TELLING, TELLING.with_values(FLAGS), TELLING))
@example(Predicted("tuple", TELLING, TELLING, TELLING))
def test_LIFT_11_outputs_enter(subject: Lifts, outputs: Predicted) -> None:
    assert_clause("LIFT-11", subject, outputs)


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("clause", OF_ONE_ELEMENT)
def test_LIFT_1_to_5_everywhere(subject: Lifts, clause: str, dtype: str) -> None:
    assert_clause(clause, subject, every(dtype))
