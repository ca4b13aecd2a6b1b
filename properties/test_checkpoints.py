"""RES: a run that is stopped and goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from properties.assertions import assert_clause
from properties.plans import FALLING, LOW, VARIED, interrupted, plans
from spec.checkpoints import STATEFUL, UNREADABLE, Resumes
from spec.runs import MicroBatch, Plan, Trains

RESUMED = replace(VARIED, random=True, validation=(MicroBatch("vb"),), interrupts=(3,))
TELLING = (
    LOW,
    replace(LOW, interrupts=(3,), patience=1),
    RESUMED,
    replace(RESUMED, interrupts=(2, 3)),
    replace(RESUMED, interrupts=(4, 6)),
    replace(FALLING, interrupts=(5, 8)),
    Plan(((MicroBatch("v", fault="loss"),),) * 2, max_nonfinite=2, interrupts=(1,)),
)


@pytest.mark.parametrize("plan", TELLING)
def test_RES_1_of_telling_plans(subject: Trains, plan: Plan) -> None:
    assert_clause("RES-1", subject, plan)


@given(interrupted(plans(faulty=True, stops=True, random=True), at_ends=True))
@settings(max_examples=40)
def test_RES_1_at_the_ends_of_epochs(subject: Trains, plan: Plan) -> None:
    assert_clause("RES-1", subject, plan)


@given(interrupted(plans(faulty=True, stops=True, random=True, least=3), at_ends=False))
@settings(max_examples=40)
def test_RES_1_at_any_update(subject: Trains, plan: Plan) -> None:
    assert_clause("RES-1", subject, plan)


def test_RES_2_atomic(subject: Resumes) -> None:
    assert_clause("RES-2", subject)


@pytest.mark.parametrize("what", ["good", *UNREADABLE])
def test_RES_3_safe(subject: Resumes, what: str) -> None:
    assert_clause("RES-3", subject, what)


@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM"])
def test_RES_4_signals(subject: Resumes, signal: str) -> None:
    assert_clause("RES-4", subject, signal)


@pytest.mark.parametrize("what", STATEFUL)
def test_RES_6_complete(subject: Resumes, what: str) -> None:
    assert_clause("RES-6", subject, what)
