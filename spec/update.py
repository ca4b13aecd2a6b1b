"""STEP: the update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Protocol

from .accumulation import all_groups, applied_groups, plan_outcome, require_updates
from .clause import clause, refused, require
from .runs import Plan, Trace, Trains, require_same_run

CLIPPED: Final = Fraction(1, 10**5)


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
class Phases:
    """What happened in a window, in order, and the modes in which the model ran."""

    order: tuple[str, ...]
    training: tuple[bool, ...]


class Updates(Trains, Protocol):
    """A subject that trains, and lets one look on."""

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

    def host_reads(self, updates: int, skips_on_device: bool) -> int:
        """Return how often the host waited for the device within an epoch of so many updates.

        The optimizer is one that can skip a step on the device, or one that cannot.
        """


UNTRAINABLE: Final = ("empty loader", "exhausted loader", "loss without gradient", "nothing to do")


@clause(
    "STEP-1",
    source="Guide: the training step; Ours: clipping acts on the gradient that is applied",
    since="0.2.0",
)
def order(subject: Updates, plan: Plan, micro_batches: int) -> None:
    """A *window* is the micro-batches of one update. Its phases have an order.

    1. Each micro-batch in turn draws τ, lifts, and runs forward, loss and backward. The window then
       steps the optimizer, clears the gradients, and steps the scheduler.
    2. Before the step the gradient is unscaled and normalised, and then clipped by the norm of
       all parameters together.
    """
    found = subject.phases(micro_batches).order
    expected = ("forward", "loss", "backward") * micro_batches + ("step", "zero", "schedule")
    require(found == expected, "{}, not {}", found, expected)
    for precision in ("", "float16"):
        updates = subject.train(replace(plan, precision=precision)).of("update")
        require_updates(plan, updates, CLIPPED, claims=(2, 2))


@clause(
    "STEP-2",
    source="Ours: a schedule of updates that a skip advances ends before training does",
    since="0.2.0",
)
def applied(subject: Trains, plan: Plan) -> None:
    """Applied updates are what counts.

    1. The global step advances once per applied update, and at no other time.
    2. The scheduler steps once per applied update, and at no other time.
    3. Micro-batches are counted separately, skipped ones included.
    """
    trace, count = subject.train(plan), len(applied_groups(plan))
    steps = [event.values["global_step"] for event in trace.of("update")]
    require(steps == list(range(1, count + 1)), "{}: global steps {}", plan, steps)
    rate = Fraction(1, 8 * 2**count)
    require(trace.rate == rate, "{}: the rate is {}, not {}", plan, trace.rate, rate, claim=2)
    micro_steps = [event.values["micro_step"] for event in trace.of("log")]
    whole = micro_steps == list(range(len(micro_steps)))
    require(whole, "{}: micro-batches {}", plan, micro_steps, claim=3)


@clause(
    "STEP-3",
    source="Ours: one NaN must not cost a run its weights, nor NaN after NaN pass in silence; a "
    "float16 scaler finds its scale by such skips",
    since="0.2.0",
)
def faults(subject: Trains, plan: Plan) -> None:
    """A window with a loss or a gradient norm that is not finite is skipped.

    1. A skip changes no parameter and no optimizer state.
    2. A skip is counted, and the records of its micro-batches have the new count as ``skipped``.
    3. ``max_nonfinite_steps`` skips in a row raise an error that names the global step.
    4. A skip by which the scale of float16 falls does not count towards that error.
    """
    trace = subject.train(plan)
    updates, errors = trace.of("update"), trace.of("error")
    if plan.precision:
        require(not errors, "{}: {} while the scale falls", plan, errors, claim=4)
        require(len(updates) > 0, "{}: the scale never fell enough", plan, claim=4)
        return
    expected = plan_outcome(plan)
    count = expected.applied.count(False)
    skips = [event.values["skipped"] for event in trace.of("skip")]
    require(skips == list(range(1, count + 1)), "{}: skips {}", plan, skips, claim=2)
    logged = [event.values["skipped"] for event in trace.of("log")]
    told = _skips_told(plan)
    require(logged == told, "{}: records have skipped {}, not {}", plan, logged, told, claim=2)
    failed = expected.error_at is not None
    require(len(errors) == failed, "{}: errors {}, not {}", plan, errors, failed, claim=3)
    right = len(updates) == expected.applied.count(True)
    require(right, "{}: {} updates", plan, len(updates))
    steps = [event.values["global_step"] for event in errors]
    require(steps == [len(updates)] * failed, "{}: the error names {}", plan, steps, claim=3)
    require_updates(plan, updates, claims=(1, 1))


def _skips_told(plan: Plan) -> list[int]:
    """Return the count of skips in each record; STEP-3."""
    told, skips = list[int](), 0
    for (_, group), good in zip(all_groups(plan), plan_outcome(plan).applied, strict=False):
        skips += not good
        told += [skips] * len(group)
    return told


@clause(
    "STEP-4",
    source="Ours: a sync per step costs more than the step of a small model; only a fused "
    "optimizer can skip on the device (STEP-3)",
    since="0.2.0",
)
def no_wait(subject: Updates, updates: int) -> None:
    """Within an epoch the host runs ahead of the device.

    1. With an optimizer that can skip on the device, it never waits for work queued since the
       latest forward.
    2. With any other optimizer it waits at most once per update.
    """
    found = subject.host_reads(updates, True)
    require(found == 0, "{} updates made the host wait {} times", updates, found)
    found = subject.host_reads(updates, False)
    once = "{} updates of an optimizer that cannot skip made the host wait {} times"
    require(found <= updates, once, updates, found, claim=2)


@clause(
    "STEP-5", source="Ours: training that did nothing must not look like training", since="0.2.0"
)
def trains(subject: Updates, case: str) -> None:
    """``fit`` trains, or says why it cannot.

    1. It trains in train mode, in whatever mode the model was.
    2. An empty loader, a loader exhausted after one epoch and a loss without a gradient raise
       ValueError.
    3. A second call with nothing to do raises RuntimeError.
    """
    modes = subject.phases(1).training
    require(all(modes) and len(modes) > 0, "the model ran in train mode: {}", modes)
    error, claim = (RuntimeError, 3) if case == "nothing to do" else (ValueError, 2)
    raised = refused(error, lambda: subject.untrainable(case), claim=claim)
    require(raised, "{} raised nothing", case, claim=claim)


@clause("STEP-6", source="Ours: compiling is about speed", since="0.2.0")
def compiled(subject: Updates, plan: Plan) -> None:
    """Compiled and eager runs agree, with thresholds and loss weights that change from epoch to
    epoch.
    """
    found, expected = subject.train_compiled(plan), subject.train(plan)
    require_same_run(found, expected)


@clause(
    "STEP-7",
    source="Ours: coverage rises as training goes well, and would lower the rate for it",
    since="0.3.0",
)
def watched(subject: Updates, losses: Sequence[float]) -> None:
    """A scheduler that reduces the rate on a plateau receives each validation's loss."""
    found, expected = subject.watched(losses), watched_rates(losses)
    require(found == expected, "losses {} left the rates {}, not {}", losses, found, expected)
