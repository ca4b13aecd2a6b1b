"""STEP-11 to STEP-13: what a trainer is configured with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import Final, Protocol

from .clause import clause, refused, require
from .runs import Plan, agree
from .update import Updates

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
    odd = (1.5, 2.0, True) if isinstance(default, int) else ()
    mistyped = (True, "1", [1.0]) if is_number(option) or odd else ()
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
    2. A scheduler of validations steps once after each validation that training makes.
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
