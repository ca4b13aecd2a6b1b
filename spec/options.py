"""STEP-11 to STEP-13: what a trainer is configured with, and what a loader yields."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import Final, Protocol

from .clause import clause, refused, require
from .runs import Plan, agree
from .update import Updates

OPTIONS: Final[Mapping[str, tuple[Sequence[object], Sequence[object]]]] = {
    "max_epochs": ((1, 3), (0, -1)),
    "gradient_accumulation_steps": ((1, 3), (0, -1)),
    "coverage_patience": ((1, 3), (0, -1)),
    "max_nonfinite_steps": ((1, 3), (0, -1)),
    "tau_train_min": ((0.0, 1.0), (-0.5, 1.5, math.nan, math.inf)),
    "tau_train_max": ((0.0, 1e300), (-0.5, math.nan, math.inf)),
    "coverage_threshold": ((0.0, 1.0), (-0.5, 1.5, math.nan)),
    "max_grad_norm": ((None, 5e-324, 1e300), (0.0, -1.0, math.nan, math.inf)),
    "amp_dtype": (("float16", "bfloat16"), ("float64", "int8", "half")),
    "gradient_policy": ((None, "reject"), ("", "clip")),
    "loss_weights": (({"fit": 0.5},), ({"fit": math.nan}, {"fit": math.inf})),
}
"""Values in the range of each option, and values outside; ``tau_train_max`` is otherwise 1."""


class Configures(Updates, Protocol):
    """A subject whose trainer has options, and a loader of any inputs."""

    def configure(self, option: str, value: object) -> None:
        """Make a configuration with one of :data:`OPTIONS`; ValueError outside its range."""

    def train_on(self, targets: str) -> bool:
        """Train on nested inputs; tell whether the model got them as they were.

        The targets are ``good``, ``empty``, a ``scalar`` or a ``list``: ValueError or TypeError.
        """


@clause("STEP-11", source="Ours: a run with a wrong option costs its time", since="0.4.0")
def configuration(subject: Configures, option: str) -> None:
    """Options have ranges.

    1. A value outside its option's range raises ValueError at construction.
    2. Every value in the range is accepted.
    """
    for claim, values in enumerate(reversed(OPTIONS[option]), 1):
        for value in values:
            raised = refused(ValueError, partial(subject.configure, option, value), claim=claim)
            parts = option, value, raised
            require(raised == (claim == 1), "{} = {}: an error is {}", *parts, claim=claim)


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
    """A loader yields pairs of inputs and a tensor of targets.

    1. Inputs in dicts, lists, tuples and named tuples reach the model as they are.
    2. Targets without samples raise ValueError.
    3. Targets that are no tensor raise TypeError.
    """
    require(subject.train_on("good"), "the model got other inputs")
    for error, targets in (ValueError, "empty"), (ValueError, "scalar"), (TypeError, "list"):
        claim = 3 if targets == "list" else 2
        raised = refused(error, partial(subject.train_on, targets), claim=claim)
        require(raised, "{} targets were taken", targets, claim=claim)
