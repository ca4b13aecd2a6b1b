"""RES: a run that is stopped and goes on is the run that was never stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from .clause import clause, require
from .runs import DONE, REPORTED, Plan, Trains

UNREADABLE: Final = ("truncated", "garbage", "foreign", "newer", "hostile", "of another model")
WRAPPERS: Final = ("module.", "_orig_mod.")


@dataclass(frozen=True)
class Killed:
    """A save that was killed: what a reader then finds, and whether the save was done by then."""

    found: str
    done: bool


@dataclass(frozen=True)
class Loaded:
    """A load: the error's type or "", whether the trainer changed, and whether code was run."""

    error: str
    changed: bool
    ran_code: bool


@dataclass(frozen=True)
class Interrupted:
    """A run that a signal met: what was raised, the updates after it, and whether it was saved."""

    raised: str
    updates_after: int
    saved: bool


class Resumes(Trains, Protocol):
    """A subject that saves and loads."""

    def save_killed(self, at: int) -> Killed:
        """Save a new state over an old one, killed at a call to the operating system.

        The calls are counted from 0; what is found is ``old``, ``new`` or ``neither``.
        """

    def load(self, what: str) -> Loaded:
        """Load one of :data:`UNREADABLE` files, or a ``good`` one."""

    def checkpoint_keys(self, wrapper: str) -> list[str]:
        """Return the model's keys in a checkpoint of a model inside one of :data:`WRAPPERS`."""

    def interrupted(self, signal: str) -> Interrupted:
        """Train, and send SIGINT or SIGTERM during an update, having asked for a save."""


@clause(
    "RES-1",
    source="Ours: a result that depends on when a machine was restarted cannot be repeated",
    since="0.2.0",
)
def exact_resume(subject: Trains, plan: Plan) -> None:
    """Stopped at any update, saved, loaded in a new process and continued, a run's parameters,
    optimizer, scheduler, scaler, records, thresholds and stop are bitwise those of the
    uninterrupted run.
    """
    found, expected = subject.train(plan), subject.train(replace(plan, interrupts=()))
    for part in ("parameters", "thresholds", "rate"):
        ours, theirs = getattr(found, part), getattr(expected, part)
        require(ours == theirs, "{}: {} {}, not {}", plan, part, ours, theirs)
    for kinds in (DONE, REPORTED):
        trace, reference = repr(found.of(*kinds)), repr(expected.of(*kinds))
        require(trace == reference, "{}: {}, not {}", plan, trace, reference)


@clause("RES-2", source="Ours: a job is killed when it saves, as at any time", since="0.2.0")
def atomic(subject: Resumes) -> None:
    """A checkpoint is written to a temporary name in the same folder, flushed, and renamed: a kill
    at any moment leaves the old or the new one, whole.
    """
    for at in range(1000):
        killed = subject.save_killed(at)
        require(killed.found in ("old", "new"), "killed at call {}: {}", at, killed.found)
        if killed.done:
            require(killed.found == "new", "saved, but a reader finds the {} one", killed.found)
            require(at > 1, "a save of {} calls to the system cannot be atomic", at)
            return
    require(False, "a save did not come to its end")


@clause("RES-3", source="Ours: a file from a stranger is data", since="0.2.0")
def safe(subject: Resumes, what: str) -> None:
    """Loading runs no code from the file; a damaged, foreign or newer file, or one of another
    model, is an error and changes nothing; keys carry no prefix of a wrapper.
    """
    loaded = subject.load(what)
    require(not loaded.ran_code, "loading a {} file ran its code", what)
    if what == "good":
        require(loaded == Loaded("", True, False), "loading a good file: {}", loaded)
    else:
        require(loaded.error != "", "a {} file was loaded", what)
        require(not loaded.changed, "loading a {} file changed the trainer", what)
    for wrapper in WRAPPERS:
        keys = subject.checkpoint_keys(wrapper)
        clean = bool(keys) and not any(key.startswith(wrapper) for key in keys)
        require(clean, "keys of a wrapped model: {}", keys)


@clause("RES-4", source="Ours: schedulers of clusters send SIGTERM, people Ctrl-C", since="0.2.0")
def signals(subject: Resumes, signal: str) -> None:
    """Ctrl-C is raised again and SIGTERM honoured at the next update, with the state saved if asked
    for.
    """
    found = subject.interrupted(signal)
    raised: Mapping[str, str] = {"SIGINT": "KeyboardInterrupt", "SIGTERM": "SystemExit"}
    require(found.raised == raised[signal], "{} raised {}", signal, found.raised)
    require(found.updates_after <= 1, "{} updates after {}", found.updates_after, signal)
    require(found.saved, "{} left no checkpoint", signal)
