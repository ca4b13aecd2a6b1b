"""DDP: a run that processes share is the run of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from .checkpoints import Interrupted
from .clause import clause, refused, require
from .runs import Plan, Trace, Trains, require_same_run


class Distributes(Trains, Protocol):
    """A subject that trains on several ranks."""

    def train_ranks(self, plan: Plan) -> Sequence[Trace]:
        """Carry out a plan on its ranks, and return the trace of each.

        Only what a rank's own hook is called with is in its trace as reported. The loader of each
        rank has a ``set_epoch``, and each rank is asked to write checkpoints into a folder of its
        own. The parameters of other ranks than the first are others at the start, and a loss that
        a fault makes infinite or NaN is so on the last rank alone.
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
