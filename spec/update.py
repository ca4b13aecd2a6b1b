"""STEP and AMP: the update, and mixed precision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Protocol

from .accumulation import carried_out, require_updates
from .clause import clause, refused, require
from .runs import Plan, Trains

PRECISIONS: Final = ("float16", "bfloat16", "float32", "float64", "int8")
WIDE: Final = frozenset(("float32", "float64"))


@dataclass(frozen=True)
class Precision:
    """Dtypes as a run shows them, and whether a gradient scaler is at work.

    They are those of a matrix product in the forward, of what the loss is given (outputs and
    lifted targets), and of a matrix product of float32 tensors inside the loss.
    """

    forward: str
    loss: tuple[str, ...]
    inside: str
    scaled: bool


class Casts(Trains, Protocol):
    """A subject that trains in mixed precision."""

    def precision(self, dtype: str, option: str = "mixed_precision") -> Precision:
        """Train and validate a float32 model under autocast, which an option of this name turns on.

        A dtype that cannot be had raises an error. Dtypes that differ are all named.
        """


@clause("AMP-1", source="Guide: mixed_precision; Ours: 1e-8² is 0 in float16", since="0.2.0")
def autocast(subject: Casts, dtype: str) -> None:
    """Autocast covers the forward, also of a validation, and nothing else.

    1. The forward runs under autocast to the dtype.
    2. The loss gets outputs and lifted targets in float32 or wider.
    3. The loss runs outside autocast: what it computes of float32 tensors is float32.
    """
    found = subject.precision(dtype)
    require(found.forward == dtype, "the forward ran in {}, not {}", found.forward, dtype)
    require(set(found.loss) <= WIDE, "the loss was given {}", found.loss, claim=2)
    wide = found.inside in WIDE
    require(wide, "the loss computed in {}, so under autocast", found.inside, claim=3)


@clause("AMP-2", source="Guide: amp_dtype", since="0.2.0")
def scaler(subject: Casts, dtype: str) -> None:
    """The dtype decides whether gradients are scaled.

    1. float16 uses a gradient scaler.
    2. bfloat16 uses none.
    """
    found, claim = subject.precision(dtype), 1 if dtype == "float16" else 2
    right = found.scaled == (claim == 1) or found.forward != dtype  # of which AMP-4 speaks
    require(right, "{} with a scaler: {}", dtype, found.scaled, claim=claim)


@clause("AMP-3", source="Ours: an option that is off must be free", since="0.2.0")
def off(subject: Trains, plan: Plan, dtype: str) -> None:
    """With mixed precision off, a run is bitwise identical to one without the option, whatever
    ``amp_dtype`` is.
    """
    found, expected = subject.train(replace(plan, precision=f"{dtype} off")), subject.train(plan)
    require(repr(found) == repr(expected), "{}: {}, not {}", plan, found, expected)


@clause("AMP-4", source="Ours: a silent swap spoils a comparison", since="0.2.0")
def no_swap(subject: Casts, dtype: str) -> None:
    """The dtype asked for is the one used, or an error says why not."""
    if refused(Exception, lambda: subject.precision(dtype)):
        return
    found = subject.precision(dtype).forward
    require(found == dtype, "asked for {}, the forward ran in {}", dtype, found)


@clause("AMP-5", source="Guide: use_amp; Ours: both names are in use", since="0.4.0")
def alias(subject: Casts, dtype: str) -> None:
    """``use_amp`` is another name for ``mixed_precision``: with either the run is the same."""
    found, expected = subject.precision(dtype, "use_amp"), subject.precision(dtype)
    require(found == expected, "use_amp gave {}, mixed_precision {}", found, expected)


CLIPPED: Final = Fraction(1, 10**5)


def watched_rates(losses: Sequence[float]) -> list[Fraction]:
    """Return a rate of ⅛ after each loss, halved where that is not below all before; STEP-7.

    Example:
        >>> [str(rate) for rate in watched_rates([1.0, 2.0, 0.5])]
        ['1/8', '1/16', '1/16']
    """
    rates = [Fraction(1, 8)]
    for epoch, loss in enumerate(losses):
        is_best = all(loss < earlier for earlier in losses[:epoch])
        rates.append(rates[-1] if is_best else rates[-1] / 2)
    return rates[1:]


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

    def watched(self, losses: Sequence[float], mode: str = "min") -> list[float]:
        """Train an epoch for each of these losses, which its validation finds, and all samples
        covered; return the rates after them, of a scheduler that begins at 1/8 and halves it
        after every validation whose metric is not below the lowest so far. Of the mode ``max``
        it would wait for a rise: ValueError.
        """

    def host_reads(self, updates: int, skips_on_device: bool) -> int:
        """Return how often the host waited for the device within an epoch of so many updates.

        The optimizer is one that can skip a step on the device, or one that cannot.
        """


HALVINGS: Final = 127  # of the largest scale of float32, to 1
UNTRAINABLE: Final = (
    "empty loader", "exhausted loader", "loss without gradient", "nothing to do",
    "nothing to do after an early stop",
)  # fmt: skip


@clause("STEP-1", source="Guide: the training step; Ours: we clip what is applied", since="0.2.0")
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


@clause("STEP-2", source="Ours: a schedule that skips advance ends before training", since="0.2.0")
def applied(subject: Trains, plan: Plan) -> None:
    """Applied updates are what counts.

    1. The global step advances once per applied update, and at no other time.
    2. The scheduler steps once per applied update, and at no other time, unless it is configured
       otherwise (STEP-12).
    3. Micro-batches are counted separately, skipped ones included.
    """
    trace = subject.train(plan)
    steps = [event.values["global_step"] for event in trace.of("update")]
    require(steps == list(range(1, len(steps) + 1)), "{}: global steps {}", plan, steps)
    rate = Fraction(1, 8 * 2 ** len(steps))
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
    4. A skip by which the scale of float16 falls does not count towards that error; every other
       one counts.
    """
    trace, windows = subject.train(plan), carried_out(plan)
    updates, errors = trace.of("update"), trace.of("error")
    if plan.precision:
        row, floods, lost = 0, 0, False
        for batch in plan.epochs[-1]:
            floods += batch.fault == "flood"
            counts = batch.fault == "loss" or floods > HALVINGS  # of which no scale is the cause
            row = row + counts if batch.fault else 0
            lost |= row >= plan.max_nonfinite
        found, expected = [event.values["global_step"] for event in errors], [len(updates)] * lost
        require(found == expected, "{}: errors {}, not {}", plan, found, expected, claim=4)
        require(len(updates) > 0, "{}: the scale never fell enough", plan, claim=4)
        return
    expected, skipped = list[int](), 0
    for window in windows:
        skipped += not window.applied
        expected += [skipped] * len(window.batches)
    for event in updates:
        reached = all(math.isfinite(event.values[name]) for name in "wv")
        require(reached, "{}: a fault reached the parameters: {}", plan, event)
    skips = [event.values["skipped"] for event in trace.of("skip")]
    require(skips == list(range(1, skipped + 1)), "{}: skips {}", plan, skips, claim=2)
    logged = [event.values["skipped"] for event in trace.of("log")]
    complaint = "{}: records have skipped {}, not {}"
    require(logged == expected, complaint, plan, logged, expected, claim=2)
    require_updates(plan, updates, claims=(1, 1))
    last = [window.applied for window in windows[-plan.max_nonfinite :]]
    expected = [len(updates)] if last == [False] * plan.max_nonfinite else []
    steps = [event.values["global_step"] for event in errors]
    require(steps == expected, "{}: errors at steps {}, not {}", plan, steps, expected, claim=3)


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
    for skips, most, claim in ((True, 0, 1), (False, updates, 2)):
        found = subject.host_reads(updates, skips)
        complaint = "{} updates, of an optimizer that can skip: {}, made the host wait {} times"
        require(found <= most, complaint, updates, skips, found, claim=claim)


@clause("STEP-5", source="Ours: training nothing must not look like training", since="0.2.0")
def trains(subject: Updates, case: str) -> None:
    """``fit`` trains, or says why it cannot.

    1. It trains in train mode, in whatever mode the model was.
    2. An empty loader, one exhausted after one epoch and a loss without gradient raise ValueError.
    3. A second call with nothing to do raises RuntimeError.
    """
    modes = subject.phases(1).training
    require(all(modes) and len(modes) > 0, "the model ran in train mode: {}", modes)
    error, claim = (RuntimeError, 3) if case.startswith("nothing") else (ValueError, 2)
    raised = refused(error, lambda: subject.untrainable(case), claim=claim)
    require(raised, "{} raised nothing", case, claim=claim)


@clause("STEP-7", source="Ours: good training raises coverage and would cut rates", since="0.3.0")
def watched(subject: Updates, losses: Sequence[float]) -> None:
    """A scheduler that reduces the rate on a plateau receives each validation's loss."""
    found, expected = subject.watched(losses), watched_rates(losses)
    require(found == expected, "losses {} left the rates {}, not {}", losses, found, expected)
