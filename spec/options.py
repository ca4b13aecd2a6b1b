"""STEP-11 to STEP-15, AMP-6 and CUR-2: what a trainer is configured with, and its parts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import chain
from typing import Final, Literal, Protocol, TypeAlias

from .accumulation import carried_out, sample_mean
from .clause import clause, refused, require
from .runs import Plan, Trace, Trains, agree
from .update import Updates

Outcome: TypeAlias = Literal["applied", "overflow", "fault"]
Parameters: TypeAlias = Sequence[float | Fraction]
OPTIONS: Final[Mapping[str, tuple[object, Sequence[object], Sequence[object]]]] = {
    "max_epochs": (100, (1, 3), (0, -1)),
    "gradient_accumulation_steps": (1, (1, 3), (0, -1)),
    "coverage_patience": (1, (1, 3), (0, -1)),
    "max_nonfinite_steps": (10, (1, 3), (0, -1)),
    "history_limit": (20_000, (1, 3), (0, -1)),
    "keep_checkpoints": (3, (1, 2), (0, -1)),
    "seed": (0, (0, 2**40), (-1,)),
    "tau_train_min": (1e-4, (0.0, 1.0), (-0.5, 1.5, math.nan, math.inf)),
    "tau_train_max": (1e-4, (0.0, 1e300), (-0.5, math.nan, math.inf)),
    "coverage_threshold": (0.0, (0.0, 1.0), (-0.5, 1.5, math.nan)),
    "max_grad_norm": (None, (None, 5e-324, 1e300), (0.0, -1.0, math.nan, math.inf)),
    "amp_dtype": (None, ("float16", "bfloat16"), ("float64", "int8", "half")),
    "gradient_policy": (None, (None, "reject"), ("", "clip")),
    "loss_weights": (None, ({"fit": 0.5},), ({"fit": math.nan}, {"fit": math.inf})),
    "scheduler_step": ("update", ("update", "epoch"), ("val", "step")),
    "checkpoint_every": (0, (0,), (1, -1)),
    "device": (None, (None, "cpu"), ("nowhere",)),
}
"""The default of each option, values in its range, and values outside.

``tau_train_max`` is otherwise 1, and there is neither a ``val_loader`` nor a ``checkpoint_dir``.
"""


def is_number(option: str) -> bool:
    """Tell whether an option's values are real numbers, of which None may be one."""
    return any(isinstance(value, float) for value in OPTIONS[option][1])


@dataclass(frozen=True)
class Tensors:
    """A loader of tensors: its numbers of inputs and of targets, and its options."""

    inputs: int
    targets: int
    size: int
    seed: int = 0
    shuffle: bool = True
    drop_last: bool = False


class Configures(Updates, Protocol):
    """A subject whose trainer has options, and a loader of any inputs."""

    def configure(self, option: str, value: object) -> None:
        """Make a configuration with one of :data:`OPTIONS`.

        ValueError outside its range, TypeError for another type.
        """

    def option_default(self, option: str) -> object:
        """Return the value of an option that is left out."""

    def train_on(self, targets: str, loss: str = "scalar", outputs: str = "value") -> bool:
        """Train on nested inputs; tell whether the model got them as they were.

        The targets are ``good``, ``empty``, a ``scalar`` or a ``list``: ValueError or TypeError.
        The loss is a ``scalar``, that of each of the ``samples``, or a ``number``: TypeError. Or it
        is a scalar with a term that is ``samples term``, ``text term`` or ``no term``, which is
        None, or with a ``third`` part: TypeError. The model's outputs are a ``value``, or
        ``three`` of them, a ``dict``, or a value ``and text``: TypeError.
        """


