"""Runs of a trainer: plans that a subject carries out, and the traces that it leaves.

The model is one parameter ``w``, the loss may own another, ``v``. A micro-batch has a slope ``g``
and its loss is ``c·g·w`` (``c·g·(w + v)`` with ``v``), where ``c`` is the epoch's loss weight. A
window's gradient is thus exactly ``Σ nᵢcgᵢ / Σ nᵢ``. The optimizer is SGD with momentum; its rate
is 1/8, and a scheduler halves it with every applied update. Everything else (coverage, faults,
sizes) is given with the micro-batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, Protocol, TypeAlias, get_args

from .clause import require
from .coverage import Counts, count

Fault: TypeAlias = Literal["", "loss", "gradient", "overflow", "flood"]
Kind: TypeAlias = Literal["draw", "update", "skip", "log", "validate", "stop", "error"]


@dataclass(frozen=True)
class MicroBatch:
    """What a loader yields, as far as it matters here.

    A sample is a letter: ``v`` a value and ``b`` ⊥ where the target is finite, ``V`` and ``B``
    where it is singular; with a finite target, ``t`` is ⊥ iff ``τ > 1/2``, and ``i`` is ⊥ for its
    ``|Q| = ∞``. A fault makes the loss NaN, of a positive slope infinite, with a finite gradient,
    or it makes the gradient NaN alone, that of ``v`` if the trainer has it; ``overflow`` makes the
    gradient infinite where the loss is scaled by more than 2¹², ``flood`` at any scale.
    """

    samples: str
    slope: Fraction = Fraction(1)
    fault: Fault = ""

    def counts(self, tau: float = 0.0) -> Counts:
        """Return the counts of its samples at a threshold, as of a model with one output."""
        bottoms = [[s in "bBi" or (s == "t" and tau > 0.5)] for s in self.samples]
        return count(bottoms, [[s in "vbti"] for s in self.samples])

    @property
    def denominators(self) -> list[Fraction]:
        """Each sample's ``|Q|``, if it is finite."""
        return [Fraction({"v": 2, "V": 2, "t": 1}.get(s, 0), 2) for s in self.samples if s != "i"]

    @property
    def lost(self) -> float:
        """The number that a fault of the loss makes of it."""
        return math.inf if self.slope > 0 else math.nan

    @property
    def targets(self) -> list[float]:
        """Each sample's target, as the loader yields it."""
        known = {"v": 0.5, "b": -0.25, "t": 0.75, "i": 1.0, "V": -math.inf, "B": math.nan}
        return [known[s] for s in self.samples]

    @property
    def inputs(self) -> list[list[float]]:
        """Each sample's inputs: the slope, ``|Q|``, and the fault's number."""
        fault = get_args(Fault).index(self.fault)
        finite = iter(self.denominators)
        sizes = (math.inf if s == "i" else float(next(finite)) for s in self.samples)
        return [[float(self.slope), Q, float(fault)] for Q in sizes]


Epoch: TypeAlias = tuple[MicroBatch, ...]


@dataclass(frozen=True)
class Plan:
    """A run: the micro-batches of each epoch, and the options of the trainer.

    ``interrupts`` are numbers of micro-batches after which the state is saved, and everything
    that follows is done by a new trainer that loads it. ``ranks`` share each micro-batch. With
    ``stale`` the parameters hold some gradient before training. With ``own_parameter`` the loss has
    one, too; if it is ``free``, neither the loss nor the model owns it. ``precision`` is that of
    autocast, empty for none. ``weights`` are the epochs' loss weights, a single one that of all,
    which is fixed; empty for none. With ``random`` the loader shuffles each epoch, and every loss
    is multiplied by draws from all global generators; they start from the seed. A ``stateful``
    loader shuffles, too, by random numbers that only its ``state_dict`` restores. With
    ``tensor_rate`` the rate is a tensor. If it ``tells``, the loss returns its τ and the slope as
    terms to log. The scheduler steps by the ``cadence``: every ``update``, ``epoch`` or
    ``validation``. The model has ``outputs``, of which the letters tell of the first; the others
    are values with ``|Q| = 1``.
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
    free: bool = False
    validation: Epoch = ()
    history_limit: int = 1000
    interrupts: tuple[int, ...] = ()
    ranks: int = 1
    stale: bool = False
    precision: str = ""
    momentum: float = 0.0
    weights: tuple[float, ...] = ()
    random: bool = False
    stateful: bool = False
    tensor_rate: bool = False
    tells: bool = False
    cadence: str = "update"
    outputs: int = 1

    def weight(self, epoch: int) -> Fraction:
        """Return the loss weight of an epoch."""
        return Fraction(self.weights[min(epoch, len(self.weights) - 1)] if self.weights else 1)

    @property
    def micro_batches(self) -> list[MicroBatch]:
        """The micro-batches of all epochs, in order."""
        return [batch for epoch in self.epochs for batch in epoch]


@dataclass(frozen=True)
class Event:
    """Something that a trainer does or reports, with its numbers by name."""

    kind: Kind
    values: Mapping[str, float | Fraction]


Record: TypeAlias = Mapping[str, float | Fraction]


@dataclass(frozen=True)
class Trace:
    """A run's events, and what it leaves.

    These are the parameters, ``last_thresholds``, the records that are kept, ``val_history``, the
    learning rate, the epochs that the loader was given by ``set_epoch``, the number of times that
    gradients were reduced over ranks, and of the checkpoints that this rank wrote.
    """

    events: tuple[Event, ...]
    parameters: tuple[float | Fraction, ...]
    thresholds: tuple[float, ...]
    records: tuple[Record, ...]
    val_history: tuple[Record, ...]
    rate: float | Fraction
    epochs_set: tuple[int, ...] = ()
    reductions: int = 0
    written: int = 0

    def of(self, *kinds: Kind) -> list[Event]:
        """Return the events of some kinds, in order."""
        return [event for event in self.events if event.kind in kinds]


class Trains(Protocol):
    """A subject that trains."""

    def train(self, plan: Plan) -> Trace:
        """Carry out a plan; of several ranks, return the trace of the first.

        What the trainer does (``draw``, ``update``) and what it reports (``log``, ``skip``,
        ``validate``, ``stop``, ``error``) is each in order; how the two interleave is free.
        Every resume happens in a new process. A ``validate`` has, beside the record's values, the
        ``loss_tau`` that the loss was given.
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
    if not (math.isfinite(x) and math.isfinite(y)):
        return x == y or (x != x and y != y)
    return abs(Fraction(x) - Fraction(y)) <= slack * max(Fraction(1), abs(Fraction(y)))


def require_same_run(
    found: Sequence[Event], expected: Sequence[Event], *, free: Sequence[str] = (), claim: int = 1
) -> None:
    """Require two runs to do and to report the same, each in its order, up to rounding.

    Numbers of the names ``free`` may differ.
    """
    for kinds in DONE, REPORTED:
        ours, theirs = ([e for e in events if e.kind in kinds] for events in (found, expected))
        order = [event.kind for event in ours], [event.kind for event in theirs]
        require(order[0] == order[1], "{} instead of {}", *order, claim=claim)
        for event, reference in zip(ours, theirs, strict=True):
            for name, value in reference.values.items():
                slack = MEASURED.get(name.removeprefix("val_"), SLACK)
                right = name in free or agree(event.values[name], value, slack)
                require(right, "{}: {} is not {}", name, event, reference, claim=claim)
