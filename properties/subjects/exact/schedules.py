"""STEP-10, LOG-3 and VAL-3 by the exact reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from spec.accumulation import sample_mean
from spec.epochs import Derived
from spec.runs import Plan
from spec.schedules import planned_steps, planned_updates


class ExactSchedules:
    """Planned lengths of training, and hooks that leave it undisturbed."""

    def planned_updates(self, plan: Plan, sized: bool) -> tuple[int | None, int | None]:
        planned = planned_updates(plan) if sized else None
        return planned, planned

    def scheduled(self, plan: Plan, total: int, begun: int) -> int | None:
        """Compare the steps of the whole run with the total."""
        return 0 if planned_steps(plan) > total else None

    def arrivals(self, updates: int, slow: bool) -> Sequence[int]:
        return range(1, updates + 1)

    def hook_traces(self, fails: bool) -> tuple[str, ...]:
        """Return nothing: a hook gets a record, and no state."""
        return ()

    def derived(self, place: str, inputs: Sequence[float], fails: bool) -> Derived:
        """Take the derivative of ``3·x²``."""
        slopes = [(6 * Fraction(x)) ** 2 for x in inputs]
        loss = math.nan if fails else sample_mean([1] * len(inputs), slopes)
        return Derived(loss, attached=False, trained=(True, False))
