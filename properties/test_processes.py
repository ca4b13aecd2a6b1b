"""DDP: any number of processes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.plans import VARIED, plans, shared_by
from spec.ranks import Distributes
from spec.runs import MicroBatch, Plan

CLIPPED = replace(VARIED, accumulation=2, max_norm=0.25, validation=(MicroBatch("vb"),))


# Few, since each starts processes; no rank may be without a sample.
@settings(max_examples=15)
@given(plans(faulty=True, stops=True, clipped=True), st.integers(2, 3))
@example(CLIPPED, 2)
@example(CLIPPED, 3)
@example(Plan(((MicroBatch("iv"), MicroBatch("i"), MicroBatch("tib")),)), 2)
def test_DDP_1_as_one(subject: Distributes, plan: Plan, ranks: int) -> None:
    assert_clause("DDP-1", subject, shared_by(plan, ranks), ranks)


@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM"])
def test_DDP_2_together(subject: Distributes, signal: str) -> None:
    assert_clause("DDP-2", subject, signal, 2)
