"""Counts of coverage that go wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from properties.subjects.broken.register import breaks
from properties.subjects.exact import Exact
from spec.coverage import EpochCoverage, Predicted, epoch_coverage
from spec.formats import nearest


@breaks("COV-1")
class InfiniteIsCovered(Exact):
    """Only NaN is ⊥, so that ±∞ is a prediction."""

    def bottom_mask(self, batch: Predicted, tau: float) -> tuple[bool, ...]:
        """Free ±∞."""
        pairs = zip(super().bottom_mask(batch, tau), batch.first.values, strict=True)
        return tuple(b and not (batch.form == "value" and math.isinf(x)) for b, x in pairs)


@breaks("COV-1")
class DenominatorOnly(Exact):
    """Only the denominator is looked at."""

    def bottom_mask(self, batch: Predicted, tau: float) -> tuple[bool, ...]:
        """Replace the numerators."""
        if batch.form != "tuple":
            return super().bottom_mask(batch, tau)
        ones = batch.first.with_values([1.0] * len(batch.first.values))
        return super().bottom_mask(replace(batch, first=ones), tau)


@breaks("COV-1")
class RoundedThreshold(Exact):
    """τ is rounded to the outputs' dtype before it is compared."""

    def bottom_mask(self, batch: Predicted, tau: float) -> tuple[bool, ...]:
        """Round τ."""
        return super().bottom_mask(batch, nearest(batch.second.dtype, tau))


@breaks("COV-1")
class MaskAlone(Exact):
    """With an explicit mask a payload of NaN is a prediction."""

    def bottom_mask(self, batch: Predicted, tau: float) -> tuple[bool, ...]:
        """Read the mask."""
        if batch.form in ("pair", "carrier"):
            return tuple(flag != 0 for flag in batch.second.values)
        return super().bottom_mask(batch, tau)


@breaks("COV-2")
class BroadcastMask(Exact):
    """A mask of another shape is broadcast."""

    def batch_coverage(self, batch: Predicted, tau: float) -> float:
        """Forget its shape."""
        second = replace(batch.second, shape=batch.first.shape)
        return super().batch_coverage(replace(batch, second=second), tau)


@breaks("COV-2")
class ByElement(Exact):
    """Coverage is a fraction of elements."""

    def batch_coverage(self, batch: Predicted, tau: float) -> float:
        """Count elements."""
        super().batch_coverage(batch, tau)
        flags = batch.bottoms(tau)
        return 1 - sum(flags) / max(len(flags), 1)


@breaks("COV-3")
class MeanOfMeans(Exact):
    """An epoch's coverage is the mean of its micro-batches'."""

    def epoch_coverage(self, epoch: Sequence[Predicted], tau: float) -> EpochCoverage:
        """Average."""
        each = [epoch_coverage([batch.counts(tau)]) for batch in epoch]
        mean = float(sum(each, Fraction(0)) / len(each))
        return replace(super().epoch_coverage(epoch, tau), coverage=mean)


@breaks("COV-3")
class LastBatch(Exact):
    """An epoch's coverage is its last micro-batch's."""

    def epoch_coverage(self, epoch: Sequence[Predicted], tau: float) -> EpochCoverage:
        """Look at the last."""
        return super().epoch_coverage(epoch[-1:], tau)


@breaks("COV-4")
class CoveredNothing(Exact):
    """An epoch without samples has coverage 1."""

    def epoch_coverage(self, epoch: Sequence[Predicted], tau: float) -> EpochCoverage:
        """Return 1."""
        return super().epoch_coverage(epoch, tau) if epoch else EpochCoverage(1.0, 1.0, 1.0)


@breaks("STOP-6")
class RecallOfAll(Exact):
    """The recall of ⊥ is taken over all ⊥ samples."""

    def epoch_coverage(self, epoch: Sequence[Predicted], tau: float) -> EpochCoverage:
        """Take it for the fraction of ⊥."""
        found = super().epoch_coverage(epoch, tau)
        return replace(found, recall=1 - found.coverage)


@breaks("STOP-6")
class FullWithoutFinite(Exact):
    """An epoch of singular targets alone counts as fully covered, and clears the counter."""

    def epoch_coverage(self, epoch: Sequence[Predicted], tau: float) -> EpochCoverage:
        """Put 1 for NaN."""
        found = super().epoch_coverage(epoch, tau)
        return replace(found, finite=1.0 if math.isnan(found.finite) else found.finite)


@breaks("STOP-6")
class MonitorsAll(Exact):
    """The stop watches all samples, also those that are meant to be ⊥."""

    def epoch_coverage(self, epoch: Sequence[Predicted], tau: float) -> EpochCoverage:
        """Watch all."""
        found = super().epoch_coverage(epoch, tau)
        return replace(found, finite=found.coverage)
