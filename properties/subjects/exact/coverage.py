"""COV by the exact reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from spec.coverage import (
    EpochCoverage,
    Predicted,
    Timed,
    bottom_recall,
    counts_of,
    epoch_coverage,
    monitored_coverage,
)


def _float(x: Fraction | None) -> float:
    return math.nan if x is None else float(x)


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
        covered = float(epoch_coverage(counts))
        return EpochCoverage(
            covered, _float(monitored_coverage(counts)), _float(bottom_recall(counts))
        )
