"""ACC: micro-batches share an optimizer step, and what becomes of each such window."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple, TypeVar

from .clause import clause, require
from .coverage import Counts, bottom_recall, monitored_coverage
from .runs import SLACK, Epoch, Event, Plan, Trains, agree

Item = TypeVar("Item")


def windows(micro_batches: Sequence[Item], n: int) -> list[Sequence[Item]]:
    """Return the windows of an epoch; ACC-2."""
    return [micro_batches[first : first + n] for first in range(0, len(micro_batches), n)]


def updates_per_epoch(micro_batches: int, n: int) -> int:
    """Return ``⌈micro-batches / N⌉``; ACC-2."""
    return -(-micro_batches // n)


def sample_mean(sizes: Sequence[int], values: Sequence[Fraction]) -> Fraction:
    """Return ``Σ nᵢxᵢ / Σ nᵢ``, with ``nᵢ`` samples in micro-batch i; ACC-1, VAL-1."""
    return sum((n * x for n, x in zip(sizes, values, strict=True)), Fraction(0)) / sum(sizes)


def measured_denominators(batches: Epoch, outputs: int) -> dict[str, float | Fraction]:
    """Return the minimum and the mean of finite ``|Q|``, NaN without any; VAL-1, LOG-1."""
    finite = [Q for batch in batches for Q in batch.denominators]
    finite += [Fraction(1)] * (outputs - 1) * sum(len(batch.samples) for batch in batches)
    return {
        "denom_abs_min": min(finite, default=math.nan),
        "denom_abs_mean": sum(finite, Fraction(0)) / len(finite) if finite else math.nan,
    }


def told_apart(epoch: Sequence[Counts]) -> dict[str, float | Fraction]:
    """Return what is reported of either kind of target, NaN where there are none; STOP-6."""
    found = {"coverage_finite": monitored_coverage(epoch), "bottom_recall": bottom_recall(epoch)}
    return {name: math.nan if value is None else value for name, value in found.items()}


def shortening(gradients: Sequence[Fraction], max_norm: float | None) -> Fraction:
    """Return what a gradient of several parameters is multiplied by, to 2⁻⁹⁰; STEP-1."""
    square = sum((g * g for g in gradients), Fraction(0))
    if max_norm is None or square <= Fraction(max_norm) ** 2:
        return Fraction(1)
    norm = Fraction(math.isqrt(int(square * 2**200)), 2**100)
    return Fraction(max_norm) / norm


def outcome(faults: Iterable[bool], max_nonfinite_steps: int) -> list[bool]:
    """Return which windows' updates are applied, given which hold something not finite; STEP-3.

    The last is the one that raises an error, if so many in a row are skipped.
    """
    applied: list[bool] = []
    for fault in faults:
        applied.append(not fault)
        if applied[-max_nonfinite_steps:] == [False] * max_nonfinite_steps:
            break
    return applied


class Window(NamedTuple):
    """A window of a run: its epoch, its micro-batches, and whether its update is applied."""

    epoch: int
    batches: Epoch
    applied: bool


def carried_out(plan: Plan) -> list[Window]:
    """Return the windows of a run, up to an error; of a falling scale it knows nothing."""
    whole = [
        (i, w) for i, epoch in enumerate(plan.epochs) for w in windows(epoch, plan.accumulation)
    ]
    applied = outcome((any(b.fault for b in batches) for _, batches in whole), plan.max_nonfinite)
    return [Window(i, tuple(w), good) for (i, w), good in zip(whole, applied, strict=False)]


def require_updates(
    plan: Plan, updates: Sequence[Event], slack: Fraction = SLACK, *, claims: tuple[int, int]
) -> None:
    """Require parameters after each update: ``w`` by the one claim, ``v`` by the other."""
    values, momenta, rate = [Fraction(1), Fraction(0)], [Fraction(0)] * 2, Fraction(1, 8)
    applied = [window for window in carried_out(plan) if window.applied]
    right = len(updates) == len(applied)
    require(right, "{}: {} updates, not {}", plan, len(updates), len(applied), claim=claims[0])
    for event, (epoch, batches, _) in zip(updates, applied, strict=True):
        gradient = sample_mean([len(b.samples) for b in batches], [b.slope for b in batches])
        gradients = [gradient * plan.weight(epoch) * owned for owned in (1, plan.own_parameter)]
        clip = shortening(gradients, plan.max_norm)
        momenta = [
            Fraction(plan.momentum) * m + clip * g for m, g in zip(momenta, gradients, strict=True)
        ]
        values = [x - rate * m for x, m in zip(values, momenta, strict=True)]
        rate /= 2
        for name, expected, claim in zip("wv", values, claims, strict=True):
            right = agree(event.values[name], expected, slack)
            require(right, "{}: {} is {}, not {}", plan, name, event, expected, claim=claim)


@clause("ACC-1", source="Ours: accumulation fits a batch into memory, nothing else", since="0.2.0")
def equivalence(subject: Trains, plan: Plan) -> None:
    """A window's gradient is ``Σ nᵢ∇Lᵢ / Σ nᵢ`` over its micro-batches, of ``nᵢ`` samples each.

    1. The parameters of the model get this gradient.
    2. The parameters of the loss get it, too.
    """
    require_updates(plan, subject.train(plan).of("update"), claims=(1, 2))


@clause("ACC-2", source="Ours: what is dropped or carried over was paid for", since="0.2.0")
def whole_epochs(subject: Trains, plan: Plan) -> None:
    """Windows do not cross epochs.

    1. An epoch makes ``⌈micro-batches / N⌉`` updates: its short last window is applied, too.
    2. No gradient crosses an epoch, and none from before the first window counts.
    """
    trace = subject.train(replace(plan, stale=True))
    kinds = [event.kind for event in trace.of("draw", "update")]
    expected: list[str] = []
    for window in carried_out(plan):
        expected += ["draw"] * len(window.batches) + ["update"] * window.applied
    require(kinds == expected, "{}: {}, not {}", plan, kinds, expected)
    require_updates(plan, trace.of("update"), claims=(2, 2))


@clause("ACC-3", source="Ours: a curve must not change with N", since="0.2.0")
def own_losses(subject: Trains, plan: Plan) -> None:
    """A logged loss is the micro-batch's own: not divided by N, and not weighted by samples."""
    trace = subject.train(plan)
    logs, updates, parameters = trace.of("log"), iter(trace.of("update")), Fraction(1)
    require(len(logs) == len(plan.micro_batches), "{}: {} records", plan, len(logs))
    records = iter(logs)
    for epoch, batches, applied in carried_out(plan):
        for batch, event in zip(batches, records, strict=False):
            expected = plan.weight(epoch) * batch.slope * parameters
            right = agree(event.values["loss"], expected)
            require(right, "{}: loss of {}, not {}", plan, event, expected)
        if applied:
            values = next(updates).values
            parameters = Fraction(values["w"]) + Fraction(values["v"])
