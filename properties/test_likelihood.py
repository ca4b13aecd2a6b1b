"""LIK: densities and probabilities of lines, over the whole range of magnitudes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.strategies import (
    dtypes,
    magnitudes,
    masks,
    numbers,
    rounded,
    several,
    singular_numbers,
    wide_dtypes,
    with_drawn,
)
from spec import Array
from spec.lifting import lift
from spec.likelihood import Likelihoods
from spec.likelihood_terms import Arcs

INF = math.inf
Row = tuple[float, float, float, float]


def arcs_of(rows: Sequence[Row], dtype: str = "float32", *, line: bool = False) -> Arcs:
    """Return arcs of rows ``P, Q, lower, upper``, of which the last two are numbers or ±∞."""
    lifted = [(P, Q, *lift(lower), *lift(upper)) for P, Q, lower, upper in rows]
    columns = zip(*lifted, strict=True) if rows else [()] * 6
    parts = [Array.of([rounded(v, dtype) for v in column], dtype) for column in columns]
    P, Q, l_n, l_d, u_n, u_d = parts
    return Arcs(P, Q, (l_n, l_d), None if line else (u_n, u_d))


@st.composite
def _row(draw: st.DrawFn, dtype: str, extreme: bool) -> Row:
    number = st.floats(-8.0, 8.0, width=16) | (magnitudes(dtype) if extreme else st.nothing())
    lower = draw(number | st.sampled_from([INF, -INF]))
    nearby = st.sampled_from([0.0, 1e-7, 1e-6, 1e-2]).map(lambda step: lower + step * abs(lower))
    upper = draw(nearby | number | st.sampled_from([INF, -INF]))
    if not extreme and math.isinf(lower) and math.isinf(upper):
        upper = lower
    turn = draw(st.sampled_from([0.0, 1e-7, -1e-4, 0.01, math.pi / 2]) | st.floats(-2.0, 2.0))
    size = draw(st.floats(-3.0, 3.0).map(lambda exponent: 10.0**exponent))
    if extreme and draw(st.booleans()):
        size = draw(numbers(dtype, singular=False) | st.sampled_from([1e-30, 1e20, 1e36]))
    angle = math.atan(lower) + turn
    return size * math.sin(angle), size * math.cos(angle), lower, upper


@st.composite
def arcs(
    draw: st.DrawFn, dtypes: st.SearchStrategy[str] = wide_dtypes, *, line: bool | None = None,
    extreme: bool = True,
) -> Arcs:  # fmt: skip
    """Draw tuples of any certainty, often near the arc's lower end, with lines or arcs."""
    dtype = draw(dtypes, label="dtype")
    rows = draw(st.lists(_row(dtype, extreme), min_size=1, max_size=3), label="rows")
    drawn = arcs_of(rows, dtype, line=draw(st.booleans()) if line is None else line)
    shape = draw(st.sampled_from([(len(rows),), (1, len(rows))]))
    return drawn.of([replace(x, shape=shape) for x in drawn.parts])


def _flags(case: Arcs) -> st.SearchStrategy[Array]:
    return masks(case.P.shape).map(lambda values: Array(values, case.P.shape, "bool"))


# Aligned, orthogonal, ignorant; far and certain; arcs next to nothing and next to everything.
EASY = arcs_of([(1.0, 2.0, 0.5, 3.0), (1.0, 0.0, 0.0, INF), (0.0, 0.0, -1.0, 1.0)])
FAR = arcs_of([(1e20, 1.0, 1.0, INF), (1e-30, -1e-30, 2.0, 2.0), (3e30, 3e30, -1.0, 1e-30)])
THIN = arcs_of([(1.0, 1.0, 1.0, 1.0 + 2.0**-23), (1e4, 1.0, 0.0, 1e-40), (9.0, 9.0, 1.0, 1.0)])
BROAD = arcs_of([(1.0, 5.0, -INF, INF), (100.0, 0.0, -1e6, INF), (100.0, 1e-3, -1e30, 1e30)])
ROUND = arcs_of([(1.0, 0.5, 1.0, -1.0), (0.0, 3.0, INF, -INF), (30.0, -0.1, INF, -2.0)])
TINY = arcs_of([(1e30, 1.0, 1e-300, 2e-300), (5e-324, 0.0, 0.0, 5e-324), (1.0, 2.0, 0.0, 1.0)],
               "float64")  # fmt: skip
ONES = Array.of([True, False, True], "bool")
POISONS = st.sampled_from([math.nan, INF, 1e38, 0.0])


@given(with_drawn(arcs(), _flags), POISONS)
@example((replace(EASY, upper=None), ONES), math.nan)
@example((EASY, ONES), math.nan)
@example((FAR, ONES.with_values([False] * 3)), INF)
@example((arcs_of([], line=True), Array.of([], "bool")), 0.0)
def test_LIK_1_lines(subject: Likelihoods, drawn: tuple[Arcs, Array], poison: float) -> None:
    assert_clause("LIK-1", subject, *drawn, poison)


@given(arcs(line=False))
@example(EASY)
@example(FAR)
@example(THIN)
@example(BROAD)
@example(ROUND)
def test_LIK_2_arcs(subject: Likelihoods, case: Arcs) -> None:
    assert_clause("LIK-2", subject, case)


@settings(max_examples=25)
@given(arcs(line=True), st.lists(st.floats(-8.0, 8.0, width=16), min_size=1, max_size=3))
@example(EASY, [-1.0, 0.0, 0.5])
@example(FAR, [1.0])
def test_LIK_3_partitions(subject: Likelihoods, case: Arcs, cuts: list[float]) -> None:
    assert_clause("LIK-3", subject, case.P, case.Q, sorted({cut + 0.0 for cut in cuts}))


