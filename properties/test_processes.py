"""DDP: any number of processes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from properties.hold import hold
from properties.plans import plans
from spec.processes import Distributes
from spec.runs import Plan


@pytest.mark.unmet("training runs in one process only")
@given(plans(faulty=True, stops=True), st.integers(2, 4))
def test_DDP_1_as_one(subject: Distributes, plan: Plan, ranks: int) -> None:
    hold("DDP-1", subject, plan, ranks)
