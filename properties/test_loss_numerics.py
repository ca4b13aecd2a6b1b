"""LOSS: what all losses owe to arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.formats import values_of
from properties.problems import (
    extreme_problems,
    flags,
    middling_problems,
    other_shapes,
    problem,
    problems,
    problems_without_tuples,
    samples,
    singular_problems,
)
from properties.strategies import dtypes, several, shapes, taus, wide_dtypes
from properties.subjects.exact import Exact
from properties.subjects.zeroproof import ZeroProof
from properties.test_losses import BEYOND, DENOMINATORS, HARD, thresholds
from spec import Array
from spec.loss_numerics import Differentiates
from spec.losses import GAMMA, GOAL, LOSSES, Case, Losses

names = st.sampled_from(LOSSES)
fits_and_sign = st.sampled_from(("implicit", "chordal", "sign"))
POISONS = (math.nan, math.inf, -math.inf, 1e38, 0.0)


@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("name", LOSSES)
def test_LOSS_7_each_poison(subject: Losses, name: str, poison: float) -> None:
    mask = Array.of([1.0, 0.0, 1.0], "bool")
    assert_clause("LOSS-7", subject, name, DENOMINATORS, mask, poison)


@given(names, st.one_of(problems(), problems(lifted=True)), st.data(), st.sampled_from(POISONS))
def test_LOSS_7_masks_select(
    subject: Losses, name: str, case: Case, data: st.DataObject, poison: float
) -> None:
    assert_clause("LOSS-7", subject, name, case, data.draw(flags(case), label="mask"), poison)


def test_LOSS_7_partly_masked_sample(subject: Losses) -> None:
    P, mask = Array((1.0,) * 4, (2, 2)), Array((True, False, True, True), (2, 2), "bool")
    Q = P.with_values([0.0, 1.0, 1.0, 1.0])
    assert_clause("LOSS-7", subject, "rejection", (P, Q, P, P), mask, 0.5)


@given(samples(), st.data(), st.sampled_from(POISONS))
def test_LOSS_7_samples(subject: Losses, case: Case, data: st.DataObject, poison: float) -> None:
    mask = data.draw(flags(case), label="mask")
    assert_clause("LOSS-7", subject, "rejection", case, mask, poison)


@given(names, problems(dtypes))
@example("implicit", problem([(1e-4, 1.0, 0.0, 1.0)], "float16"))
def test_LOSS_8_wide(subject: Losses, name: str, case: Case) -> None:
    assert_clause("LOSS-8", subject, name, case)


@given(names, st.one_of(problems(dtypes), extreme_problems()), thresholds)
@example("implicit", BEYOND, 0.5)
@example("implicit", problem([(1.0, 1.0, 1e20, 1.0)]), 0.5)
@example("chordal", BEYOND, 0.5)
@example("margin", DENOMINATORS, 1e300)
@example("chordal", problem([(1e-37, 1e-37, 0.0, 1.0)]), 0.5)
def test_LOSS_9_finite(subject: Losses, name: str, case: Case, tau: float) -> None:
    assert_clause("LOSS-9", subject, name, case, tau)


@settings(max_examples=25)
@given(names, singular_problems(), thresholds)
def test_LOSS_9_not_finite(subject: Losses, name: str, case: Case, tau: float) -> None:
    assert_clause("LOSS-9", subject, name, case, tau)


@pytest.mark.parametrize("target", [10.0**exponent for exponent in range(39)])
def test_LOSS_9_of_large_targets(subject: Losses, target: float) -> None:
    assert_clause("LOSS-9", subject, "implicit", problem([(1.0, 1.0, target, 1.0)]), 0.5)


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
    assert_clause("LOSS-13", subject, name, tuple(parts))


WRONG = [(gamma, GOAL) for gamma in (0.0, -1e-9, math.nan, -math.inf)]
WRONG += [(GAMMA, goal) for goal in (1.0 + 2**-52, 2.0, -0.25, math.nan, math.inf)]


@pytest.mark.parametrize(("gamma", "goal"), WRONG)
def test_LOSS_17_settings(subject: Losses, gamma: float, goal: float) -> None:
    assert_clause("LOSS-17", subject, DENOMINATORS, gamma, goal)


@given(st.sampled_from(["chordal", "sign"]), middling_problems())
@example("chordal", problem([(3.0, 1.0, 2.0, 1.0), (0.0, 0.0, 2.0, 1.0)]))
def test_LOSS_19_differentiable(subject: Differentiates, name: str, case: Case) -> None:
    assert_clause("LOSS-19", subject, name, case)


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
        finite = [float(target not in (1.0, -1.0)) for target in targets]
        case = P, Q, Y_n.with_values(targets), Y_d.with_values(finite)
        oriented = Array.of([i % 5 != 4 for i in turns], "bool")
        assert_clause("LOSS-11", subject, "sign", case, oriented, 0.5)


@pytest.mark.exhaustive
def test_LOSS_8_everywhere(subject: Losses) -> None:
    """Half precision counts as its float32, over all values of float16 of one part."""
    for case in _everywhere(subject, 1, (-0.75, 3.0, 1.0)):
        halves = tuple(Array.of(x.values, "float16") for x in case)
        assert_clause("LOSS-8", subject, "margin", halves)
