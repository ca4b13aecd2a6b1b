"""LOSS: each loss, what all of them owe to arithmetic, and their sum."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.problems import (
    batches,
    extreme_problems,
    flags,
    goals,
    lost,
    middling_problems,
    options,
    problem,
    problems,
    samples,
)
from properties.strategies import dtypes, taus, with_drawn
from spec import Array
from spec.losses import GAMMA, Case, Losses
from spec.squares import Squares
from spec.training_loss import TERMS, Batch, Options, TrainingLosses
from spec.vectors import measures

HARD = [problem(rows) for rows in measures.HARD["float32"]]
# At every size of SAME_LINE sin² is 0.1, and the implicit loss rewards the smallest. Next to the
# larger part of LOPSIDED's target the smaller one underflows.
FAR, NEARLY_ORTHOGONAL, NEARLY_OPPOSITE, SAME_LINE, AT_CEILING, BEYOND, LOPSIDED, DENOMINATORS = (
    HARD
)

gammas = st.one_of(st.sampled_from([GAMMA, 1e-3, 1.0]), st.floats(1e-30, 1e30))
thresholds = st.one_of(taus(), st.floats(0.0, 1e18), st.sampled_from([1e18, 1e20, 1e38, 1e300]))


@given(problems(), gammas)
@example(FAR, GAMMA)
@example(SAME_LINE, GAMMA)
@example(AT_CEILING, GAMMA)
@example(BEYOND, GAMMA)
@example(LOPSIDED, GAMMA)
def test_LOSS_1_implicit(subject: Losses, case: Case, gamma: float) -> None:
    assert_clause("LOSS-1", subject, case, gamma)


@given(problems())
@example(FAR)
@example(NEARLY_ORTHOGONAL)
@example(SAME_LINE)
def test_LOSS_2_chordal(subject: Losses, case: Case) -> None:
    assert_clause("LOSS-2", subject, case)


@given(problems(), thresholds)
@example(DENOMINATORS, 1e18)
@example(DENOMINATORS, 1e20)
@example(DENOMINATORS, 1e38)
@example(DENOMINATORS, 1e300)
@example(problem([(0.0, 0.0, 0.0, 1.0)]), 1e300)
@example(problem([(1.0, 0.25, 1.0, 1.0), (1.0, 0.25, 1.0, 0.0)]), 0.5)
def test_LOSS_3_margin(subject: Losses, case: Case, tau: float) -> None:
    assert_clause("LOSS-3", subject, case, tau)


@given(with_drawn(problems(), flags))
@example((NEARLY_OPPOSITE, Array.of([True] * 3, "bool")))
def test_LOSS_4_sign(subject: Losses, drawn: tuple[Case, Array]) -> None:
    assert_clause("LOSS-4", subject, *drawn)


def _tuples(P: list[float], Q: list[float], shape: tuple[int, ...], dtype: str = "float32") -> Case:
    p, q = (Array(tuple(x), shape, dtype) for x in (P, Q))
    return p, q, Array.full(1.0, p), Array.full(1.0, p)


NOT_FINITE = _tuples(
    [math.nan, 1.0, -math.inf, 1.0, 1.0], [1.0, math.nan, 1.0, -math.inf, 0.0], (5,)
)
OVERFLOWING = _tuples([1e38, -1e38, 1.0], [1e-3, -1e-3, 1.0], (3,))
HALF_OVERFLOWING = _tuples([65504.0, 1.0], [2.0**-4, 1.0], (2,), "float16")


@given(samples(dtypes), taus(), goals)
@example(HALF_OVERFLOWING, 0.05, 1.0)
@example(_tuples([1.0] * 3, [0.0, 1.0, 1.0], (3,)), 1e-50, 1.0)
@example(_tuples([1.0] * 3, [0.0, 1.0, 1.0], (3,)), 1e20, 1.0)
@example(_tuples([1.0] * 3, [0.0, 1.0, 1.0], (3,)), 1e300, 1.0)
@example(_tuples([0.0] * 2, [0.0, 16777220.0], (2,)), 16777219.0, 0.0625)
@example(_tuples([1.0] * 2, [0.0, -0.0], (2,)), 0.1, 1.0)
@example(_tuples([1.0] * 2, [0.0, -0.0], (2,)), 0.0, 1.0)
@example(_tuples([1.0] * 4, [0.0, 1.0, 1.0, 1.0], (2, 2)), 0.1, 1.0)
@example(_tuples([1.0] * 4, [0.0, 0.0, 1.0, 1.0], (2, 2)), 0.1, 1.0)
@example(NOT_FINITE, 0.1, 0.95)
@example(OVERFLOWING, 1e-4, 1.0)
def test_LOSS_5_rejection(subject: Losses, case: Case, tau: float, goal: float) -> None:
    assert_clause("LOSS-5", subject, case, tau, goal)


# Of each term something: a margin, a sign, a rejection; the last target has none.
BATCH = Array.of([1.0, -1.0, 1.0]), Array.of([0.25, 0.0, 0.3]), Array.of([2.0, math.inf, math.nan])
LOST = Array.of([1.0, math.nan, 1.0]), Array.of([1.0, 1.0, 0.25]), Array.of([2.0, 1.0, math.inf])
PLAIN: Options = {"fit": "chordal", "tau": 0.5, "goal": 0.5, "weights": None, "given": {}}
HALF = Array((0.5,), (), "float32")
STEEP = (*_tuples([0.0] * 3, [0.0, 1e15, 0.0], (3,))[:2], Array.of([math.inf] * 3, "float32"))
WEIGHTY: Options = {**PLAIN, "fit": "implicit", "given": {"fit": 8.0}}  # overflows on the way back
BESIDE = Array.of([0.0, 0.0]), Array.of([0.0, math.nan]), Array.of([1.0, math.nan])  # no margin's
ONLY_MARGIN: Options = {**PLAIN, "given": {"fit": 0.0, "sign": 0.0, "rejection": 0.0}}


# Of which the first quotient is a number in float32 only.
P32, Q32, Y32 = (Array.of(x, "float32") for x in ([1.0, 2.0], [0.25, 1.0], [2.0, 1.0]))
P16, Q16, Y16 = (Array.of(x, "float16") for x in ([6e4, 1.0], [0.5, 1.0], [1.0, 1.0]))


@settings(max_examples=25)
@given(lost())
@example((LOST, {**PLAIN, "given": {"fit": 0.0}}))
@example((BESIDE, ONLY_MARGIN))
def test_LOSS_6_dropped_terms(subject: TrainingLosses, drawn: tuple[Batch, Options]) -> None:
    assert_clause("LOSS-6", subject, *drawn)


@given(batches(), options())
@example(BATCH, PLAIN)
@example(BATCH, {**PLAIN, "weights": {"margin": 2.0, "sign": 0.5, "rejection": 1.0}})
@example(BATCH, {**PLAIN, "fit": "implicit", "given": {"margin": 3.0, "fit": 0.25}})
@example(BATCH, {**PLAIN, "tau": HALF, "given": {"sign": HALF, "rejection": HALF}})
@example((P32, Q32, Y32), {**PLAIN, "tau": Array((2.0**100,), (), "float32")})
@example((P16, Q16, Y16), {**PLAIN, "goal": 1.0})
@example(BATCH, {**PLAIN, "bare": True})
@example(BATCH, {**PLAIN, "tau": 0.01, "bare": True})
@example(STEEP, WEIGHTY)
def test_LOSS_6_training_loss(subject: TrainingLosses, batch: Batch, made: Options) -> None:
    assert_clause("LOSS-6", subject, batch, made)


DECODED = problem([(1.0, 0.25, 2.0, 1.0), (1.0, 0.0, 1.0, 1.0), (-6.0, 2.0, -1.0, 0.0),
                   (3.0, -1.0, 0.5, 1.0)])  # fmt: skip
MIXED = _tuples([math.nan, 1e38, 2.0, 1.0], [1.0, 1e-3, 2.0, 0.01], (4,))
HUGE = (
    problem([(2.0**-960, 2.0**-1000, 2.0**40, 1.0)], "float64"),
    problem([(1.0, 1.0, 1e200, 1e-200), (1.0, 1.0, -1e308, 1.0)], "float64"),
    problem([(1.0, 1e-30, 1.0, 1.0), (-3e38, 1.0, 3e38, 1.0)]),
    problem([(0.0, 3.0, 1.0, 1.2e-38)], "bfloat16"),
    problem([(1.0, 1.0, 2e19, 1.0)]),  # capped, with a gradient that float32 holds
    problem([(65504.0, 0.0625, 1.0, 1.0), (1.0, 2.0, 3.0, 1.0)], "float16"),
)
MASK = Array.of([True, True, False, True], "bool")


@given(
    st.one_of(
        problems(dtypes, lifted=True), problems(dtypes), middling_problems(), extreme_problems()
    ),
    st.one_of(st.just(0.0), taus()), st.data(), st.sampled_from([math.nan, -math.inf, 1e38]),
)  # fmt: skip
def test_LOSS_18_squares(
    subject: Squares, case: Case, tau: float, data: st.DataObject, poison: float
) -> None:
    mask = data.draw(st.none() | flags(case), label="mask")
    assert_clause("LOSS-18", subject, case, tau, mask, poison)


@pytest.mark.parametrize("mask", [None, MASK, Array.of([False] * 4, "bool")], ids=str)
@pytest.mark.parametrize("tau", [0.0, 0.1, 2.0])
@pytest.mark.parametrize("case", [DECODED, MIXED, FAR, BEYOND, *HUGE])
def test_LOSS_18_mixed(subject: Squares, case: Case, tau: float, mask: Array | None) -> None:
    mask = mask if mask and mask.shape == case[0].shape else None
    assert_clause("LOSS-18", subject, case, tau, mask, math.nan)


factors = st.one_of(st.integers(-3, 3).map(lambda k: 2.0**k), st.floats(1e-6, 1e6))
signs = st.sampled_from([1.0, -1.0])


@given(middling_problems(), factors, factors, signs, signs)
@example(problem([(3.0, 1.0, 2.0, 1.0)]), 3.0, 1.0, 1.0, -1.0)
def test_LOSS_14_invariant(
    subject: Losses, case: Case, ours: float, theirs: float, sign: float, other: float
) -> None:
    assert_clause("LOSS-14", subject, case, sign * ours, other * theirs)


@given(problems())
@example(FAR)
@example(problem([(1.0, 1.0, 1.0, 0.0), (-2.0, 2.0, 0.0, 1.0)]))
def test_LOSS_15_turns(subject: Losses, case: Case) -> None:
    assert_clause("LOSS-15", subject, case)


OPTIONS: list[dict[str, Any]] = [
    {"weights": {"margin": -0.5}}, {"weights": {"sign": math.nan}},
    {"weights": {"rejection": math.inf}}, {"goal": 1.5}, {"goal": -0.25}, {"goal": math.nan},
    {"fit": "sign"}, {"fit": "Chordal"}, {"fit": ""},
    *({"tau": tau, "bare": True} for tau in (-0.5, math.nan, math.inf)),
]  # fmt: skip


@settings(max_examples=25)
@given(batches(), options(), st.text(max_size=6).filter(lambda name: name not in TERMS))
@example(BATCH, PLAIN, "lambda_margin")
def test_LOSS_16_known_names(
    subject: TrainingLosses, batch: Batch, made: Options, name: str
) -> None:
    assert_clause("LOSS-16", subject, batch, {**made, "given": {**made["given"], name: 1.0}})


@pytest.mark.parametrize("shape", [(3, 1), (1, 3), (1,), (2,), ()])
def test_LOSS_16_shapes(subject: TrainingLosses, shape: tuple[int, ...]) -> None:
    P, Q, _, _ = DENOMINATORS
    y = Array((1.0,) * math.prod(shape), shape, P.dtype)
    for fit in ("chordal", "implicit"):
        assert_clause("LOSS-16", subject, (P, Q, y), {**PLAIN, "fit": fit})


@pytest.mark.parametrize("changed", OPTIONS, ids=str)
def test_LOSS_16_settings(subject: TrainingLosses, changed: dict[str, Any]) -> None:
    assert_clause("LOSS-16", subject, BATCH, {**PLAIN, **changed})
