"""The trainer as an automaton: what it does and reports, and when, without any tensors.

It carries out the plans of :mod:`spec.runs` exactly. A trainer is held to its events (STOP-3),
which follow STOP, ACC, STEP, VAL and LOG.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from random import Random
from typing import Final

from .accumulation import shortening, window_gradient, windows
from .coverage import Counts, bottom_recall, epoch_coverage, monitored_coverage
from .epochs import validation_mean, validation_minimum
from .runs import Epoch, Event, MicroBatch, Plan, Record, Trace
from .stopping import count_bad
from .thresholds import midpoint, threshold

SCALE: Final = Fraction(2**16)
LARGEST_SCALE: Final = 2**12  # at which an ``overflow`` does not overflow


@dataclass(frozen=True)
class State:
    """All that a run continues from; RES-1."""

    w: Fraction = Fraction(1)
    v: Fraction = Fraction(0)
    w_momentum: Fraction = Fraction(0)
    v_momentum: Fraction = Fraction(0)
    scale: Fraction = SCALE
    epoch: int = 0
    micro_step: int = 0
    global_step: int = 0
    scheduled: int = 0
    skipped: int = 0
    skipped_in_row: int = 0
    bad_epochs: int = 0
    stopped: bool = False
    failed: bool = False
    thresholds: tuple[float, ...] = ()
    random: int = 0
    order: tuple[int, ...] = ()
    val_history: tuple[Record, ...] = ()


class Automaton:
    """The reference trainer, an epoch at a time."""

    def __init__(self, plan: Plan, state: State | None = None) -> None:
        self.plan, self.state = plan, state or State()

    @property
    def rate(self) -> Fraction:
        """The learning rate: 1/8, halved by every step of the scheduler."""
        return Fraction(1, 8 * 2**self.state.scheduled)

    def save(self) -> dict[str, object]:
        """Return the state as plain values; between any two updates it is all there is."""
        return vars(self.state).copy()

    def load(self, state: dict[str, object]) -> None:
        """Continue from a saved state."""
        self.state = State(**state)  # type: ignore[arg-type]

    def epoch(self, batches: Epoch) -> Iterator[Event]:
        """Train on an epoch, or on its rest: TAU-4, STEP-1, ACC-2, LOG-1, VAL-1, STOP-1."""
        if self.state.stopped:
            return
        if not self.state.thresholds:
            self._set(order=self._shuffled(len(batches)))
        batches = tuple(batches[i] for i in self.state.order)
        for window in self.windows(batches):
            if window[0] < len(self.state.thresholds):
                continue  # done before the state was saved
            yield from self.window([batches[i] for i in window])
            if self.state.failed:
                yield Event("error", {"global_step": Fraction(self.state.global_step)})
                return
        yield from self.end_epoch(batches)

    def windows(self, batches: Epoch) -> list[list[int]]:
        """Return the windows of an epoch; ACC-2."""
        return windows([len(b.samples) for b in batches], self.plan.accumulation)

    def end_epoch(self, batches: Epoch) -> Iterator[Event]:
        """Decide whether to stop, and validate: STOP-1, VAL-1."""
        counts = [b.counts(tau) for b, tau in zip(batches, self.state.thresholds, strict=True)]
        covered = self.monitored(counts)
        bad = count_bad(self.state.bad_epochs, covered, Fraction(self.plan.threshold))
        stopped = covered is not None and bad >= self.plan.patience
        epoch = self.state.epoch
        self._set(bad_epochs=bad, stopped=stopped, epoch=epoch + 1)
        if self.plan.validation:
            yield self.validate()
        if stopped:
            yield Event("stop", {"epoch": Fraction(epoch)})

    def monitored(self, counts: Sequence[Counts]) -> Fraction | None:
        """Return the coverage that the stop watches; STOP-6."""
        return monitored_coverage(counts)

    def start_epoch(self) -> None:
        """Forget the thresholds of the epoch before; TAU-7."""
        self._set(thresholds=())

    def validate(self) -> Event:
        """Validate, with the weights of the latest epoch; VAL-1, CUR-1."""
        record = self.validation(max(self.state.epoch - 1, 0))
        self._set(val_history=(*self.state.val_history, record))
        return Event("validate", record)

    def _set(self, **changes: object) -> None:
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]

    def window(self, batches: Sequence[MicroBatch]) -> Iterator[Event]:
        """Train on the micro-batches of one update: STEP-1, STEP-2, STEP-3."""
        rows, slopes = list[dict[str, float | Fraction]](), list[Fraction]()
        for batch in batches:
            tau, factor = self.draw(), self.factor(self.state.epoch)
            slopes.append(batch.slope * factor)
            place = {"epoch": self.state.epoch, "micro_step": self.state.micro_step}
            rows.append(self.measure(batch, tau, factor) | {"tau_train": tau} | place)
            thresholds = (*self.state.thresholds, tau)
            self._set(micro_step=self.state.micro_step + 1, thresholds=thresholds)
        rate = self.rate
        event = self.skip(batches) if self.is_faulty(batches) else self.update(batches, slopes)
        for row in rows:
            yield Event("draw", {"tau": row["tau_train"]})
            yield Event("log", row | self.progress(rate))
        yield event

    def progress(self, rate: Fraction) -> dict[str, float | Fraction]:
        """Return what a record says of its update, which was made at this rate; LOG-4."""
        state = self.state
        return {"global_step": state.global_step, "skipped": state.skipped, "lr": rate}

    def update(self, batches: Sequence[MicroBatch], slopes: Sequence[Fraction]) -> Event:
        """Apply the update of a window: ACC-1, STEP-1, STEP-2."""
        shares = [
            (size, slope)
            for batch, slope in zip(batches, slopes, strict=True)
            for size, _ in batch.shares(self.plan.ranks)
        ]
        gradient = self.gradient(*zip(*shares, strict=True))
        own, state = gradient * self.plan.own_parameter, self.state
        clip = shortening([gradient, own], self.plan.max_norm)
        w_momentum, v_momentum = (
            Fraction(self.plan.momentum) * before + clip * g
            for before, g in ((state.w_momentum, gradient), (state.v_momentum, own))
        )
        w, v = state.w - self.rate * w_momentum, state.v - self.rate * v_momentum
        self._set(w=w, v=v, w_momentum=w_momentum, v_momentum=v_momentum, skipped_in_row=0)
        self._set(global_step=state.global_step + 1, scheduled=state.scheduled + 1)
        return Event("update", {"w": w, "v": v, "global_step": Fraction(self.state.global_step)})

    def gradient(self, sizes: Sequence[int], slopes: Sequence[Fraction]) -> Fraction:
        """Return the gradient of a window; ACC-1."""
        return window_gradient(sizes, slopes)

    def draw(self) -> float:
        """Draw τ as a function of seed, epoch and index alone; TAU-1, TAU-5, TAU-9."""
        u = self.uniform(self.state.epoch, len(self.state.thresholds))
        return float(threshold(self.plan.tau_min, self.plan.tau_max, u))

    def uniform(self, epoch: int, index: int) -> Fraction:
        """Return the draw of a micro-batch's threshold, in [0, 1)."""
        place = (self.plan.seed, epoch, index)
        return Fraction(Random(repr(place)).getrandbits(53), 2**53)

    def factor(self, epoch: int) -> Fraction:
        """Return the factor on a loss: its weight, and with ``random`` a draw from a generator."""
        weight = self.plan.weight(epoch)
        if not self.plan.random:
            return weight
        self._set(random=self.state.random + 1)
        return weight * (1 + Fraction(Random(self.state.random).getrandbits(8), 256))

    def _shuffled(self, count: int) -> tuple[int, ...]:
        """Return the order of an epoch's micro-batches; with ``random`` a drawn one."""
        order = list(range(count))
        if self.plan.random:
            self._set(random=self.state.random + 1)
            Random(self.state.random).shuffle(order)
        return tuple(order)

    def is_faulty(self, batches: Sequence[MicroBatch]) -> bool:
        """Tell whether a window's loss or gradient is not finite."""
        overflows = self.plan.precision == "float16" and self.state.scale > LARGEST_SCALE
        faults = {batch.fault for batch in batches}
        return bool(faults - {"", "overflow"}) or ("overflow" in faults and overflows)

    def skip(self, batches: Sequence[MicroBatch]) -> Event:
        """Skip a window's update; one that makes float16's scale fall is not counted; STEP-3."""
        falls = all(batch.fault in ("", "overflow") for batch in batches)
        row = self.state.skipped_in_row + (not falls)
        failed = row >= self.plan.max_nonfinite
        scale = self.state.scale / 2 if falls else self.state.scale
        skipped = self.state.skipped + 1
        self._set(skipped=skipped, skipped_in_row=row, failed=failed, scale=scale)
        return Event("skip", {"skipped": Fraction(skipped)})

    def measure(
        self, batch: MicroBatch, tau: float, factor: Fraction
    ) -> dict[str, float | Fraction]:
        """Return a micro-batch's record: ACC-3, COV-1 and STOP-6 of what it shows."""
        counts = batch.counts(tau)
        monitored, recall = monitored_coverage([counts]), bottom_recall([counts])
        covered = epoch_coverage([counts])
        loss = batch.slope * factor * (self.state.w + self.state.v)
        return {
            "loss": math.nan if batch.fault == "loss" else loss,
            "samples": Fraction(counts.samples),
            "coverage": covered,
            "coverage_finite": math.nan if monitored is None else monitored,
            "bottom_recall": math.nan if recall is None else recall,
            "bottom_frac": 1 - covered,
            "denom_abs_min": min(batch.denominators),
            "denom_abs_mean": sum(batch.denominators, Fraction(0)) / counts.samples,
        }

    def trace(self, events: Sequence[Event]) -> Trace:
        """Return a run's trace; LOG-2."""
        records = [event.values for event in events if event.kind == "log"]
        state, ranks = self.state, self.plan.ranks
        return Trace(
            tuple(events),
            (state.w, state.v),
            state.thresholds,
            tuple(records[-self.plan.history_limit :]),
            state.val_history,
            self.rate,
            epochs_set=tuple(range(state.epoch + (len(state.thresholds) > 0 and state.failed))),
            reductions=state.global_step + state.skipped if ranks > 1 else 0,
        )

    def validation(self, epoch: int) -> dict[str, float | Fraction]:
        """Return a validation's record: VAL-1, TAU-8."""
        batches, before = self.plan.validation, self.state.random
        sizes = [len(batch.samples) for batch in batches]
        tau = midpoint(self.plan.tau_min, self.plan.tau_max)
        measured = [self.measure(b, float(tau), self.factor(epoch)) for b in batches]
        self._set(random=before)
        means = {
            name: validation_mean(sizes, [Fraction(m[name]) for m in measured])
            for name in ("loss", "coverage", "bottom_frac", "denom_abs_mean")
        }
        least = validation_minimum([Fraction(m["denom_abs_min"]) for m in measured])
        record = means | {"denom_abs_min": least, "tau": tau}
        place: dict[str, float | Fraction] = {"epoch": Fraction(epoch), "loss_tau": tau}
        return place | {f"val_{name}": value for name, value in record.items()}


def run(plan: Plan, kind: type[Automaton] = Automaton) -> Trace:
    """Carry out a plan by the automaton, or by a variant of it."""
    automaton, events = kind(plan), list[Event]()

    def resumed() -> Automaton:
        new = kind(plan)
        new.load(automaton.save())
        return new

    for batches in plan.epochs:
        if automaton.state.failed:
            break
        if not automaton.state.stopped:
            automaton.start_epoch()
        more = automaton.epoch(batches)
        while event := next(more, None):
            events.append(event)
            at_update = event.kind in ("update", "skip") and not automaton.state.failed
            if at_update and automaton.state.micro_step in plan.interrupts:
                automaton = resumed()
                more = automaton.epoch(batches)
        if automaton.state.micro_step in plan.interrupts and not automaton.state.failed:
            automaton = resumed()
    return automaton.trace(events)
