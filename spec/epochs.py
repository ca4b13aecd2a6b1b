"""VAL, LOG, CUR and the thresholds of epochs: what a run reports, and with which weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Protocol

from .clause import clause, refused, require
from .runs import MEASURED, SLACK, Plan, Trains, agree
from .thresholds import midpoint
from .update import updates_per_epoch

KEYS: Final = (
    "loss", "coverage", "tau_train", "bottom_frac", "denom_abs_min", "denom_abs_mean",
)  # fmt: skip
OFFERED: Final = ("loss_weights", "epoch", "global_step", "tau", "inputs", "targets")


def validation_mean(sizes: Sequence[int], values: Sequence[Fraction]) -> Fraction:
    """Return ``Σ nᵢvᵢ / Σ nᵢ``, with ``nᵢ`` samples in micro-batch i; VAL-1."""
    return sum((n * v for n, v in zip(sizes, values, strict=True)), Fraction(0)) / sum(sizes)


def validation_minimum(values: Sequence[Fraction]) -> Fraction:
    """Return the true minimum of all micro-batches; VAL-1."""
    return min(values)


@dataclass(frozen=True)
class Hooked:
    """A run whose log hook raises: what ``fit`` raised, and the records that the hook got."""

    raised: str
    records: int


class Reports(Trains, Protocol):
    """A subject that reports on its training."""

    def validation_traces(self, fails: bool) -> tuple[str, ...]:
        """Validate, by a loader that raises if asked, and name what is not as it was before.

        Looked at are parameters, gradients, buffers, random state and each submodule's mode.
        """

    def hook_types(self, plan: Plan) -> list[Mapping[str, type]]:
        """Carry out a plan and return the types of what the log hook gets, by key."""

    def raising_hook(self, plan: Plan, record: int) -> Hooked:
        """Carry out a plan with a hook that raises a KeyError at a record."""

    def loss_arguments(
        self, accepts: Sequence[str], weights: Sequence[Mapping[str, float]]
    ) -> list[Mapping[str, object]]:
        """Train one micro-batch an epoch, under a curriculum of weights, and return what arrived.

        The loss accepts the named arguments beside outputs and lifted targets; of what arrives,
        tensors are given as lists.
        """


@clause("TAU-7", source="Guide: trainer.last_thresholds", since="0.2.0")
def last_thresholds(subject: Trains, plan: Plan) -> None:
    """One threshold is drawn for each micro-batch, and after a run ``last_thresholds`` holds those
    of the latest epoch, in order.
    """
    trace = subject.train(plan)
    drawn = [event.values["tau"] for event in trace.of("draw")]
    logged = [event.values["tau_train"] for event in trace.of("log")]
    require(drawn == logged, "{}: drawn {}, logged {}", plan, drawn, logged)
    last = drawn[-len(plan.epochs[-1]) :]
    require(list(trace.thresholds) == last, "{}: {}, not {}", plan, trace.thresholds, last)


@clause("TAU-8", source="Guide: validation", since="0.2.0")
def fixed_threshold(subject: Trains, plan: Plan) -> None:
    """Validation uses the fixed midpoint ``(τ_min + τ_max) / 2``."""
    expected = midpoint(plan.tau_min, plan.tau_max)
    for event in subject.train(plan).of("validate"):
        right = agree(event.values["val_tau"], expected, Fraction(1, 2**52))
        require(right, "{}: validated at {}, not {}", plan, event, expected)


@clause("VAL-1", source="Guide: val_loader", since="0.2.0")
def validates(subject: Trains, plan: Plan) -> None:
    """``val_loader`` runs once an epoch; means weighted by samples, and true minima, are reported
    with ``val_`` keys.
    """
    trace, sizes = subject.train(plan), [len(batch.samples) for batch in plan.validation]
    found = trace.of("validate")
    epochs = [event.values["epoch"] for event in found]
    require(epochs == list(range(len(plan.epochs))), "{}: validated in {}", plan, epochs)
    covered = [Fraction(batch.counts.covered, batch.counts.samples) for batch in plan.validation]
    least = validation_minimum([Fraction(value == 1) for value in covered])
    for event in found:
        for name, expected in (
            ("coverage", validation_mean(sizes, covered)),
            ("bottom_frac", 1 - validation_mean(sizes, covered)),
            ("denom_abs_mean", validation_mean(sizes, covered)),
            ("denom_abs_min", least),
        ):
            right = agree(event.values[f"val_{name}"], expected, MEASURED.get(name, SLACK))
            require(right, "{}: {} of {}, not {}", plan, name, event, expected)
    done, updates = 0, trace.of("update")
    for event, epoch in zip(found, plan.epochs, strict=True):
        done += updates_per_epoch(len(epoch), plan.accumulation)
        require(done <= len(updates), "{}: {} updates, not {}", plan, len(updates), done)
        w, v = (updates[done - 1].values[name] for name in "wv")
        require(math.isfinite(w + v), "{}: w is {}, v is {}", plan, w, v)
        total = Fraction(w) + Fraction(v)
        mean = validation_mean(sizes, [batch.slope * total for batch in plan.validation])
        require(agree(event.values["val_loss"], mean), "{}: val_loss of {}", plan, event)


@clause("VAL-2", source="Ours: to look must not change what is seen", since="0.2.0")
def no_trace(subject: Reports, plan: Plan, fails: bool) -> None:
    """Validation leaves parameters, gradients, buffers, random state and each submodule's mode as
    it found them, also when it raises: training with it is bitwise training without.
    """
    traces = subject.validation_traces(fails)
    require(traces == (), "validation changed {}", traces)
    without, ours = subject.train(replace(plan, validation=())), subject.train(plan)
    for kinds in (("draw", "update"), ("log", "skip")):
        found, expected = repr(ours.of(*kinds)), repr(without.of(*kinds))
        require(found == expected, "{}: with validation {}, without {}", plan, found, expected)


@clause("LOG-1", source="Guide: log_hook", since="0.2.0")
def every_record(subject: Reports, plan: Plan) -> None:
    """``log_hook`` gets every micro-batch, in order, as plain floats with at least loss, coverage,
    tau_train, bottom_frac, denom_abs_min and denom_abs_mean, all of an epoch's before its
    validation; a hook that raises stops training with its own error.
    """
    order = [
        (event.kind, event.values["micro_step"] if event.kind == "log" else event.values["epoch"])
        for event in subject.train(plan).of("log", "validate")
    ]
    expected, done = list[tuple[str, float]](), 0
    for epoch, batches in enumerate(plan.epochs):
        expected += [("log", done + i) for i in range(len(batches))]
        expected += [("validate", epoch)] if plan.validation else []
        done += len(batches)
    require(order == expected, "{}: {}, not {}", plan, order, expected)
    for types in subject.hook_types(plan):
        require(set(types.values()) == {float}, "{}: the hook got {}", plan, types)
        named = set(KEYS) <= {name.removeprefix("val_") for name in types} | {"tau_train"}
        require(named, "{}: the hook got {}", plan, list(types))
    hooked = subject.raising_hook(plan, record=0)
    require(hooked == Hooked("KeyError", 1), "{}: a raising hook gave {}", plan, hooked)


@clause("LOG-2", source="Ours: a run of 10⁸ steps must fit into memory", since="0.2.0")
def bounded(subject: Trains, plan: Plan) -> None:
    """No history grows without bound: the records kept in memory are the latest, up to a limit."""
    trace = subject.train(plan)
    expected = min(len(plan.micro_batches), plan.history_limit)
    require(trace.history == expected, "{}: {} kept", plan, trace.history)


@clause("CUR-1", source="Guide: loss_curriculum, loss_weights", since="0.2.0")
def arguments(
    subject: Reports, accepts: Sequence[str], weights: Sequence[Mapping[str, float]]
) -> None:
    """``loss_curriculum`` gives each epoch's ``loss_weights``; they, ``epoch``, ``global_step``,
    ``tau``, ``inputs`` and ``targets`` reach exactly those losses that accept them; weights that
    nothing accepts are an error.
    """
    if "loss_weights" not in accepts and any(weights):
        ignored = refused(ValueError, lambda: subject.loss_arguments(accepts, weights))
        require(ignored, "weights {} were ignored", weights)
        return
    found = subject.loss_arguments(accepts, weights)
    require(len(found) == len(weights), "{} calls for {} epochs", len(found), len(weights))
    for epoch, (given, weight) in enumerate(zip(found, weights, strict=True)):
        require(set(given) == set(accepts), "{} reached a loss that accepts {}", given, accepts)
        known = {"loss_weights": dict(weight), "epoch": epoch, "global_step": epoch}
        right = all(given[name] == value for name, value in known.items() if name in given)
        require(right, "epoch {}: {} arrived, not {}", epoch, given, known)
        tau = given.get("tau", 0.0)
        require(isinstance(tau, float) and math.isfinite(tau), "τ arrived as {}", tau)
