"""COV by the coverage that ``SCMTrainer`` reports, and by which it stops."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from itertools import cycle
from typing import Any

import torch
from torch import Tensor, nn

from properties.assertions import Unsupported
from properties.tensors import to_tensor
from spec.coverage import Predicted, Timed

training: Any = import_module("zeroproof.training")

Outputs = Tensor | tuple[Tensor, Tensor]


@dataclass(frozen=True)
class OneCoverage:
    """The coverage of an epoch, which knows no kinds of samples."""

    coverage: float

    @property
    def finite(self) -> float:
        """That of samples with finite targets."""
        raise Unsupported("the coverage of the samples with finite targets")

    @property
    def recall(self) -> float:
        """The fraction of ⊥ among the others."""
        raise Unsupported("the fraction of ⊥ among the samples with singular targets")


class Given(nn.Module):
    """A model that returns given outputs, one after the other."""

    def __init__(self, outputs: Iterable[Outputs]) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))
        self.outputs = cycle(outputs)

    def forward(self, x: Tensor) -> Outputs:
        return next(self.outputs)


def parts(batch: Predicted) -> list[Tensor]:
    """Return the parts of outputs that the trainer takes: decoded values, or tuples."""
    if batch.form not in ("value", "tuple"):
        raise Unsupported("outputs with a mask")
    chosen = (batch.first, batch.second) if batch.form == "tuple" else (batch.first,)
    return [to_tensor(part) for part in chosen]


def outputs(tensors: Sequence[Tensor]) -> Outputs:
    """Return parts in the form of outputs."""
    return (tensors[0], tensors[1]) if len(tensors) > 1 else tensors[0]


def no_loss(found: Outputs, lifted: tuple[Tensor, Tensor]) -> Tensor:
    """Return a loss that trains nothing."""
    return torch.zeros(())


def share(x: float) -> float:
    """Return the share of samples that was told in single precision, which is not held to more."""
    if math.isnan(x):
        return x
    near = Fraction(x).limit_denominator(1000)
    return float(near) if abs(near - Fraction(x)) < Fraction(1, 2**22) else x


class Thresholds:
    """How a version takes thresholds."""

    def _ends(self, low: float, high: float) -> dict[str, float]:
        """Return the options of thresholds between two ends."""
        return {"tau_train_min": low, "tau_train_max": high}


class PublicCoverage(Thresholds):
    """``SCMTrainer.validate`` of micro-batches."""

    def _trainer(
        self, given: Sequence[Outputs], loader: Sequence[Any], tau: float, **options: Any
    ) -> Any:
        """Return a trainer whose model returns given outputs, and which validates likewise."""
        model = Given(given)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        config = training.TrainingConfig(**self._ends(tau, tau), val_loader=loader, **options)
        return training.SCMTrainer(model, optimizer, no_loss, loader, config=config)

    def bottom_mask(self, batch: Predicted, tau: float) -> tuple[bool, ...]:
        """Tell which elements, each in a micro-batch of its own, are not covered."""
        columns = [list(part.reshape(-1, 1)) for part in parts(batch)]
        rows = [outputs(row) for row in zip(*columns, strict=True)]
        trainer = self._trainer(rows, [loaded(1)], tau)
        return tuple(trainer.validate()["coverage"] == 0 for _ in rows)

    def batch_coverage(self, batch: Predicted, tau: float) -> float:
        return self._validated([batch], tau)

    def _validated(self, epoch: Sequence[Predicted], tau: float) -> float:
        """Return the coverage of an epoch of validation, NaN if none is told."""
        loader = [loaded(batch.first.shape[0]) for batch in epoch]
        given = [outputs(parts(batch)) for batch in epoch]
        trainer = self._trainer(given or [torch.ones(1)], loader, tau)
        found = trainer.validate()
        return math.nan if found is None else share(found["coverage"])


def loaded(size: int) -> tuple[Tensor, Tensor]:
    """Return inputs and targets that nobody looks at."""
    return torch.zeros(size, 1), torch.zeros(size, 1)


def one_threshold(epoch: Sequence[Timed]) -> float:
    """Return the threshold of all micro-batches; the trainer draws those that differ itself."""
    taus = {tau for _, tau in epoch}
    if len(taus) > 1:
        raise Unsupported("a given threshold for each micro-batch")
    return taus.pop() if taus else 0.5
