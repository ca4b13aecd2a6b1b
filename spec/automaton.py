"""The trainer as an automaton: what it does and reports, and when, without any tensors.

It carries out the plans of :mod:`spec.runs` exactly. Its events are the reading of STOP, ACC,
STEP, VAL and LOG that a trainer is held to, side by side (STOP-3).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction

from .clause import clause, require
from .coverage import bottom_recall, epoch_coverage, monitored_coverage
from .epochs import validation_mean, validation_minimum
from .runs import (
    DONE,
    MEASURED,
    REPORTED,
    SLACK,
    Epoch,
    Event,
    MicroBatch,
    Plan,
    Trace,
    Trains,
    agree,
)
from .stopping import count_bad
from .thresholds import midpoint, threshold
from .update import clipped, window_gradient, windows


@dataclass(frozen=True)
class State:
    """All that a run goes on from; RES-1."""

    w: Fraction = Fraction(1)
    v: Fraction = Fraction(0)
    epoch: int = 0
    micro_step: int = 0
    global_step: int = 0
    skipped: int = 0
    skipped_in_row: int = 0
    bad_epochs: int = 0
    stopped: bool = False
    failed: bool = False
    thresholds: tuple[float, ...] = ()


class Automaton:
    """The reference trainer, an epoch at a time."""

    def __init__(self, plan: Plan, state: State | None = None) -> None:
        self.plan, self.state = plan, state or State()

    @property
    def rate(self) -> Fraction:
        """The learning rate: 1/8, halved with every applied update."""
        return Fraction(1, 8 * 2**self.state.global_step)

    def save(self) -> dict[str, object]:
        """Return the state as plain values; between any two updates it is all there is."""
        return asdict(self.state)

    def load(self, state: dict[str, object]) -> None:
        """Go on from a saved state."""
        self.state = State(**state)  # type: ignore[arg-type]

    def epoch(self, batches: Epoch) -> Iterator[Event]:
        """Train on an epoch, or what is left of it: TAU-4, STEP-1, ACC-2, LOG-1, VAL-1, STOP-1."""
        for window in windows([len(b.samples) for b in batches], self.plan.accumulation):
            if window[0] < len(self.state.thresholds):
                continue  # done before the state was saved
            yield from self._window([batches[i] for i in window])
            if self.state.failed:
                yield Event("error", {"global_step": Fraction(self.state.global_step)})
                return
        covered = monitored_coverage(batch.counts for batch in batches)
        bad = count_bad(self.state.bad_epochs, covered, Fraction(self.plan.threshold))
        stopped = covered is not None and bad >= self.plan.patience
        epoch = self.state.epoch
        self._set(bad_epochs=bad, stopped=stopped, epoch=epoch + 1)
        if self.plan.validation:
            yield Event("validate", self._validation(epoch))
        if stopped:
            yield Event("stop", {"epoch": Fraction(epoch)})

    def start_epoch(self) -> None:
        """Forget the thresholds of the epoch before; TAU-7."""
        self._set(thresholds=())

    def validate(self) -> Event:
        """Validate out of turn, for the latest epoch."""
        return Event("validate", self._validation(max(self.state.epoch - 1, 0)))

    def _set(self, **changes: object) -> None:
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]

    def _window(self, batches: Sequence[MicroBatch]) -> Iterator[Event]:
        for batch in batches:
            tau = self._draw()
            record = self._measure(batch) | {"tau_train": tau} | self._position()
            self._set(
                micro_step=self.state.micro_step + 1, thresholds=(*self.state.thresholds, tau)
            )
            yield Event("draw", {"tau": tau})
            yield Event("log", record)
        if any(batch.fault for batch in batches):
            self._skip()
            yield Event("skip", {"skipped": Fraction(self.state.skipped)})
            return
        shares = [share for batch in batches for share in batch.shares(self.plan.ranks)]
        gradient = window_gradient(*zip(*shares, strict=True))
        step = self.rate * clipped(gradient, self.plan.max_norm)
        own = step if self.plan.own_parameter else 0
        w, v, done = self.state.w - step, self.state.v - own, self.state.global_step + 1
        self._set(w=w, v=v, global_step=done, skipped_in_row=0)
        yield Event("update", {"w": w, "v": v, "global_step": Fraction(done)})

    def _draw(self) -> float:
        """Draw τ as a function of seed, epoch and index alone; TAU-1, TAU-5."""
        place = (self.plan.seed, self.state.epoch, len(self.state.thresholds))
        u = Fraction(hash(place) % 2**20, 2**20)
        return float(threshold(self.plan.tau_min, self.plan.tau_max, u))

    def _skip(self) -> None:
        row = self.state.skipped_in_row + 1
        failed = row >= self.plan.max_nonfinite
        self._set(skipped=self.state.skipped + 1, skipped_in_row=row, failed=failed)

    def _position(self) -> dict[str, float | Fraction]:
        return {"epoch": float(self.state.epoch), "micro_step": float(self.state.micro_step)}

    def _measure(self, batch: MicroBatch) -> dict[str, float | Fraction]:
        """Return a micro-batch's record: ACC-3, COV-1 and STOP-6 of what it shows."""
        counts = batch.counts
        monitored, recall = monitored_coverage([counts]), bottom_recall([counts])
        covered = epoch_coverage([counts])
        loss = batch.slope * (self.state.w + self.state.v)
        return {
            "loss": math.nan if batch.fault == "loss" else loss,
            "samples": Fraction(counts.samples),
            "coverage": covered,
            "coverage_finite": math.nan if monitored is None else monitored,
            "bottom_recall": math.nan if recall is None else recall,
            "bottom_frac": 1 - covered,
            "denom_abs_min": Fraction(covered == 1),
            "denom_abs_mean": covered,
        }

    def _validation(self, epoch: int) -> dict[str, float | Fraction]:
        """Return a validation's record: VAL-1, TAU-8."""
        batches = self.plan.validation
        sizes = [len(batch.samples) for batch in batches]
        measured = [self._measure(batch) for batch in batches]
        means = {
            name: validation_mean(sizes, [Fraction(m[name]) for m in measured])
            for name in ("loss", "coverage", "bottom_frac", "denom_abs_mean")
        }
        least = validation_minimum([Fraction(m["denom_abs_min"]) for m in measured])
        tau = midpoint(self.plan.tau_min, self.plan.tau_max)
        record = means | {"denom_abs_min": least, "tau": tau}
        return {f"val_{name}": value for name, value in record.items()} | {"epoch": float(epoch)}


