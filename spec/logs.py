"""LOG: what a run reports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import count
from typing import Final, Protocol

from .accumulation import carried_out, measured_denominators, sample_mean
from .clause import clause, require
from .coverage import epoch_coverage
from .runs import MEASURED, SLACK, Plan, Record, Trains, agree

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

    def by_hand(self, plan: Plan) -> Sequence[Record]:
        """Make each update of a plan's first epoch by hand; return what each returns."""

    def arrivals(self, updates: int, slow: bool) -> Sequence[int]:
        """Train; return how many micro-batches the loader had yielded when each record arrived.

        A slow loader takes a hundredth of a second for each.
        """

    def hook_traces(self, fails: bool) -> tuple[str, ...]:
        """Make one update under a hook that changes all it can, and raises if asked.

        Name what is afterwards other than before: ``gradients``, submodules' ``modes``, the
        gradient ``mode``, the default ``dtype``, and the random states of ``torch``, ``cuda``,
        ``python`` and ``numpy``.
        """


@clause("LOG-1", source="Guide: log_hook", since="0.2.0")
def every_record(subject: Reports, plan: Plan) -> None:
    """``log_hook`` is called with records.

    1. It gets every micro-batch's record, in order, and an epoch's before that of its validation.
    2. Records hold plain floats.
    3. A record has at least ``loss``, ``coverage``, ``tau_train``, ``bottom_frac``,
       ``denom_abs_min`` and ``denom_abs_mean``; a validation's has these with ``val_`` before their
       names, and ``val_tau`` for ``tau_train``.
    4. A hook that raises stops training with its own error.
    5. ``bottom_frac`` is the fraction of ⊥ outputs. ``denom_abs_min`` and ``denom_abs_mean`` are of
       the finite ``|Q|``, and NaN without any.
    """
    trace = subject.train(plan)
    events = trace.of("log", "validate")
    order = [(e.kind, e.values["micro_step" if e.kind == "log" else "epoch"]) for e in events]
    expected, steps = list[tuple[str, float]](), count()
    for epoch, batches in enumerate(plan.epochs):
        expected += [("log", next(steps)) for _ in batches]
        expected += [("validate", epoch)] if plan.validation else []
    require(order == expected, "{}: {}, not {}", plan, order, expected)
    for types in subject.hook_types(plan):
        require(set(types.values()) == {float}, "{}: the hook got {}", plan, types, claim=2)
        prefix = "val_" if "val_loss" in types else ""
        named = {prefix + name for name in KEYS} | {"val_tau" if prefix else "tau_train"}
        lacking = sorted(named - set(types))
        require(not lacking, "{}: a record lacks {}", plan, lacking, claim=3)
    for last in (0, len(events) - 1):
        hooked = subject.raising_hook(plan, record=last)
        raised = hooked == Hooked("KeyError", last + 1)
        require(raised, "{}: a raising hook gave {}", plan, hooked, claim=4)
    for event, batch in zip(trace.of("log"), plan.micro_batches, strict=True):
        lost = 1 - epoch_coverage([batch.counts(float(event.values["tau_train"]))])
        wanted = {"bottom_frac": lost / plan.outputs}
        for name, want in (wanted | measured_denominators((batch,), plan.outputs)).items():
            right = agree(event.values[name], want, MEASURED.get(name, SLACK))
            require(right, "{}: {} of {}, not {}", plan, name, event, want, claim=5)


@clause("LOG-2", source="Ours: a run of 10⁸ steps must fit into memory", since="0.2.0")
def bounded(subject: Trains, plan: Plan) -> None:
    """Histories are kept in memory, whatever a hook does to a record that it was given.

    1. Of the records the latest are kept, up to a limit.
    2. ``val_history`` has every epoch's record.
    """
    trace = subject.train(plan)
    latest = trace.of("log")[-plan.history_limit :]
    histories = (trace.records, latest, 1), (trace.val_history, trace.of("validate"), 2)
    for kept, events, claim in histories:
        counts = len(kept), len(events)
        require(counts[0] == counts[1], "{}: {} are kept, not {}", plan, *counts, claim=claim)
        for record, event in zip(kept, events, strict=True):
            shared = record.keys() & event.values.keys()
            whole = len(shared) > 3 and {"epoch", "global_step"} & record.keys() <= shared
            right = whole and all(agree(record[name], event.values[name]) for name in shared)
            require(right, "{}: kept {}, not {}", plan, record, event, claim=claim)


