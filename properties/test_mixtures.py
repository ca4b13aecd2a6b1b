"""LIK-11 to LIK-13 and CUR-3: what tuples know, and the likelihood as a fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.strategies import lists, magnitudes, numbers, rounded, wide_dtypes
from spec import Array
from spec.likelihood_fit import Fit, LikelihoodFits
from spec.mixtures import Mixtures

INF, NAN = math.inf, math.nan
Tuples = tuple[Array, Array]


def tuples_of(
    P: Sequence[float], Q: Sequence[float], *shape: int, dtype: str = "float64"
) -> Tuples:
    """Return tuples; those of a last dimension share Q if there are as many fewer."""
    denominators = (*shape[:-1], shape[-1] * len(Q) // len(P))
    p, q = (tuple(rounded(float(v), dtype) for v in x) for x in (P, Q))
    return Array(p, shape, dtype), Array(q, denominators, dtype)


@st.composite
def tuples(draw: st.DrawFn, *batch: int, singular: bool = False) -> Tuples:
    """Draw tuples of any length, with denominators of their own or shared ones."""
    dtype, k = draw(wide_dtypes, label="dtype"), draw(st.integers(1, 3), label="outputs")
    ordinary = st.floats(-8.0, 8.0, width=16)
    number = ordinary | magnitudes(dtype) | numbers(dtype, singular=singular)
    shape, own = (*batch, k), draw(st.booleans(), label="own")
    P, Q = (draw(lists(number, (*batch, n))) for n in (k, k if own else 1))
    return tuples_of(P, Q, *shape, dtype=dtype)


# Ignorant, of middling length, at a pole; tiny and huge; lost.
EASY = tuples_of([0, 1, 3, -3, 5], [0, 1, 4, 0.5, 0], 5)
FAR = tuples_of(
    [1e-200, 1e-9, 1e300, 1e300, 1e200, 1, -1e39], [1e-200, 0, 1, -1e300, 1e-90, 1e300, 1e-30], 7
)
SHORT = tuples_of([1e-5, 3e38, 1e-30], [1e-6, -3e38, 1e10], 3, dtype="float32")
LOST = tuples_of([NAN, 1, INF, 1, -INF], [1, NAN, 1, -INF, INF], 5)
SHARED = tuples_of([0, 1, 3, -3, 1e300, 1e-300, 0, 0], [2, 1, 1e280, 0], 4, 2)
LENGTHENED = tuples_of([2.0**120] * 2, [2.0**-121], 1, 2)  # beyond what counts
LOST_SHARED = tuples_of([NAN, 1, INF, 1, 1, 2], [1, 1, NAN], 3, 2)


@given(tuples(2, singular=True))
@example(EASY)
@example(FAR)
@example(tuples_of([1e100], [1e100], 1))
@example(SHORT)
@example(LOST)
@example(SHARED)
@example(LENGTHENED)
@example(LOST_SHARED)
@settings(max_examples=50)
def test_LIK_11_certain(subject: Mixtures, case: Tuples) -> None:
    assert_clause("LIK-11", subject, *case)


ONE = tuples_of([3, 0, 1e-20, 1e300], [4, 0, 1e-19, -1e280], 4, 1, 1)
OPPOSITE = tuples_of([1, -1, 1, 1, 2, 1], [1, 1, 0, 0, 1, -2], 3, 2, 1)
THREE = tuples_of(
    [1, 2, 4, 1, 0, 0, 3, -1, 5, 2, 1, 1], [2, 1, 1, 3, 0, 0.5, 1, 1, -4, 2, 7, 1], 2, 3, 2
)
SEVERAL = tuples_of([1, 2, 4, 1, 0, 0, 3, -1, 5, 2, 1, 1], [2, 1, 0, 1, -4, 2], 2, 3, 2)
LONG = tuples_of([1e200, 1, 3e38, 1, 1e-200, 1], [1, 1e150, 1, 2, 1e-200, 1], 3, 2, 1)
# Three equal eigenvalues, whose computed mean is larger than each because it is rounded.
ALIKE = tuples_of([2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0], [0, 0, 0, 2], 1, 4, 3)
MISSING = tuples_of([NAN, 2, 1, 2, 3, 4], [1, 1, 1, INF, 1, 1], 3, 2, 1)
MISSING_SHARED = tuples_of([NAN, 2, 1, 2, 3, 4, 5, 6], [1, 1, 1, 1], 2, 2, 2)


def weights_of(case: Tuples, *rows: Sequence[float]) -> Array:
    return Array(tuple(float(w) for row in rows for w in row), case[0].shape[:2])


@st.composite
def weighted(draw: st.DrawFn) -> tuple[Array, Array, Array | None]:
    rows, members = draw(st.integers(1, 2)), draw(st.integers(1, 4))
    P, Q = draw(tuples(rows, members, singular=draw(st.booleans())))
    number = st.sampled_from([0.0, 1.0, 2.0, 1e-310, 1e308]) | st.floats(0.0, 8.0)
    drawn = lists(number.map(lambda w: rounded(w, P.dtype)), (rows, members))
    weights = draw(st.none() | drawn.map(lambda w: Array(tuple(w), (rows, members), P.dtype)))
    return P, Q, weights


@given(weighted(), st.sampled_from([NAN, INF, 1e38, 0.0]))
@example((*ONE, None), NAN)
@example((*ONE, weights_of(ONE, *[[0]] * 4)), NAN)
@example((*OPPOSITE, None), NAN)
@example((*OPPOSITE, weights_of(OPPOSITE, [1, 3], [0.5, 0], [2, 2])), NAN)
@example((*THREE, None), INF)
@example((*THREE, weights_of(THREE, [1, 2, 4], [0, 1e-300, 0])), INF)
@example((*SEVERAL, None), INF)
@example((*SEVERAL, weights_of(SEVERAL, [1, 2, 4], [0, 0, 0])), -INF)
@example((*ALIKE, None), NAN)
@example((*LONG, None), NAN)
@example((*LONG, weights_of(LONG, [1e308, 1e308], [1e-310, 2e-310], [0, 0])), NAN)
@example((*MISSING, weights_of(MISSING, [1, 1], [1, 0], [1, 2])), NAN)
@example((*MISSING, weights_of(MISSING, [1e-310, 1e308], [1, 1], [1, 1])), NAN)
@example((*MISSING_SHARED, None), 0.0)
@settings(max_examples=50)
def test_LIK_12_mixture(
    subject: Mixtures, case: tuple[Array, Array, Array | None], poison: float
) -> None:
    assert_clause("LIK-12", subject, *case, poison)


def fit_of(
    P: Sequence[float],
    Q: Sequence[float],
    y: Sequence[float],
    *shape: int,
    upper: Sequence[float] = (),
    dtype: str = "float32",
    **options: object,
) -> Fit:
    p, q = tuples_of(P, Q, *shape, dtype=dtype)
    lower, high = (Array(tuple(map(float, v)), shape, dtype) for v in (y, upper))
    return Fit(p, q, lower, high if upper else None, **options)  # type: ignore[arg-type]


NEAR, AT = [3, 4, 10, 0, 1, 2], [1, 2, 5, 0.25, 0, 2]
EXACT = fit_of(NEAR, AT, [2, 2, 1, -INF, INF, 0], 3, 2)
ARCS = fit_of(NEAR, AT, [2, -INF, 1, -INF, INF, 1], 3, 2, upper=[INF, 2, 1, INF, INF, 3])
JOINT = fit_of(NEAR, AT[:3], [2, 2, 1, -INF, INF, 0], 3, 2)
HALF = Array((0.5,), (), "float32")


@given(st.data())
@settings(max_examples=25)
def test_LIK_13_drawn(subject: LikelihoodFits, data: st.DataObject) -> None:
    (P, Q), resolution = data.draw(tuples(2)), st.none() | st.floats(0.0, 2.0)
    number = st.floats(-8.0, 8.0, width=16) | st.sampled_from([INF, -INF])
    lower, more = data.draw(lists(number, P.shape)), data.draw(lists(number.map(abs), P.shape))
    upper = tuple(low + step for low, step in zip(lower, more, strict=True))
    arcs = P.shape == Q.shape and not any(map(math.isnan, upper)) and data.draw(st.booleans())
    ends = P.with_values(lower), P.with_values(upper) if arcs else None
    assert_clause("LIK-13", subject, Fit(P, Q, *ends, data.draw(resolution), data.draw(resolution)))


@pytest.mark.parametrize("configured", [None, 0.0, 0.25])
@pytest.mark.parametrize("given", [None, 0.125, HALF])
@pytest.mark.parametrize("case", [EXACT, ARCS, JOINT], ids=["exact", "arcs", "joint"])
def test_LIK_13_fits(
    subject: LikelihoodFits, case: Fit, configured: float | None, given: float | Array | None
) -> None:
    parts = case.P, case.Q, case.lower, case.upper
    assert_clause("LIK-13", subject, Fit(*parts, configured, given))


ends = st.none() | st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 3.0))
named = st.dictionaries(st.sampled_from(["resolution", "margin"]), st.floats(0.0, 1.0))


@given(st.sampled_from(["likelihood", "chordal"]), st.integers(1, 9), ends, named, named)
@example("likelihood", 10, None, {}, {})
@example("likelihood", 9, (1.5, 0.25), {}, {})
@example("likelihood", 3, None, {"margin": 0.5}, {})
@example("likelihood", 2, None, {"resolution": 0.5}, {})
@example("likelihood", 2, None, {"resolution": 0.5}, {"resolution": 0.125, "margin": 0.5})
@example("chordal", 3, None, {}, {})
@example("chordal", 2, None, {"margin": 0.5}, {})
@settings(max_examples=25)
def test_CUR_3_narrows(
    subject: LikelihoodFits, fit: str, epochs: int, ends: tuple[float, float] | None,
    fixed: Mapping[str, float], curriculum: Mapping[str, float],
) -> None:  # fmt: skip
    assert_clause("CUR-3", subject, fit, epochs, ends, fixed, curriculum)


@pytest.mark.parametrize("ends", [(-0.5, 0.1), (0.5, -0.1), (NAN, 0.1), (0.5, INF)])
def test_CUR_3_refuses(subject: LikelihoodFits, ends: tuple[float, float]) -> None:
    assert_clause("CUR-3", subject, "likelihood", 2, ends, {}, {})
