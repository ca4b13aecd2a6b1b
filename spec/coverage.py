"""COV: the fraction of samples whose prediction is not ⊥."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from operator import mul
from typing import Final, Protocol, TypeAlias

from .algebra import Bottom
from .arrays import Array
from .clause import clause, refused, require
from .quotients import decode

FORMS: Final = ("value", "pair", "carrier", "tuple")


def tuple_is_bottom(P: float, Q: float, tau: float, dtype_name: str) -> bool:
    """Tell whether strict decode of a tuple at a threshold, in the raw gauge, is ⊥; COV-1."""
    return isinstance(decode(P, Q, tau, tau, "raw", dtype_name).value, Bottom)


@dataclass(frozen=True)
class Counts:
    """Numbers of samples in a micro-batch: all, and those with only finite targets."""

    samples: int
    covered: int
    finite: int
    covered_finite: int


def count(bottoms: Sequence[Sequence[bool]], finite: Sequence[Sequence[bool]]) -> Counts:
    """Return the counts of a micro-batch, given flags by sample and output; COV-2, STOP-6."""
    samples = [(not any(b), all(f)) for b, f in zip(bottoms, finite, strict=True)]
    return Counts(
        samples=len(samples),
        covered=sum(covered for covered, _ in samples),
        finite=sum(known for _, known in samples),
        covered_finite=sum(covered and known for covered, known in samples),
    )


def epoch_coverage(epoch: Sequence[Counts]) -> Fraction:
    """Return covered samples over samples; ValueError without any; COV-3, COV-4."""
    samples = sum(counts.samples for counts in epoch)
    if samples == 0:
        raise ValueError("an epoch without samples has no coverage")
    return Fraction(sum(counts.covered for counts in epoch), samples)


def monitored_coverage(epoch: Sequence[Counts]) -> Fraction | None:
    """Return covered samples over samples, of those with finite targets; STOP-6."""
    finite = sum(counts.finite for counts in epoch)
    return Fraction(sum(counts.covered_finite for counts in epoch), finite) if finite else None


def bottom_recall(epoch: Sequence[Counts]) -> Fraction | None:
    """Return ⊥ samples over samples, of those with a singular target; STOP-6."""
    singular = sum(counts.samples - counts.finite for counts in epoch)
    covered = sum(counts.covered - counts.covered_finite for counts in epoch)
    return Fraction(singular - covered, singular) if singular else None


def by_samples(flags: Sequence[bool], samples: int) -> list[Sequence[bool]]:
    """Return the flags of each sample."""
    size = len(flags) // max(samples, 1)
    return [flags[i * size : (i + 1) * size] for i in range(samples)]


@dataclass(frozen=True)
class Predicted:
    """A micro-batch: a model's outputs in one of :data:`FORMS`, samples first, and its targets.

    The second part is the flags of a ``pair`` or ``carrier``, the denominators of a ``tuple``, and
    means nothing for a plain ``value``. A sample may have other targets than outputs.
    """

    form: str
    first: Array
    second: Array
    targets: Array

    def bottoms(self, tau: float) -> list[bool]:
        """Return which elements are ⊥; COV-1."""
        pairs = zip(self.first.values, self.second.values, strict=True)
        if self.form == "tuple":
            return [tuple_is_bottom(P, Q, tau, self.first.dtype) for P, Q in pairs]
        masked = self.form != "value"
        return [not math.isfinite(x) or (masked and flag != 0) for x, flag in pairs]

    def counts(self, tau: float) -> Counts:
        """Return its counts."""
        samples = self.first.shape[0]
        finite = [math.isfinite(y) for y in self.targets.values]
        return count(by_samples(self.bottoms(tau), samples), by_samples(finite, samples))


def interval_counts(batch: Predicted, upper: Array, tau: float) -> tuple[Counts, Counts]:
    """Count a micro-batch whose intervals run from its targets up to other ends; COV-5.

    Finite targets are first those with finite ends, then all but the singular ones.
    """
    samples, ends = batch.first.shape[0], [*zip(batch.targets.values, upper.values, strict=True)]
    finite = [all(map(math.isfinite, pair)) for pair in ends]
    regular = [low != high or math.isfinite(low) for low, high in ends]
    first, second = (
        count(by_samples(batch.bottoms(tau), samples), by_samples(kind, samples))
        for kind in (finite, regular)
    )
    return first, second


Timed: TypeAlias = tuple[Predicted, float]
"""A micro-batch and its threshold."""


def counts_of(epoch: Sequence[Timed]) -> list[Counts]:
    """Return the counts of each micro-batch at its own threshold."""
    return [batch.counts(tau) for batch, tau in epoch]


@dataclass(frozen=True)
class EpochCoverage:
    """What is reported of an epoch; NaN where there are no samples of the kind."""

    coverage: float
    finite: float
    recall: float


class Covers(Protocol):
    """A subject that counts covered samples."""

    def bottom_mask(self, batch: Predicted, tau: float) -> tuple[bool, ...]:
        """Return which elements of the outputs are ⊥."""

    def batch_coverage(self, batch: Predicted, tau: float) -> float:
        """Return the coverage of one micro-batch; ValueError without samples, or bad shapes."""

    def epoch_coverage(self, epoch: Sequence[Timed]) -> EpochCoverage:
        """Return the coverage of an epoch of micro-batches, each with its own threshold;
        ValueError without samples.
        """

    def interval_coverage(self, batch: Predicted, upper: Array, tau: float) -> EpochCoverage:
        """Return that of one micro-batch whose targets are intervals, from its own up to others."""


class Monitors(Covers, Protocol):
    """A subject that watches coverage, too."""

    def watch(
        self, coverages: Sequence[float | None], threshold: float, patience: int
    ) -> list[tuple[int, bool]]:
        """Return the counter after each epoch and whether it stops training, up to the stop; None
        is the coverage of an epoch without finite targets.
        """


@clause(
    "COV-1",
    source="Guide: NaN is ⊥; Ours: ±∞ is no number either, a mask says what a payload cannot, and "
    "coverage in training foretells what inference decodes",
    since="0.2.0",
)
def what_is_bottom(subject: Covers, batch: Predicted, tau: float) -> None:
    """An element of a model's outputs is a value or ⊥.

    1. A decoded value is ⊥ iff it is NaN, ±∞ or masked.
    2. A tuple is ⊥ iff its strict decode, at the τ of its micro-batch and in the raw gauge, is ⊥.
    """
    found, expected = subject.bottom_mask(batch, tau), tuple(batch.bottoms(tau))
    claim = 2 if batch.form == "tuple" else 1
    require(found == expected, "{} at {}: {}, not {}", batch, tau, found, expected, claim=claim)


@clause("COV-2", source="Ours: half a prediction is none", since="0.2.0")
def by_sample(subject: Covers, batch: Predicted, tau: float) -> None:
    """Coverage counts samples.

    1. A sample is covered iff none of its outputs is ⊥.
    2. The coverage of a micro-batch is covered samples over samples, within 10⁻⁶.
    3. A mask of another shape than its values raises ValueError.
    """
    found, samples = subject.batch_coverage(batch, tau), batch.first.shape[0]
    # Of what the subject takes for ⊥: COV-1 speaks of that.
    bottoms = by_samples(subject.bottom_mask(batch, tau), samples)
    outputs = math.prod(batch.first.shape[1:])
    claim, expected = 1 if outputs > 1 else 2, epoch_coverage([count(bottoms, bottoms)])
    # In single precision.
    right = math.isfinite(found) and abs(Fraction(found) - expected) <= Fraction(1, 10**6)
    require(right, "{} at {}: {}, not {}", batch, tau, found, expected, claim=claim)
    shape = batch.first.shape
    for other in {(*shape, 1), (1, *shape), (samples, *(1,) * (len(shape) - 1))} - {shape}:
        flags = Array((0.0,) * math.prod(other), other)
        wrong = Predicted("pair", batch.first, flags, batch.targets)
        raises = refused(ValueError, lambda of=wrong: subject.batch_coverage(of, tau), claim=3)  # type: ignore[misc]
        require(raises, "{} counted", wrong, claim=3)


@clause(
    "COV-3",
    source="Ours: a last micro-batch of one sample must not weigh as much as one of a thousand",
    since="0.2.0",
)
def pooled(subject: Covers, epoch: Sequence[Timed]) -> None:
    """The coverage of an epoch pools its samples.

    1. The coverage of an epoch is its covered samples over its samples, in all micro-batches.
    2. Each micro-batch is measured at its own τ.
    """
    _, tau = epoch[0]
    for claim, timed in ((1, [(batch, tau) for batch, _ in epoch]), (2, epoch)):
        sizes = [batch.first.shape[0] for batch, _ in timed]
        shares = [_share(subject, *one) for one in timed]
        expected = sum(map(mul, sizes, shares), Fraction(0)) / sum(sizes)
        found = subject.epoch_coverage(timed).coverage
        require(found == float(expected), "{}: {}, not {}", timed, found, expected, claim=claim)


def _share(subject: Covers, batch: Predicted, tau: float) -> Fraction:
    """Return the subject's own coverage of a micro-batch, which COV-1 and COV-2 judge, exactly."""
    found = Fraction(subject.batch_coverage(batch, tau))
    return found.limit_denominator(max(len(batch.first.values), 1))