@clause("LOG-3", source="Ours: to look must not change what is seen", since="0.7.0")
def undisturbed(subject: Reports, updates: int, fails: bool) -> None:
    """A log hook does not disturb training, also when it raises.

    1. When it is called follows from counts, never from the clock.
    2. The random states of torch, CUDA, Python and NumPy are afterwards as before.
    3. Gradients, each submodule's mode, gradient mode and default dtype are afterwards as before.
    """
    fast, slow = (list(subject.arrivals(updates, slow)) for slow in (False, True))
    require(len(fast) == updates, "{} records, not {}", len(fast), updates)
    require(fast == slow, "records arrived after {} micro-batches, slowly after {}", fast, slow)
    changed = set(subject.hook_traces(fails))
    random = changed & {"torch", "cuda", "python", "numpy"}
    require(not random, "a hook moved the random state of {}", sorted(random), claim=2)
    require(not changed, "a hook changed {}", sorted(changed), claim=3)


@clause("LOG-4", source="Ours: a curve over steps is drawn from what records say", since="0.4.0")
def of_its_moment(subject: Trains, plan: Plan) -> None:
    """A record tells of its own update, and does not change later.

    1. ``global_step`` counts the updates applied, its own included; in a validation's record, if it
       has one, all before the validation.
    2. ``lr`` is the learning rate of its update, also where the optimizer has it in a tensor.
    """
    trace, expected, step = subject.train(plan), list[tuple[int, Fraction]](), 0
    logs, ends = trace.of("log"), dict[float | Fraction, int]()
    for window in carried_out(plan):
        rate = Fraction(1, 8 * 2**step)
        step += window.applied
        ends[window.epoch] = step
        expected += [(step, rate)] * len(window.batches)
    # Of how many records there are, STEP-3 and LOG-1 speak.
    for event, (step, rate) in zip(logs, expected, strict=False):
        require(event.values["global_step"] == step, "{}: {}, not step {}", plan, event, step)
        require(agree(event.values["lr"], rate), "{}: {}, not rate {}", plan, event, rate, claim=2)
    for event in trace.of("validate"):
        step = ends[event.values["epoch"]]
        right = event.values.get("global_step", step) == step
        require(right, "{}: {}, not step {}", plan, event, step)


@clause("LOG-5", source="Ours: what a loss is a sum of is read beside it", since="0.6.0")
def terms(subject: Trains, plan: Plan) -> None:
    """What a loss returns beside its value is reported as its terms.

    1. A term is in the record as ``loss_`` and its name, in double precision.
    2. A validation's record has the terms' means, weighted by samples, as ``val_loss_`` and their
       names.
    """
    trace = subject.train(replace(plan, tells=True))
    for event, batch in zip(trace.of("log"), plan.micro_batches, strict=True):
        tau = event.values["tau_train"]
        for name, expected in (("loss_tau", tau), ("loss_slope", batch.slope)):
            found = event.values.get(name)
            require(found == expected, "{}: {} {} was logged as {}", plan, name, expected, found)
    sizes = [len(batch.samples) for batch in plan.validation]
    for event in trace.of("validate"):
        expected = sample_mean(sizes, [batch.slope for batch in plan.validation])
        found = event.values.get("val_loss_slope", math.nan)
        require(agree(found, expected), "{}: the mean of {} was {}", plan, expected, found, claim=2)


@clause("LOG-6", source="Ours: a loop written by hand sees what it does", since="0.6.0")
def by_hand(subject: Reports, plan: Plan) -> None:
    """An update made by hand returns its last micro-batch's record, as training logs it."""
    logs, found = iter(subject.train(plan).of("log")), iter(subject.by_hand(plan))
    for window in carried_out(replace(plan, epochs=plan.epochs[:1])):
        record, event = next(found, {}), [next(logs) for _ in window.batches][-1]
        right = all(n in record and agree(record[n], x) for n, x in event.values.items())
        require(right, "{}: an update returned {}, not {}", plan, record, event)