def run(plan: Plan, kind: type[Automaton] = Automaton) -> Trace:
    """Carry out a plan by the automaton, or by a variant of it."""
    automaton, events = kind(plan), list[Event]()
    for batches in plan.epochs:
        automaton.start_epoch()
        more = automaton.epoch(batches)
        while event := next(more, None):
            events.append(event)
            goes_on = event.kind in ("update", "skip") and not automaton.state.failed
            if goes_on and automaton.state.micro_step in plan.interrupts:
                saved = automaton.save()
                automaton = kind(plan)
                automaton.load(saved)
                more = automaton.epoch(batches)
        if automaton.state.stopped or automaton.state.failed:
            break
    state, logs = automaton.state, [e for e in events if e.kind == "log"]
    history = min(len(logs), plan.history_limit)
    return Trace(tuple(events), (state.w, state.v), state.thresholds, history, automaton.rate)


@clause(
    "STOP-3",
    source="Ours: a sentence about stopping says nothing of what else happens on the way",
    since="0.2.0",
)
def like_the_automaton(subject: Trains, plan: Plan) -> None:
    """A trainer stops exactly where the reference automaton does, and on its way there does and
    reports what the automaton does, in the same order, with the same numbers.
    """
    require_alike(subject.train(plan).events, run(plan).events)


def require_alike(found: Sequence[Event], expected: Sequence[Event]) -> None:
    """Require a trainer's events to be those of the automaton, but for the thresholds drawn."""
    for kinds in (DONE, REPORTED):
        ours, theirs = ([e for e in events if e.kind in kinds] for events in (found, expected))
        order = [event.kind for event in ours], [event.kind for event in theirs]
        require(order[0] == order[1], "{} instead of {}", *order)
        for event, reference in zip(ours, theirs, strict=True):
            for name, value in reference.values.items():
                free = name in ("tau", "tau_train")
                slack = MEASURED.get(name.removeprefix("val_"), SLACK)
                right = free or agree(event.values[name], value, slack)
                require(right, "{}: {} is not {}", name, event, reference)
