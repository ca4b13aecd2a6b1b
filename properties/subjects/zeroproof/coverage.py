"""COV by ``zeroproof``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from properties.subjects.zeroproof.unchecked import unchecked
from properties.tensors import flags, to_tensor
from spec import Array
from spec.coverage import EpochCoverage, Predicted, Timed
from zeroproof.losses import coverage
from zeroproof.scm import SCMTensor, arcs, bottom_mask
from zeroproof.scm.arcs import Lifted
from zeroproof.training.records import MEASURES, EpochTotals, measure, merge
from zeroproof.training.targets import Interval, lift_targets


def made(batch: Predicted, first: torch.Tensor | None = None) -> Any:
    """Return the outputs in their form, of another first part if one is given."""
    first = to_tensor(batch.first) if first is None else first
    second = to_tensor(batch.second)
    if batch.form == "value":
        return first
    if batch.form == "tuple":
        return first, second
    mask = second != 0
    return SCMTensor(first, mask) if batch.form == "carrier" else (first, mask)


class ZeroProofCoverage:
    """``zeroproof.losses.coverage``, and the trainer's metrics."""

    def bottom_mask(self, batch: Predicted, tau: float) -> tuple[bool, ...]:
        return flags(bottom_mask(made(batch), tau))

    def batch_coverage(self, batch: Predicted, tau: float) -> float:
        """Return the coverage of a micro-batch; of a pair, also with the mask given apart."""
        with unchecked():
            found = coverage(made(batch), tau=tau).item()
            if batch.form == "pair":
                value, mask = made(batch)
                apart = coverage(value, mask).item()
                return found if apart == found else math.nan
        return found

    def epoch_coverage(self, epoch: Sequence[Timed]) -> EpochCoverage:
        return self._added((batch, lift_targets(to_tensor(batch.targets)), tau)
                           for batch, tau in epoch)  # fmt: skip

    def interval_coverage(self, batch: Predicted, upper: Array, tau: float) -> EpochCoverage:
        interval = Interval(to_tensor(batch.targets), to_tensor(upper))
        return self._added([(batch, lift_targets(interval), tau)])

    def _added(self, epoch: Iterable[tuple[Predicted, Lifted, float]]) -> EpochCoverage:
        """Add up what the trainer measures."""
        totals = EpochTotals()
        for batch, lifted, tau in epoch:
            row = measure(made(batch), *arcs.kinds(lifted), tau).tolist()
            totals.add(merge([dict(zip(MEASURES, row, strict=True))]))
        record, monitored = totals.record(), totals.monitored_coverage
        finite = math.nan if monitored is None else monitored
        return EpochCoverage(record["coverage"], finite, record["bottom_recall"])
