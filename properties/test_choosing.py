"""THR: thresholds from held-out rows, with equal denominators and with distant ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.strategies import dtypes, lists, magnitudes, rounded, singular_numbers
from spec import Array
from spec.certifying import DIGITS, allowed
from spec.choosing import Chooses, HeldOut

INF, NAN = math.inf, math.nan
quarters = st.integers(-8, 8).map(lambda n: n / 4)


def rows(
    P: Sequence[float], Q: Sequence[float], y: Sequence[float], dtype: str = "float64"
) -> HeldOut:
    return HeldOut(*(Array.of(x, dtype) for x in (P, Q, y)))


@st.composite
def held_out(draw: st.DrawFn, *, most: int = 9, finite: bool = True) -> HeldOut:
    """Draw rows, of which some have equal denominators, decode to ⊥, or predict their target."""
    dtype, size = draw(dtypes, label="dtype"), draw(st.integers(1, most), label="rows")
    number = st.one_of(quarters, quarters, magnitudes(dtype, -12, 12), singular_numbers)
    P, Q = (draw(lists(number, [size]), label=name) for name in "PQ")
    values = [p / q for p, q in zip(P, Q, strict=True) if q and math.isfinite(p / q)]
    near = st.sampled_from([rounded(v, dtype) for v in values] or [0.0])
    target = st.one_of(quarters, near, magnitudes(dtype, -3, 6)) if finite else singular_numbers
    y = draw(lists(st.one_of(target, singular_numbers), [size]), label="targets")
    return rows(P, Q, y, dtype)


MIXED = rows([4, 3, 0, 2, 1], [1, 4, 1, 1, 0], [4, 0.75, 0, INF, NAN])
FINITE = rows([0, 3, 4], [1, 4, 3], [5, 5, 5])
POLES = rows([1, 0, 3], [0, 0, 4], [2, 2, 0.75])  # two are ⊥ at any threshold
SINGULAR = rows([3, 4], [4, 3], [INF, NAN])
EQUAL_COSTS = rows([9, 1, 0], [1, 1, 1], [10, 1, INF])  # the first costs as much if it is ⊥
ONE_OF_THREE = rows([1] * 5, [1, 2, 3, 0, 0], [1, INF, 1 / 3, INF, INF])
STEEP = rows([1e17, 3, 4, 3], [1, 4, 3, 1], [0, INF, 4 / 3, 3])  # 1 is below the digits of 1e17
OVERFLOWS = rows([2.0**127, 1, 3], [2.0**-10, 1, 1], [INF, 1, 3], "float32")
ALL_OVERFLOW = rows([2.0**127] * 2 + [1], [2.0**-10] * 2 + [1], [INF] * 3, "float32")
MANY = rows([n / 8 for n in range(60)], [1.0] * 60, [INF] * 60)
PARTLY = rows([n / 8 for n in range(60)], [1.0] * 60, [INF, 1.0] * 30)


def missing(targets: Sequence[float], value: float) -> HeldOut:
    """Return rows of which only the last finite one misses its target, and predicts a value."""
    return rows([*targets[:-1], value, 1], [1.0] * len(targets) + [0], [*targets, INF])


@given(held_out(), st.one_of(st.none(), st.sampled_from([0.25, 1.0, 3.0, 1e-3, 1e4])))
@example(MIXED, 0.25)
@example(MIXED, None)
@example(FINITE, None)
@example(POLES, 1.0)
@example(SINGULAR, None)
@example(EQUAL_COSTS, 1.0)
@example(ONE_OF_THREE, 1.0)
@example(STEEP, 1.0)
@example(OVERFLOWS, None)
@example(missing([0, 1, 2, 3, 4], 5.45), None)  # by less than the usual unit, 2 / 1.349
@example(missing([0, 1, 2, 3, 4], 5.75), None)  # by more
@example(missing([0, 1, 2, 7], 8.7), None)  # 2.5 / 1.349
@example(missing([1e9, 1e9 + 1, 1e9 + 2, 1e9 + 7], 1e9 + 8.7), None)
@example(missing([0, 1, 2, 7], 9.0), None)
@example(missing([1, 1, 1], 1.75), None)  # 1
@example(missing([1, 1, 1], 2.5), None)
def test_THR_1_least_cost(subject: Chooses, held: HeldOut, unit: float | None) -> None:
    assert_clause("THR-1", subject, held, unit)


shares = st.sampled_from([0.5, 0.25, 0.1, 0.9, 0.05, 0.01, 1e-6]) | st.floats(0.02, 0.98)


@given(held_out(most=14), shares, st.one_of(st.none(), shares))
@example(MANY, 0.05, None)
@example(MANY, 0.2, None)
@example(PARTLY, 0.25, 0.9)
@example(MIXED, 0.5, 0.5)
@example(SINGULAR, 0.5, 0.75)  # one outcome in four, exactly
@example(SINGULAR, 0.5, 0.7500001)
@example(FINITE, 0.5, 0.5)
@example(FINITE, 0.5, 1e-20)
@example(FINITE, 5e-324, 0.5)  # which takes more rows than a float can count
@example(ALL_OVERFLOW, 0.5, 0.3)
@example(POLES, 0.9, 0.5)
def test_THR_2_certificate(
    subject: Chooses, held: HeldOut, rate: float, confidence: float | None
) -> None:
    assert_clause("THR-2", subject, held, rate, confidence)


@st.composite
def populations(draw: st.DrawFn) -> tuple[HeldOut, list[int]]:
    """Draw up to four kinds of singular rows, and how often they occur."""
    held = draw(held_out(most=4, finite=False))
    return held, draw(lists(st.integers(1, 9), held.P.shape), label="weights")


SIZES = rows([3, 4, 1, 1], [4, 3, 1, 0], [INF] * 4)


@given(populations(), st.integers(1, 5), shares, shares)
@settings(max_examples=30)  # of up to 56 certificates each
@example((SIZES, [1, 1, 1, 1]), 5, 0.5, 0.5)
@example((SIZES, [1, 2, 3, 4]), 6, 0.3, 0.75)
@example((SIZES, [3, 1, 1, 1]), 5, 0.45, 0.9)
def test_THR_3_promise(
    subject: Chooses, drawn: tuple[HeldOut, list[int]], n: int, rate: float, confidence: float
) -> None:
    assume(allowed(n, rate, confidence, DIGITS) >= 0)  # else nothing is promised
    assert_clause("THR-3", subject, *drawn, n, rate, confidence)


@given(held_out(), st.one_of(shares, st.sampled_from([0.0, -0.5, 1.0, 1.5, INF, -INF, NAN])))
@example(MIXED, 0.0)
@example(MIXED, NAN)
@example(MANY, 1.0)
@example(MANY, INF)
@example(FINITE, -1.0)
def test_THR_4_unfit(subject: Chooses, held: HeldOut, number: float) -> None:
    assert_clause("THR-4", subject, held, number)
