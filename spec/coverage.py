"""COV: the fraction of samples whose prediction is not ⊥."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Protocol

from .arrays import Array
from .clause import clause, refused, require

FORMS: Final = ("value", "pair", "carrier", "tuple")


def value_is_bottom(value: float, flag: bool = False) -> bool:
    """Tell whether a decoded value, with the flag of an explicit mask, is ⊥; COV-1."""
    return flag or not math.isfinite(value)


def tuple_is_bottom(P: float, Q: float, tau: float) -> bool:
    """Tell whether a tuple is ⊥ at a threshold; COV-1."""
    if not (math.isfinite(P) and math.isfinite(Q)):
        return True
    return Q == 0 or abs(Q) < tau  # of two double-precision numbers, so exact


def is_covered(bottoms: Iterable[bool]) -> bool:
    """Tell whether a sample with these flags of its outputs is covered; COV-2."""
    return not any(bottoms)


@dataclass(frozen=True)
class Counts:
    """A micro-batch in numbers: of samples, and of those with only finite targets."""

    samples: int
    covered: int
    finite: int
    covered_finite: int


def count(bottoms: Sequence[Sequence[bool]], finite: Sequence[Sequence[bool]]) -> Counts:
    """Return the counts of a micro-batch, given flags by sample and output; COV-2, STOP-6."""
    samples = [(is_covered(b), all(f)) for b, f in zip(bottoms, finite, strict=True)]
    return Counts(
        samples=len(samples),
        covered=sum(covered for covered, _ in samples),
        finite=sum(known for _, known in samples),
        covered_finite=sum(covered and known for covered, known in samples),
    )


def epoch_coverage(epoch: Iterable[Counts]) -> Fraction:
    """Return covered samples over samples; ValueError without any; COV-3, COV-4."""
    epoch = list(epoch)
    samples = sum(counts.samples for counts in epoch)
    if samples == 0:
        raise ValueError("an epoch without samples has no coverage")
    return Fraction(sum(counts.covered for counts in epoch), samples)


def monitored_coverage(epoch: Iterable[Counts]) -> Fraction | None:
    """Return covered samples over samples, of those with finite targets; STOP-6."""
    epoch = list(epoch)
    finite = sum(counts.finite for counts in epoch)
    return Fraction(sum(counts.covered_finite for counts in epoch), finite) if finite else None


def bottom_recall(epoch: Iterable[Counts]) -> Fraction | None:
    """Return ⊥ samples over samples, of those with a singular target; STOP-6."""
    epoch = list(epoch)
    singular = sum(counts.samples - counts.finite for counts in epoch)
    covered = sum(counts.covered - counts.covered_finite for counts in epoch)
    return Fraction(singular - covered, singular) if singular else None


@dataclass(frozen=True)
class Predicted:
    """A micro-batch: a model's outputs in one of :data:`FORMS`, samples first, and its targets.

    The second part is the flags of a ``pair`` or ``carrier``, the denominators of a ``tuple``, and
    means nothing for a plain ``value``.
    """

    form: str
    first: Array
    second: Array
    targets: Array

    def bottoms(self, tau: float) -> list[bool]:
        """Return which elements are ⊥; COV-1."""
        pairs = zip(self.first.values, self.second.values, strict=True)
        if self.form == "tuple":
            return [tuple_is_bottom(P, Q, tau) for P, Q in pairs]
        return [value_is_bottom(x, self.form != "value" and flag != 0) for x, flag in pairs]

    def counts(self, tau: float) -> Counts:
        """Return its counts."""
        size = len(self.first.values) // max(self.first.shape[0], 1)
        flags = self.bottoms(tau), [math.isfinite(y) for y in self.targets.values]
        samples = range(self.first.shape[0])
        bottoms, finite = ([f[i * size : (i + 1) * size] for i in samples] for f in flags)
        return count(bottoms, finite)


@dataclass(frozen=True)
class EpochCoverage:
    """What is reported of an epoch; NaN where there are no samples of the kind."""

    coverage: float
    finite: float
    recall: float


class Covers(Protocol):
    """A subject that counts what is covered."""

    def bottom_mask(self, batch: Predicted, tau: float) -> tuple[bool, ...]:
        """Return which elements of the outputs are ⊥."""

    def batch_coverage(self, batch: Predicted, tau: float) -> float:
        """Return the coverage of one micro-batch; ValueError without samples, or bad shapes."""

    def epoch_coverage(self, epoch: Sequence[Predicted], tau: float) -> EpochCoverage:
        """Return the coverage of an epoch; ValueError without samples."""


def close(found: float, expected: Fraction | None) -> bool:
    """Tell whether a ratio is right in single precision; None is NaN."""
    if expected is None or math.isnan(found):
        return expected is None and math.isnan(found)
    return abs(Fraction(found) - expected) <= Fraction(1, 10**6)


@clause(
    "COV-1",
    source="Guide: NaN is ⊥; Ours: ±∞ is no number either, and a mask says what a payload cannot",
    since="0.2.0",
)
def what_is_bottom(subject: Covers, batch: Predicted, tau: float) -> None:
    """Of decoded values NaN and ±∞ are ⊥, with an explicit mask the mask or a non-finite payload;
    of tuples those with a non-finite part, ``Q = 0``, or ``|Q| < τ`` of that micro-batch.
    """
    found, expected = subject.bottom_mask(batch, tau), tuple(batch.bottoms(tau))
    require(found == expected, "{} at {}: {}, not {}", batch, tau, found, expected)


@clause("COV-2", source="Ours: half a prediction is none", since="0.2.0")
def by_sample(subject: Covers, batch: Predicted, tau: float) -> None:
    """A sample with several outputs is covered iff none of them is ⊥; a mask of another shape than
    its values is a ValueError.
    """
    found, expected = subject.batch_coverage(batch, tau), epoch_coverage([batch.counts(tau)])
    require(close(found, expected), "{} at {}: {}, not {}", batch, tau, found, expected)
    flags = Array((0.0,) * len(batch.first.values), (*batch.first.shape, 1))
    wrong = Predicted("pair", batch.first, flags, batch.targets)
    require(refused(ValueError, lambda: subject.batch_coverage(wrong, tau)), "{} counted", wrong)


@clause(
    "COV-3",
    source="Ours: a last micro-batch of one sample must not weigh as much as one of a thousand",
    since="0.2.0",
)
def pooled(subject: Covers, epoch: Sequence[Predicted], tau: float) -> None:
    """The epoch's coverage is covered samples over samples of all micro-batches and all ranks;
    never a mean of means, never the last micro-batch's.
    """
    expected = epoch_coverage(batch.counts(tau) for batch in epoch)
    found = subject.epoch_coverage(epoch, tau).coverage
    require(found == float(expected), "{} at {}: {}, not {}", epoch, tau, found, expected)


@clause("COV-4", source="Ours: nothing was covered where there was nothing", since="0.2.0")
def in_range(subject: Covers, epoch: Sequence[Predicted], tau: float) -> None:
    """Coverage lies in ``[0, 1]``; without samples it is a ValueError, not 1."""
    found = [subject.epoch_coverage(epoch, tau).coverage]
    found += [subject.batch_coverage(batch, tau) for batch in epoch]
    require(all(0 <= value <= 1 for value in found), "{}: {}", epoch, found)
    require(refused(ValueError, lambda: subject.epoch_coverage([], tau)), "no samples: covered")
    none = Array((), (0, *epoch[0].first.shape[1:]))
    empty = Predicted("value", none, none, none)
    require(refused(ValueError, lambda: subject.batch_coverage(empty, tau)), "empty: covered")


@clause(
    "STOP-6",
    source="Ours: a sample labelled ±∞ or NaN is meant to be ⊥, and must not stop a correct model",
    since="0.2.0",
)
def monitored(subject: Covers, epoch: Sequence[Predicted], tau: float) -> None:
    """The stop watches coverage over the samples whose targets are all finite, and an epoch without
    any leaves its counter as it is; all samples' coverage is logged too, with the fraction of ⊥
    among the singular ones.
    """
    counts = [batch.counts(tau) for batch in epoch]
    found = subject.epoch_coverage(epoch, tau)
    for value, expected in (
        (found.finite, monitored_coverage(counts)),
        (found.recall, bottom_recall(counts)),
        (found.coverage, epoch_coverage(counts)),
    ):
        right = value != value if expected is None else value == float(expected)
        require(right, "{} at {}: {}, not {}", epoch, tau, found, expected)