@clause("COV-4", source="Ours: nothing was covered where there was nothing", since="0.2.0")
def in_range(subject: Covers, epoch: Sequence[Timed]) -> None:
    """Coverage is a fraction of samples.

    1. Coverage lies in ``[0, 1]``.
    2. The coverage of an epoch without samples raises ValueError.
    3. The coverage of a micro-batch without samples raises ValueError.
    """
    found = [subject.epoch_coverage(epoch).coverage]
    found += [subject.batch_coverage(batch, tau) for batch, tau in epoch]
    require(all(0 <= value <= 1 for value in found), "{}: {}", epoch, found)
    raises = refused(ValueError, lambda: subject.epoch_coverage([]), claim=2)
    require(raises, "an epoch without samples raised nothing", claim=2)
    empty = Predicted("value", *[Array((), (0, *epoch[0][0].first.shape[1:]))] * 3)
    raises = refused(ValueError, lambda: subject.batch_coverage(empty, 0.5), claim=3)
    require(raises, "a micro-batch without samples raised nothing", claim=3)


@clause("COV-5", source="Ours: of “more than c” nobody knows whether it is ⊥", since="0.5.0")
def of_intervals(subject: Covers, batch: Predicted, upper: Array, tau: float) -> None:
    """Intervals (LIFT-9) with finite ends are finite targets, those with one infinity for both ends
    are singular ones, and all others are neither.

    1. The coverage of finite targets is that of the samples whose intervals all have finite ends.
    2. The recall of ⊥ is that of the samples with an interval that is singular.
    3. The coverage is that of all samples, whatever their targets.
    """
    found = subject.interval_coverage(batch, upper, tau)
    finite, regular = interval_counts(batch, upper, tau)
    for claim, name, expected in (
        (1, "finite", monitored_coverage([finite])),
        (2, "recall", bottom_recall([regular])),
        (3, "coverage", epoch_coverage([finite])),
    ):
        value, parts = getattr(found, name), (name, batch, upper, tau)
        right = value != value if expected is None else value == float(expected)
        complaint = "{} of {} to {} at {} is {}, not {}"
        require(right, complaint, *parts, value, expected, claim=claim)


