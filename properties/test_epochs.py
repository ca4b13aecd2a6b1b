"""LIFT-10, TAU-7 to TAU-9, VAL and CUR: what a trainer hands to its loss, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.plans import LONG, MANY_EPOCHS, VARIED, plans
from spec.epochs import OFFERED, Feeds
from spec.runs import MicroBatch, Plan, Trains

MIXED = (MicroBatch("vbt"), MicroBatch("VB"), MicroBatch("tttv"))
VALIDATED = replace(VARIED, epochs=(MIXED, MIXED[::-1]), validation=(MicroBatch("vtt"), MIXED[1]))


@given(plans(validated=True))
@example(VALIDATED)
@settings(max_examples=30)
def test_LIFT_10_trainer_lifts(subject: Feeds, plan: Plan) -> None:
    assert_clause("LIFT-10", subject, replace(plan, weights=()))


@given(plans(letters="vbtVB"))
@example(VALIDATED)
def test_TAU_7_last_thresholds(subject: Trains, plan: Plan) -> None:
    assert_clause("TAU-7", subject, plan)


@given(plans(validated=True, letters="vbtVB"), st.sampled_from([1.0, 1e-310]))
@example(replace(VALIDATED, tau_min=0.25, tau_max=0.625), 1.0)
@example(replace(VARIED, validation=(MicroBatch("vb"),), tau_min=0.5, tau_max=1.0), 1.7e308)
def test_TAU_8_fixed_threshold(subject: Trains, plan: Plan, scale: float) -> None:
    scaled = replace(plan, tau_min=plan.tau_min * scale, tau_max=plan.tau_max * scale)
    assert_clause("TAU-8", subject, scaled)


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("plan", [LONG, MANY_EPOCHS], ids=["long epochs", "many epochs"])
def test_TAU_9_run_of_thresholds(subject: Trains, plan: Plan, seed: int) -> None:
    assert_clause("TAU-9", subject, replace(plan, seed=seed))


@given(plans(validated=True, letters="vbtVBi"))
@example(VALIDATED)
@example(Plan(((MicroBatch("v"),),), validation=(MicroBatch("ii"), MicroBatch("t"))))
@example(Plan(((MicroBatch("v"),),), validation=(MicroBatch("tiv"), MicroBatch("i"))))
@example(Plan(((MicroBatch("v"),),), validation=(MicroBatch("vvv"), MicroBatch("b"))))
@example(Plan(((MicroBatch("v"),) * 3,) * 2, validation=(MicroBatch("vv"), MicroBatch("vt"))))
def test_VAL_1_validates(subject: Trains, plan: Plan) -> None:
    assert_clause("VAL-1", subject, plan)


@given(plans(validated=True, faulty=True, random=True), st.booleans())
@example(replace(VALIDATED, random=True), False)
@example(replace(VALIDATED, random=True), True)
@settings(max_examples=30)
def test_VAL_2_no_trace(subject: Feeds, plan: Plan, fails: bool) -> None:
    assert_clause("VAL-2", subject, plan, fails)


sixteenths = st.integers(-16, 16).map(lambda k: k / 16)


@given(st.sampled_from(["loss", "model"]), st.lists(sixteenths, min_size=1, max_size=4))
@example("loss", [0.5, -1.0])
@example("model", [0.5, -1.0])
@settings(max_examples=20)
def test_VAL_3_differentiates(subject: Feeds, place: str, inputs: list[float]) -> None:
    assert_clause("VAL-3", subject, place, inputs)


@given(st.lists(st.sampled_from(OFFERED), unique=True).map(tuple), plans(faulty=True))
@example(OFFERED, VALIDATED)
@example(OFFERED, replace(VALIDATED, weights=(), accumulation=2))
@example(("global_step",), replace(VARIED, weights=()))
@example(OFFERED, replace(VALIDATED, weights=(0.75,)))
@example(("epoch",), VALIDATED)
@settings(max_examples=50)
def test_CUR_1_arguments(subject: Feeds, accepts: Sequence[str], plan: Plan) -> None:
    assert_clause("CUR-1", subject, accepts, replace(plan, max_nonfinite=100))
