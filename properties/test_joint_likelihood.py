"""LIK: what several outputs with one denominator say, over the whole range of magnitudes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.strategies import dtypes, magnitudes, masks, numbers, rounded, wide_dtypes
from spec import Array
from spec.joint_likelihood import JointLikelihoods
from spec.joint_terms import Samples
from spec.lifting import lift

INF = math.inf
Row = tuple[Sequence[float], Sequence[float]]


def samples_of(rows: Sequence[Row], dtype: str = "float32") -> Samples:
    """Return samples of tuples ``(P_1, …, P_k, Q)`` and targets, numbers or ±∞."""
    n, k = len(rows), len(rows[0][1])
    lifted = [lift(rounded(y, dtype)) for _, targets in rows for y in targets]
    columns = (
        [p for X, _ in rows for p in X[:-1]], [X[-1] for X, _ in rows],
        [y for y, _ in lifted], [d for _, d in lifted],
    )  # fmt: skip
    shapes = (n, k), (n, 1), (n, k), (n, k)
    parts = zip(columns, shapes, strict=True)
    P, Q, Y_n, Y_d = (Array(tuple(rounded(float(v), dtype) for v in c), s, dtype) for c, s in parts)
    return Samples(P, Q, Y_n, Y_d)


@st.composite
def _row(draw: st.DrawFn, k: int, dtype: str, extreme: bool) -> Row:
    target = st.floats(-8.0, 8.0, width=16)
    if extreme:
        target |= magnitudes(dtype) | st.sampled_from([INF, -INF])
    y = draw(st.lists(target, min_size=k, max_size=k))
    if extreme and draw(st.booleans()):
        return [draw(numbers(dtype, singular=False)) for _ in range(k + 1)], y
    # Near the targets, at any length.
    length = draw(st.floats(-3.0, 3.0).map(lambda e: 10.0**e)) / max(
        [1.0, *filter(math.isfinite, y)]
    )
    off = st.sampled_from([0.0, 1e-6, -1e-2]) | st.floats(-2.0, 2.0)
    X = [v if math.isfinite(v) else 1.0 for v in (*y, 1.0)]
    return [length * (x + draw(off)) for x in X], y


@st.composite
def samples(
    draw: st.DrawFn, dtypes: st.SearchStrategy[str] = wide_dtypes, *, extreme: bool = True
) -> Samples:
    """Draw tuples of any certainty, often near their targets."""
    k, dtype = draw(st.integers(1, 3), label="k"), draw(dtypes, label="dtype")
    rows = st.lists(_row(k, dtype, extreme), min_size=1, max_size=3)
    return samples_of(draw(rows, label="rows"), dtype)


# Aligned, at a right angle, ignorant; long and short; with a singular target; one output.
EASY = samples_of(
    [((1.0, 2.0, 2.0), (0.5, 1.0)), ((1.0, 0.0, 0.0), (0.0, 3.0)), ((0, 0, 0), (1, 2))]
)
FAR = samples_of([((1e20, 1e-3, 1.0), (1.0, 2.0)), ((1e-30, 1e-30, 1e-30), (2.0, -2.0)),
                  ((3e38, 3e38, 1.0), (1e38, 1e-38))])  # fmt: skip
POLES = samples_of([((3.0, 4.0, 0.5), (INF, 1.0)), ((3.0, 4.0, 0.0), (-INF, INF)),
                    ((0.0, 0.0, 2.0), (0.0, -INF))])  # fmt: skip
ONE = samples_of([((1.0, 2.0), (3.0,)), ((30.0, 0.1), (250.0,))])
LONG = samples_of([((1e300, 1.0, 2.0, 1e290), (1e300, -1e-300, 0.0))], "float64")
HARD = [EASY, FAR, POLES, ONE, LONG]
RESOLUTIONS = [0.0, 3e-3, 0.7071, 1.0]
POISONS = st.sampled_from([math.nan, INF, 1e38, 0.0])
resolutions = st.just(0.0) | st.sampled_from(RESOLUTIONS) | st.floats(0.0, 2.0)


def all_of(case: Samples) -> Array:
    """Return a mask that keeps every sample."""
    return Array.of([True] * len(case.Q.values), "bool")


def with_mask(case: Samples) -> st.SearchStrategy[tuple[Samples, Array]]:
    flags = masks(case.Q.shape[:1])
    return flags.map(lambda kept: (case, Array.of(kept, "bool")))


@given(samples().flatmap(with_mask), resolutions, POISONS)
@example((EASY, Array.of([True, False, True], "bool")), 0.0, math.nan)
@example((POLES, Array.of([True, True, False], "bool")), 0.0, 1e38)
@example((FAR, Array.of([False] * 3, "bool")), 0.0, INF)
def test_LIK_9_samples(
    subject: JointLikelihoods, drawn: tuple[Samples, Array], resolution: float, poison: float
) -> None:
    assert_clause("LIK-9", subject, drawn[0], resolution, drawn[1], poison)


@pytest.mark.parametrize("resolution", [*RESOLUTIONS, -1e-3, math.nan, INF])
@pytest.mark.parametrize("case", HARD)
def test_LIK_9_hard_cases(subject: JointLikelihoods, case: Samples, resolution: float) -> None:
    assert_clause("LIK-9", subject, case, resolution, all_of(case), 0.0)


@settings(max_examples=25)
@given(samples(dtypes), st.sampled_from([math.nan, INF, 1.0]))
@example(samples_of([((1.0, 2.0, 0.5), (3.0, 1.0))], "float16"), 1.0)
@example(samples_of([((1.0, 2.0, 0.5), (3.0, 1.0))], "bfloat16"), 1.0)
@example(EASY, math.nan)
def test_LIK_9_half_or_lost(subject: JointLikelihoods, case: Samples, factor: float) -> None:
    Q = case.Q.with_values([v * factor for v in case.Q.values])
    assert_clause("LIK-9", subject, replace(case, Q=Q), 0.0, all_of(case), 0.0)


ends = st.tuples(*[st.floats(-8.0, 8.0, width=16) | st.sampled_from([INF, -INF])] * 2)


@given(samples(), ends, st.sampled_from([0.0, 0.5, 0.9]) | st.floats(0.0, 0.999))
@example(EASY, (0.5, INF), 0.5)
@example(FAR, (-1.0, 1.0), 0.9)
@example(ONE, (1.0, -1.0), 0.5)
def test_LIK_10_each(
    subject: JointLikelihoods, case: Samples, arc: tuple[float, float], level: float
) -> None:
    assert_clause("LIK-10", subject, case.P, case.Q, arc, level)


@settings(max_examples=50)
@given(samples(extreme=False), st.tuples(st.integers(-9, 9), st.integers(1, 9)), st.integers(0, 2))
@example(EASY, (1, 2), 1)
@example(ONE, (2, 3), 0)
@example(samples_of([((30.0, -0.1, 20.0), (1.0, 2.0))]), (1, 3), 0)
def test_LIK_11_turns(
    subject: JointLikelihoods, case: Samples, turn: tuple[int, int], axis: int
) -> None:
    assert_clause("LIK-11", subject, case, turn, axis)
