"""LIK: what several outputs with one denominator say, over the whole range of magnitudes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.strategies import magnitudes, masks, numbers, rounded, wide_dtypes
from spec import Array
from spec.joint_likelihood import JointLikelihoods, Samples
from spec.lifting import lift

INF = math.inf
Row = tuple[Sequence[float], Sequence[float]]


def samples_of(*rows: Row, dtype: str = "float32") -> Samples:
    """Return samples of tuples ``(P_1, …, P_k, Q)`` and targets, numbers or ±∞."""
    n, k = len(rows), len(rows[0][1])
    lifted = [lift(rounded(float(y), dtype)) for _, targets in rows for y in targets]
    P, Q = [p for X, _ in rows for p in X[:-1]], [X[-1] for X, _ in rows]
    columns = (P, k), (Q, 1), ([y for y, _ in lifted], k), ([d for _, d in lifted], k)
    parts = [Array(tuple(rounded(float(v), dtype) for v in c), (n, m), dtype) for c, m in columns]
    return Samples(*parts)


def deeper(case: Samples) -> Samples:
    """Return the same samples with one more dimension."""
    return case.of([replace(x, shape=(x.shape[0], 1, x.shape[1])) for x in case.parts])


@st.composite
def samples(draw: st.DrawFn) -> Samples:
    """Draw tuples of any certainty, often near their targets."""
    k, dtype = draw(st.integers(2, 3), label="k"), draw(wide_dtypes, label="dtype")
    ordinary, number = st.floats(-8.0, 8.0, width=16), numbers(dtype, singular=False)
    target = ordinary | magnitudes(dtype) | st.sampled_from([INF, -INF])
    off, rows = st.sampled_from([0.0, 1e-6, -1e-2]) | st.floats(-2.0, 2.0), list[Row]()
    for _ in range(draw(st.integers(1, 3), label="samples")):
        y = draw(st.lists(target, min_size=k, max_size=k), label="targets")
        X = [draw(number) for _ in range(k + 1)]
        if draw(st.booleans(), label="near"):
            X = [min(max(v, -1e6), 1e6) + draw(off) for v in (*y, 1.0)]
            size = 10.0 ** draw(st.floats(-3.0, 3.0)) / max(map(abs, X), default=1.0)
            X = [size * x for x in X]
        rows.append((X, y))
    found = samples_of(*rows, dtype=dtype)
    return draw(st.sampled_from([found, deeper(found)]))


# Aligned, at a right angle, ignorant; long and short; with a singular target.
EASY = samples_of(([1, 2, 2], [0.5, 1]), ([1, 0, 0], [0, 3]), ([0, 0, 0], [1, 2]))
FAR = samples_of(
    ([1e20, 1e-3, 1], [1, 2]), ([1e-30] * 3, [2, -2]), ([3e38, 3e38, 1], [1e38, 1e-38])
)
POLES = samples_of(([3, 4, 0.5], [INF, 1]), ([3, 4, 0], [-INF, INF]), ([0, 0, 2], [0, -INF]))
LONG = samples_of(([1e300, 1, 2, 1e290], [1e300, -1e-300, 0]), dtype="float64")
LOST = samples_of(([1, math.nan, 2], [1, 2]), ([1, 2, INF], [1, 2]))
RESOLUTIONS = [0.0, 3e-3, 0.7071, 1.0]


def with_mask(case: Samples) -> st.SearchStrategy[tuple[Samples, Array]]:
    shape = case.Q.shape[:-1]
    return masks(shape).map(lambda kept: (case, Array(kept, shape, "bool")))


@given(
    samples().flatmap(with_mask),
    st.sampled_from(RESOLUTIONS) | st.floats(0.0, 2.0),
    st.sampled_from([math.nan, INF, 1e38, 0.0]),
)
@example((EASY, Array.of([True, False, True], "bool")), 0.0, math.nan)
@example((deeper(EASY), Array((True, False, True), (3, 1), "bool")), 0.0, math.nan)
@example((FAR, Array.of([False] * 3, "bool")), 0.0, INF)
def test_LIK_9_samples(
    subject: JointLikelihoods, drawn: tuple[Samples, Array], resolution: float, poison: float
) -> None:
    assert_clause("LIK-9", subject, drawn[0], resolution, drawn[1], poison)


@pytest.mark.parametrize("resolution", [*RESOLUTIONS, -1e-3, math.nan, INF])
@pytest.mark.parametrize("case", [EASY, FAR, POLES, LONG, LOST])
def test_LIK_9_hard_cases(subject: JointLikelihoods, case: Samples, resolution: float) -> None:
    kept = Array.of([True] * len(case.Q.values), "bool")
    assert_clause("LIK-9", subject, case, resolution, kept, 0.0)


ENDS = st.floats(-8.0, 8.0, width=16) | st.sampled_from([INF, -INF])


@given(samples(), st.tuples(ENDS, ENDS), st.floats(0.0, 1.0, exclude_max=True))
@example(EASY, (0.5, INF), 0.5)
@example(FAR, (-1.0, 1.0), 0.9)
def test_LIK_10_each(
    subject: JointLikelihoods, case: Samples, arc: tuple[float, float], level: float
) -> None:
    assert_clause("LIK-10", subject, case, arc, level)
