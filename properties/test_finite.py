"""STEP-8 and STEP-9: steps to NaN, and what training leaves alone."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from properties.assertions import assert_clause
from spec.finite import CAUSES, Keeps


@pytest.mark.parametrize("cause", CAUSES)
def test_STEP_8_finite_steps(subject: Keeps, cause: str) -> None:
    assert_clause("STEP-8", subject, cause)


switches = st.lists(st.booleans(), min_size=1, max_size=4)
elements = st.lists(st.tuples(st.floats(), st.floats()), min_size=1, max_size=4)


@given(switches, st.booleans(), elements)
@example([False, True], True, [(1.0, nan), (-inf, -inf), (2.0, 3.0), (1.0, inf)])
@example([True, False, True], False, [(0.0, -0.0)])
@settings(max_examples=20)
def test_STEP_9_left_alone(
    subject: Keeps, frozen: list[bool], validates: bool, pairs: list[tuple[float, float]]
) -> None:
    before, written = zip(*pairs, strict=True)
    assert_clause("STEP-9", subject, frozen, validates, before, written)
