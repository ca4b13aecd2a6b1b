"""DEC: strict decode."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.formats import EIGHTHS, HALVES, WIDER, every, pairs
from properties.strategies import DTYPES, several, taus
from properties.subjects.exact import Exact
from spec import Array
from spec.decoding import Decodes, Tuples
from spec.formats import FORMATS, nearest
from spec.quotients import Gauge, rounded_quotient
from spec.ranges import RangedDecodes, SharedDecodes

CLAUSES = ("DEC-1", "DEC-2", "DEC-3")
TINY = 2.0**-24


@st.composite
def cases(draw: st.DrawFn) -> Tuples:
    """Draw tuples, and thresholds of which some equal a drawn denominator."""
    P, Q = draw(several(2), label="P, Q")
    own = [abs(q) for q in Q.values if math.isfinite(q)]
    choices = st.one_of(taus(Q.dtype), st.sampled_from(own)) if own else taus(Q.dtype)
    low, high = sorted((draw(choices, label="tau"), draw(choices, label="tau")))
    return Tuples(P, Q, low, high, draw(st.sampled_from(get_args(Gauge)), label="gauge"))


def half(P: list[float], Q: list[float], low: float, high: float) -> Tuples:
    """Return float16 tuples in the raw gauge."""
    return Tuples(Array.of(P, "float16"), Array.of(Q, "float16"), low, high)


AT = half([TINY] * 3, [0.0, TINY, -1.0], 1e-9, 1e-9)
BELOW = half([TINY], [TINY], TINY, 1.0)
ROUNDS_DOWN = half([TINY] * 2, [TINY, 2 * TINY], 1.3 * TINY, 2.0)
GAP_ROUNDS_DOWN = half([TINY], [2 * TINY], TINY, 2.3 * TINY)
ZEROS = half([0.0, -0.0, 0.0, -0.0], [1.0, 1.0, -1.0, -1.0], 0.5, 2.0)
NO_TUPLE = Tuples(Array.of([0.0, 3.0]), Array.of([0.0, 0.0]), 0.0, 0.5, "unit")
LARGE, SMALL = Array.of([2.0**126] * 2, "float32"), Array.of([2.0**-10, 1.0], "float32")
OVERFLOWS = Tuples(LARGE, SMALL, 1e-4, 2.0)
SHORT_ZERO = Tuples(Array.of([0.0]), Array.of([0.125]), 0.5, 0.5, "unit")
SHORT = Tuples(Array.of([0.125]), Array.of([0.25]), 0.5, 0.5, "unit")
EXACTLY = Tuples(Array.of([1.0] * 2, "float32"), Array.of([0.5, 0.75], "float32"), 0.5, 0.75)
ROUNDED_TWICE = Tuples(
    Array.of([1.8790727837741419, 1.0]), Array.of([1.0649363383519754, 3.0]), 1e-4, 1e-4
)  # of the first, rounding to 64 bits and then to 53 is off
SQUARE_VANISHES = Tuples(Array.of([1e-300]), Array.of([1e-170]), 0.0, 0.0)
TRIANGLE = Tuples(Array.of([3.0], "float32"), Array.of([4.0], "float32"), 0.1, 0.8, "unit")


@pytest.mark.parametrize("id", CLAUSES)
@given(case=cases())
@example(case=AT)
@example(case=BELOW)
@example(case=ROUNDS_DOWN)
@example(case=GAP_ROUNDS_DOWN)
@example(case=ZEROS)
@example(case=NO_TUPLE)
@example(case=TRIANGLE)
@example(case=OVERFLOWS)
@example(case=EXACTLY)
@example(case=ROUNDED_TWICE)
def test_DEC_1_to_3_of_tuples(subject: Decodes, id: str, case: Tuples) -> None:
    assert_clause(id, subject, case)


@given(st.sampled_from(DTYPES), st.sampled_from([0.0, 1e-9, 1e-300, 5e-324]))
def test_DEC_1_threshold_below_the_dtype(subject: Decodes, dtype: str, tau: float) -> None:
    step = float(FORMATS[dtype].epsilon * FORMATS[dtype].smallest_normal)
    Q = Array.of([0.0, -0.0, step, -step, 1.0], dtype)
    assert_clause("DEC-1", subject, Tuples(Q, Q, tau, tau))


def scalable(case: Tuples, factor: float) -> bool:
    """Tell whether multiplying the tuples is exact in their dtype."""
    finite = [x for row in case.rows for x in row if math.isfinite(x)]
    return all(
        x * factor / factor == x and nearest(case.P.dtype, x * factor) == x * factor for x in finite
    )


def in_float64(case: Tuples) -> Tuples:
    """Return the same tuples with digits to spare."""
    P, Q = (Array(part.values, part.shape, "float64", part.layout) for part in (case.P, case.Q))
    return replace(case, P=P, Q=Q)


@given(cases(), st.integers(-6, 6).map(lambda k: 2.0**k), st.sampled_from([1.0, -1.0]))
@example(TRIANGLE, 0.25, -1.0)
@example(SHORT_ZERO, 16.0, -1.0)
def test_DEC_4_by_powers_of_two(subject: Decodes, case: Tuples, power: float, sign: float) -> None:
    assume(scalable(case, power * sign))
    assert_clause("DEC-4", subject, case, power * sign)


@given(cases(), st.integers(-40, 40).filter(bool))
@example(in_float64(TRIANGLE), 7)
@example(Tuples(Array.of([3.0]), Array.of([4.0]), 0.1, 0.9, "unit"), 7)
def test_DEC_4_by_any_number(subject: Decodes, case: Tuples, factor: int) -> None:
    wide = in_float64(case)
    assume(scalable(wide, float(factor)))
    assert_clause("DEC-4", subject, wide, float(factor))


@given(st.sampled_from(DTYPES), st.floats(0.01, 0.9), st.sampled_from([2.0, -0.5]))
def test_DEC_4_gauges_differ(subject: Decodes, dtype: str, tau: float, factor: float) -> None:
    """A short tuple of the value 0 lies below any raw threshold, and below no unit one."""
    Q = Array.of([nearest(dtype, tau / 8)], dtype)
    case = Tuples(Array.full(0.0, like=Q), Q, tau, tau)
    assert_clause("DEC-4", subject, case, factor)
    for gauge in get_args(Gauge):
        assert_clause("DEC-1", subject, replace(case, gauge=gauge))


@given(cases(), taus())
@example(Tuples(Array.of([1.0]), Array.of([0.5]), 0.9, 2.0), 1.5)
def test_DEC_5_monotone(subject: Decodes, case: Tuples, other: float) -> None:
    low, high = sorted((case.tau_infer, other))
    assert_clause(
        "DEC-5", subject, Tuples(case.P, case.Q, low, max(high, case.tau_train), case.gauge), high
    )


thresholds = st.one_of(taus(), st.sampled_from([-1.0, -5e-324, math.nan, math.inf, -math.inf]))


@given(cases(), thresholds, thresholds, st.sampled_from([*get_args(Gauge), "Raw", ""]))
@example(AT, -1.0, 1.0, "raw")
@example(AT, math.nan, 1.0, "raw")
@example(AT, 0.5, math.inf, "raw")
@example(AT, 0.5, math.nan, "raw")
@example(AT, 0.5, 0.25, "both")
def test_DEC_6_refuses(subject: Decodes, case: Tuples, low: float, high: float, gauge: str) -> None:
    assert_clause("DEC-6", subject, case, low, high, gauge)


modes = st.lists(st.booleans(), max_size=2).map(lambda first: [*first, True, False, True])


limits = st.sampled_from([0.0, 0.5, -1.0, 2.0**126, math.inf, -math.inf, 0.1]) | st.floats(-9, 9)


@st.composite
def within(draw: st.DrawFn) -> tuple[Tuples, float, float]:
    """Draw tuples and a range, whose ends may be values of theirs."""
    case = draw(cases(), label="case")
    own = [rounded_quotient(*row, case.P.dtype) for row in case.rows]
    own = [y for y in own if math.isfinite(y)] or [0.0]
    lower, upper = sorted(draw(limits | st.sampled_from(own)) for _ in range(2))
    return case, lower, upper


# 0.1 is no float16: an end that is rounded first lies elsewhere.
TENTH = half([0.1, 0.2, -1.0], [1.0] * 3, 0.0, 2.0)
STEEP = Tuples(Array.of([1e30], "float32"), Array.of([1e-5], "float32"), 0.0, 0.0)
FOUR = half([1.0, 2.0, 3.0, -1.0], [1.0, 1.0, -1.0, 0.0], 0.5, 2.0)


@given(within())
@example((TENTH, -0.5, 0.1))
@example((FOUR, -2.0, 1.0))
@example((FOUR, 1.0, 1.0))
@example((FOUR, 1.0, 0.5))
@example((FOUR, math.nan, 0.5))
@example((STEEP, -1.0, 1.0))
def test_DEC_7_within(subject: RangedDecodes, drawn: tuple[Tuples, float, float]) -> None:
    assert_clause("DEC-7", subject, *drawn)


@st.composite
def with_shared(draw: st.DrawFn) -> Tuples:
    """Draw tuples of several outputs a sample, which share denominators."""
    shape = draw(st.sampled_from([(3, 2), (1, 4), (2, 1, 3)]))
    P, Q = draw(several(2, shapes=st.just(shape)), label="P, Q")
    rows = math.prod(shape[:-1])
    low, high = sorted((draw(taus(Q.dtype)), draw(taus(Q.dtype))))
    shared = Array(Q.values[:rows], (*shape[:-1], 1), Q.dtype)
    return Tuples(P, shared, low, high, draw(st.sampled_from(get_args(Gauge))))


PAIR = Tuples(Array((1.0, 2.0, 3.0, 4.0), (2, 2), "float32"), Array((2.0, -0.5), (2, 1), "float32"),
              0.25, 0.75)  # fmt: skip


@given(with_shared())
@example(PAIR)
@example(replace(PAIR, gauge="unit"))
def test_DEC_9_shared(subject: SharedDecodes, case: Tuples) -> None:
    assert_clause("DEC-9", subject, case)


@given(cases(), modes)
@example(OVERFLOWS, [False, True])
@example(TRIANGLE, [True, False])
def test_DEC_8_wrapper(subject: Decodes, case: Tuples, modes: list[bool]) -> None:
    assert_clause("DEC-8", subject, case, modes)


@given(cases())
@example(ZEROS)
@example(SHORT)
@example(SQUARE_VANISHES)
def test_POL_10_bounded(subject: Decodes, case: Tuples) -> None:
    assert_clause("POL-10", subject, case)


def everywhere(x: Array) -> Iterator[Tuples]:
    """Walk tuples with all numbers as denominators or as numerators; some lie at a threshold."""
    for low, high in ((1e-9, TINY), (1.0, 3e4)):  # 1e-9 rounds to 0 in float16
        yield Tuples(Array.full(-3.0, like=x), x, low, high)
    for Q in (2.0**-14, 3.0):
        yield Tuples(x, Array.full(Q, like=x), 2.0**-14, 3.0)
    yield Tuples(Array.full(3.0, like=x), x, 0.6, 0.8, "unit")  # 0.8 is at 4, 0.6 at 2.25


def thinned(subject: Decodes, case: Tuples) -> Tuples:
    """Return a part of the tuples for the exact reference, which agrees with itself."""
    if not isinstance(subject, Exact):
        return case
    P, Q = (Array.of(part.values[::17], part.dtype) for part in (case.P, case.Q))
    return replace(case, P=P, Q=Q)


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", HALVES)
def test_DEC_1_to_5_at_every_number(subject: Decodes, dtype: str) -> None:
    for whole in everywhere(every(dtype)):
        case = thinned(subject, whole)
        for clause in CLAUSES:
            assert_clause(clause, subject, case)
        assert_clause("DEC-5", subject, case, 2 * case.tau_train)


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", HALVES)
def test_POL_10_at_every_denominator(subject: Decodes, dtype: str) -> None:
    Q = every(dtype)
    case = Tuples(Array.full(-3.0, like=Q), Q, 0.0625, 0.5)
    assert_clause("POL-10", subject, thinned(subject, case))


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", WIDER)
@pytest.mark.parametrize("format", EIGHTHS)
def test_DEC_1_to_3_at_every_pair(subject: Decodes, format: str, dtype: str) -> None:
    case = thinned(subject, Tuples(*pairs(format, dtype), 0.0625, 0.5))
    for clause in CLAUSES:
        assert_clause(clause, subject, case)
