"""RES: a run that is stopped and goes on."""

from __future__ import annotations

import pytest
from hypothesis import example, given

from properties.assertions import assert_clause
from properties.plans import LOW, interrupted, plans
from spec.checkpoints import UNREADABLE, Resumes
from spec.runs import Plan, Trains


@given(interrupted(plans(faulty=True, stops=True), at_ends=True))
@example(LOW)
def test_RES_1_at_the_ends_of_epochs(subject: Trains, plan: Plan) -> None:
    assert_clause("RES-1", subject, plan)


@given(interrupted(plans(faulty=True, stops=True, least=3), at_ends=False))
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
