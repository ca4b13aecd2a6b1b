"""What tests share: tensors and numbers of carriers; small models, data and loops of trainers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zeroproof.layers import ProjectiveMLP
from zeroproof.losses import SCMTrainingLoss, chordal_loss
from zeroproof.scm import SCMTensor
from zeroproof.training.trainer import SCMTrainer, TrainingConfig

Batch = tuple[Tensor, Tensor]


def tensors(*values: list[float]) -> list[Tensor]:
    return [torch.tensor(v) for v in values]


def values(x: SCMTensor) -> list[Any]:
    """Numbers, with None for ⊥."""
    return [None if b else v for v, b in zip(x.payload.tolist(), x.bottom.tolist(), strict=True)]


def pole_batches(sizes: Sequence[int], seed: int = 0, dtype: Any = torch.float32) -> list[Batch]:
    """Batches of 1/(x − 0.3) in float ``dtype``, of the given sizes."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for size in sizes:
        x = torch.rand(size, 2, generator=generator, dtype=dtype) * 2 - 1
        batches.append((x, 1 / (x[:, 0] - 0.3)))
    return batches


def small_model(seed: int = 0, dtype: Any = torch.float32, head: str = "pole") -> nn.Module:
    torch.manual_seed(seed)
    # A steeper start would only magnify rounding in comparisons of two runs.
    return ProjectiveMLP(2, hidden=(8,), head=head, input_scale=1.0).to(dtype)


def fit_loss(outputs: tuple[Tensor, Tensor], lifted: tuple[Tensor, Tensor]) -> Tensor:
    """A loss that is a mean over samples."""
    return chordal_loss(*outputs, *lifted)


def make_trainer(
    model: nn.Module,
    batches: Iterable[Any],
    loss_fn: Callable[..., Any] | None = None,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    **options: Any,
) -> SCMTrainer:
    options.setdefault("max_epochs", 1)
    return SCMTrainer(
        model,
        optimizer or torch.optim.SGD(model.parameters(), lr=0.1),
        loss_fn or SCMTrainingLoss(),
        batches,
        scheduler=scheduler,
        config=TrainingConfig(**options),
    )


def hand_written(model: nn.Module, batches: list[tuple[Tensor, Tensor]], lr: float) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for x, y in batches:
        optimizer.zero_grad()
        fit_loss(model(x), (y, torch.ones_like(y))).backward()
        optimizer.step()


def weights(model: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def same(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    """Bitwise equality."""
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


class ValueModel(nn.Module):
    """SCM mode: the first ``bottoms`` samples of each batch are ⊥, the others ``x·w``."""

    def __init__(self, form: str = "nan") -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(2))
        self.form = form
        self.bottoms: list[int] = []
        self.calls = 0

    def forward(self, x: Tensor) -> Any:
        count = self.bottoms[self.calls % len(self.bottoms)] if self.bottoms else 0
        self.calls += 1
        value = x @ self.w
        bottom = torch.arange(len(x)) < count
        if self.form == "mask":
            return value, bottom
        return value.masked_fill(bottom, torch.nan)


def square(outputs: Any, lifted: Any) -> Tensor:
    value = outputs[0] if isinstance(outputs, tuple) else outputs
    return torch.nan_to_num(value).square().mean()


def finite_batches(count: int, size: int = 4) -> list[tuple[Tensor, Tensor]]:
    return [(torch.rand(size, 2), torch.rand(size)) for _ in range(count)]


def coverage_run(bottoms: list[int], form: str = "nan", **options: Any) -> Any:
    """Train on 10 batches of 4 samples, of which ``bottoms`` are ⊥ in each."""
    model = ValueModel(form)
    model.bottoms = bottoms
    batches = options.pop("batches", finite_batches(len(bottoms)))
    trainer = make_trainer(model, batches, square, **{"max_epochs": 4, **options})
    return trainer, trainer.fit()


def fit_in_two(first: SCMTrainer, rest: SCMTrainer, path: Path) -> None:
    """Train one trainer, and another one from its checkpoint."""
    first.fit()
    first.save_checkpoint(path)
    rest.load_checkpoint(path)
    rest.fit()


def set_scale(trainer: SCMTrainer, scale: float) -> None:
    """Set float16's loss scale; without one, do nothing."""
    own = trainer.update.scale
    if own is not None:
        own.load_state_dict(own.state_dict() | {"scale": scale})


class Noisy(nn.Module):
    """Draws on every source of randomness that a model or data set may use."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.inner = nn.Dropout(0.3), small_model()

    def forward(self, x: Tensor) -> Any:
        noise = random.gauss(0, 0.01) + float(np.random.normal(0, 0.01))
        return self.inner(self.drop(x) + noise)


class ScaledLoss(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, outputs: Any, lifted: Any) -> Tensor:
        return fit_loss(outputs, lifted) * self.scale.square()


class Pair(nn.Module):
    """Returns the two columns of an output as a tuple."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        P, Q = self.inner(x).unbind(-1)
        return P, Q


class Steep(Pair):
    """Multiplies ``P`` by a number that it holds."""

    slope = 1.0

    def __init__(self) -> None:
        super().__init__(nn.Linear(1, 2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        P, Q = super().forward(x)
        return self.slope * P, Q


class Scaled(Pair):
    """Multiplies ``P`` by what stands beside the inputs, if they are a tuple."""

    def forward(self, parts: Any) -> tuple[Tensor, Tensor]:
        P, Q = super().forward(parts[0] if isinstance(parts, tuple) else parts["x"])
        for scale in parts[1:] if isinstance(parts, tuple) else ():
            P = P * (scale if isinstance(scale, float) else scale[:, 0])
        return P, Q


def random_parts(trainer: SCMTrainer) -> dict[str, Any]:
    """The random states in a trainer's state."""
    found: dict[str, Any] = trainer.state_dict()["position"]["ranks"][0]["random"]
    return found
