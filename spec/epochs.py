"""VAL, CUR, LIFT-10 and the thresholds of a run: what a trainer hands to its loss, and when."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Protocol

from .accumulation import (
    measured_denominators,
    sample_mean,
    told_apart,
    updates_per_epoch,
    windows,
)
from .clause import clause, refused, require
from .coverage import epoch_coverage
from .lifting import lift
from .runs import MEASURED, SLACK, MicroBatch, Plan, Trains, agree
from .thresholds import midpoint, require_uniform

OFFERED: Final = ("loss_weights", "epoch", "global_step", "tau", "inputs", "targets")


@dataclass(frozen=True)
class Call:
    """A call of a loss: in a validation or not, the lifted targets, and the arguments by name."""

    validation: bool
    lifted: tuple[Sequence[float], Sequence[float]]
    given: Mapping[str, object]


@dataclass(frozen=True)
class Derived:
    """What a validation shows.

    These are its loss, NaN if it raised; whether a graph was made where nothing is differentiated;
    and for each parameter whether it requires a gradient afterwards.
    """

    loss: float | Fraction
    attached: bool
    trained: tuple[bool, ...]


class Feeds(Trains, Protocol):
    """A subject whose validations and losses one can watch."""

    def validation_traces(self, fails: bool) -> tuple[str, ...]:
        """Validate, by a loss that draws random numbers and raises if asked; name what changed.

        Looked at are ``parameters``, ``gradients``, ``buffers`` and each submodule's ``modes``,
        those of the loss, too; the random states of ``torch``, ``cuda``, ``python`` and ``numpy``,
        and of a ``generator`` on which the loaders of training and validation draw. The optimizer
        has modes, and is in either of them before.
        """

    def derived(self, place: str, inputs: Sequence[float], fails: bool) -> Derived:
        """Validate the model ``y = 3·x² + 0·x`` by the mean of ``(dy/dx)²``.

        The ``loss`` or the ``model`` differentiates; then the loss raises a KeyError if it is
        asked to. Of the two parameters, 3 and 0, the first requires a gradient.
        """

    def loss_arguments(self, accepts: Sequence[str], plan: Plan) -> list[Call]:
        """Carry out a plan with a loss that accepts the named arguments beside outputs and targets.

        It is NaN for a micro-batch with a fault. Of what arrives, tensors are given as lists. The
        plan's weights are a curriculum that calls its one weight ``fit``; without weights no
        curriculum is configured. The first weight is also configured as fixed, and if it is the
        only one, by itself.
        """


@clause("LIFT-10", source="Guide: lift to (Y_n, Y_d) inside the trainer", since="0.4.0")
def trainer_lifts(subject: Feeds, plan: Plan) -> None:
    """The trainer lifts targets: a loss is given only the lift of what the loader yields."""
    for call, _, _, batch in _placed(plan, subject.loss_arguments((), plan)):
        expected = tuple(list(part) for part in zip(*map(lift, batch.targets), strict=True))
        found = tuple(map(list, call.lifted))
        require(found == expected, "targets {} were lifted to {}", batch.targets, found)


def _placed(plan: Plan, calls: Sequence[Call]) -> list[tuple[Call, int, int, MicroBatch]]:
    """Return calls with the epoch, the updates applied so far and the micro-batch of each."""
    order, steps = list[tuple[int, int, MicroBatch]](), 0
    for epoch, batches in enumerate(plan.epochs):
        for window in windows(batches, plan.accumulation):
            order += [(epoch, steps, batch) for batch in window]
            steps += not any(batch.fault for batch in window)
        order += [(epoch, steps, batch) for batch in plan.validation]
    require(len(calls) == len(order), "{}: {} calls, not {}", plan, len(calls), len(order))
    return [(call, *place) for call, place in zip(calls, order, strict=True)]


@clause("TAU-7", source="Guide: trainer.last_thresholds", since="0.2.0")
def last_thresholds(subject: Trains, plan: Plan) -> None:
    """Every micro-batch has its threshold.

    1. One is drawn for each micro-batch, and its record has the value as ``tau_train``.
    2. A micro-batch is measured at its threshold.
    3. ``last_thresholds`` holds those of the latest epoch, in order.
    """
    trace = subject.train(plan)
    drawn = [event.values["tau"] for event in trace.of("draw")]
    logged = [event.values["tau_train"] for event in trace.of("log")]
    require(drawn == logged, "{}: drawn {}, logged {}", plan, drawn, logged)
    require(len(drawn) == len(plan.micro_batches), "{}: {} thresholds", plan, len(drawn))
    for event, batch in zip(trace.of("log"), plan.micro_batches, strict=True):
        covered = epoch_coverage([batch.counts(float(event.values["tau_train"]))])
        right = agree(event.values["coverage"], covered)
        require(right, "{}: coverage of {}, not {}", plan, event, covered, claim=2)
    last = drawn[-len(plan.epochs[-1]) :]
    require(list(trace.thresholds) == last, "{}: {}, not {}", plan, trace.thresholds, last, claim=3)


@clause("TAU-8", source="Guide: validation", since="0.2.0")
def fixed_threshold(subject: Trains, plan: Plan) -> None:
    """Validation uses the midpoint of ``τ_min`` and ``τ_max``.

    1. The loss is given it. It is finite wherever the two are.
    2. The validation is measured at it.
    """
    expected = midpoint(plan.tau_min, plan.tau_max)
    one = replace(plan, validation=plan.validation[:1])
    covered = epoch_coverage([plan.validation[0].counts(float(expected))])
    for event in subject.train(one).of("validate"):
        for name in ("val_tau", "loss_tau"):
            right = close(event.values[name], expected)
            require(right, "{}: {} of {}, not {}", plan, name, event, expected)
        right = agree(event.values["val_coverage"], covered)
        require(right, "{}: coverage of {}, not {}", plan, event, covered, claim=2)


def close(found: float | Fraction, expected: Fraction) -> bool:
    """Tell whether a number is another, but for rounding once in double precision."""
    slack = expected / 2**52 + Fraction(1, 2**1074)
    return math.isfinite(found) and abs(Fraction(found) - expected) <= slack


@clause("TAU-9", source="Ours: a schedule that repeats is one a model can lean on", since="0.4.0")
def run_of_thresholds(subject: Trains, plan: Plan) -> None:
    """The trainer's thresholds are draws.

    1. They are uniform between ``τ_min`` and ``τ_max``: their Kolmogorov–Smirnov distance stays
       within the bound that uniform draws exceed with probability 10⁻¹².
    2. Those of different epochs differ, unless the ends are equal.
    3. The same seed gives the same thresholds, another one others, also than in other epochs,
       unless the ends are equal.
    4. Drawing them leaves the global random state untouched.
    """
    drawn = [float(event.values["tau"]) for event in subject.train(plan).of("draw")]
    require_uniform(drawn, plan.tau_min, plan.tau_max)
    size = len(plan.epochs[0])
    epochs = {tuple(drawn[i : i + size]) for i in range(0, len(drawn), size)}
    require(len(epochs) == len(plan.epochs), "thresholds of epochs repeat: {}", epochs, claim=2)
    again = [float(event.values["tau"]) for event in subject.train(plan).of("draw")]
    require(drawn == again, "seed {}: {}, then {}", plan.seed, drawn, again, claim=3)
    other = subject.train(replace(plan, epochs=plan.epochs[:1], seed=plan.seed + 1)).of("draw")
    right = tuple(float(event.values["tau"]) for event in other) not in epochs
    require(right, "seeds {} and one more: {}", plan.seed, drawn[:size], claim=3)
    short = replace(plan, epochs=((plan.epochs[0][0],) * 3,) * 2, random=True)
    drawing, still = (
        repr(subject.train(replace(short, tau_max=end)).of("update"))
        for end in (plan.tau_max, plan.tau_min)
    )
    require(drawing == still, "{}: updates {}, not {}", short, drawing, still, claim=4)


@clause("VAL-1", source="Guide: val_loader", since="0.2.0")
def validates(subject: Trains, plan: Plan) -> None:
    """``val_loader`` is evaluated after each epoch, and reported with ``val_`` keys.

    1. It runs once an epoch, with the parameters that the epoch left.
    2. What is reported are means weighted by samples; ``coverage_finite`` and ``bottom_recall`` are
       those of STOP-6 over all micro-batches.
    3. ``denom_abs_min`` and ``denom_abs_mean`` are the minimum and the mean of the finite ``|Q|``
       of all micro-batches, some of which may have none.
    """
    trace, sizes = subject.train(plan), [len(batch.samples) for batch in plan.validation]
    found = trace.of("validate")
    epochs = [event.values["epoch"] for event in found]
    require(epochs == list(range(len(plan.epochs))), "{}: validated in {}", plan, epochs)
    tau = float(midpoint(plan.tau_min, plan.tau_max))
    counts = [batch.counts(tau) for batch in plan.validation]
    covered, kinds = epoch_coverage(counts), told_apart(counts)
    denominators = measured_denominators(plan.validation, plan.outputs)
    for event in found:
        for name, expected, claim in (
            ("coverage", covered, 2),
            ("coverage_finite", kinds["coverage_finite"], 2),
            ("bottom_recall", kinds["bottom_recall"], 2),
            ("bottom_frac", (1 - covered) / plan.outputs, 2),
            ("denom_abs_mean", denominators["denom_abs_mean"], 3),
            ("denom_abs_min", denominators["denom_abs_min"], 3),
        ):
            right = agree(event.values[f"val_{name}"], expected, MEASURED.get(name, SLACK))
            require(right, "{}: {} of {}, not {}", plan, name, event, expected, claim=claim)
    done, updates = 0, trace.of("update")
    for epoch, event in enumerate(found):
        done += updates_per_epoch(len(plan.epochs[epoch]), plan.accumulation)
        if done > len(updates):
            return  # ACC-2 speaks of that
        w, v = (Fraction(updates[done - 1].values[name]) for name in "wv")
        losses = [batch.slope * plan.weight(epoch) * (w + v) for batch in plan.validation]
        right = agree(event.values["val_loss"], sample_mean(sizes, losses))
        claim = 2 if len(set(sizes)) > 1 else 1
        require(right, "{}: val_loss of {}", plan, event, claim=claim)


@clause("VAL-2", source="Ours: to look must not change what is seen", since="0.2.0")
def no_trace(subject: Feeds, plan: Plan, fails: bool) -> None:
    """Validation leaves no trace, also when it raises.

    1. Parameters, gradients and buffers are as before, and so are the modes of the optimizer, the
       model, the loss, and their submodules.
    2. The random states of torch, CUDA, Python and NumPy are as before, and so are those of the
       generators that the loaders hold.
    3. Training with validation is bitwise identical to training without.
    """
    changed = set(subject.validation_traces(fails))
    random = changed & {"torch", "cuda", "python", "numpy", "generator"}
    require(changed == random, "validation changed {}", sorted(changed - random))
    require(not random, "validation moved the random state of {}", sorted(random), claim=2)
    without, ours = subject.train(replace(plan, validation=())), subject.train(plan)
    for kinds in (("draw", "update"), ("log", "skip")):
        found, expected = repr(ours.of(*kinds)), repr(without.of(*kinds))
        right = found == expected
        require(right, "{}: with validation {}, without {}", plan, found, expected, claim=3)


@clause("VAL-3", source="Ours: a physical law is a loss of derivatives", since="0.7.0")
def differentiates(subject: Feeds, place: str, inputs: Sequence[float]) -> None:
    """Validation differentiates with respect to inputs.

    1. A loss or a model that differentiates with respect to its inputs is evaluated.
    2. Where nothing is differentiated no graph is made, whatever requires a gradient in training.
    3. Afterwards the same parameters require a gradient, also when validation raises.
    """
    found = subject.derived(place, inputs, False)
    expected = sample_mean([1] * len(inputs), [Fraction(6 * Fraction(x)) ** 2 for x in inputs])
    parts = place, inputs, found
    require(agree(found.loss, expected), "{} of {}: {}, not {}", *parts, expected)
    require(not found.attached, "{} of {}: {} with a graph", *parts, claim=2)
    for case in found, subject.derived(place, inputs, True):
        require(case.trained == (True, False), "{} of {}: {}", place, inputs, case, claim=3)


@clause("CUR-1", source="Guide: loss_curriculum, loss_weights", since="0.2.0")
def arguments(subject: Feeds, accepts: Sequence[str], plan: Plan) -> None:
    """A loss is called with what it accepts.

    1. ``epoch``, ``global_step``, ``tau``, ``inputs``, ``targets`` and, where they are configured,
       ``loss_weights`` reach exactly those losses that accept them.
    2. ``loss_curriculum`` gives each epoch's ``loss_weights``, and counts before fixed ones; a
       validation has those of the epoch just trained.
    3. ``epoch`` is the epoch of the call; ``global_step`` is the number of updates applied before.
    4. ``tau`` is the micro-batch's threshold, in a validation the midpoint.
    5. ``inputs`` and ``targets`` are what the loader gave.
    6. Weights that the loss does not accept raise ValueError.
    7. Without a curriculum the fixed ``loss_weights`` hold in every epoch.
    """
    if plan.weights and "loss_weights" not in accepts:
        raised = refused(ValueError, lambda: subject.loss_arguments(accepts, plan), claim=6)
        require(raised, "weights {} were ignored", plan.weights, claim=6)
        return
    for call, epoch, step, batch in _placed(plan, subject.loss_arguments(accepts, plan)):
        given = call.given
        wanted = set(accepts) - (set() if plan.weights else {"loss_weights"})
        require(set(given) == wanted, "{} reached a loss that accepts {}", given, accepts)
        known = {
            "loss_weights": (
                {"fit": float(plan.weight(epoch))},
                7 if len(plan.weights) == 1 else 2,
            ),
            "epoch": (epoch, 3),
            "global_step": (step, 3),
            "inputs": (batch.inputs, 5),
            "targets": (batch.targets, 5),
        }
        for name, (value, claim) in known.items():
            parts = epoch, call.validation, name, given.get(name, value), value
            right = repr(parts[3]) == repr(value)
            require(right, "epoch {}, validation {}: {} is {}, not {}", *parts, claim=claim)
        tau = given.get("tau")
        drawn = isinstance(tau, float) and plan.tau_min <= tau <= plan.tau_max
        fixed = isinstance(tau, float) and close(tau, midpoint(plan.tau_min, plan.tau_max))
        right = "tau" not in given or (fixed if call.validation else drawn)
        require(right, "validation {}: τ arrived as {}", call.validation, tau, claim=4)
