"""AMP: mixed precision."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.plans import plans
from spec.precision import PRECISIONS, Casts
from spec.runs import Plan, Trains

HALVES = ("float16", "bfloat16")


@pytest.mark.parametrize("dtype", HALVES)
def test_AMP_1_autocast(subject: Casts, dtype: str) -> None:
    assert_clause("AMP-1", subject, dtype)


@pytest.mark.parametrize("dtype", HALVES)
def test_AMP_2_scaler(subject: Casts, dtype: str) -> None:
    assert_clause("AMP-2", subject, dtype)


@given(plans(faulty=True, random=True), st.sampled_from(HALVES))
@settings(max_examples=25)
def test_AMP_3_off(subject: Trains, plan: Plan, dtype: str) -> None:
    assert_clause("AMP-3", subject, plan, dtype)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_AMP_4_no_swap(subject: Casts, dtype: str) -> None:
    assert_clause("AMP-4", subject, dtype)


@pytest.mark.parametrize("dtype", HALVES)
def test_AMP_5_alias(subject: Casts, dtype: str) -> None:
    assert_clause("AMP-5", subject, dtype)
