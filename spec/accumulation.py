"""ACC: micro-batches share an optimizer step, and what becomes of each such window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from .clause import clause, require
from .runs import SLACK, Event, Plan, Trains, agree


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


def shortening(gradients: Sequence[Fraction], max_norm: float | None) -> Fraction:
    """Return what a gradient of several parameters is multiplied by, to 2⁻⁹⁰; STEP-1.

    Example:
        >>> float(shortening([Fraction(3), Fraction(4)], 1.0))
        0.2
    """
    square = sum((g * g for g in gradients), Fraction(0))
    if max_norm is None or square <= Fraction(max_norm) ** 2:
        return Fraction(1)
    norm = Fraction(math.isqrt(int(square * 2**200)), 2**100)
    return Fraction(max_norm) / norm


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


def all_groups(plan: Plan) -> list[tuple[int, list[int]]]:
    """Return each window's epoch, and its micro-batches, counted over the run."""
    groups: list[tuple[int, list[int]]] = []
    for index, epoch in enumerate(plan.epochs):
        done = groups[-1][1][-1] + 1 if groups else 0
        sizes = [len(batch.samples) for batch in epoch]
        groups += [(index, [done + i for i in w]) for w in windows(sizes, plan.accumulation)]
    return groups


def plan_outcome(plan: Plan) -> Outcome:
    """Return what becomes of a plan's windows; of a falling scale it knows nothing."""
    faults = [any(plan.micro_batches[i].fault for i in group) for _, group in all_groups(plan)]
    return outcome(faults, plan.max_nonfinite)


def applied_groups(plan: Plan) -> list[tuple[int, list[int]]]:
    """Return epoch and micro-batches of each window whose update is applied."""
    return [
        g for g, good in zip(all_groups(plan), plan_outcome(plan).applied, strict=False) if good
    ]


def require_updates(
    plan: Plan, updates: Sequence[Event], slack: Fraction = SLACK, *, claims: tuple[int, int]
) -> None:
    """Require parameters after each update: ``w`` by the one claim, ``v`` by the other."""
    values, momenta, rate = [Fraction(1), Fraction(0)], [Fraction(0)] * 2, Fraction(1, 8)
    for event, (epoch, group) in zip(updates, applied_groups(plan), strict=True):
        batches = [plan.micro_batches[i] for i in group]
        gradient = window_gradient([len(b.samples) for b in batches], [b.slope for b in batches])
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


@clause(
    "ACC-1",
    source="Ours: accumulation is a way to fit a batch into memory, and no other thing",
    since="0.2.0",
)
def equivalence(subject: Trains, plan: Plan) -> None:
    """A window's gradient is ``Σ nᵢ∇Lᵢ / Σ nᵢ`` over its micro-batches, of ``nᵢ`` samples each.

    1. The parameters of the model get this gradient.
    2. The parameters of the loss get it, too.
    """
    updates, count = subject.train(plan).of("update"), len(applied_groups(plan))
    require(len(updates) == count, "{}: {} updates, not {}", plan, len(updates), count)
    require_updates(plan, updates, claims=(1, 2))


@clause("ACC-2", source="Ours: what is dropped or carried over was paid for", since="0.2.0")
def whole_epochs(subject: Trains, plan: Plan) -> None:
    """Windows do not cross epochs.

    1. An epoch makes ``⌈micro-batches / N⌉`` updates: its short last window is applied, too.
    2. No gradient crosses an epoch, and none from before the first window counts.
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
    require_updates(plan, trace.of("update"), claims=(2, 2))


@clause("ACC-3", source="Ours: a curve must not change with N", since="0.2.0")
def own_losses(subject: Trains, plan: Plan) -> None:
    """A logged loss is the micro-batch's own: not divided by N, and not weighted by samples."""
    trace = subject.train(plan)
    w, v = Fraction(1), Fraction(0)
    batches, updates = plan.micro_batches, iter(trace.of("update"))
    logs = trace.of("log")
    require(len(logs) == len(batches), "{}: {} records", plan, len(logs))
    closing = {group[-1] for _, group in applied_groups(plan)}
    weights = [plan.weight(index) for index, epoch in enumerate(plan.epochs) for _ in epoch]
    for index, (batch, event) in enumerate(zip(batches, logs, strict=True)):
        expected = weights[index] * batch.slope * (w + v)
        right = agree(event.values["loss"], expected)
        require(right, "{}: loss {} of {}, not {}", plan, index, event, expected)
        if index in closing:
            values = next(updates).values
            w, v = Fraction(values["w"]), Fraction(values["v"])
