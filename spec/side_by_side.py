"""STOP-3: a trainer beside the reference automaton."""

from __future__ import annotations

from collections.abc import Sequence

from .automaton import run
from .clause import clause, require
from .runs import DONE, MEASURED, REPORTED, SLACK, Event, Plan, Trains, agree


@clause(
    "STOP-3",
    source="Ours: a sentence about stopping says nothing of what else happens on the way",
    since="0.2.0",
)
def like_the_automaton(subject: Trains, plan: Plan) -> None:
    """A trainer is held to the reference automaton.

    1. It stops after the same epoch.
    2. Until then it does and reports the same, in the same order, with the same numbers; only the
       thresholds that it draws are free.
    """
    found, expected = subject.train(plan), run(plan)
    stops = [[event.values["epoch"] for event in trace.of("stop")] for trace in (found, expected)]
    require(stops[0] == stops[1], "{}: stops after {}, not {}", plan, *stops)
    require_alike(found.events, expected.events)


def require_alike(found: Sequence[Event], expected: Sequence[Event]) -> None:
    """Require a trainer's events to be those of the automaton, but for the thresholds drawn."""
    for kinds in (DONE, REPORTED):
        ours, theirs = ([e for e in events if e.kind in kinds] for events in (found, expected))
        order = [event.kind for event in ours], [event.kind for event in theirs]
        require(order[0] == order[1], "{} instead of {}", *order, claim=2)
        for event, reference in zip(ours, theirs, strict=True):
            for name, value in reference.values.items():
                free = name in ("tau", "tau_train")
                slack = MEASURED.get(name.removeprefix("val_"), SLACK)
                right = free or agree(event.values[name], value, slack)
                require(right, "{}: {} is not {}", name, event, reference, claim=2)
