"""STEP-14, STEP-15, AMP-6 and CUR-2: the parts of a trainer, each by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import chain
from typing import Literal, Protocol, TypeAlias

from .accumulation import carried_out, sample_mean
from .clause import clause, refused, require
from .runs import Plan, Trace, Trains, agree

Outcome: TypeAlias = Literal["applied", "overflow", "fault"]
Parameters: TypeAlias = Sequence[float | Fraction]


@dataclass(frozen=True)
class Tensors:
    """A loader of tensors: its numbers of inputs and of targets, and its options."""

    inputs: int
    targets: int
    size: int
    seed: int = 0
    shuffle: bool = True
    drop_last: bool = False


class Equips(Trains, Protocol):
    """A subject that offers the parts of a trainer by themselves, and takes any optimizer."""

    def search(self, plan: Plan, finite: bool) -> tuple[list[list[float]], Parameters, int]:
        """Carry out a plan by an optimizer that calls the closure three times in each step, then
        makes SGD's step, or one to NaN; return each step's losses, the parameters, and the
        skips.
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
    found, again, unset, first = (subject.batches(loader, e, 0) for e in (epoch, epoch, None, 0))
    order, (whole, rest) = list(chain(*found)), divmod(loader.inputs, loader.size)
    kept = [loader.size] * whole + [rest] * (rest > 0 and not loader.drop_last)
    right = len({*order} & {*range(loader.inputs)}) == len(order) and [*map(len, found)] == kept
    require(right, "{}: an epoch of {}", loader, found)
    seed = loader.seed
    pairs = {(seed, epoch + k) for k in (0, 1, 31, 100, 1000)} | {(seed + 1, epoch), (epoch, seed)}
    others = [subject.batches(replace(loader, seed=s), e, 0) for s, e in sorted(pairs)]
    differ = len({repr(batches) for batches in others}) == len(pairs)
    right = differ if loader.shuffle else order == sorted(order)
    right = right and (found, first) == (again, unset)
    complaint = "{}: epoch {} is {}, then {}; other pairs {}"
    require(right, complaint, loader, epoch, found, again, others, claim=2)
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
