"""TAU: the drawn threshold."""

from __future__ import annotations

import math

from hypothesis import example, given, settings
from hypothesis import strategies as st

from properties.assertions import assert_clause
from spec.thresholds import Draws

LARGEST = 1.7976931348623157e308

ends = st.one_of(
    st.sampled_from([0.0, 5e-324, 1e-9, 1e-4, 1.0, LARGEST]),
    st.floats(min_value=0.0, allow_nan=False, allow_infinity=False),
)
bad_ends = st.one_of(
    st.floats(max_value=0.0, exclude_max=True), st.sampled_from([math.nan, math.inf])
)
intervals = st.one_of(st.tuples(ends, ends).map(sorted), ends.map(lambda end: [end, end]))
seeds = st.integers(0, 2**63 - 1)
WIDTHS = [(0.0, 1.0), (1e-6, 1e-4), (1e-4, 1e-3), (1.0, 5.0), (1.0, 1.0 + 2.0**-30)]
widths = st.sampled_from([*WIDTHS, (0.0, LARGEST), (1e308, LARGEST), (0.0, 1e-310)])


@given(intervals, seeds)
@example([0.1, 0.1 + 1e-12], 0)
@example([LARGEST / 2, LARGEST], 0)
@example([0.0, 5e-324], 0)
def test_TAU_1_between(subject: Draws, interval: list[float], seed: int) -> None:
    assert_clause("TAU-1", subject, *interval, seed)


@given(ends, seeds)
@example(0.9, 0)  # seeded, so that (1 − u)·τ + u·τ ≠ τ shows again
def test_TAU_2_equal_ends(subject: Draws, end: float, seed: int) -> None:
    assert_clause("TAU-2", subject, end, seed)


@given(st.one_of(ends, bad_ends), st.one_of(ends, bad_ends))
@example(0.0, math.nan)
@example(LARGEST, LARGEST)
@example(0.0, 0.0)
@example(1.0, 0.5)
def test_TAU_3_bad_ends(subject: Draws, low: float, high: float) -> None:
    assert_clause("TAU-3", subject, low, high)


@given(seeds)
def test_TAU_4_own_generator(subject: Draws, seed: int) -> None:
    assert_clause("TAU-4", subject, seed)


@given(intervals, seeds)
def test_TAU_5_repeatable(subject: Draws, interval: list[float], seed: int) -> None:
    assert_clause("TAU-5", subject, *interval, seed)


@given(widths, seeds)
@settings(max_examples=16)  # of 4000 draws each
def test_TAU_6_uniform(subject: Draws, interval: tuple[float, float], seed: int) -> None:
    assert_clause("TAU-6", subject, *interval, seed)
