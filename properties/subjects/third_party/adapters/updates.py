"""AMP and STEP: an update of ``SCMTrainer``, looked at from outside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from properties.assertions import Unsupported
from properties.subjects.tasks import Batch, Tasks, mean_square, ones
from properties.subjects.third_party.adapters.training import trainer_of, training


class Reads(TorchFunctionMode):
    """Counts the calls by which Python reads a tensor's elements."""

    NAMES = frozenset({"item", "tolist", "__bool__", "__float__", "__int__", "__index__"})

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += getattr(func, "__name__", "") in self.NAMES
        return func(*args, **(kwargs or {}))


class PublicUpdates(Tasks):
    """``SCMTrainer`` of small layers."""

    _trainer_of = staticmethod(trainer_of)

    def _scales(self, trainer: Any) -> bool:
        return bool(trainer.scaler.is_enabled())

    def watched(self, losses: Sequence[float], mode: str = "min") -> list[float]:
        if mode != "min":
            raise Unsupported("a check of a scheduler's mode")
        if "scheduler_cadence" not in {field.name for field in fields(training.TrainingConfig)}:
            raise Unsupported("a scheduler that watches a metric")
        return self._rates(losses, scheduler_cadence="per_validation_metric")

    def validation_traces(self, fails: bool) -> tuple[str, ...]:
        """Validate, the same data each time."""
        torch.manual_seed(0)
        return super().validation_traces(fails)

    def host_reads(self, updates: int, skips_on_device: bool) -> int:
        """Count what Python reads of tensors, up to the last micro-batch of an epoch."""
        layer, reads = nn.Linear(2, 1), Reads()
        within: list[int] = []

        def loader() -> Iterator[Batch]:
            for batch in ones(updates):
                within.append(reads.count)
                yield batch

        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, fused=skips_on_device)
        trainer = trainer_of(layer, optimizer, mean_square, loader())
        with reads:
            trainer.fit()
        return within[-1]
