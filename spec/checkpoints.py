"""RES: a run that is resumed is the run that was not interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Final, Protocol

from .clause import clause, require
from .runs import Kind, Plan, Trains

UNREADABLE: Final = (
    "truncated", "garbage", "foreign", "newer", "hostile", "missing", "of another model",
    "of another optimizer", "of another kind of optimizer", "of more ranks",
)  # fmt: skip
STATEFUL: Final = (
    "parameter of the model", "parameter of the loss", "parameter of neither",
    "buffer of the model", "buffer of the loss", "extra state of the model",
    "extra state of the loss", "object of the user",
)  # fmt: skip
LOADABLE: Final = (
    "number", "string", "list", "set", "dictionary", "tensor", "number of NumPy", "array",
    "dictionary with keys of NumPy", "dictionary with a default",
)  # fmt: skip
UNLOADABLE: Final = ("path", "function", "object", "enumeration", "array of objects")
FOLDERS: Final = ("another run", "later checkpoints", "at once", "several runs", "loaded")
WRAPPERS: Final = ("module.", "_orig_mod.", "_orig_mod.module.")
RESUMED: Final[tuple[tuple[int, tuple[Kind, ...], tuple[str, ...], tuple[str, ...]], ...]] = (
    (1, ("update",), ("w", "v"), ("parameters",)),
    (2, (), (), ("rate",)),
    (3, ("draw",), (), ("thresholds",)),
    (4, ("log", "skip", "validate"), (), ("val_history",)),
    (4, ("update",), ("global_step",), ()),
    (5, ("stop", "error"), (), ()),
)
"""A claim of RES-1, kinds of events, which of their values, or all, and what else is the same."""


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


@dataclass(frozen=True)
class Saved:
    """A save over an older file: the error's message or "", whether what is then loaded equals what
    was saved, and whether all files are as they were.
    """

    error: str
    loaded: bool
    kept: bool


@dataclass(frozen=True)
class Second:
    """A run in a folder of checkpoints: the error's type or "", the updates made, whether those of
    other runs are as they were, and whether a load of the folder finds the run's own last one.
    """

    error: str
    updates: int
    kept: bool
    found: bool


class Resumes(Trains, Protocol):
    """A subject that saves and loads."""

    def save_killed(self, at: int) -> Killed:
        """Save a new state over an old one, killed at a call to the operating system.

        The calls are counted from 0; what is found is ``old``, ``new`` or ``neither``.
        """

    def save_failed(self) -> tuple[str, Sequence[str]]:
        """Save a first checkpoint on a disk that is full, and again until Ctrl-C; return the types
        of the errors, "" if one was not raised, and the names of the files then in the folder.
        """

    def load(self, what: str) -> Loaded:
        """Load one of :data:`UNREADABLE` files, or a ``good`` one."""

    def checkpoint_keys(self, wrapper: str) -> list[str]:
        """Return the model's keys in a checkpoint of a model inside one of :data:`WRAPPERS`."""

    def interrupted(self, signal: str, place: str = "update") -> Interrupted:
        """Train, and send SIGINT or SIGTERM during an update, having asked for a save, or during
        a ``save`` of those that were asked for after each update.
        """

    def survives(self, what: str) -> bool:
        """Save a run, load it into a new trainer, and tell whether one of :data:`STATEFUL` things
        is there as it was.
        """


class Keeps(Protocol):
    """A subject that keeps checkpoints in files and folders."""

    def saved(self, value: str) -> Saved:
        """Save a checkpoint, and over it another whose state holds a value, of :data:`LOADABLE` or
        :data:`UNLOADABLE`, under the name ``place``; load what is then there.
        """

    def in_folder(self, case: str) -> Second:
        """Train a run into a folder, and then another, in one of :data:`FOLDERS` ways.

        ``another run`` is a new trainer; ``later checkpoints`` has loaded the first run's oldest
        checkpoint, and ``loaded`` its latest. The first run trains ``at once`` if all
        its updates follow the other's first. ``several runs`` is a load of a folder to which
        another run's checkpoints were copied.
        """


@clause("RES-1", source="Ours: results that depend on restarts cannot be repeated", since="0.2.0")
def exact_resume(subject: Trains, plan: Plan) -> None:
    """A run saved at any update and continued in a new process is bitwise the uninterrupted run.

    1. The parameters after each update are the same. Optimizer, scaler, shuffled order and random
       states are thus restored, from the latest checkpoint of a folder.
    2. The learning rate is the same.
    3. The thresholds are the same.
    4. Records, skips and ``val_history`` are the same.
    5. The run stops, or ends in an error, at the same place.
    """
    # TAU-7 says of which epoch the thresholds are left: the last ones are of the latest.
    least = min(map(len, plan.epochs))
    found, expected = (
        replace(trace, thresholds=trace.thresholds[-least:])
        for trace in (subject.train(plan), subject.train(replace(plan, interrupts=())))
    )
    for claim, kinds, names, left in RESUMED:
        ours, theirs = (
            [repr({name: e.values[name] for name in names or e.values}) for e in trace.of(*kinds)]
            + [repr(getattr(trace, name)) for name in left]
            for trace in (found, expected)
        )
        about = ", ".join((*kinds, *names, *left))
        for one, other in zip_longest(ours, theirs, fillvalue="nothing"):
            complaint = "{}: a difference in {}: {}, not {}"
            require(one == other, complaint, plan, about, one, other, claim=claim)


