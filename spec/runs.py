"""Runs of a trainer: plans that a subject carries out, and the traces that it leaves.

The model is one parameter ``w``, the loss may own another, ``v``. A micro-batch has a slope ``g``
and its loss is ``g·w`` (``g·(w + v)`` with ``v``), so that a window's step is exactly
``−rate · Σ nᵢgᵢ / Σ nᵢ``. The rate is 1/8, and a scheduler halves it with every applied update.
Everything else (coverage, faults, sizes) is given with the micro-batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, Protocol, TypeAlias

from .clause import require
from .coverage import Counts, count

Fault: TypeAlias = Literal["", "loss", "gradient"]
Kind: TypeAlias = Literal["draw", "update", "skip", "log", "validate", "stop", "error"]


@dataclass(frozen=True)
class MicroBatch:
    """What a loader yields, as far as it matters here.

    A sample is a letter: ``v`` a value and ``b`` ⊥ where the target is finite, ``V`` and ``B``
    where it is singular. A fault makes the loss NaN, or only its gradient.
    """

    samples: str
    slope: Fraction = Fraction(1)
    fault: Fault = ""

    @property
    def counts(self) -> Counts:
        """The counts of its samples, as of a model with one output."""
        bottoms, finite = ([[s in kinds] for s in self.samples] for kinds in ("bB", "vb"))
        return count(bottoms, finite)

    def shares(self, ranks: int) -> list[tuple[int, Fraction]]:
        """Return the samples of each rank that has any, and their slope."""
        sizes = [len(self.samples[rank::ranks]) for rank in range(ranks)]
        return [(size, self.slope) for size in sizes if size]


Epoch: TypeAlias = tuple[MicroBatch, ...]


@dataclass(frozen=True)
class Plan:
    """A run: the micro-batches of each epoch, and the options of the trainer.

    ``interrupts`` are numbers of micro-batches after which the state is saved, and everything
    that follows is done by a new trainer that loads it. ``ranks`` share each micro-batch. With
    ``stale`` the parameters hold some gradient before training. ``precision`` is that of
    autocast, empty for none.
    """

    epochs: tuple[Epoch, ...]
    accumulation: int = 1
    threshold: float = 0.0
    patience: int = 1
    max_nonfinite: int = 10
    tau_min: float = 0.25
    tau_max: float = 0.25
    seed: int = 0
    max_norm: float | None = None
    own_parameter: bool = False
    validation: Epoch = ()
    history_limit: int = 1000
    interrupts: tuple[int, ...] = ()
    ranks: int = 1
    stale: bool = False
    precision: str = ""

    @property
    def micro_batches(self) -> list[MicroBatch]:
        """The micro-batches of all epochs, in order."""
        return [batch for epoch in self.epochs for batch in epoch]


@dataclass(frozen=True)
class Event:
    """Something that a trainer does or reports, with its numbers by name."""

    kind: Kind
    values: Mapping[str, float | Fraction]


@dataclass(frozen=True)
class Trace:
    """A run's events, and what it leaves: parameters, thresholds, kept records, learning rate."""

    events: tuple[Event, ...]
    parameters: tuple[float | Fraction, ...]
    thresholds: tuple[float, ...]
    history: int
    rate: float | Fraction

    def of(self, *kinds: Kind) -> list[Event]:
        """Return the events of some kinds, in order."""
        return [event for event in self.events if event.kind in kinds]


class Trains(Protocol):
    """A subject that trains."""

    def train(self, plan: Plan) -> Trace:
        """Carry out a plan.

        What the trainer does (``draw``, ``update``) and what it reports (``log``, ``skip``,
        ``validate``, ``stop``, ``error``) is each in order; how the two interleave is free.
        """


DONE: Final[tuple[Kind, ...]] = ("draw", "update")
REPORTED: Final[tuple[Kind, ...]] = ("log", "skip", "validate", "stop", "error")
SLACK: Final = Fraction(1, 10**12)
MEASURED: Final = {"bottom_frac": Fraction(1, 10**6), "denom_abs_mean": Fraction(1, 10**6)}


def agree(x: float | Fraction, y: float | Fraction, slack: Fraction = SLACK) -> bool:
    """Tell whether two numbers are both NaN, or within a distance of each other.

    The distance is relative for numbers above 1. Sums over a window are rounded, in whatever
    order an implementation adds; in double precision they stay well within the slack. What is
    measured only to be looked at (:data:`MEASURED`) may be of single precision.
    """
    if x != x or y != y:
        return x != x and y != y
    if not (math.isfinite(x) and math.isfinite(y)):
        return x == y
    return abs(Fraction(x) - Fraction(y)) <= slack * max(Fraction(1), abs(Fraction(y)))


def require_same_run(found: Trace, expected: Trace) -> None:
    """Require two runs to do and to report the same, each in its order, up to rounding."""
    for kinds in DONE, REPORTED:
        ours, theirs = found.of(*kinds), expected.of(*kinds)
        same = [event.kind for event in ours] == [event.kind for event in theirs]
        require(same, "{}, not {}", ours, theirs)
        for event, reference in zip(ours, theirs, strict=True):
            for name, value in reference.values.items():
                require(agree(event.values[name], value), "{}, not {}", event, reference)
