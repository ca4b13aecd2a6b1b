"""Small models, batches and trainers that show what is wrong with training."""

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class Scale(nn.Module):
    """``w·x``."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Any:
        return self.w * x


class Tuples(Scale):
    """``(w·x, 1)``, and the second part 0 where x is 0."""

    def forward(self, x: Tensor) -> Any:
        return self.w * x, (x != 0).to(x.dtype)


class Numerator(nn.Module):
    """A tuple of the input and 1."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Any:
        return x, self.w.expand_as(x)


class Watched(nn.Linear):
    """Notes dtypes and modes of its forwards."""

    def __init__(self) -> None:
        super().__init__(1, 1)
        self.seen: list[tuple[torch.dtype, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        self.seen.append((y.dtype, self.training))
        return y


class Reads(TorchFunctionMode):
    """Counts ``Tensor.item``."""

    count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += getattr(func, "__name__", "") == "item"
        return func(*args, **(kwargs or {}))


def mean(outputs: Any, lifted: Any) -> Tensor:
    return (outputs[0] if isinstance(outputs, tuple) else outputs).mean()


def batch(*x: float) -> tuple[Tensor, Tensor]:
    """Inputs of as many samples, and targets whose values do not matter."""
    return torch.tensor(x)[:, None], torch.zeros(len(x), 1)


def trainer_of(
    model: nn.Module,
    loader: Any,
    loss: Any = mean,
    more: Any = (),
    schedule: Any = None,
    **options: Any,
) -> Any:
    training = import_module("zeroproof.training")
    optimizer = torch.optim.SGD([*model.parameters(), *more], lr=0.5)
    scheduler = schedule(optimizer) if schedule else None
    config = training.TrainingConfig(**options)
    return training.SCMTrainer(model, optimizer, loss, loader, scheduler=scheduler, config=config)
