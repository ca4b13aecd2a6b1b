"""STOP-3: the trainer as an automaton, what it does and reports, and when, without any tensors.

It carries out the plans of :mod:`spec.runs` exactly. A trainer is held to its events (STOP-3),
which follow STOP, ACC, STEP, VAL and LOG.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from random import Random
from typing import Final, TypeAlias

from .accumulation import measured_denominators, sample_mean, shortening, told_apart, windows
from .clause import clause, require
from .coverage import Counts, epoch_coverage, monitored_coverage
from .runs import Epoch, Event, MicroBatch, Plan, Record, Trace, Trains, require_same_run
from .stopping import count_bad
from .thresholds import midpoint, threshold

LARGEST_SCALE: Final = 2**12  # at which an ``overflow`` does not overflow
DRAWN: Final = ("tau", "tau_train")
Numbers: TypeAlias = dict[str, float | Fraction]


@dataclass(frozen=True)
class State:
    """All that a run continues from; RES-1."""

    w: Fraction = Fraction(1)
    v: Fraction = Fraction(0)
    w_momentum: Fraction = Fraction(0)
    v_momentum: Fraction = Fraction(0)
    scale: Fraction = Fraction(2**16)
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

    def __init__(self, plan: Plan) -> None:
        self.plan, self.state = plan, State()

    @property
    def rate(self) -> Fraction:
        """The learning rate: 1/8, halved by every step of the scheduler."""
        return Fraction(1, 8 * 2**self.state.scheduled)

    @property
    def _is_scaled(self) -> bool:
        return self.plan.precision == "float16"

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
            order = list(range(len(batches)))
            if self.plan.random or self.plan.stateful:
                self._generator().shuffle(order)
            self._set(order=tuple(order))
        batches = tuple(batches[i] for i in self.state.order)
        done = len(self.state.thresholds)  # before the state was saved, at the end of a window
        for window in windows(batches[done:], self.plan.accumulation):
            yield from self.window(window)
            if self.state.failed:
                yield Event("error", {"global_step": Fraction(self.state.global_step)})
                return
        yield from self.end_epoch(batches)

    def end_epoch(self, batches: Epoch) -> Iterator[Event]:
        """Decide whether to stop, and validate: STOP-1, VAL-1."""
        counts = [b.counts(tau) for b, tau in zip(batches, self.state.thresholds, strict=True)]
        covered = self.monitored(counts)
        bad = count_bad(self.state.bad_epochs, covered, Fraction(self.plan.threshold))
        stopped = covered is not None and bad >= self.plan.patience
        epoch = self.state.epoch
        self._set(bad_epochs=bad, stopped=stopped, epoch=epoch + 1)
        self.schedule("epoch")
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
        self.schedule("validation")
        return Event("validate", record)

    def schedule(self, place: str) -> None:
        """Step the scheduler, if this is its cadence; STEP-2, STEP-12."""
        self._set(scheduled=self.state.scheduled + (self.plan.cadence == place))

    def _set(self, **changes: object) -> None:
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]

    def window(self, batches: Sequence[MicroBatch]) -> Iterator[Event]:
        """Train on the micro-batches of one update: STEP-1, STEP-2, STEP-3."""
        rows, slopes = list[Numbers](), list[Fraction]()
        for batch in batches:
            tau, factor = self.draw(), self.factor(self.state.epoch)
            slopes.append(batch.slope * factor)
            place = {
                "epoch": self.state.epoch,
                "micro_step": self.state.micro_step,
                "tau_train": tau,
            }
            terms: Numbers = {"loss_tau": tau, "loss_slope": batch.slope}
            told = terms if self.plan.tells else {}
            rows.append({**self.measure(batch, tau, factor), **place, **told})
            thresholds = (*self.state.thresholds, tau)
            self._set(micro_step=self.state.micro_step + 1, thresholds=thresholds)
        rate = self.rate
        event = self.skip(batches) if self.is_faulty(batches) else self.update(batches, slopes)
        for row in rows:
            yield Event("draw", {"tau": row["tau_train"]})
            yield Event("log", row | self.progress(rate))
        yield event

    def progress(self, rate: Fraction) -> Numbers:
        """Return what a record says of its update, which was made at this rate; LOG-4."""
        state = self.state
        return {"global_step": state.global_step, "skipped": state.skipped, "lr": rate}

    def update(self, batches: Sequence[MicroBatch], slopes: Sequence[Fraction]) -> Event:
        """Apply the update of a window: ACC-1, STEP-1, STEP-2."""
        gradient = self.gradient([len(batch.samples) for batch in batches], slopes)
        own, state = gradient * self.plan.own_parameter, self.state
        clip = shortening([gradient, own], self.plan.max_norm)
        w_momentum, v_momentum = (
            Fraction(self.plan.momentum) * before + clip * g
            for before, g in ((state.w_momentum, gradient), (state.v_momentum, own))
        )
        w, v = state.w - self.rate * w_momentum, state.v - self.rate * v_momentum
        self._set(w=w, v=v, w_momentum=w_momentum, v_momentum=v_momentum, skipped_in_row=0)
        self._set(global_step=state.global_step + 1)
        self.schedule("update")
        return Event("update", {"w": w, "v": v, "global_step": Fraction(self.state.global_step)})

    def gradient(self, sizes: Sequence[int], slopes: Sequence[Fraction]) -> Fraction:
        """Return the gradient of a window; ACC-1."""
        return sample_mean(sizes, slopes)

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
        drawn = self._generator().getrandbits(8) if self.plan.random else 0
        return self.plan.weight(epoch) * (1 + Fraction(drawn, 256))

    def _generator(self) -> Random:
        self._set(random=self.state.random + 1)
        return Random(self.state.random)

    def is_faulty(self, batches: Sequence[MicroBatch]) -> bool:
        """Tell whether a window's loss or gradient is not finite."""
        overflows = self._is_scaled and self.state.scale > LARGEST_SCALE
        faults = {batch.fault for batch in batches}
        return bool(faults - {"", "overflow"}) or ("overflow" in faults and overflows)

    def skip(self, batches: Sequence[MicroBatch]) -> Event:
        """Skip a window's update; one that makes float16's scale fall is not counted; STEP-3."""
        overflows = all(batch.fault in ("", "overflow", "flood") for batch in batches)
        falls = self._is_scaled and overflows and self.state.scale > 1
        row = self.state.skipped_in_row + (not falls)
        failed = row >= self.plan.max_nonfinite
        scale = self.state.scale / 2 if falls else self.state.scale
        skipped = self.state.skipped + 1
        self._set(skipped=skipped, skipped_in_row=row, failed=failed, scale=scale)
        return Event("skip", {"skipped": Fraction(skipped)})

    def measure(self, batch: MicroBatch, tau: float, factor: Fraction) -> Numbers:
        """Return a micro-batch's record: ACC-3, COV-1 and STOP-6 of what it shows."""
        counts = batch.counts(tau)
        covered = epoch_coverage([counts])
        loss = batch.slope * factor * (self.state.w + self.state.v)
        return {
            "loss": batch.lost if batch.fault == "loss" else loss,
            "samples": Fraction(counts.samples),
            "coverage": covered,
            **told_apart([counts]),
            "bottom_frac": (1 - covered) / self.plan.outputs,
            **measured_denominators((batch,), self.plan.outputs),
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

    def validation(self, epoch: int) -> Numbers:
        """Return a validation's record: VAL-1, TAU-8."""
        batches, before = self.plan.validation, self.state.random
        sizes = [len(batch.samples) for batch in batches]
        tau = midpoint(self.plan.tau_min, self.plan.tau_max)
        measured = [self.measure(b, float(tau), self.factor(epoch)) for b in batches]
        self._set(random=before)
        means = {
            name: sample_mean(sizes, [Fraction(m[name]) for m in measured])
            for name in ("loss", "coverage", "bottom_frac")
        }
        record = means | told_apart([b.counts(float(tau)) for b in batches]) | {"tau": tau}
        record |= measured_denominators(batches, self.plan.outputs)
        if self.plan.tells:
            record["loss_slope"] = sample_mean(sizes, [batch.slope for batch in batches])
        place: Numbers = {"epoch": Fraction(epoch), "loss_tau": tau}
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


@clause("STOP-3", source="Ours: rules about stopping leave open what happens before", since="0.2.0")
def like_the_automaton(subject: Trains, plan: Plan) -> None:
    """A trainer is held to the reference automaton.

    1. It stops after the same epoch.
    2. Until then it does and reports the same, in the same order, with the same numbers; only the
       thresholds that it draws are free.
    """
    found, expected = subject.train(plan), run(plan)
    stops = [[event.values["epoch"] for event in trace.of("stop")] for trace in (found, expected)]
    require(stops[0] == stops[1], "{}: stops after {}, not {}", plan, *stops)
    require_same_run(found.events, expected.events, free=DRAWN, claim=2)
