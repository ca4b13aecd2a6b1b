"""STOP: the early stop on coverage."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.plans import LOW, VARIED, interrupted, patiences, plans, shared_by, thresholds
from spec.ranks import Distributes
from spec.runs import MicroBatch, Plan, Trains
from spec.stopping import Stops

Coverages = list[float | None]


@st.composite
def runs(draw: st.DrawFn) -> tuple[Coverages, float]:
    """Draw coverages, many of them close to a threshold or equal, and the threshold."""
    threshold = draw(thresholds, label="threshold")
    near = [max(threshold - 1e-16, 0.0), threshold, min(threshold + 1e-16, 1.0), 0.0, 1.0, None]
    one = st.one_of(st.sampled_from(near), st.floats(0.0, 1.0))
    return draw(st.lists(one, max_size=12), label="coverages"), threshold


@given(runs(), patiences)
@example(([0.4, 0.4, 0.6, 0.4, 0.4], 0.5), 3)
@example(([0.5, 0.5], 0.5), 1)
@example(([0.4, None, 0.4], 0.5), 2)
def test_STOP_1_counter(subject: Stops, run: tuple[Coverages, float], patience: int) -> None:
    assert_clause("STOP-1", subject, *run, patience)


@given(st.floats(0.1, 1.0), st.integers(2, 5), st.integers(1, 4))
def test_STOP_2_consecutive(subject: Stops, threshold: float, patience: int, rounds: int) -> None:
    assert_clause("STOP-2", subject, threshold, patience, rounds)


BATCHES = tuple((MicroBatch(kinds),) for kinds in ("vvb", "bbv", "bvb", "BVb"))
STOPPING = Plan(BATCHES, threshold=0.5, patience=2, max_nonfinite=1)
FULL = replace(VARIED, epochs=VARIED.epochs * 2, weights=(0.5, 2.0) * 2, accumulation=2)


@given(plans(faulty=True, stops=True))
@example(STOPPING)
@example(replace(STOPPING, epochs=(BATCHES[1], (MicroBatch("BV"),), BATCHES[1], BATCHES[0])))
@example(FULL)
@example(replace(FULL, validation=BATCHES[0]))
@example(Plan(((MicroBatch("vvv"), MicroBatch("b")),) * 2, threshold=0.5))
def test_STOP_3_like_the_automaton(subject: Trains, plan: Plan) -> None:
    assert_clause("STOP-3", subject, plan)


@settings(max_examples=10)
@given(plans(stops=True), st.integers(2, 3))
@example(Plan(((MicroBatch("vb"),),) * 3, threshold=0.75, patience=1), 2)
@example(Plan(((MicroBatch("bv"),),) * 3, threshold=0.25, patience=1), 2)
def test_STOP_4_every_rank(subject: Distributes, plan: Plan, ranks: int) -> None:
    assert_clause("STOP-4", subject, shared_by(plan, ranks), ranks)


@given(interrupted(plans(stops=True), at_ends=True))
@example(LOW)
@example(replace(LOW, epochs=LOW.epochs * 2, interrupts=(3,)))
@settings(max_examples=25)
def test_STOP_5_survives(subject: Trains, plan: Plan) -> None:
    assert_clause("STOP-5", subject, plan)