class Equips(Trains, Protocol):
    """A subject that offers the parts of a trainer by themselves, and takes any optimizer."""

    def search(self, plan: Plan, finite: bool) -> tuple[list[list[float]], Parameters, int]:
        """Carry out a plan by an optimizer that calls the closure three times in each step, then
        makes SGD's step, or one to NaN; return each step's losses, the parameters, and the skips.
        """

    def batches(self, loader: Tensors, epoch: int | None, done: int) -> list[list[int]]:
        """Return the numbers of the samples of each micro-batch of an epoch, the first if None.
        Once ``done`` are yielded, a new loader loads the state of this one, and yields the rest.
        """

    def loss_scales(self, outcomes: Sequence[tuple[Outcome, int]]) -> list[float]:
        """Return float16's scale after each run of updates, each with a scaler that is resumed."""

    def ramp(self, kind: str, ends: Sequence[float], epochs: Sequence[int], epoch: int) -> float:
        """Return the weight in an epoch of a ``linear`` or ``geometric`` ramp from one end to the
        other, between two epochs, or without them between the default ones.
        """


@clause("STEP-11", source="Ours: a run with a wrong option costs its time", since="0.4.0")
def configuration(subject: Configures, option: str) -> None:
    """Options have ranges and defaults.

    1. A value outside its option's range raises ValueError at construction.
    2. Every value in the range is accepted.
    3. A float or a bool in the place of an integer raises TypeError.
    4. An option that is left out has its default.
    5. A bool, a string or a list in the place of a number raises TypeError.
    """
    default, inside, outside = OPTIONS[option]
    odd = (1.5, True) if isinstance(default, int) else ()
    mistyped = (True, "1", [1.0]) if is_number(option) else ()
    for claim, values in zip((1, 2, 3, 5), (outside, inside, odd, mistyped), strict=True):
        error = TypeError if claim > 2 else ValueError
        for value in values:
            raised = refused(error, partial(subject.configure, option, value), claim=claim)
            parts = option, value, raised
            require(raised == (claim != 2), "{} = {}: an error is {}", *parts, claim=claim)
    found = subject.option_default(option)
    require(found == default, "{} is {} by default, not {}", option, found, default, claim=4)


@clause("STEP-12", source="Ours: schedules count epochs or validations, too", since="0.4.0")
def cadence(subject: Updates, plan: Plan) -> None:
    """A scheduler steps at the cadence that is configured, and at no other time.

    1. A scheduler of epochs steps once after each epoch.
    2. A scheduler of validations steps once after each validation.
    3. A plateau scheduler that waits for the loss to rise raises ValueError.
    """
    claim = 1 if plan.cadence == "epoch" else 2
    trace, rate = subject.train(plan), Fraction(1, 8 * 2 ** len(plan.epochs))
    require(trace.rate == rate, "{}: the rate is {}, not {}", plan, trace.rate, rate, claim=claim)
    for event in trace.of("log"):
        rate = Fraction(1, 8 * 2 ** int(event.values["epoch"]))
        right = agree(event.values["lr"], rate)
        require(right, "{}: {}, not rate {}", plan, event, rate, claim=claim)
    raised = refused(ValueError, lambda: subject.watched([1.0], "max"), claim=3)
    require(raised, "a scheduler of mode max was given losses", claim=3)


@clause("STEP-13", source="Ours: models take what their inputs are", since="0.4.0")
def batches(subject: Configures) -> None:
    """A loader yields pairs of inputs and a tensor of targets, of which a loss makes a scalar.

    1. Inputs in dicts, lists, tuples and named tuples reach the model as they are.
    2. Targets without samples raise ValueError.
    3. Targets that are no tensor raise TypeError.
    4. A loss that is no scalar tensor raises TypeError.
    5. A loss with a term that is no scalar, or with more than a dict of terms, raises TypeError.
    6. Outputs that are neither values, with or without a mask of ⊥, nor a tuple raise TypeError.
    """
    require(subject.train_on("good"), "the model got other inputs")
    for error, targets in (ValueError, "empty"), (ValueError, "scalar"), (TypeError, "list"):
        claim = 3 if targets == "list" else 2
        raised = refused(error, partial(subject.train_on, targets), claim=claim)
        require(raised, "{} targets were taken", targets, claim=claim)
    for loss in "samples", "number":
        raised = refused(TypeError, partial(subject.train_on, "good", loss), claim=4)
        require(raised, "a loss that is {} was taken", loss, claim=4)
    for loss in "samples term", "text term", "no term", "third":
        raised = refused(TypeError, partial(subject.train_on, "good", loss), claim=5)
        require(raised, "a loss with {} was taken", loss, claim=5)
    for outputs in "three", "dict", "and text":
        raised = refused(TypeError, partial(subject.train_on, "good", outputs=outputs), claim=6)
        require(raised, "outputs that are {} were taken", outputs, claim=6)


