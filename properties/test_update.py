"""ACC and STEP: micro-batches that share an optimizer step."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.plans import FALLING, VARIED, plans
from spec.compiling import Compiles
from spec.options import OPTIONS, Configures, Equips, Outcome, Tensors
from spec.runs import MicroBatch, Plan, Trains
from spec.schedules import Schedules
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


unequal = st.lists(st.integers(1, 6), min_size=2, max_size=4)
equal = st.builds(lambda size, count: [size] * count, st.integers(1, 6), st.integers(1, 4))


@given(unequal | equal, st.booleans())
def test_ACC_1_of_one_window(subject: Trains, sizes: list[int], own: bool) -> None:
    plan = Plan((sized(*sizes),), accumulation=len(sizes), own_parameter=own)
    assert_clause("ACC-1", subject, plan)


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
@example(replace(FALLING, own_parameter=True))
@example(replace(FALLING, epochs=(*FALLING.epochs, faulted("loss", "loss")), max_nonfinite=2))
@example(replace(FALLING, epochs=(faulted("", "loss", "overflow", "loss"),), max_nonfinite=2))
@example(replace(FALLING, epochs=(faulted("", *["flood"] * 130),), max_nonfinite=2))
@example(Plan((faulted("loss"),), max_nonfinite=2))
@example(Plan((faulted("gradient"),), max_nonfinite=2))
def test_STEP_3_faults(subject: Trains, plan: Plan) -> None:
    assert_clause("STEP-3", subject, plan)


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


@pytest.mark.parametrize("cadence", ["epoch", "validation"])
def test_STEP_12_cadence(subject: Updates, cadence: str) -> None:
    plan = replace(VARIED, accumulation=2, validation=(MicroBatch("vb"),), cadence=cadence)
    assert_clause("STEP-12", subject, plan)


@pytest.mark.parametrize("cadence", ["update", "epoch", "validation"])
@pytest.mark.parametrize(("batches", "accumulation"), [(5, 2), (4, 2), (3, 5)])
def test_STEP_10_planned(subject: Schedules, cadence: str, batches: int, accumulation: int) -> None:
    epochs = (sized(*[1] * batches),) * 2
    assert_clause("STEP-10", subject, Plan(epochs, accumulation, cadence=cadence))


@pytest.mark.parametrize("option", OPTIONS)
def test_STEP_11_configuration(subject: Configures, option: str) -> None:
    assert_clause("STEP-11", subject, option)


def test_STEP_13_batches(subject: Configures) -> None:
    assert_clause("STEP-13", subject)


# Few, since each is compiled; a window of two is applied once its optimizer has a state.
WINDOWS = tuple((first, last, fault, first) for first, fault, last in VARIED.epochs)
SHARED = replace(VARIED, epochs=WINDOWS, accumulation=2, max_norm=0.25)


@pytest.mark.parametrize("plan", [VARIED, SHARED, None])
def test_STEP_6_compiled(subject: Compiles, plan: Plan | None) -> None:
    assert_clause("STEP-6", subject, plan)


LONG_RUN: list[tuple[Outcome, int]] = [("applied", 1500), ("fault", 1), ("applied", 499)]
LONG_RUN += [("applied", 1), ("overflow", 2), ("applied", 1999), ("overflow", 1), ("applied", 4001)]
outcomes = st.tuples(st.sampled_from(["applied", "overflow", "fault"]), st.integers(1, 30))


@given(st.lists(outcomes, max_size=6))
@example(LONG_RUN)
@example([("overflow", 20), ("applied", 2000)])
@settings(max_examples=20)
def test_AMP_6_loss_scale(subject: Equips, outcomes: list[tuple[Outcome, int]]) -> None:
    assert_clause("AMP-6", subject, outcomes)


OWN = Plan((sized(3, 1, 2),) * 2, accumulation=2, own_parameter=True, weights=(0.5, 2.0))


@given(plans(clipped=True))
@example(replace(OWN, max_norm=0.125, momentum=0.5))
@example(replace(OWN, epochs=OWN.epochs[:1], max_norm=0.125))
@example(OWN)
@settings(max_examples=20)
def test_STEP_14_closures(subject: Equips, plan: Plan) -> None:
    assert_clause("STEP-14", subject, replace(plan, max_nonfinite=100))


@pytest.mark.parametrize("done", [0, 1, 3])
@pytest.mark.parametrize("options", [{"seed": 7}, {"shuffle": False}, {"drop_last": True}, {}])
def test_STEP_15_tensor_batches(subject: Equips, options: dict[str, Any], done: int) -> None:
    assert_clause("STEP-15", subject, Tensors(21, 21, 5, **options), 3, done)


@given(
    st.sampled_from(["linear", "geometric"]),
    st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)),
    st.just(()) | st.tuples(st.integers(0, 9), st.integers(1, 9)).map(lambda p: (p[0], sum(p))),
    st.integers(0, 20),
)
@example("linear", (2.0, -1.0), (1, 5), 3)
@example("geometric", (0.25, 4.0), (2, 6), 3)
@example("geometric", (0.25, 4.0), (), 1)
def test_CUR_2_ramps(
    subject: Equips, kind: str, ends: tuple[float, float], epochs: tuple[int, ...], epoch: int
) -> None:
    assert_clause("CUR-2", subject, kind, ends, epochs, epoch)
