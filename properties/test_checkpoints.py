"""RES: a run that is stopped and goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings

from properties.assertions import assert_clause
from properties.plans import FALLING, LOW, VARIED, interrupted, plans, shared_by
from spec.checkpoints import FOLDERS, LOADABLE, STATEFUL, UNLOADABLE, UNREADABLE, Keeps, Resumes
from spec.replay import BATCHES, PLACES, SOURCES, Replays
from spec.runs import MicroBatch, Plan, Trains
from spec.signals import FAILING, Breaks

RESUMED = replace(VARIED, random=True, validation=(MicroBatch("vb"),), interrupts=(3,))


@given(
    interrupted(plans(faulty=True, stops=True, random=True), at_ends=True)
    | interrupted(plans(faulty=True, stops=True, random=True, least=3), at_ends=False)
)
@example(LOW)
@example(replace(LOW, validation=(MicroBatch("v"),)))
@example(replace(LOW, interrupts=(3,), patience=1))
@example(Plan(((MicroBatch("b"), MicroBatch("v")),), threshold=0.75, interrupts=(1,)))
@example(RESUMED)
@example(replace(RESUMED, interrupts=(2, 3)))
@example(replace(RESUMED, interrupts=(4, 6)))
@example(replace(RESUMED, interrupts=(1, 4, 5), stateful=True, random=False))
@example(replace(FALLING, interrupts=(5, 8)))
@example(shared_by(replace(RESUMED, ranks=2), 2))
@example(Plan(((MicroBatch("v", fault="loss"),),) * 2, max_nonfinite=2, interrupts=(1,)))
@settings(max_examples=80)
def test_RES_1_interrupted(subject: Trains, plan: Plan) -> None:
    assert_clause("RES-1", subject, plan)


def test_RES_2_atomic(subject: Resumes) -> None:
    assert_clause("RES-2", subject)


@pytest.mark.parametrize("what", ["good", *UNREADABLE])
def test_RES_3_safe(subject: Resumes, what: str) -> None:
    assert_clause("RES-3", subject, what)


@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM"])
def test_RES_4_signals(subject: Resumes, signal: str) -> None:
    assert_clause("RES-4", subject, signal)


@pytest.mark.parametrize("value", LOADABLE + UNLOADABLE)
def test_RES_5_loadable(subject: Keeps, value: str) -> None:
    assert_clause("RES-5", subject, value)


@pytest.mark.parametrize("what", STATEFUL)
def test_RES_6_complete(subject: Resumes, what: str) -> None:
    assert_clause("RES-6", subject, what)


@pytest.mark.parametrize("case", FOLDERS)
def test_RES_7_one_run(subject: Keeps, case: str) -> None:
    assert_clause("RES-7", subject, case)


@pytest.mark.parametrize("at", [1, BATCHES, BATCHES + 3, 2 * BATCHES + 3])
@pytest.mark.parametrize("source", SOURCES)
def test_RES_8_replays(subject: Replays, source: str, at: int) -> None:
    place = PLACES[(SOURCES.index(source) + at) % len(PLACES)]
    assert_clause("RES-8", subject, source, at, place)


@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("what", FAILING)
def test_RES_9_unbroken(subject: Breaks, what: str, signal: str) -> None:
    assert_clause("RES-9", subject, what, signal)
