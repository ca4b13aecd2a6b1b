"""RES: a run that is resumed is the run that was never stopped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Protocol

from .clause import clause, require
from .runs import Kind, Plan, Trains

UNREADABLE: Final = (
    "truncated", "garbage", "foreign", "newer", "hostile", "of another model",
    "of another optimizer",
)  # fmt: skip
STATEFUL: Final = (
    "parameter of the model", "parameter of the loss", "parameter of neither",
    "buffer of the model", "buffer of the loss", "extra state of the model",
    "extra state of the loss", "object of the user",
)  # fmt: skip
WRAPPERS: Final = ("module.", "_orig_mod.")


@dataclass(frozen=True)
class Killed:
    """A save that was killed: what a reader then finds, and whether the save was done by then."""

    found: str
    done: bool


@dataclass(frozen=True)
class Loaded:
    """A load: the error's type or "", whether any of the trainer's state changed, and whether code
    was run.
    """

    error: str
    changed: bool
    ran_code: bool


@dataclass(frozen=True)
class Interrupted:
    """A run that got a signal: what was raised, updates begun later, and whether it was saved."""

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

    def survives(self, what: str) -> bool:
        """Save a run, load it into a new trainer, and tell whether one of :data:`STATEFUL` things
        is there as it was.
        """


@clause(
    "RES-1",
    source="Ours: a result that depends on when a machine was restarted cannot be repeated",
    since="0.2.0",
)
def exact_resume(subject: Trains, plan: Plan) -> None:
    """A run that stops at any update, is saved, loaded in a new process and continued, is bitwise
    the uninterrupted run.

    1. The parameters after each update are the same. Optimizer, scaler, shuffled order and random
       states are thus restored.
    2. The learning rate is the same.
    3. The thresholds are the same.
    4. Records, skips and ``val_history`` are the same.
    5. The run stops, or ends in an error, at the same place.
    """
    found, expected = subject.train(plan), subject.train(replace(plan, interrupts=()))
    kinds: tuple[tuple[Kind, ...], ...]
    kinds = ("update",), (), ("draw",), ("log", "skip", "validate"), ("stop", "error")
    parts = ("parameters",), ("rate",), ("thresholds",), ("val_history",), ()
    for claim, (events, fields) in enumerate(zip(kinds, parts, strict=True), 1):
        ours, theirs = (
            [*map(repr, trace.of(*events)), *(repr(getattr(trace, name)) for name in fields)]
            for trace in (found, expected)
        )
        complaint = "{}: {} differ: {}, not {}"
        require(ours == theirs, complaint, plan, events + fields, ours, theirs, claim=claim)


@clause("RES-2", source="Ours: a job is killed when it saves, as at any time", since="0.2.0")
def atomic(subject: Resumes) -> None:
    """A checkpoint is written to a temporary name in the same folder, flushed, and renamed.

    1. A kill at any moment leaves the old or the new one, whole.
    2. A save that has returned leaves the new one.
    """
    for at in range(1000):
        killed = subject.save_killed(at)
        require(killed.found in ("old", "new"), "killed at call {}: {}", at, killed.found)
        if killed.done:
            right = killed.found == "new"
            require(right, "saved, but a reader finds the {} one", killed.found, claim=2)
            require(at > 1, "a save of {} calls to the system cannot be atomic", at)
            return
    require(False, "a save did not come to its end", claim=2)


@clause("RES-3", source="Ours: a file from a stranger is data", since="0.2.0")
def safe(subject: Resumes, what: str) -> None:
    """A checkpoint is data.

    1. Loading runs no code from the file.
    2. A damaged, foreign or newer file, or one of another model or optimizer, raises an error; any
       other is loaded.
    3. A load that raises changes nothing, the optimizer included.
    4. Keys carry no prefix of a wrapper.
    """
    loaded = subject.load(what)
    require(not loaded.ran_code, "loading a {} file ran its code", what)
    if what == "good":
        require(loaded == Loaded("", True, False), "loading a good file: {}", loaded, claim=2)
    else:
        require(loaded.error != "", "a {} file was loaded", what, claim=2)
        require(not loaded.changed, "loading a {} file changed the trainer", what, claim=3)
    for wrapper in WRAPPERS:
        keys = subject.checkpoint_keys(wrapper)
        clean = bool(keys) and not any(key.startswith(wrapper) for key in keys)
        require(clean, "keys of a wrapped model: {}", keys, claim=4)


@clause("RES-4", source="Ours: schedulers of clusters send SIGTERM, people Ctrl-C", since="0.2.0")
def signals(subject: Resumes, signal: str) -> None:
    """A signal ends training after the update under way.

    1. Ctrl-C raises KeyboardInterrupt.
    2. SIGTERM raises SystemExit.
    3. No further update is made.
    4. The state is saved first, if asked for.
    """
    found = subject.interrupted(signal)
    raised, claim = ("KeyboardInterrupt", 1) if signal == "SIGINT" else ("SystemExit", 2)
    require(found.raised == raised, "{} raised {}", signal, found.raised, claim=claim)
    later = found.updates_after
    require(later == 0, "{} updates after {}", later, signal, claim=3)
    require(found.saved, "{} left no checkpoint", signal, claim=4)


@clause("RES-6", source="Ours: what is not saved is trained from its start again", since="0.4.0")
def complete(subject: Resumes, what: str) -> None:
    """A checkpoint holds all that a run consists of.

    1. It holds every parameter that the optimizer steps, whoever owns it.
    2. It holds buffers and extra state of model and loss.
    3. It holds the state of the objects that the user adds.
    """
    claim = 1 if "parameter" in what else 3 if what == "object of the user" else 2
    require(subject.survives(what), "a {} was not restored", what, claim=claim)
