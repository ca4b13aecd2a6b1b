"""LOG: what a run reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Protocol

from .accumulation import all_groups, plan_outcome
from .clause import clause, require
from .runs import Event, Plan, Record, Trains, agree

KEYS: Final = ("loss", "coverage", "bottom_frac", "denom_abs_min", "denom_abs_mean")


@dataclass(frozen=True)
class Hooked:
    """A run whose log hook raises: what ``fit`` raised, and the records that the hook got."""

    raised: str
    records: int


class Reports(Trains, Protocol):
    """A subject that reports on its training."""

    def hook_types(self, plan: Plan) -> list[Mapping[str, type]]:
        """Carry out a plan and return the types of what the log hook gets, by key."""

    def raising_hook(self, plan: Plan, record: int) -> Hooked:
        """Carry out a plan with a hook that raises a KeyError at a record."""


@clause("LOG-1", source="Guide: log_hook", since="0.2.0")
def every_record(subject: Reports, plan: Plan) -> None:
    """``log_hook`` is called with records.

    1. It gets the record of every micro-batch, in order, and all of an epoch's before that of its
       validation.
    2. Records hold plain floats.
    3. A record has at least ``loss``, ``coverage``, ``tau_train``, ``bottom_frac``,
       ``denom_abs_min`` and ``denom_abs_mean``; a validation's has ``val_tau``, and ``val_`` before
       the other names.
    4. A hook that raises stops training with its own error.
    """
    order = [
        (event.kind, event.values["micro_step"] if event.kind == "log" else event.values["epoch"])
        for event in subject.train(plan).of("log", "validate")
    ]
    expected, done = list[tuple[str, float]](), 0
    for epoch, batches in enumerate(plan.epochs):
        expected += [("log", done + i) for i in range(len(batches))]
        expected += [("validate", epoch)] if plan.validation else []
        done += len(batches)
    require(order == expected, "{}: {}, not {}", plan, order, expected)
    for types in subject.hook_types(plan):
        plain = set(types.values()) == {float}
        require(plain, "{}: the hook got {}", plan, types, claim=2)
        prefix = "val_" if "val_loss" in types else ""
        named = {prefix + name for name in KEYS} | {"val_tau" if prefix else "tau_train"}
        lacking = sorted(named - set(types))
        require(not lacking, "{}: a record lacks {}", plan, lacking, claim=3)
    hooked = subject.raising_hook(plan, record=0)
    raised = hooked == Hooked("KeyError", 1)
    require(raised, "{}: a raising hook gave {}", plan, hooked, claim=4)


@clause("LOG-2", source="Ours: a run of 10⁸ steps must fit into memory", since="0.2.0")
def bounded(subject: Trains, plan: Plan) -> None:
    """Histories are kept in memory.

    1. Of the records the latest are kept, up to a limit.
    2. ``val_history`` has every epoch's record.
    """
    trace = subject.train(plan)
    for kept, kind, claim in ((trace.records, "log", 1), (trace.val_history, "validate", 2)):
        events = trace.of("log" if kind == "log" else "validate")
        latest = events[-plan.history_limit :] if kind == "log" else events
        right = len(kept) == len(latest)
        require(right, "{}: {} of {} kept", plan, len(kept), len(events), claim=claim)
        for record, event in zip(kept, latest, strict=True):
            right = _same(record, event)
            require(right, "{}: kept {}, not {}", plan, record, event, claim=claim)


def _same(record: Record, event: Event) -> bool:
    shared = record.keys() & event.values.keys()
    equal = all(agree(record[name], event.values[name]) for name in shared)
    return {"epoch", "global_step"} & record.keys() <= shared and len(shared) > 3 and equal


@clause(
    "LOG-4", source="Ours: a curve over steps is drawn from what each record says", since="0.4.0"
)
def of_its_moment(subject: Trains, plan: Plan) -> None:
    """A record tells of its own update, and does not change later.

    1. ``global_step`` counts the updates applied, its own included.
    2. ``lr`` is the learning rate of its update, also where the optimizer has it in a tensor.
    """
    logs, applied = subject.train(plan).of("log"), 0
    for (_, group), good in zip(all_groups(plan), plan_outcome(plan).applied, strict=False):
        rate = Fraction(1, 8 * 2**applied)
        applied += good
        for index in group:
            require(index < len(logs), "{}: {} records", plan, len(logs))
            found, expected = logs[index].values["global_step"], applied
            require(found == expected, "{}: {}, not step {}", plan, logs[index], applied)
            right = agree(logs[index].values["lr"], rate)
            require(right, "{}: {}, not rate {}", plan, logs[index], rate, claim=2)
