"""COV by ``zeroproof``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from properties.subjects.zeroproof.unchecked import unchecked
from properties.tensors import flags, to_tensor
from spec.coverage import EpochCoverage, Predicted
from zeroproof.losses import coverage
from zeroproof.scm import SCMTensor, bottom_mask
from zeroproof.training.metrics import Seen
from zeroproof.training.ranks import Ranks
from zeroproof.training.records import RecordLog
from zeroproof.training.targets import lift_targets


def outputs(batch: Predicted) -> Any:
    """Return the outputs in their form."""
    first, second = to_tensor(batch.first), to_tensor(batch.second)
    if batch.form == "value":
        return first
    if batch.form == "tuple":
        return first, second
    mask = second != 0
    return SCMTensor(first, mask) if batch.form == "carrier" else (first, mask)


class ZeroProofCoverage:
    """``zeroproof.losses.coverage``, and the trainer's metrics."""

    def bottom_mask(self, batch: Predicted, tau: float) -> tuple[bool, ...]:
        """Return the mask of outputs."""
        return flags(bottom_mask(outputs(batch), tau))

    def batch_coverage(self, batch: Predicted, tau: float) -> float:
        """Return the coverage of a micro-batch; of a pair, also with the mask given apart."""
        with unchecked():
            found = coverage(outputs(batch), tau=tau).item()
            if batch.form == "pair":
                value, mask = outputs(batch)
                apart = coverage(value, mask).item()
                return found if apart == found else math.nan
        return found

    def epoch_coverage(self, epoch: Sequence[Predicted], tau: float) -> EpochCoverage:
        """Add up what the trainer measures."""
        log = RecordLog(None, len(epoch), Ranks(None))
        for batch in epoch:
            _, Y_d = lift_targets(to_tensor(batch.targets))
            known: dict[str, float] = {"samples": batch.first.shape[0], "global_step": 0}
            log.add(known, Seen.of(outputs(batch), Y_d, tau, {"loss": torch.zeros(())}))
        log.flush()
        record, monitored = log.totals.record(), log.totals.monitored_coverage
        finite = math.nan if monitored is None else monitored
        return EpochCoverage(record["coverage"], finite, record["bottom_recall"])
