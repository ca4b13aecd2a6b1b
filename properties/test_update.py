"""ACC and STEP: micro-batches that share an optimizer step."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.plans import FALLING, VARIED, plans
from spec.runs import MicroBatch, Plan, Trains
from spec.update import UNTRAINABLE, Updates


def sized(*sizes: int) -> tuple[MicroBatch, ...]:
    """Return an epoch of micro-batches of these sizes, with slopes that differ."""
    return tuple(MicroBatch("v" * n, Fraction(i + 1)) for i, n in enumerate(sizes))


def single(plan: Plan) -> Plan:
    """Return a plan of one sample a micro-batch, and of one parameter: no weights are tried."""
    epochs = tuple(tuple(replace(b, samples=b.samples[:1]) for b in e) for e in plan.epochs)
    return replace(plan, epochs=epochs, own_parameter=False)


def faulted(*kinds: str) -> tuple[MicroBatch, ...]:
    """Return an epoch of micro-batches, some with a fault."""
    return tuple(MicroBatch("vv", Fraction(1), fault) for fault in kinds)  # type: ignore[arg-type]


@given(plans(faulty=True))
@example(Plan((sized(5, 1, 1, 3, 2),) * 2, accumulation=4, own_parameter=True))
@example(Plan((sized(5, 1, 1),), accumulation=2))
def test_ACC_1_equivalence(subject: Trains, plan: Plan) -> None:
    assert_clause("ACC-1", subject, plan)


@given(st.lists(st.integers(1, 6), min_size=2, max_size=4))
def test_ACC_1_of_one_window(subject: Trains, sizes: list[int]) -> None:
    assert_clause("ACC-1", subject, Plan((sized(*sizes),), accumulation=len(sizes)))


@given(st.integers(1, 6), st.integers(1, 4))
def test_ACC_1_of_equal_micro_batches(subject: Trains, size: int, count: int) -> None:
    epoch = sized(*[size] * count)
    assert_clause("ACC-1", subject, Plan((epoch,), accumulation=count, own_parameter=True))


@given(plans())
@example(Plan((sized(1, 1, 1),) * 2, accumulation=2))
def test_ACC_2_whole_epochs(subject: Trains, plan: Plan) -> None:
    assert_clause("ACC-2", subject, single(plan))


@given(st.integers(1, 5))
def test_ACC_2_of_short_windows(subject: Trains, count: int) -> None:
    assert_clause("ACC-2", subject, Plan((sized(*[1] * count),) * 2, accumulation=2))


@given(plans())
@example(Plan((sized(3, 1, 1),), accumulation=3))
def test_ACC_3_own_losses(subject: Trains, plan: Plan) -> None:
    assert_clause("ACC-3", subject, plan)


@given(plans(clipped=True), st.integers(1, 3))
@example(Plan((sized(5, 1, 1, 3, 2),) * 2, accumulation=4, max_norm=0.5, own_parameter=True), 2)
@settings(max_examples=50)
def test_STEP_1_order(subject: Updates, plan: Plan, micro_batches: int) -> None:
    assert_clause("STEP-1", subject, plan, micro_batches)


@given(plans(faulty=True))
@example(Plan((faulted("", "loss", "", "gradient"),) * 2))
def test_STEP_2_applied(subject: Trains, plan: Plan) -> None:
    assert_clause("STEP-2", subject, plan)


@given(plans(faulty=True))
@example(Plan((faulted("loss", "", "loss", "gradient"),) * 2, accumulation=2, max_nonfinite=2))
@example(Plan((faulted("", "gradient", "loss", ""),), max_nonfinite=3))
@example(Plan((faulted("", "loss"), faulted("gradient", "")), max_nonfinite=2))
@example(replace(VARIED, accumulation=2))
@example(FALLING)
def test_STEP_3_faults(subject: Trains, plan: Plan) -> None:
    assert_clause("STEP-3", subject, plan)


@pytest.mark.parametrize("fault", ["loss", "gradient"])
def test_STEP_3_of_one_micro_batch(subject: Trains, fault: str) -> None:
    assert_clause("STEP-3", subject, Plan((faulted(fault),), max_nonfinite=2))


def test_STEP_4_no_wait(subject: Updates) -> None:
    assert_clause("STEP-4", subject, 100)


@pytest.mark.parametrize("case", UNTRAINABLE)
def test_STEP_5_trains(subject: Updates, case: str) -> None:
    assert_clause("STEP-5", subject, case)


@given(st.lists(st.integers(-8, 8).map(lambda k: k / 4), min_size=1, max_size=6))
@example([1.0, 0.5, 0.25, 0.125])
@example([0.5, 0.5, 1.0])
@settings(max_examples=30)
def test_STEP_7_watched(subject: Updates, losses: list[float]) -> None:
    assert_clause("STEP-7", subject, losses)


# Few, since each is compiled.
@pytest.mark.parametrize("plan", [VARIED, replace(VARIED, accumulation=2, max_norm=0.25)])
def test_STEP_6_compiled(subject: Updates, plan: Plan) -> None:
    assert_clause("STEP-6", subject, plan)
