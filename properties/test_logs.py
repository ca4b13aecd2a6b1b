"""LOG: what a run reports."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import example, given, settings

from properties.assertions import assert_clause
from properties.plans import VARIED, plans
from spec.logs import Reports
from spec.runs import MicroBatch, Plan, Trains


@given(plans(letters="vbtVBi"))
@example(replace(VARIED, validation=(MicroBatch("vb"),)))
@example(Plan(((MicroBatch("vti"), MicroBatch("i"), MicroBatch("bt")),)))
@settings(max_examples=30)
def test_LOG_1_every_record(subject: Reports, plan: Plan) -> None:
    assert_clause("LOG-1", subject, plan)


@given(plans())
@example(replace(VARIED, validation=(MicroBatch("vb"),), history_limit=2))
@settings(max_examples=50)
def test_LOG_2_bounded(subject: Trains, plan: Plan) -> None:
    assert_clause("LOG-2", subject, plan)


@pytest.mark.parametrize("fails", [False, True])
def test_LOG_3_undisturbed(subject: Reports, fails: bool) -> None:
    assert_clause("LOG-3", subject, 12, fails)


@given(plans(faulty=True))
@example(replace(VARIED, accumulation=2, tensor_rate=True))
@example(replace(VARIED, validation=(MicroBatch("vb"),)))
def test_LOG_4_of_its_moment(subject: Trains, plan: Plan) -> None:
    assert_clause("LOG-4", subject, plan)


@given(plans())
@example(VARIED)
@example(replace(VARIED, validation=(MicroBatch("vv"), MicroBatch("v", Fraction(1, 2)))))
@settings(max_examples=20)
def test_LOG_5_terms(subject: Trains, plan: Plan) -> None:
    assert_clause("LOG-5", subject, plan)


@given(plans())
@example(replace(VARIED, accumulation=2))
@settings(max_examples=20)
def test_LOG_6_by_hand(subject: Reports, plan: Plan) -> None:
    assert_clause("LOG-6", subject, plan)
