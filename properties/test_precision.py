"""AMP: mixed precision."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.formats import HALVES
from properties.plans import plans
from spec.runs import Plan, Trains
from spec.update import PRECISIONS, Casts

OF_A_DTYPE = [(id, dtype) for id in ("AMP-1", "AMP-2", "AMP-5") for dtype in HALVES]
OF_A_DTYPE += [("AMP-4", dtype) for dtype in PRECISIONS]


@pytest.mark.parametrize(("id", "dtype"), OF_A_DTYPE)
def test_AMP_1_to_5_of_a_dtype(subject: Casts, id: str, dtype: str) -> None:
    assert_clause(id, subject, dtype)


@given(plans(faulty=True, random=True), st.sampled_from(HALVES))
@settings(max_examples=25)
def test_AMP_3_off(subject: Trains, plan: Plan, dtype: str) -> None:
    assert_clause("AMP-3", subject, plan, dtype)
