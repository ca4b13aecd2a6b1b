"""ARG: arguments that cannot be meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from .clause import clause, names, require

Wrong: TypeAlias = Mapping[str, type[Exception]]
"""Ways in which an argument is wrong, each with the error that it raises."""

OTHER: Final[Wrong] = {"text": TypeError}
SHAPE: Final[Wrong] = {"another shape": ValueError}
FLOATS: Final[Wrong] = {"a list": TypeError, "integers": TypeError}
PART: Final[Wrong] = {**FLOATS, **SHAPE}
MASK: Final[Wrong] = {"numbers": TypeError, **SHAPE}
NUMBER: Final[Wrong] = {**OTHER, "negative": ValueError, "NaN": ValueError}
POSITIVE: Final[Wrong] = {**NUMBER, "zero": ValueError}
SCALAR: Final[Wrong] = {**OTHER, "a vector of one number": ValueError}
DEGREE: Final[Wrong] = {"fraction": TypeError, "negative": ValueError}
SIZE: Final[Wrong] = {**DEGREE, "zero": ValueError}
FEATURES: Final[Wrong] = {
    "integers": TypeError, "another precision": TypeError, "another width": ValueError,
}  # fmt: skip
ENDS: Final[Wrong] = {"no pair": TypeError, **SHAPE}
MADE: Final[Wrong] = {**OTHER, "a class": TypeError}
DOMAIN: Final[Wrong] = {
    **OTHER, "crossed ends": ValueError, "equal ends": ValueError, "an infinite end": ValueError,
    "three numbers": ValueError,
}  # fmt: skip
KEY: Final[Wrong] = {
    "a list": TypeError, "a class of no policy": ValueError, "the name of a class": ValueError,
}  # fmt: skip
TUPLES: Final = {"P": PART, "Q": PART}
TARGETS: Final = {**TUPLES, "Y_n": PART, "Y_d": PART}

REFUSED: Final[Mapping[str, Mapping[str, Wrong]]] = {
    "chordal_loss": {**TARGETS, "mask": MASK},
    "implicit_loss": {**TARGETS, "mask": MASK, "gamma": POSITIVE},
    "squares_loss": {**TARGETS, "mask": MASK, "tau": SCALAR},
    "sign_consistency_loss": {**TARGETS, "oriented": MASK},
    "margin_loss": {"Q": FLOATS, "mask": MASK, "tau": SCALAR},
    "rejection_loss": {**TUPLES, "mask": MASK, "tau": SCALAR, "target_coverage": NUMBER},
    "likelihood_loss": {**TARGETS, "mask": MASK, "resolution": NUMBER},
    "interval_loss": {**TUPLES, "lower": ENDS, "upper": ENDS, "resolution": NUMBER},
    "coverage": {"is_bottom": MASK, "tau": SCALAR},
    "probability": {**TUPLES, "lower": ENDS, "upper": ENDS},
    "central_interval": {**TUPLES, "level": NUMBER},
    "certainty": TUPLES,
    "median_and_scale": TUPLES,
    "combine_tuples": {**TUPLES, "weights": {**FLOATS, "negative numbers": ValueError}},
    "choose_threshold": {**TUPLES, "targets": PART, "unit": POSITIVE},
    "certify_threshold": {**TUPLES, "targets": PART, "rate": POSITIVE, "confidence": POSITIVE},
    "bottom_mask": {},
    "lift_targets": {"y": {"a list": TypeError}},
    "orientation": {"y": {"a list": TypeError}},
    "training loss": {"config": MADE, "loss_weights": OTHER, "tau": SCALAR, "targets": OTHER},
    "strict_inference": {**TUPLES, "config": OTHER},
    "inference wrapper": {"model": {"a function": TypeError, "of one output": TypeError}},
    "projective head": {
        "in_features": SIZE, "out_features": SIZE, "shared_denominator": OTHER,
        "features": FEATURES,
    },
    "network": {"in_features": SIZE, "input_scale": POSITIVE, "hidden": OTHER, "x": FEATURES},
    "rational head": {
        "numerator_degree": DEGREE, "denominator_degree": DEGREE, "domain": DOMAIN,
        "x": {"a list": TypeError},
    },
    "default policy": {"layer": KEY, "policy": {"text": ValueError}},
    "tensor batches": {
        "inputs": SHAPE, "targets": {**OTHER, **SHAPE}, "batch_size": SIZE, "seed": DEGREE,
        "shuffle": OTHER, "drop_last": OTHER,
    },
    "drawn threshold": {"tau_min": NUMBER, "tau_max": NUMBER, "generator": OTHER},
    "trainer": {
        "model": {"a function": TypeError}, "optimizer": MADE, "loss_fn": MADE, "config": MADE,
        "train_loader": {**OTHER, "an epoch that workers keep": ValueError},
        "scheduler": {**MADE, "another optimizer's": ValueError},
    },
    "configuration": {"prepare_batch": OTHER, "log_hook": MADE, "val_loader": OTHER},
    "validation": {"val_loader": {"none": ValueError}},
}  # fmt: skip
"""How an operation's arguments can be wrong.

