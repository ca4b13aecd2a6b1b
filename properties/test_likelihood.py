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
    wide_dtypes,
    with_drawn,
)
from spec import Array
from spec.lifting import lift
from spec.likelihood import Likelihoods
from spec.likelihood_terms import Arcs

INF = math.inf
Row = tuple[float, float, float, float]


def arcs_of(rows: Sequence[Row], dtype: str = "float32") -> Arcs:
    """Return arcs of rows ``P, Q, lower, upper``, of which the last two are numbers or ±∞."""
    lifted = [(P, Q, *lift(lower), *lift(upper)) for P, Q, lower, upper in rows]
    columns = zip(*lifted, strict=True) if rows else [()] * 6
    P, Q, l_n, l_d, u_n, u_d = (Array.of([rounded(v, dtype) for v in x], dtype) for x in columns)
    return Arcs(P, Q, (l_n, l_d), (u_n, u_d))


def lines_of(case: Arcs) -> Arcs:
    """Return the same tuples with the arcs' lower ends."""
    return replace(case, upper=None)


@st.composite
def _row(draw: st.DrawFn, dtype: str, extreme: bool) -> Row:
    number = st.floats(-8.0, 8.0, width=16) | (magnitudes(dtype) if extreme else st.nothing())
    lower = draw(number | st.sampled_from([INF, -INF]))
    nearby = st.sampled_from([1e-7, 1e-6, 1e-2]).map(lambda step: lower + step * abs(lower))
    beyond = st.sampled_from([INF, -INF] if extreme else [lower]) | st.just(lower)
    upper = draw(number | beyond | (nearby if math.isfinite(lower) else beyond))
    turn = draw(st.sampled_from([0.0, 1e-7, -1e-4, 0.01, math.pi / 2]) | st.floats(-2.0, 2.0))
    size = draw(st.floats(-3.0, 3.0).map(lambda exponent: 10.0**exponent))
    if extreme and draw(st.booleans()):
        size = draw(numbers(dtype, singular=False) | st.sampled_from([1e-30, 1e20, 1e36]))
    angle = math.atan(lower) + turn
    return size * math.sin(angle), size * math.cos(angle), lower, upper


@st.composite
def arcs(
    draw: st.DrawFn, dtypes: st.SearchStrategy[str] = wide_dtypes, *, extreme: bool = True
) -> Arcs:
    """Draw tuples of any certainty, often near the lower end of their arc."""
    dtype = draw(dtypes, label="dtype")
    rows = draw(st.lists(_row(dtype, extreme), min_size=1, max_size=3), label="rows")
    drawn, shape = arcs_of(rows, dtype), draw(st.sampled_from([(len(rows),), (1, len(rows))]))
    return drawn.of([replace(x, shape=shape) for x in drawn.parts])


lines = arcs().map(lines_of)
either = arcs() | lines


def flags(case: Arcs) -> st.SearchStrategy[Array]:
    """Masks for the elements."""
    return masks(case.P.shape).map(lambda values: Array(values, case.P.shape, "bool"))


# Aligned, orthogonal, ignorant; far and certain; arcs next to nothing and next to everything.
EASY = arcs_of([(1.0, 2.0, 0.5, 3.0), (1.0, 0.0, 0.0, INF), (0.0, 0.0, -1.0, 1.0)])
FAR = arcs_of([(1e20, 1.0, 1.0, INF), (1e-30, -1e-30, 2.0, 2.0), (3e30, 3e30, -1.0, 1e-30)])
THIN = arcs_of([(1.0, 1.0, 1.0, 1.0 + 2.0**-23), (1e4, 1.0, 0.0, 1e-40), (9.0, 9.0, 1.0, 1.0)])
BROAD = arcs_of([(1.0, 5.0, -INF, INF), (100.0, 0.0, -1e6, INF), (100.0, 1e-3, -1e30, 1e30)])
ROUND = arcs_of([(1.0, 0.5, 1.0, -1.0), (0.0, 3.0, INF, -INF), (30.0, -0.1, INF, -2.0)])
TINY = arcs_of(
    [(1e30, 1.0, 1e-300, 2e-300), (5e-324, 0.0, 0.0, 5e-324), (1.0, 2.0, 0.0, 1.0)], "float64"
)
NONE = arcs_of([(0.0, -0.0, 1.0, 2.0), (-0.0, 0.0, INF, 1.0)])
LONG = arcs_of([(1e300, 1.0, 1.0, 2.0), (2.0**121, 2.0**120, 2.0, 3.0)], "float64")
HARD = [EASY, FAR, THIN, BROAD, ROUND, TINY, NONE, LONG]
HARD += [lines_of(case) for case in HARD]
POISONS = st.sampled_from([math.nan, INF, 1e38, 0.0])


@given(with_drawn(either, flags), POISONS)
@example((EASY, Array.of([True, False, True], "bool")), math.nan)
@example((FAR, Array.of([False] * 3, "bool")), INF)
@example((arcs_of([]), Array.of([], "bool")), 0.0)
def test_LIK_1_lines(subject: Likelihoods, drawn: tuple[Arcs, Array], poison: float) -> None:
    assert_clause("LIK-1", subject, *drawn, poison)


