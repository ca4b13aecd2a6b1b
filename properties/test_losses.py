"""LOSS: each loss, what all of them owe to arithmetic, and their sum."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.formats import values_of
from properties.problems import (
    batches,
    extreme_problems,
    flags,
    goals,
    lost,
    middling_problems,
    options,
    other_shapes,
    problem,
    problems,
    problems_without_tuples,
    samples,
    singular_problems,
)
from properties.strategies import dtypes, several, shapes, taus, wide_dtypes
from properties.subjects.exact import Exact
from properties.subjects.variants import Waiting
from properties.subjects.zeroproof import ZeroProof
from spec import Array
from spec.losses import GAMMA, GOAL, LOSSES, Case, Losses
from spec.training_loss import TERMS, Batch, Options, TrainingLosses

FAR = problem([(1e-25, 1e-25, 1e30, 1.0)])
NEARLY_ORTHOGONAL = problem(
    [(-1.1746141910552979, -2.851872205734253, -0.9041687846183777, 0.37200161814689636)]
)
NEARLY_OPPOSITE = problem([(-1.0, 0.0, 1.0, 0.0), (-1.0, 1e-4, 1.0, 0.0), (-1.0, 3e-4, 1.0, 0.0)])
# At every size sin² is 0.1, and the implicit loss rewards the smallest.
SAME_LINE = problem([(size, size, 2.0, 1.0) for size in (1e-30, 1e-6, 1.0, 1e30)])
AT_CEILING = problem([(0.0, 1e15, 1.0, 0.0)])
BEYOND = problem([(1e30, 0.0, 0.0, 1.0), (1e20, -1e20, 1e20, 1e20), (1e-20, 1e-20, 0.0, 1.0)])
# Next to its larger part the target's smaller one underflows.
LOPSIDED = problem([(0.0, 1e-19, 1e33, 1e-10), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 1.0, 0.0)])
DENOMINATORS = problem([(1.0, 0.0, 1.0, 1.0), (1.0, -1.0, 1.0, 1.0), (1.0, 1.0, 1.0, 0.0)])

HARD = (FAR, NEARLY_ORTHOGONAL, NEARLY_OPPOSITE, SAME_LINE, BEYOND, LOPSIDED)

names = st.sampled_from(LOSSES)
fits_and_sign = st.sampled_from(("implicit", "chordal", "sign"))
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


@given(problems(), st.data())
def test_LOSS_4_sign(subject: Losses, case: Case, data: st.DataObject) -> None:
    assert_clause("LOSS-4", subject, case, data.draw(flags(case), label="oriented"))


def test_LOSS_4_nearly_opposite(subject: Losses) -> None:
    assert_clause("LOSS-4", subject, NEARLY_OPPOSITE, Array.of([True] * 3, "bool"))


def _tuples(P: list[float], Q: list[float], shape: tuple[int, ...]) -> Case:
    p, q = (Array(tuple(x), shape, "float32") for x in (P, Q))
    return p, q, Array.full(1.0, p), Array.full(1.0, p)


NOT_FINITE = _tuples(
    [math.nan, 1.0, -math.inf, 1.0, 1.0], [1.0, math.nan, 1.0, -math.inf, 0.0], (5,)
)
OVERFLOWING = _tuples([1e38, -1e38, 1.0], [1e-3, -1e-3, 1.0], (3,))


@given(samples(), taus(), goals)
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


UNORIENTED = Array.of([1.0, -1.0]), Array.of([1.0, 0.25]), Array.of([1.0, math.nan])


PLAIN: Options = {"fit": "chordal", "tau": 0.5, "goal": 0.5, "weights": None, "given": {}}


@given(batches(), options())
@example(UNORIENTED, PLAIN)
def test_LOSS_6_training_loss(subject: TrainingLosses, batch: Batch, made: Options) -> None:
    assert_clause("LOSS-6", subject, batch, made)


LOST = Array.of([1.0, math.nan, 1.0]), Array.of([1.0, 1.0, 0.25]), Array.of([2.0, 1.0, math.inf])


@settings(max_examples=25)
@given(lost())
@example((LOST, {**PLAIN, "given": {"fit": 0.0}}))
def test_LOSS_6_dropped_terms(subject: TrainingLosses, drawn: tuple[Batch, Options]) -> None:
    assert_clause("LOSS-6", subject, *drawn)


POISONS = (math.nan, math.inf, -math.inf, 1e38, 0.0)


@pytest.mark.parametrize("name", LOSSES)
def test_LOSS_7_each_poison(subject: Losses, name: str) -> None:
    for poison in POISONS:
        assert_clause(
            "LOSS-7", subject, name, DENOMINATORS, Array.of([1.0, 0.0, 1.0], "bool"), poison
        )


@given(names, st.one_of(problems(), problems(lifted=True)), st.data(), st.sampled_from(POISONS))
def test_LOSS_7_masks_select(
    subject: Losses, name: str, case: Case, data: st.DataObject, poison: float
) -> None:
    assert_clause("LOSS-7", subject, name, case, data.draw(flags(case), label="mask"), poison)


@given(samples(), st.data(), st.sampled_from(POISONS))
def test_LOSS_7_samples(subject: Losses, case: Case, data: st.DataObject, poison: float) -> None:
    assert_clause(
        "LOSS-7", subject, "rejection", case, data.draw(flags(case), label="mask"), poison
    )


@given(names, problems(dtypes))
@example("implicit", problem([(1e-4, 1.0, 0.0, 1.0)], "float16"))
def test_LOSS_8_wide(subject: Losses, name: str, case: Case) -> None:
    assert_clause("LOSS-8", subject, name, case)


@given(names, st.one_of(problems(dtypes), extreme_problems()), thresholds)
@example("implicit", BEYOND, 0.5)
@example("implicit", problem([(1.0, 1.0, 1e20, 1.0)]), 0.5)
@example("chordal", BEYOND, 0.5)
@example("margin", DENOMINATORS, 1e300)
def test_LOSS_9_finite(subject: Losses, name: str, case: Case, tau: float) -> None:
    assert_clause("LOSS-9", subject, name, case, tau)


@settings(max_examples=25)
@given(names, singular_problems(), thresholds)
def test_LOSS_9_not_finite(subject: Losses, name: str, case: Case, tau: float) -> None:
    assert_clause("LOSS-9", subject, name, case, tau)


@settings(max_examples=25)
@given(st.integers(0, 38))
def test_LOSS_9_of_large_targets(subject: Losses, exponent: int) -> None:
    assert_clause("LOSS-9", subject, "implicit", problem([(1.0, 1.0, 10.0**exponent, 1.0)]), 0.5)


@given(fits_and_sign, problems_without_tuples())
@example("chordal", problem([(0.0, -0.0, 1.0, 0.0)]))
@example("sign", problem([(0.0, -0.0, 1.0, 0.0)]))
def test_LOSS_10_no_tuple(subject: Losses, name: str, case: Case) -> None:
    assert_clause("LOSS-10", subject, name, case)


@given(names, st.one_of(problems(), problems(lifted=True)), st.data(), taus())
def test_LOSS_11_precise(
    subject: Losses, name: str, case: Case, data: st.DataObject, tau: float
) -> None:
    mask = data.draw(st.none() | flags(case), label="mask")
    assert_clause("LOSS-11", subject, name, case, mask, tau)


@pytest.mark.parametrize("case", HARD)
@pytest.mark.parametrize("name", LOSSES)
def test_LOSS_11_precise_where_it_is_hard(subject: Losses, name: str, case: Case) -> None:
    assert_clause("LOSS-11", subject, name, case, None, 0.5)


@given(names, st.one_of(problems(), samples()), st.data())
def test_LOSS_12_shapes(subject: Losses, name: str, case: Case, data: st.DataObject) -> None:
    assert_clause("LOSS-12", subject, name, case, data.draw(other_shapes(case), label="shape"))


@pytest.mark.parametrize("name", LOSSES)
def test_LOSS_12_of_columns(subject: Losses, name: str) -> None:
    assert_clause("LOSS-12", subject, name, problem([(1.0, 1.0, 2.0, 1.0)] * 3), (3, 1))


@given(names, several(4, wide_dtypes, shapes.filter(len), singular=False))
@example("chordal", [Array((1.0,), ())] * 4)
@example("rejection", [Array((), (3, 0))] * 4)
@example("sign", [Array((), (0,))] * 4)
def test_LOSS_13_nothing_counts(subject: Losses, name: str, parts: list[Array]) -> None:
    P, Q, Y_n, Y_d = parts
    assert_clause("LOSS-13", subject, name, (P, Q, Y_n, Y_d))


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
]  # fmt: skip


@settings(max_examples=25)
@given(batches(), options(), st.text(max_size=6).filter(lambda name: name not in TERMS))
@example(UNORIENTED, PLAIN, "lambda_margin")
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
    assert_clause("LOSS-16", subject, UNORIENTED, {**PLAIN, **changed})


@pytest.mark.parametrize("gamma", [0.0, -1e-9, math.nan, -math.inf])
def test_LOSS_17_gamma(subject: Losses, gamma: float) -> None:
    assert_clause("LOSS-17", subject, DENOMINATORS, gamma, GOAL)


@pytest.mark.parametrize("goal", [1.0 + 2**-52, 2.0, -0.25, math.nan, math.inf])
def test_LOSS_17_goal(subject: Losses, goal: float) -> None:
    assert_clause("LOSS-17", subject, DENOMINATORS, GAMMA, goal)


# Not those that a device has no part in.
ON_A_DEVICE: list[Any] = [
    test_LOSS_1_implicit, test_LOSS_2_chordal, test_LOSS_3_margin, test_LOSS_4_sign,
    test_LOSS_5_rejection, test_LOSS_6_training_loss, test_LOSS_6_dropped_terms,
    test_LOSS_7_masks_select, test_LOSS_9_finite, test_LOSS_10_no_tuple, test_LOSS_11_precise,
    test_LOSS_13_nothing_counts,
]  # fmt: skip


@pytest.mark.parametrize("test", ON_A_DEVICE, ids=lambda test: test.__name__)
def test_as_on_a_device(test: Any) -> None:
    """Where ``zeroproof`` reads no number, and computes slopes in the backward."""
    own = test._hypothesis_internal_use_settings
    test._hypothesis_internal_use_settings = settings(own, max_examples=25)
    try:
        test(subject=Waiting())
    finally:
        test._hypothesis_internal_use_settings = own


def _everywhere(subject: object, part: int, others: tuple[float, float, float]) -> Iterator[Case]:
    """Walk chunks of elements in which one part takes every finite number of float16.

    What belongs to this project gets a chunk in each binade, for exact arithmetic takes its time.
    """
    values = [value for value in values_of("float16") if math.isfinite(value)]
    stride = 16 if isinstance(subject, (Exact, ZeroProof)) else 1
    for start in range(0, len(values), 64 * stride):
        chunk = values[start : start + 64]
        columns = [[other] * len(chunk) for other in others]
        columns.insert(part, chunk)
        P, Q, Y_n, Y_d = (Array.of(column, "float32") for column in columns)
        yield P, Q, Y_n, Y_d


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("name", "part", "others"),
    [
        ("chordal", 1, (-2.0, 3.0, 1.0)),
        ("margin", 1, (1.0, 2.0, 1.0)),
        ("sign", 0, (-0.75, 1.0, 0.0)),
    ],
)
def test_LOSS_11_everywhere(
    subject: Losses, name: str, part: int, others: tuple[float, float, float]
) -> None:
    """Value and gradient, over all values of float16 of one part."""
    for case in _everywhere(subject, part, others):
        assert_clause("LOSS-11", subject, name, case, None, 0.5)


@pytest.mark.exhaustive
def test_LOSS_11_orientations_everywhere(subject: Losses) -> None:
    """Finite, oriented and unoriented targets in turn, over all numerators of float16."""
    for P, Q, Y_n, Y_d in _everywhere(subject, 0, (-0.75, 1.0, 0.0)):
        turns = range(len(P.values))
        targets = [(-1.0, 0.0, 1.0, 3.0, 1.0)[i % 5] for i in turns]
        finite = Y_d.with_values([float(target not in (1.0, -1.0)) for target in targets])
        oriented = Array.of([i % 5 != 4 for i in turns], "bool")
        assert_clause(
            "LOSS-11", subject, "sign", (P, Q, Y_n.with_values(targets), finite), oriented, 0.5
        )


@pytest.mark.exhaustive
def test_LOSS_8_everywhere(subject: Losses) -> None:
    """Half precision counts as its float32, over all values of float16 of one part."""
    for case in _everywhere(subject, 1, (-0.75, 3.0, 1.0)):
        P, Q, Y_n, Y_d = (Array.of(x.values, "float16") for x in case)
        assert_clause("LOSS-8", subject, "margin", (P, Q, Y_n, Y_d))
