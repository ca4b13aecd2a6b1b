"""COV by the exact reference."""

from __future__ import annotations

from collections.abc import Sequence

from spec import Array
from spec.coverage import (
    EpochCoverage,
    Predicted,
    Timed,
    counts_of,
    epoch_coverage,
    interval_counts,
)
from spec.vectors.coverages import reported


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
        return reported(counts, counts)

    def interval_coverage(self, batch: Predicted, upper: Array, tau: float) -> EpochCoverage:
        finite, regular = interval_counts(batch, upper, tau)
        return reported([finite], [regular])
