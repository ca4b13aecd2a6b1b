"""STEP-10: schedules that must know how long training is."""

from __future__ import annotations

from typing import Protocol

from .accumulation import updates_per_epoch
from .clause import clause, require
from .runs import Plan


class Schedules(Protocol):
    """A subject whose training has a length that is known before it begins."""

    def planned_updates(self, plan: Plan, sized: bool) -> tuple[int | None, int | None]:
        """Return the number of updates of a plan, as the configuration tells it, and the trainer.

        The loader has a length if it is ``sized``.
        """

    def scheduled(self, plan: Plan, total: int, begun: int) -> int | None:
        """Train at the plan's cadence under a scheduler that can make ``total`` steps, no more.

        If updates are ``begun``, that scheduler is of a run of one epoch, which the plan continues
        after so many. Return None, or if a ValueError ended training, the number of updates that
        it had made.
        """


def planned_updates(plan: Plan) -> int:
    """Return the number of updates of a plan; ACC-2."""
    return sum(updates_per_epoch(len(epoch), plan.accumulation) for epoch in plan.epochs)


def planned_steps(plan: Plan) -> int:
    """Return the number of steps of a plan's scheduler; STEP-2, STEP-12."""
    return planned_updates(plan) if plan.cadence == "update" else len(plan.epochs)


@clause("STEP-10", source="Ours: one cycle is planned before the first step", since="0.7.0")
def planned(subject: Schedules, plan: Plan) -> None:
    """The length of training is known before it begins.

    1. ``planned_updates`` is the number of updates that training makes if none is skipped and no
       stop comes early.
    2. Without a loader's length ``planned_updates`` is None.
    3. A scheduler that ends before training raises ValueError before the first update.
    4. A scheduler that ends before a resumed training raises ValueError before its first update.
    5. A scheduler that ends with training is accepted, also if training is resumed.
    """
    for sized, expected in ((True, planned_updates(plan)), (False, None)):
        found = subject.planned_updates(plan, sized)
        right = found == (expected, expected)
        require(right, "{}: {} updates, not {}", plan, found, expected, claim=2 - sized)
    needed = planned_steps(plan)
    first = Plan(plan.epochs[:1], plan.accumulation, cadence=plan.cadence)
    before, updates = planned_steps(first), planned_updates(first)
    for total, begun, made, claim in (
        (needed - 1, 0, 0, 3),
        (before, updates, 0, 4),
        (needed, 0, None, 5),
        (needed, updates, None, 5),
        (needed, 1, None, 5),
    ):
        right = subject.scheduled(plan, total, begun) == made
        complaint = "{}: a scheduler of {} steps, after {} updates"
        require(right, complaint, plan, total, begun, claim=claim)
