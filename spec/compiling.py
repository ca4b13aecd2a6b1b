"""STEP-6: compiled code."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, Protocol

from .clause import clause, refused, require
from .runs import Plan, Trace, Trains, agree, require_same_run

UNCOMPILABLE: Final = ("a parameter of neither", "a closure", "a scalar in double precision")


class Compiles(Trains, Protocol):
    """A subject that trains in compiled code, too."""

    def train_compiled(self, plan: Plan) -> Trace:
        """Carry out a plan in compiled code."""

    def left(self, compiled: bool) -> Sequence[float]:
        """Train a model that writes a buffer, and whose parameters have learning rates of their
        own; the caller freezes one of them on the way, the loss takes two weights by name, and
        inside the model a policy bounds gradients under float16's scale. At the end it loads its
        own state, with another momentum, and makes one more update. Return the parameters and
        buffers, in compiled code or not.
        """

    def uncompilable(self, case: str) -> None:
        """Train in compiled code in one of :data:`UNCOMPILABLE` cases; ValueError."""


@clause("STEP-6", source="Ours: compiling is about speed", since="0.2.0")
def compiled(subject: Compiles, plan: Plan | None) -> None:
    """Compiling changes no run.

    1. Compiled and eager runs agree, also where thresholds and loss weights change by the epoch.
       They leave the same parameters and buffers.
    2. Parameters that neither model nor loss owns, an optimizer whose step takes a closure, and
       scalar parameters in double precision raise ValueError.
    """
    for case in UNCOMPILABLE:
        raised = refused(ValueError, partial(subject.uncompilable, case), claim=2)
        require(raised, "{} was compiled", case, claim=2)
    if plan is not None:
        require_same_run(subject.train_compiled(plan).events, subject.train(plan).events)
        return
    pair = found, expected = subject.left(compiled=True), subject.left(compiled=False)
    right = len(found) == len(expected) and all(map(agree, *pair))
    require(right, "a compiled run leaves {}, an eager one {}", found, expected)