def window_losses(plan: Plan, trace: Trace) -> list[Fraction]:
    """Return the mean losses of windows, of what is logged of their micro-batches."""
    logged = iter([Fraction(event.values["loss"]) for event in trace.of("log")])
    sizes = [[len(batch.samples) for batch in window.batches] for window in carried_out(plan)]
    return [sample_mean(own, [next(logged) for _ in own]) for own in sizes]


@clause(
    "STEP-14", source="Ours: LBFGS searches, and its step is judged as any other", since="0.6.0"
)
def closures(subject: Equips, plan: Plan) -> None:
    """An optimizer whose step takes a closure may evaluate a window as often as it likes.

    1. Each call of the closure returns the window's mean loss over its samples.
    2. Each call leaves the window's gradient, so that the step is that of any other optimizer.
    3. A step that leaves a parameter that is not finite is undone, and counted as a skip.
    4. With the loss scale of float16 it raises ValueError.
    """
    trace, windows = subject.train(plan), carried_out(plan)
    found, parameters, skipped = subject.search(plan, True)
    for losses, mean in zip(found, window_losses(plan, trace), strict=True):
        right = len(losses) == 3 and all(agree(loss, mean) for loss in losses)
        require(right, "{}: the closure returned {}, not {}", plan, losses, mean)
    right = not skipped and all(map(agree, parameters, trace.parameters))
    require(right, "{}: {}, not {}", plan, parameters, trace.parameters, claim=2)
    _, parameters, skipped = subject.search(plan, False)
    right = (*parameters, skipped) == (1, 0, len(windows))
    require(right, "{}: steps to NaN left {}, {} skips", plan, parameters, skipped, claim=3)
    scaled = partial(subject.search, replace(plan, precision="float16"), True)
    require(refused(ValueError, scaled, claim=4), "a scaled loss was searched", claim=4)


@clause("STEP-15", source="Ours: small tensors need no workers that collate", since="0.6.0")
def tensor_batches(subject: Equips, loader: Tensors, epoch: int, done: int) -> None:
    """A loader of tensors yields their samples in micro-batches.

    1. An epoch has every sample once, in micro-batches of the size asked for. The last one may be
       smaller; with ``drop_last`` a smaller one is left out.
    2. Unshuffled, the order is that of the tensors. Shuffled, it follows from seed and epoch alone,
       and differs between pairs of them. The first epoch is 0.
    3. A new loader that loads the state of another yields the rest of its epoch.
    4. No samples, unequal numbers of inputs and targets, a size below 1 and a negative seed raise
       ValueError.
    """
    found, again, unset, first, other = (
        subject.batches(loader, e, 0) for e in (epoch, epoch, None, 0, epoch + 1)
    )
    order, (whole, rest) = list(chain(*found)), divmod(loader.inputs, loader.size)
    kept = [loader.size] * whole + [rest] * (rest > 0 and not loader.drop_last)
    right = len({*order} & {*range(loader.inputs)}) == len(order) and [*map(len, found)] == kept
    require(right, "{}: an epoch of {}", loader, found)
    others = other, subject.batches(replace(loader, seed=loader.seed + 1), epoch, 0)
    right = found not in others and other != others[1] if loader.shuffle else order == sorted(order)
    right = right and (found, first) == (again, unset)
    require(right, "{}: epoch {} is {}, others {}", loader, epoch, found, others, claim=2)
    late, expected = subject.batches(loader, epoch, done), found[done:]
    require(late == expected, "{}: after {}, {}, not {}", loader, done, late, expected, claim=3)
    nothing, unequal = replace(loader, inputs=0, targets=0), replace(loader, targets=1)
    for wrong in nothing, unequal, replace(loader, size=0), replace(loader, seed=-1):
        made = partial(subject.batches, wrong, 0, 0)
        require(refused(ValueError, made, claim=4), "{} was made", wrong, claim=4)


