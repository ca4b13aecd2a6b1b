"""DDP: any number of processes train as one."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from .clause import clause, refused, require
from .runs import Plan, Trains, require_same_run


class Distributes(Trains, Protocol):
    """A subject that trains on several ranks."""

    def train_unequal(self, ranks: int) -> None:
        """Train on loaders of unequal length; ValueError or RuntimeError before the epoch."""


@clause(
    "DDP-1",
    source="Ours: a cluster is a way to be done sooner, and no other thing",
    since="0.2.0",
)
def as_one(subject: Distributes, plan: Plan, ranks: int) -> None:
    """With a fixed global batch, any number of ranks give the updates, records and stop of one,
    reported once; ranks with unequal numbers of micro-batches are an error before the epoch.
    """
    found, expected = subject.train(replace(plan, ranks=ranks)), subject.train(plan)
    require_same_run(found, expected)
    require(refused(ValueError, lambda: subject.train_unequal(ranks)), "unequal loaders trained")
