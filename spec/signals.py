"""RES-9: a signal ends a run, whatever fails on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from .clause import clause, require

FAILING: Final = (
    "fetch", "first fetch", "resumed fetch", "worker", "hook", "validation", "save", "loss",
)  # fmt: skip
"""What fails. A ``worker`` of the loader ends in the middle of an update. A ``resumed fetch`` is
the first of a run that continues another one after its first epoch, and counts its updates. The
``first fetch`` ends by a KeyboardInterrupt, as if Ctrl-C had come, too; the others by an OSError.
"""


@dataclass(frozen=True)
class BrokenOff:
    """A run that got a signal, and in which something failed then.

    What was raised, and the updates that were begun, made and saved. Of this run together with the
    one that continues from the checkpoint: the epochs whose validations were reported, and whether
    parameters, rate and records are those of an uninterrupted run. And whether a warning came.
    """

    raised: str
    begun: int
    made: int
    saved: int
    validated: Sequence[int]
    same: bool
    warned: bool


class Breaks(Protocol):
    """A subject that trains on a machine where things fail."""

    def broken_off(self, what: str, signal: str) -> BrokenOff:
        """Train for two epochs with a validation after each, and have checkpoints written.

        In the second epoch, or the first one's validation, send SIGINT or SIGTERM, upon which one
        of :data:`FAILING` fails. The rate follows the validations.
        """


@clause("RES-9", source="Ours: a signal to a group ends a loader's workers, too", since="0.7.0")
def unbroken(subject: Breaks, what: str, signal: str) -> None:
    """Whatever fails after a signal was received, the run ends by the signal.

    1. The error of RES-4 is raised, not that of the failure.
    2. The latest update is saved first, if saving is possible.
    3. A failure of a loader's worker breaks off no update.
    4. A validation that is broken off is made by the resumed run, before its next epoch.
    5. The resumed run is that of RES-1.
    6. If the latest update cannot be saved, a warning says so.
    """
    found = subject.broken_off(what, signal)
    raised = "KeyboardInterrupt" if signal == "SIGINT" else "SystemExit"
    right = found.raised == raised
    require(right, "{}, and a failure in {}, raised {}", signal, what, found.raised)
    right = found.begun == found.made
    require(right, "a {} broke off an update: {}", what, found, claim=3)
    if what == "save" or (what == "loss" and found.saved < found.made):
        require(found.warned, "{}: a failure in {}, without a warning", signal, what, claim=6)
        return
    right = found.saved == found.made
    require(right, "{}, and a failure in {}: {}", signal, what, found, claim=2)
    right = list(found.validated) == [0, 1]
    require(right, "a failure in {}: {} validated", what, found.validated, claim=4)
    require(found.same, "resumed after a failure in {}, a run differs", what, claim=5)
