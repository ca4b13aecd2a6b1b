"""COV by the exact reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from spec import Array
from spec.coverage import (
    Counts,
    EpochCoverage,
    Predicted,
    Timed,
    bottom_recall,
    counts_of,
    epoch_coverage,
    interval_counts,
    monitored_coverage,
)


def _float(x: Fraction | None) -> float:
    return math.nan if x is None else float(x)


def _reported(finite: Sequence[Counts], regular: Sequence[Counts]) -> EpochCoverage:
    """Report an epoch's counts, and its recall by counts in which all but singular targets are
    finite.
    """
    known, missed = monitored_coverage(finite), bottom_recall(regular)
    return EpochCoverage(float(epoch_coverage(finite)), _float(known), _float(missed))


class ExactCoverage:
    """Counts samples."""

    def bottom_mask(self, batch: Predicted, tau: float) -> tuple[bool, ...]:
        return tuple(batch.bottoms(tau))

    def batch_coverage(self, batch: Predicted, tau: float) -> float:
        if batch.first.shape != batch.second.shape:
            raise ValueError(f"parts of shapes {batch.first.shape} and {batch.second.shape}")
        return float(epoch_coverage([batch.counts(tau)]))

    def epoch_coverage(self, epoch: Sequence[Timed]) -> EpochCoverage:
        counts = counts_of(epoch)
        return _reported(counts, counts)

    def interval_coverage(self, batch: Predicted, upper: Array, tau: float) -> EpochCoverage:
        finite, regular = interval_counts(batch, upper, tau)
        return _reported([finite], [regular])
