"""DDP: any number of processes train as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from .clause import clause, refused, require
from .runs import Plan, Trace, Trains, require_same_run


class Distributes(Trains, Protocol):
    """A subject that trains on several ranks."""

    def train_ranks(self, plan: Plan) -> Sequence[Trace]:
        """Carry out a plan on its ranks, and return the trace of each.

        Only what a rank's own hook is called with is in its trace as reported. The loader of each
        rank has a ``set_epoch``, and each rank is asked to write checkpoints into a folder of its
        own.
        """

    def train_unequal(self, ranks: int) -> None:
        """Train on loaders of unequal length; ValueError or RuntimeError before the epoch."""


@clause(
    "DDP-1",
    source="Ours: a cluster is a way to be done sooner, and no other thing",
    since="0.2.0",
)
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
    require_same_run(first, subject.train(plan))
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
        reduced = trace.reductions
        right = reduced == windows
        require(right, "rank {}: {} reductions, {} windows", rank, reduced, windows, claim=4)
        told, epochs = trace.epochs_set, first.epochs_set
        right = told == epochs == tuple(range(len(epochs))) and len(epochs) > 0
        require(right, "{}: rank {} was given the epochs {}", plan, rank, told, claim=5)
    unequal = refused(ValueError, lambda: subject.train_unequal(ranks), claim=6)
    require(unequal, "unequal loaders trained", claim=6)
