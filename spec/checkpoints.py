"""RES and DDP: a run that is resumed, or shared by processes, is the run of one that is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Final, Protocol

from .clause import clause, refused, require
from .runs import Kind, Plan, Trace, Trains, require_same_run

UNREADABLE: Final = (
    "truncated", "garbage", "foreign", "newer", "hostile", "missing", "of another model",
    "of another optimizer", "of more ranks",
)  # fmt: skip
STATEFUL: Final = (
    "parameter of the model", "parameter of the loss", "parameter of neither",
    "buffer of the model", "buffer of the loss", "extra state of the model",
    "extra state of the loss", "object of the user",
)  # fmt: skip
WRAPPERS: Final = ("module.", "_orig_mod.")
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


class Resumes(Trains, Protocol):
    """A subject that saves and loads."""

    def save_killed(self, at: int) -> Killed:
        """Save a new state over an old one, killed at a call to the operating system.

        The calls are counted from 0; what is found is ``old``, ``new`` or ``neither``.
        """

    def save_failed(self) -> tuple[str, Sequence[str]]:
        """Save a first checkpoint on a disk that is full; return the error's type, or "", and the
        names of the files then in the folder.
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


class Distributes(Trains, Protocol):
    """A subject that trains on several ranks."""

    def train_ranks(self, plan: Plan) -> Sequence[Trace]:
        """Carry out a plan on its ranks, and return the trace of each.

        Only what a rank's own hook is called with is in its trace as reported. The loader of each
        rank has a ``set_epoch``, and each rank is asked to write checkpoints into a folder of its
        own.
        """

    def train_unequal(self, ranks: int, loader: str = "train") -> None:
        """Train on loaders of unequal length, or on equal ones with a ``validation`` of unequal
        length; ValueError before the epoch, or the validation.
        """

    def interrupted_ranks(self, signal: str, ranks: int) -> Sequence[Interrupted]:
        """Train, and send SIGINT or SIGTERM to the last rank during an update."""


@clause("DDP-1", source="Ours: a cluster is a way to be done sooner, nothing else", since="0.2.0")
def as_one(subject: Distributes, plan: Plan, ranks: int) -> None:
    """With a fixed global batch, any number of ranks train as one.

    1. Updates, records and stop are those of one rank.
    2. Every rank has the same updates and thresholds.
    3. Only rank 0 calls the hook and writes checkpoints.
    4. Gradients are reduced once per window.
    5. Each rank's loader is given the number of each epoch by ``set_epoch``.
    6. Ranks with unequal numbers of micro-batches raise ValueError before the epoch.
    """
    first, *others = subject.train_ranks(replace(plan, ranks=ranks))
    require_same_run(first.events, subject.train(plan).events)
    for rank, other in enumerate(others, 1):
        found, expected = repr(other.of("draw", "update")), repr(first.of("draw", "update"))
        require(found == expected, "rank {}: {}, not {}", rank, found, expected, claim=2)
        same = (other.parameters, other.thresholds) == (first.parameters, first.thresholds)
        require(same, "rank {} left {}, rank 0 {}", rank, other, first, claim=2)
        reported = other.of("log", "validate", "skip")
        require(not reported, "rank {} reported {}", rank, reported, claim=3)
        require(other.written == 0, "rank {} wrote {} files", rank, other.written, claim=3)
    windows = len(first.of("update", "skip"))
    for rank, trace in enumerate((first, *others)):
        parts = rank, trace.reductions, windows
        right = trace.reductions == windows
        require(right, "rank {}: {} reductions, {} windows", *parts, claim=4)
        told, epochs = trace.epochs_set, first.epochs_set
        right = told == epochs == tuple(range(len(epochs))) and len(epochs) > 0
        require(right, "{}: rank {} was given the epochs {}", plan, rank, told, claim=5)
    unequal = refused(ValueError, lambda: subject.train_unequal(ranks), claim=6)
    require(unequal, "unequal loaders trained", claim=6)


@clause("DDP-2", source="Ours: a rank that misses another waits for it forever", since="0.6.0")
def together(subject: Distributes, signal: str, ranks: int) -> None:
    """Ranks end together.

    1. A signal that one rank gets ends training on all after the same update, at most two later,
       with the error of RES-4.
    2. Unequal numbers of micro-batches in a validation raise ValueError.
    """
    found = subject.interrupted_ranks(signal, ranks)
    error = "KeyboardInterrupt" if signal == "SIGINT" else "SystemExit"
    same = {(one.raised, one.updates_after) for one in found} <= {(error, i) for i in range(3)}
    right = same and len({one.updates_after for one in found}) == 1
    require(right, "{} to one of {} ranks: {}", signal, ranks, found)
    unequal = refused(ValueError, lambda: subject.train_unequal(ranks, "validation"), claim=2)
    require(unequal, "unequal loaders validated", claim=2)