``a class`` stands where an instance is meant, ``a function`` where a model is. ``of one output`` is
a model that returns no tuple, ``a class of no policy`` a layer that never asks for one, and ``the
name of a class`` that of a layer, where the class is meant. Persistent workers keep copies of a
data set, which is then told of no epoch.
"""

RENAMED: Final[Mapping[tuple[str, str], str]] = {
    ("margin_loss", "tau_train"): "tau",
    ("margin_loss", "mask_finite"): "mask",
    ("sign_consistency_loss", "mask_singular"): "oriented",
    ("rejection_loss", "is_bottom"): "tau",
    ("training loss", "tau_train"): "tau",
    ("training loss", "fit_loss"): "fit",
    ("training loss", "mask_finite"): "targets",
    ("training loss", "mask_singular"): "targets",
    ("training loss", "is_bottom"): "tau",
    ("configuration", "learning_rate"): "optimizer",
}
"""Keywords that operations of zeroproofml have, and what has their place."""


@dataclass(frozen=True)
class Refusal:
    """The error of a call, if there is one, and what the call has changed then.

    An argument has in the error's text its name of :data:`REFUSED`; who calls it otherwise puts
    that name in its place.
    """

    error: Exception | None
    changed: tuple[str, ...] = ()


class Refuses(Protocol):
    """A subject that looks at arguments."""

    def refuse(self, operation: str, argument: str = "", wrong: str = "") -> Refusal:
        """Call an operation with right arguments, but for one, which is wrong in a way that
        :data:`REFUSED` lists, or with a further one that is a ``keyword`` of :data:`RENAMED`.
        """


@clause("ARG-1", source="Ours: an error is read by whoever made the mistake", since="0.8.0")
def refusals(subject: Refuses, operation: str) -> None:
    """An operation refuses an argument that cannot be meant.

    1. An argument of a wrong type raises TypeError.
    2. One of a wrong shape, or outside its range, raises ValueError.
    3. The error names the argument.
    4. The call changes no parameter, no argument and no random state.
    5. The same call without that argument's fault raises no error, and changes none of these.
    """
    right = subject.refuse(operation)
    silent = right.error is None and not right.changed
    require(silent, "{} of right arguments: {}", operation, right, claim=5)
    for argument, ways in REFUSED[operation].items():
        for wrong, kind in ways.items():
            found = subject.refuse(operation, argument, wrong)
            parts, claim = (operation, argument, wrong, found.error), 1 + (kind is ValueError)
            require(isinstance(found.error, kind), "{}, {} is {}: {}", *parts, claim=claim)
            named = names(str(found.error), argument)
            require(named, "{}, {} is {}, which is unnamed: {}", *parts, claim=3)
            changed, complaint = not found.changed, "{}, {} is {}: {}, and changed {}"
            require(changed, complaint, *parts, found.changed, claim=4)


@clause("ARG-2", source="Ours: that is where users come from", since="0.8.0")
def renamed(subject: Refuses, operation: str, keyword: str) -> None:
    """A keyword of zeroproofml that an operation does not take raises TypeError, which names the
    keyword and what has its place.
    """
    error, place = subject.refuse(operation, keyword, "keyword").error, RENAMED[operation, keyword]
    named = isinstance(error, TypeError) and all(names(str(error), x) for x in (keyword, place))
    require(error is None or named, "{}({}=…): {}", operation, keyword, error)