@given(arcs())
def test_LIK_2_arcs(subject: Likelihoods, case: Arcs) -> None:
    assert_clause("LIK-2", subject, case)


@pytest.mark.parametrize("case", HARD[:8])
def test_LIK_2_hard_arcs(subject: Likelihoods, case: Arcs) -> None:
    assert_clause("LIK-2", subject, case)


@settings(max_examples=25)
@given(lines, st.lists(st.floats(-8.0, 8.0, width=16), min_size=1, max_size=3))
@example(EASY, [-1.0, 0.0, 0.5])
@example(FAR, [1.0])
def test_LIK_3_partitions(subject: Likelihoods, case: Arcs, cuts: list[float]) -> None:
    assert_clause("LIK-3", subject, case.P, case.Q, sorted({cut + 0.0 for cut in cuts}))


moderate = arcs(extreme=False)
turns = st.tuples(st.integers(-9, 9), st.integers(1, 9))


@settings(max_examples=50)
@given(moderate | moderate.map(lines_of), turns, st.booleans())
@example(arcs_of([(1.0, 2.0, 0.5, 3.0), (30.0, 0.0, 1.0, INF)]), (1, 1), False)
@example(lines_of(EASY), (0, 1), True)
def test_LIK_4_turns(
    subject: Likelihoods, case: Arcs, turn: tuple[int, int], mirrored: bool
) -> None:
    assert_clause("LIK-4", subject, case, turn, mirrored)


@given(lines)
@example(lines_of(EASY))
@example(lines_of(FAR))
def test_LIK_5_extremes(subject: Likelihoods, case: Arcs) -> None:
    assert_clause("LIK-5", subject, case)


LEVELS = [0.0, 0.5, 0.9, 1 - 2.0**-53]
POLES = arcs_of([(1e20, 1e-21, 0, 0), (1.0, 0.125, 0, 0), (-1.0, -1.0, 0, 0), (-2.0, 0.0, 0, 0)])
LOST = arcs_of([(INF, 1.0, 0, 0), (1.0, -INF, 0, 0), (math.nan, 1.0, 0, 0)])


@given(lines, st.sampled_from(LEVELS) | st.floats(0.0, 0.999))
def test_LIK_6_intervals(subject: Likelihoods, case: Arcs, level: float) -> None:
    assert_clause("LIK-6", subject, case.P, case.Q, level)


@pytest.mark.parametrize("level", [*LEVELS, 1.0, -(2.0**-1074), 1.5, math.nan])
@pytest.mark.parametrize("case", [*HARD[:8], POLES, LOST])
def test_LIK_6_hard_intervals(subject: Likelihoods, case: Arcs, level: float) -> None:
    assert_clause("LIK-6", subject, case.P, case.Q, level)


RESOLUTIONS = [0.0, 3e-3, 0.7071, 1.0]
resolutions = st.sampled_from(RESOLUTIONS) | st.floats(0.0, 2.0)


@given(either, st.just(0.0) | resolutions)
def test_LIK_7_precise(subject: Likelihoods, case: Arcs, resolution: float) -> None:
    assert_clause("LIK-7", subject, case, resolution)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
@pytest.mark.parametrize("case", HARD)
def test_LIK_7_precise_where_it_is_hard(
    subject: Likelihoods, case: Arcs, resolution: float
) -> None:
    assert_clause("LIK-7", subject, case, resolution)


@settings(max_examples=50)
@given(several(4, wide_dtypes, st.sampled_from([(1,), (2,)]), singular=False))
def test_LIK_7_any_numbers(subject: Likelihoods, parts: list[Array]) -> None:
    P, Q, n, d = parts
    one, zero = (Array.full(value, P) for value in (1.0, 0.0))
    for case in (Arcs(P, Q, (n, d)), Arcs(P, Q, (n, one), (d, one)), Arcs(P, Q, (zero, zero))):
        assert_clause("LIK-7", subject, case, 0.0)


@settings(max_examples=25)
@given(arcs(dtypes), st.sampled_from([math.nan, INF, 1.0]))
@example(arcs_of([(1.0, 2.0, 0.5, 3.0)], "float16"), 1.0)
@example(arcs_of([(1.0, 2.0, 0.5, 3.0)], "bfloat16"), math.nan)
def test_LIK_7_half_or_lost(subject: Likelihoods, case: Arcs, factor: float) -> None:
    P = case.P.with_values([v * factor for v in case.P.values])
    assert_clause("LIK-7", subject, replace(case, P=P), 0.0)


@given(either, resolutions)
@example(lines_of(arcs_of([(22.36, 0.0, INF, INF)])), 1e-3)
def test_LIK_8_resolution(subject: Likelihoods, case: Arcs, resolution: float) -> None:
    assert_clause("LIK-8", subject, case, resolution)


@pytest.mark.parametrize("resolution", [*RESOLUTIONS, -1e-3, math.nan, INF, -INF])
@pytest.mark.parametrize("case", HARD)
def test_LIK_8_hard_cases(subject: Likelihoods, case: Arcs, resolution: float) -> None:
    assert_clause("LIK-8", subject, case, resolution)