def loss_scales(outcomes: Sequence[tuple[Outcome, int]]) -> list[float]:
    """Return float16's scale after each run of updates that have one outcome; AMP-6."""
    scale, streak, found = 2.0**16, 0, list[float]()
    for outcome, count in outcomes:
        if outcome == "overflow":
            scale, streak = max(scale / 2**count, 1.0), 0
        elif outcome == "applied":
            doublings, streak = divmod(streak + count, 2000)
            scale *= 2**doublings
        found.append(scale)
    return found


@clause(
    "AMP-6", source="Ours: as torch.amp.GradScaler, but NaN says nothing of a scale", since="0.6.0"
)
def loss_scale(subject: Equips, outcomes: Sequence[tuple[Outcome, int]]) -> None:
    """The scale of float16 begins at 2¹⁶, follows the updates, and survives a resume.

    1. 2000 applied updates without an overflow between them double it.
    2. An update whose gradient overflows halves it, but never below 1.
    3. A loss that is not finite leaves the scale unchanged.
    """
    found, expected = subject.loss_scales(outcomes), loss_scales(outcomes)
    for (outcome, _), ours, scale in zip(outcomes, found, expected, strict=True):
        claim = ("applied", "overflow", "fault").index(outcome) + 1
        require(ours == scale, "{}: scales {}, not {}", outcomes, found, expected, claim=claim)


def ramp(kind: str, ends: Sequence[float], epochs: Sequence[int], epoch: int) -> float:
    """Return the weight of a ramp in an epoch; ValueError for one that CUR-2 refuses."""
    (first, last), (low, high) = epochs or (0, 1), ends
    least = 0.0 if kind == "geometric" else -math.inf
    if not (0 <= first < last and all(least < end < math.inf for end in ends)):
        raise ValueError(f"there is no {kind} ramp of {ends} by {epochs}")
    part = min(max((epoch - first) / (last - first), 0.0), 1.0)
    if kind == "geometric":
        return math.exp(ramp("linear", (math.log(low), math.log(high)), epochs, epoch))
    return low * (1 - part) + high * part


@clause("CUR-2", source="Guide: LinearRamp", since="0.6.0")
def ramps(
    subject: Equips, kind: str, ends: Sequence[float], epochs: Sequence[int], epoch: int
) -> None:
    """A ramp moves a weight from one value to another between two epochs, by default 0 and 1.

    1. Up to the first epoch it has the first value, from the second epoch on the second.
    2. Between them a linear ramp's weight changes linearly, a geometric ramp's logarithm does.
    3. A negative first epoch, a second that is not later, a value that is NaN or ±∞, and for a
       geometric ramp one that is not positive raise ValueError.
    """
    found, expected = subject.ramp(kind, ends, epochs, epoch), ramp(kind, ends, epochs, epoch)
    parts, between = (kind, ends, epochs, epoch, found, expected), expected not in ends
    right = abs(found - expected) <= 1e-12 * max(map(abs, ends))
    require(right, "a {} ramp {} of {}: in {} {}, not {}", *parts, claim=1 + between)
    wrong = [(ends, places) for places in ((-1, 1), (-2, 1), (2, 1), (1, 1))]
    for odd in (math.nan, math.inf, -math.inf, *(0.0, -1.0) * (kind == "geometric")):
        wrong += [((odd, odd), (0, 1)), ((odd, 1.0), (0, 1)), ((1.0, odd), (0, 1))]
    for values, places in wrong:
        raised = refused(ValueError, partial(subject.ramp, kind, values, places, 0), claim=3)
        require(raised, "a {} ramp {} of {} was made", kind, values, places, claim=3)