@clause("RES-2", source="Ours: a job is killed when it saves, as at any time", since="0.2.0")
def atomic(subject: Resumes) -> None:
    """A checkpoint is written to a temporary name in the same folder, flushed, and renamed.

    1. A kill at any moment leaves the old or the new one, whole.
    2. A save that has returned leaves the new one.
    3. A save that fails raises an error, and leaves no other file.
    """
    error, left = subject.save_failed()
    require(error != "" and not left, "a failed save: {!r}, files {}", error, left, claim=3)
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
    2. A damaged, foreign, newer or missing file, or one of another model, optimizer or number of
       ranks, raises an error; any other is loaded. A folder without a checkpoint is a missing file.
    3. A load that raises changes nothing, the optimizer included.
    4. Keys carry no prefix of a wrapper.
    """
    loaded = subject.load(what)
    require(not loaded.ran_code, "loading a file ({}) ran its code", what)
    if what == "good":
        require(loaded == Loaded("", True, False), "loading a good file: {}", loaded, claim=2)
    else:
        require(loaded.error != "", "a file ({}) was loaded", what, claim=2)
        require(not loaded.changed, "loading a file ({}) changed the trainer", what, claim=3)
    for wrapper in WRAPPERS:
        keys = subject.checkpoint_keys(wrapper)
        clean = bool(keys) and not any(key.startswith(WRAPPERS) for key in keys)
        require(clean, "keys of a wrapped model: {}", keys, claim=4)


@clause("RES-4", source="Ours: schedulers of clusters send SIGTERM, people Ctrl-C", since="0.2.0")
def signals(subject: Resumes, signal: str) -> None:
    """A signal ends training after the update under way.

    1. Ctrl-C raises KeyboardInterrupt.
    2. SIGTERM raises SystemExit.
    3. No further update is made.
    4. The state is saved first, if asked for.
    """
    for place in ("update", "save"):
        found = subject.interrupted(signal, place)
        raised, claim = ("KeyboardInterrupt", 1) if signal == "SIGINT" else ("SystemExit", 2)
        require(found.raised == raised, "{} raised {}", signal, found.raised, claim=claim)
        later = found.updates_after
        require(later == 0, "{} updates after {} in a {}", later, signal, place, claim=3)
        require(found.saved, "{} left no checkpoint", signal, claim=4)


@clause("RES-5", source="Ours: that a file cannot be read shows when it is needed", since="0.7.0")
def loadable(subject: Keeps, value: str) -> None:
    """What is saved can be loaded.

    1. Numbers, strings, tensors, NumPy's numbers and arrays, and containers of these are loaded as
       equal values.
    2. A state that only code could restore raises an error at the save, which names its place.
    3. A save that raises this error leaves all files as they were.
    """
    found = subject.saved(value)
    if value in LOADABLE:
        require(found.error == "" and found.loaded, "a {}: {}", value, found)
    else:
        require("place" in found.error, "a {}: {}", value, found, claim=2)
        require(found.kept, "a {} was refused, and the files changed", value, claim=3)


@clause("RES-6", source="Ours: what is not saved is trained from its start again", since="0.4.0")
def complete(subject: Resumes, what: str) -> None:
    """A checkpoint holds all that a run consists of.

    1. It holds every parameter that the optimizer steps, whoever owns it.
    2. It holds buffers and extra state of model and loss.
    3. It holds the state of the objects that the user adds.
    """
    claim = 1 if "parameter" in what else 3 if what == "object of the user" else 2
    require(subject.survives(what), "a {} was not restored", what, claim=claim)


@clause("RES-7", source="Ours: people start a script twice", since="0.7.0")
def one_run(subject: Keeps, case: str) -> None:
    """A folder of checkpoints belongs to one run, and a load continues the run that it loads.

    1. A folder with checkpoints of another run, or later ones of the same run, raises ValueError
       before the first update.
    2. No run deletes or replaces the checkpoints of another, even if both start at once.
    3. A run that was loaded from the folder continues there.
    4. Loading a folder that holds checkpoints of several runs raises an error.
    """
    found = subject.in_folder(case)
    if case == "several runs":
        require(found.error != "", "{}: {}", case, found, claim=4)
    if case in ("another run", "later checkpoints"):
        early = found.error == "ValueError" and found.updates == 0
        require(early, "{}: {}", case, found)
    require(found.kept, "{}: {}", case, found, claim=2)
    if case == "loaded":
        continued = found.error == "" and found.updates > 0 and found.found
        require(continued, "{}: {}", case, found, claim=3)