@clause(
    "STOP-6",
    source="Ours: a sample labelled ±∞ or NaN is meant to be ⊥, and must not stop a correct model",
    since="0.2.0",
)
def monitored(subject: Monitors, epoch: Sequence[Timed]) -> None:
    """Singular targets do not stop training.

    1. The stop watches the coverage over the samples whose targets are all finite, NaN where an
       epoch has none.
    2. An epoch without such samples leaves the counter of the stop unchanged, and does not stop.
    3. The coverage over all samples is reported, too.
    4. So is the recall of ⊥: the fraction of ⊥ among the samples with a singular target, NaN
       where an epoch has none.
    """
    counts, found = counts_of(epoch), subject.epoch_coverage(epoch)
    ordinary = [(replace(b, targets=b.targets.full(1.0, b.targets)), tau) for b, tau in epoch]
    for claim, name, expected in (
        (3, "coverage", subject.epoch_coverage(ordinary).coverage),  # COV-3 says how large it is
        (1, "finite", monitored_coverage(counts)),
        (4, "recall", bottom_recall(counts)),
    ):
        value = getattr(found, name)
        same = value != value if expected is None else value == float(expected)
        require(same, "{} of {}: {}, not {}", name, epoch, value, expected, claim=claim)
    low = (0.0, None, None, 0.0)
    counters, right = subject.watch(low, 0.5, 2), [(1, False)] * 3 + [(2, True)]
    require(counters == right, "{}: {}, not {}", low, counters, right, claim=2)