turns = st.tuples(st.integers(-9, 9), st.integers(1, 9))


@settings(max_examples=50)
@given(arcs(extreme=False), turns, st.booleans())
@example(arcs_of([(1.0, 2.0, 0.5, 3.0), (30.0, 0.0, 1.0, INF)]), (1, 1), False)
@example(arcs_of([(1.0, 2.0, 0.5, 0.5)], line=True), (0, 1), True)
def test_LIK_4_turns(
    subject: Likelihoods, case: Arcs, turn: tuple[int, int], mirrored: bool
) -> None:
    assert_clause("LIK-4", subject, case, turn, mirrored)


@given(arcs(line=True))
@example(replace(EASY, upper=None))
@example(replace(FAR, upper=None))
def test_LIK_5_extremes(subject: Likelihoods, case: Arcs) -> None:
    assert_clause("LIK-5", subject, case)


levels = st.sampled_from([0.0, 0.5, 0.9, 0.95, 1 - 2.0**-53]) | st.floats(0.0, 0.999)


@given(arcs(line=True), levels)
@example(EASY, 0.5)
@example(EASY, 0.0)
@example(FAR, 0.9)
@example(replace(TINY, upper=None), 0.5)
@example(arcs_of([(1e20, 1e-21, 0.0, 0.0)]), 0.5)
@example(arcs_of([(INF, 1.0, 0.0, 0.0), (1.0, math.nan, 0.0, 0.0)]), 0.5)
@example(arcs_of([(1.0, 0.125, 0.0, 0.0), (-1.0, -1.0, 0.0, 0.0)]), 0.5)
def test_LIK_6_intervals(subject: Likelihoods, case: Arcs, level: float) -> None:
    assert_clause("LIK-6", subject, case.P, case.Q, level)


@pytest.mark.parametrize("level", [1.0, -(2.0**-1074), 1.5, math.nan, INF])
def test_LIK_6_levels(subject: Likelihoods, level: float) -> None:
    assert_clause("LIK-6", subject, EASY.P, EASY.Q, level)


resolutions = st.sampled_from([0.0, 0.0, 3e-3, 0.3, 1.0]) | st.floats(0.0, 2.0)


@given(arcs(), resolutions)
@example(EASY, 0.0)
@example(FAR, 0.0)
@example(replace(FAR, upper=None), 3e-3)
@example(THIN, 0.0)
@example(THIN, 3e-3)
@example(BROAD, 3e-3)
@example(ROUND, 0.1)
@example(TINY, 0.0)
@example(replace(TINY, upper=None), 0.0)
@example(arcs_of([(0.0, -0.0, 1.0, 2.0)]), 0.0)
@example(arcs_of([(0.0, -0.0, 1.0, 1.0)], line=True), 0.1)
@example(arcs_of([(3e38, -3e38, 1.0, 1.0), (1.0, 3e38, 0.0, 0.0)], line=True), 0.0)
@example(arcs_of([(1e300, 1.0, 1.0, 2.0)], "float64"), 0.0)
def test_LIK_7_precise(subject: Likelihoods, case: Arcs, resolution: float) -> None:
    assert_clause("LIK-7", subject, case, resolution)


@settings(max_examples=50)
@given(several(4, wide_dtypes, st.sampled_from([(1,), (2,)]), singular=False), st.booleans())
def test_LIK_7_any_numbers(subject: Likelihoods, parts: list[Array], line: bool) -> None:
    P, Q, n, d = parts
    one = Array.full(1.0, P)
    case = Arcs(P, Q, (n, d)) if line else Arcs(P, Q, (n, one), (d, one))
    assert_clause("LIK-7", subject, case, 0.0)


@settings(max_examples=25)
@given(several(2, wide_dtypes, st.just((2,)), singular=False))
def test_LIK_7_no_line(subject: Likelihoods, parts: list[Array]) -> None:
    assert_clause("LIK-7", subject, Arcs(*parts, (Array.full(0.0, parts[0]),) * 2), 0.0)


@settings(max_examples=25)
@given(arcs(dtypes))
def test_LIK_7_half(subject: Likelihoods, case: Arcs) -> None:
    assert_clause("LIK-7", subject, case, 0.0)


@settings(max_examples=25)
@given(arcs(), singular_numbers, st.booleans())
def test_LIK_7_not_finite(subject: Likelihoods, case: Arcs, lost: float, first: bool) -> None:
    part = Array.full(lost, case.P)
    case = replace(case, P=part) if first else replace(case, Q=part)
    assert_clause("LIK-7", subject, case, 0.0)


@given(arcs(), resolutions)
@example(replace(EASY, upper=None), 0.5)
@example(replace(EASY, upper=None), 0.7071)
@example(arcs_of([(22.36, 0.0, INF, INF)], line=True), 1e-3)
@example(BROAD, 0.01)
@example(THIN, 0.01)
def test_LIK_8_resolution(subject: Likelihoods, case: Arcs, resolution: float) -> None:
    assert_clause("LIK-8", subject, case, resolution)


@pytest.mark.parametrize("resolution", [-1e-3, math.nan, INF, -INF])
@pytest.mark.parametrize("case", [EASY, replace(EASY, upper=None)], ids=["arcs", "lines"])
def test_LIK_8_refusals(subject: Likelihoods, case: Arcs, resolution: float) -> None:
    assert_clause("LIK-8", subject, case, resolution)
