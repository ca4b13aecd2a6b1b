"""COV: the fraction of samples whose prediction is not ⊥."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction


def value_is_bottom(value: float, flag: bool = False) -> bool:
    """COV-1: a decoded value is ⊥ if it is NaN or ±∞, or if an explicit mask says so."""
    return flag or not math.isfinite(value)


def tuple_is_bottom(P: float, Q: float, tau: float) -> bool:
    """COV-1: a tuple is ⊥ if a part is not finite, ``Q = 0``, or ``|Q| < τ``, compared exactly."""
    if not (math.isfinite(P) and math.isfinite(Q)):
        return True
    return Q == 0 or abs(Fraction(Q)) < Fraction(tau)


def is_covered(bottoms: Iterable[bool]) -> bool:
    """COV-2: a sample is covered iff none of its outputs is ⊥."""
    return not any(bottoms)


@dataclass(frozen=True)
class Counts:
    """A micro-batch in numbers: of samples, and of those with only finite targets."""

    samples: int
    covered: int
    finite: int
    covered_finite: int


def count(bottoms: Sequence[Sequence[bool]], finite: Sequence[Sequence[bool]]) -> Counts:
    """Return the counts of a micro-batch, given flags by sample and output.

    COV-2: a sample counts as covered iff all of its outputs are not ⊥.
    STOP-6: a sample counts as finite iff all of its targets are.
    """
    samples = [(is_covered(b), all(f)) for b, f in zip(bottoms, finite, strict=True)]
    return Counts(
        samples=len(samples),
        covered=sum(covered for covered, _ in samples),
        finite=sum(known for _, known in samples),
        covered_finite=sum(covered and known for covered, known in samples),
    )


def epoch_coverage(epoch: Iterable[Counts]) -> Fraction:
    """Return the coverage of an epoch.

    COV-3: it is covered samples over samples, of all micro-batches together.
    COV-4: it lies in ``[0, 1]``; an epoch without samples is a ValueError.
    """
    epoch = list(epoch)
    samples = sum(counts.samples for counts in epoch)
    if samples == 0:
        raise ValueError("an epoch without samples has no coverage")
    return Fraction(sum(counts.covered for counts in epoch), samples)


def monitored_coverage(epoch: Iterable[Counts]) -> Fraction | None:
    """STOP-6: the stop watches covered over all of the finite-target samples, None without any."""
    epoch = list(epoch)
    finite = sum(counts.finite for counts in epoch)
    return Fraction(sum(counts.covered_finite for counts in epoch), finite) if finite else None


def bottom_recall(epoch: Iterable[Counts]) -> Fraction | None:
    """STOP-6: the recall is ⊥ samples over all with a singular target, None without any."""
    epoch = list(epoch)
    singular = sum(counts.samples - counts.finite for counts in epoch)
    covered = sum(counts.covered - counts.covered_finite for counts in epoch)
    return Fraction(singular - covered, singular) if singular else None
