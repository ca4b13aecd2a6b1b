"""ACC, AMP and STEP: micro-batches share an optimizer step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Protocol

from .clause import clause, refused, require
from .runs import SLACK, Event, Plan, Trace, Trains, agree, require_same_run

CLIPPED: Final = Fraction(1, 10**5)
PRECISIONS: Final = ("float16", "bfloat16", "float32", "float64", "int8")


def windows(sizes: Sequence[int], n: int) -> list[list[int]]:
    """Return the indices of an epoch's micro-batches, window by window; ACC-2."""
    return [list(range(first, min(first + n, len(sizes)))) for first in range(0, len(sizes), n)]


def updates_per_epoch(micro_batches: int, n: int) -> int:
    """Return ``⌈micro-batches / N⌉``; ACC-2."""
    return -(-micro_batches // n)


def window_gradient(sizes: Sequence[int], gradients: Sequence[Fraction]) -> Fraction:
    """Return ``Σ nᵢgᵢ / Σ nᵢ``, with ``nᵢ`` samples in micro-batch i; ACC-1."""
    weighted = sum((n * g for n, g in zip(sizes, gradients, strict=True)), Fraction(0))
    return weighted / sum(sizes)


def clipped(gradient: Fraction, max_norm: float | None) -> Fraction:
    """Return the gradient shortened to the norm, of a model with one parameter; STEP-1."""
    if max_norm is None or abs(gradient) <= Fraction(max_norm):
        return gradient
    return Fraction(max_norm) * ((gradient > 0) - (gradient < 0))


def watched_rates(losses: Sequence[float]) -> list[Fraction]:
    """Return a rate of ⅛ after each loss, halved where that is not below all before; STEP-7.

    Example:
        >>> [str(rate) for rate in watched_rates([1.0, 2.0, 0.5])]
        ['1/8', '1/16', '1/16']
    """
    rate, rates = Fraction(1, 8), list[Fraction]()
    for epoch, loss in enumerate(losses):
        rate = rate if all(loss < earlier for earlier in losses[:epoch]) else rate / 2
        rates.append(rate)
    return rates


@dataclass(frozen=True)
class Outcome:
    """Which windows' updates were applied, and the window that ended in an error, if any."""

    applied: tuple[bool, ...]
    error_at: int | None


def outcome(faults: Sequence[bool], max_nonfinite_steps: int) -> Outcome:
    """Return what becomes of a run's windows, given which hold something not finite; STEP-3."""
    applied: list[bool] = []
    row = 0
    for window, fault in enumerate(faults):
        applied.append(not fault)
        row = row + 1 if fault else 0
        if row >= max_nonfinite_steps:
            return Outcome(tuple(applied), window)
    return Outcome(tuple(applied), None)


@dataclass(frozen=True)
class Precision:
    """Dtypes as a run shows them: of a matrix product in the forward, and of what the loss gets;
    and whether a gradient scaler is at work.
    """

    forward: str
    loss: tuple[str, ...]
    scaled: bool


@dataclass(frozen=True)
class Phases:
    """What happened in a window, in order, and the modes in which the model ran."""

    order: tuple[str, ...]
    training: tuple[bool, ...]


class Updates(Trains, Protocol):
    """A subject that trains, and lets one look on."""

    def precision(self, dtype: str) -> Precision:
        """Train a float32 model under autocast; an error where the dtype cannot be had."""

    def phases(self, micro_batches: int) -> Phases:
        """Train one window of a model that was left in eval mode.

        The phases are ``forward``, ``loss``, ``backward``, ``step``, ``zero``, ``schedule``.
        """

    def untrainable(self, case: str) -> None:
        """Train in one of :data:`UNTRAINABLE` cases; ValueError or RuntimeError says why not."""

    def watched(self, losses: Sequence[float]) -> list[float]:
        """Train an epoch for each of these losses, which its validation finds, and all samples
        covered; return the rates after them, of a scheduler that begins at 1/8 and halves it
        after every validation whose metric is not below the lowest so far.
        """

    def train_compiled(self, plan: Plan) -> Trace:
        """Carry out a plan in compiled code."""

    def host_reads(self, updates: int) -> int:
        """Return how often the host read what the device computed, within one epoch."""


UNTRAINABLE: Final = ("empty loader", "exhausted loader", "loss without gradient", "nothing to do")


def _applied(plan: Plan) -> list[list[int]]:
    """Return the micro-batches, counted over the run, of each window whose update is applied."""
    groups: list[list[int]] = []
    for epoch in plan.epochs:
        done = groups[-1][-1] + 1 if groups else 0
        sizes = [len(batch.samples) for batch in epoch]
        groups += [[done + i for i in window] for window in windows(sizes, plan.accumulation)]
    faults = [any(plan.micro_batches[i].fault for i in group) for group in groups]
    applied = outcome(faults, plan.max_nonfinite).applied
    return [group for group, good in zip(groups, applied, strict=False) if good]


def _require_updates(plan: Plan, updates: Sequence[Event], slack: Fraction) -> None:
    w, v, rate, batches = Fraction(1), Fraction(0), Fraction(1, 8), plan.micro_batches
    for event, group in zip(updates, _applied(plan), strict=True):
        sizes, slopes = [len(batches[i].samples) for i in group], [batches[i].slope for i in group]
        step = rate * clipped(window_gradient(sizes, slopes), plan.max_norm)
        w, v, rate = w - step, v - step * plan.own_parameter, rate / 2
        for name, expected in (("w", w), ("v", v)):
            right = agree(event.values[name], expected, slack)
            require(right, "{}: {} is {}, not {}", plan, name, event, expected)


@clause(
    "ACC-1",
    source="Ours: accumulation is a way to fit a batch into memory, and no other thing",
    since="0.2.0",
)
def equivalence(subject: Trains, plan: Plan) -> None:
    """A window's gradient is ``Σ nᵢ∇Lᵢ / Σ nᵢ`` over its micro-batches, of ``nᵢ`` samples each, for
    every parameter that the loss reaches, the loss's own included.
    """
    updates = subject.train(plan).of("update")
    right = len(updates) == len(_applied(plan))
    require(right, "{}: {} updates, not {}", plan, len(updates), len(_applied(plan)))
    _require_updates(plan, updates, SLACK)


@clause("ACC-2", source="Ours: what is dropped or carried over was paid for", since="0.2.0")
def whole_epochs(subject: Trains, plan: Plan) -> None:
    """An epoch makes ``⌈micro-batches / N⌉`` updates, the short last window's included; no
    gradient crosses an epoch, nor comes from before the first window.
    """
    trace = subject.train(replace(plan, stale=True))
    kinds = [event.kind for event in trace.of("draw", "update")]
    expected: list[str] = []
    for epoch in plan.epochs:
        for window in windows([len(batch.samples) for batch in epoch], plan.accumulation):
            expected += ["draw"] * len(window) + ["update"]
    require(kinds == expected, "{}: {}, not {}", plan, kinds, expected)
    count = sum(updates_per_epoch(len(epoch), plan.accumulation) for epoch in plan.epochs)
    require(kinds.count("update") == count, "{}: not {} updates", plan, count)
    _require_updates(plan, trace.of("update"), SLACK)


@clause("ACC-3", source="Ours: a curve must not change with N", since="0.2.0")
def own_losses(subject: Trains, plan: Plan) -> None:
    """A logged loss is the micro-batch's own, never divided by N or weighted."""
    trace = subject.train(plan)
    w, v = Fraction(1), Fraction(0)
    batches, updates = plan.micro_batches, iter(trace.of("update"))
    logs = trace.of("log")
    require(len(logs) == len(batches), "{}: {} records", plan, len(logs))
    closing = {group[-1] for group in _applied(plan)}
    for index, (batch, event) in enumerate(zip(batches, logs, strict=True)):
        expected = batch.slope * (w + v)
        right = agree(event.values["loss"], expected)
        require(right, "{}: loss {} of {}, not {}", plan, index, event, expected)
        if index in closing:
            values = next(updates).values
            w, v = Fraction(values["w"]), Fraction(values["v"])


@clause("AMP-1", source="Guide: mixed_precision; Ours: 1e-8² is 0 in float16", since="0.2.0")
def autocast(subject: Updates, dtype: str) -> None:
    """The forward runs under autocast; lifting, loss and coverage outside of it, in float32 or
    wider.
    """
    found = subject.precision(dtype)
    require(found.forward == dtype, "the forward ran in {}, not {}", found.forward, dtype)
    wide = set(found.loss) <= {"float32", "float64"}
    require(wide, "the loss was computed in {}", found.loss)


@clause("AMP-2", source="Guide: amp_dtype", since="0.2.0")
def scaler(subject: Updates, dtype: str) -> None:
    """float16 uses a gradient scaler, bfloat16 none."""
    found = subject.precision(dtype).scaled
    require(found == (dtype == "float16"), "{} with a scaler: {}", dtype, found)


@clause("AMP-3", source="Ours: an option that is off must be free", since="0.2.0")
def off(subject: Trains, plan: Plan, dtype: str) -> None:
    """With mixed precision off, whatever its dtype, a run is bitwise that without the option."""
    found, expected = subject.train(replace(plan, precision=f"{dtype} off")), subject.train(plan)
    require(repr(found) == repr(expected), "{}: {}, not {}", plan, found, expected)


@clause("AMP-4", source="Ours: a silent swap spoils a comparison", since="0.2.0")
def no_swap(subject: Updates, dtype: str) -> None:
    """The dtype asked for is the one used, or an error says why not."""
    if refused(Exception, lambda: subject.precision(dtype)):
        return
    found = subject.precision(dtype).forward
    require(found == dtype, "asked for {}, the forward ran in {}", dtype, found)


@clause(
    "STEP-1",
    source="Guide: the training step; Ours: clipping acts on the gradient that is applied",
    since="0.2.0",
)
def order(subject: Updates, plan: Plan, micro_batches: int) -> None:
    """A window draws τ, lifts, runs forward, loss and backward of each micro-batch, and then
    unscales, normalises, clips, steps, updates the scaler, clears gradients, and schedules.
    """
    found = subject.phases(micro_batches).order
    expected = ("forward", "loss", "backward") * micro_batches + ("step", "zero", "schedule")
    require(found == expected, "{}, not {}", found, expected)
    for precision in ("", "float16"):
        updates = subject.train(replace(plan, precision=precision)).of("update")
        _require_updates(plan, updates, CLIPPED)


@clause(
    "STEP-2",
    source="Ours: a schedule of updates that a skip advances ends before training does",
    since="0.2.0",
)
def applied(subject: Trains, plan: Plan) -> None:
    """The scheduler and the global step advance once per applied update, and on no other; the
    micro-batches have a counter of their own.
    """
    trace, count = subject.train(plan), len(_applied(plan))
    steps = [event.values["global_step"] for event in trace.of("update")]
    require(steps == list(range(1, count + 1)), "{}: global steps {}", plan, steps)
    rate = Fraction(1, 8 * 2**count)
    require(trace.rate == rate, "{}: the rate is {}, not {}", plan, trace.rate, rate)
    micro_steps = [event.values["micro_step"] for event in trace.of("log")]
    require(micro_steps == list(range(len(micro_steps))), "{}: {}", plan, micro_steps)


@clause(
    "STEP-3",
    source="Ours: one NaN must not cost a run its weights, nor NaN after NaN pass in silence; a "
    "float16 scaler finds its scale by such skips, so they count only when it has",
    since="0.2.0",
)
def faults(subject: Trains, plan: Plan) -> None:
    """A window with a loss or gradient norm that is not finite changes no parameter; it is counted
    and logged, and ``max_nonfinite_steps`` of them in a row end in an error that names the step.
    """
    trace = subject.train(plan)
    groups = [
        [epoch[i] for i in window]
        for epoch in plan.epochs
        for window in windows([len(batch.samples) for batch in epoch], plan.accumulation)
    ]
    expected = outcome([any(b.fault for b in group) for group in groups], plan.max_nonfinite)
    skips = [event.values["skipped"] for event in trace.of("skip")]
    count = expected.applied.count(False)
    require(skips == list(range(1, count + 1)), "{}: skips {}, not {}", plan, skips, count)
    updates, errors = trace.of("update"), trace.of("error")
    right = len(updates) == expected.applied.count(True)
    require(right, "{}: {} updates", plan, len(updates))
    failed = expected.error_at is not None
    require(len(errors) == failed, "{}: errors {}, not {}", plan, errors, failed)
    steps = [event.values["global_step"] for event in errors]
    require(steps == [len(updates)] * failed, "{}: the error names {}", plan, steps)
    _require_updates(plan, updates, SLACK)


@clause(
    "STEP-4",
    source="Ours: a read per step costs more than the step of a small model; what is read must be "
    "long there, and only a fused optimizer can be told on the device to skip (STEP-3)",
    since="0.2.0",
)
def no_wait(subject: Updates, updates: int) -> None:
    """Within an epoch no call makes the host wait for what the device has been given since the
    latest forward, but for optimizers that cannot skip on the device, and there once per update.
    """
    found = subject.host_reads(updates)
    require(found == 0, "{} updates made the host wait {} times", updates, found)


@clause(
    "STEP-5", source="Ours: training that did nothing must not look like training", since="0.2.0"
)
def trains(subject: Updates, case: str) -> None:
    """``fit`` trains in train mode, and refuses what it cannot train: an empty loader, a loader
    exhausted after one epoch, a loss without a gradient, and a second call with nothing to do.
    """
    modes = subject.phases(1).training
    require(all(modes) and len(modes) > 0, "the model ran in train mode: {}", modes)
    error = RuntimeError if case == "nothing to do" else ValueError
    require(refused(error, lambda: subject.untrainable(case)), "{} was not refused", case)


@clause("STEP-6", source="Ours: compiling is about speed", since="0.2.0")
def compiled(subject: Updates, plan: Plan) -> None:
    """Compiled and eager runs agree, whatever the thresholds and weights of the run."""
    found, expected = subject.train_compiled(plan), subject.train(plan)
    require_same_run(found, expected)


@clause(
    "STEP-7",
    source="Ours: coverage rises as training goes well, and would lower the rate for it",
    since="0.3.0",
)
def watched(subject: Updates, losses: Sequence[float]) -> None:
    """A scheduler that waits for a metric to fall is shown the loss of each validation."""
    found, expected = subject.watched(losses), watched_rates(losses)
    require(found == expected, "losses {} left the rates {}, not {}", losses, found, expected)
