"""What a trainer of torch modules is given for STEP-7."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

Batch: TypeAlias = tuple[Tensor, Tensor]


class Noting(ReduceLROnPlateau):
    """Notes the rate after each step."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.rates: list[float] = []
        super().__init__(optimizer, factor=0.5, patience=0, threshold=0.0)

    def step(self, *metrics: Any) -> None:
        """Go on by a metric."""
        super().step(*metrics)
        self.rates.append(self.optimizer.param_groups[0]["lr"])


class Targets:
    """A loader of one micro-batch an epoch, whose target is the next of these."""

    def __init__(self, targets: Sequence[float]) -> None:
        self._left = iter(targets)

    def __iter__(self) -> Iterator[Batch]:
        yield torch.ones(1, 2), torch.full((1, 1), next(self._left))


class Plateau:
    """A layer that nothing trains, whose validations find certain losses."""

    def __init__(self, losses: Sequence[float]) -> None:
        self.layer = nn.Linear(2, 1)
        self.optimizer = torch.optim.SGD(self.layer.parameters(), lr=1 / 8)
        self.scheduler = Noting(self.optimizer)
        self.loader, self.validation = Targets([0.0] * len(losses)), Targets(losses)

    @staticmethod
    def loss(outputs: Tensor, lifted: Batch) -> Tensor:
        """Return the mean target."""
        return 0 * outputs.mean() + lifted[0].mean()
