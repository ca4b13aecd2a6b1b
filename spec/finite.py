"""STEP-8 and STEP-9: what a step must not make of a model, and what an update leaves alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from .clause import clause, names, require

CAUSES: Final[Mapping[str, Sequence[str]]] = {
    "a rate of infinity": ("inf", "infinity", "∞"),
    "float16 parameters": ("float16",),
    "an eps of 0": ("eps",),
    "a rate of 3e38": ("3e+38", "3e38"),
    "infinite from the start": (),
}
"""What a run does to its parameter ``w``, and the words by which an error names the cause."""


@dataclass(frozen=True)
class Broken:
    """What is left of a run: its error, and how often it was validated and saved."""

    error: str
    validated: int
    saved: int


class Keeps(Protocol):
    """A subject that trains, and lets one spoil what it trains."""

    def spoiled(self, cause: str) -> Broken:
        """Train a parameter ``w`` for an epoch of three updates, the first of which spoils it for
        one of :data:`CAUSES`, with a validation, and a checkpoint every two updates. It is of the
        model, with a rate of 3e38 of the loss, and not in the optimizer's first group.

        The gradient is finite throughout. A parameter that is infinite from the start has an
        infinite element, which no update moves; so has one that a rate of infinity spoils.
        """

    def modes(self, frozen: Sequence[bool], validates: bool) -> list[list[bool]]:
        """Train two epochs of a model in train mode, of which some submodules were put in eval
        mode, also ones with a ``train()`` of their own. Return each submodule's mode in every
        training forward, and at the end of the run.
        """

    def freezes(self, trained: Sequence[bool]) -> list[bool]:
        """Train a parameter, which may be trained or is frozen from each of these updates on.

        Return whether the update moved it.
        """

    def buffer(self, before: Sequence[float], written: Sequence[float], fault: bool) -> list[float]:
        """Make an update of two micro-batches, each of which writes a buffer of the model and one
        of the loss, in place or by another tensor, and whose loss is NaN if there is a fault;
        return the buffers, one after the other.
        """


@clause(
    "STEP-8",
    source="Ours: NaN weights cost a run, and the checkpoints that hold them cost the rest",
    since="0.7.0",
)
def finite_steps(subject: Keeps, cause: str) -> None:
    """A step may make a parameter infinite or NaN although its gradient was finite.

    1. An error ends the run before anything is saved or validated, and with the epoch at the
       latest.
    2. The error names the parameter, and one likely cause: a learning rate that is not finite, half
       precision, an eps of 0, or else the size of the learning rate.
    3. Elements that are infinite or NaN from the start on raise no error.
    """
    found = subject.spoiled(cause)
    if not CAUSES[cause]:
        right = not found.error and found.validated == 1 and found.saved > 0
        require(right, "{}: {}", cause, found, claim=3)
        return
    raised = found.error != "" and (found.validated, found.saved) == (0, 0)
    require(raised, "{}: {}", cause, found)
    told = [c for c, words in CAUSES.items() if any(names(found.error, word) for word in words)]
    require("'w'" in found.error and told == [cause], "{}: {}", cause, found.error, claim=2)


@clause(
    "STEP-9",
    source="Ours: a frozen batch norm must stay frozen, and one NaN must not cost its statistics",
    since="0.7.0",
)
def left_alone(
    subject: Keeps,
    switches: Sequence[bool],
    validates: bool,
    before: Sequence[float],
    written: Sequence[float],
) -> None:
    """Training changes what it trains, and leaves alone what the caller has set.

    1. Submodules of a model in train mode keep their modes, in every epoch.
    2. A parameter that the caller freezes or frees during a run is so from the next update on.
    3. An element of a buffer, of the model or the loss, that is infinite or NaN after the forwards
       of a skipped update returns to its value before all of them.
    4. Every other element of a buffer is as the forwards left it.
    """
    expected = [not frozen for frozen in switches]
    for modes in subject.modes(switches, validates):
        require(modes == expected, "modes {}, not {}", modes, expected)
    moved = subject.freezes(switches)
    require(moved == [*switches], "{} moved a parameter: {}", switches, moved, claim=2)
    for fault in (True, False):
        found = subject.buffer(before, written, fault)
        for value, old, new in zip(found, [*before] * 2, [*written] * 2, strict=True):
            lost = fault and not math.isfinite(new)
            parts = value, old, new, fault
            right = repr(value) == repr(old if lost else new)
            complaint = "{} of {} before and {} after, with a fault: {}"
            require(right, complaint, *parts, claim=3 if lost else 4)
