"""Fits of one body by one schedule: those of ZeroProof, by its trainer, and those of others."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from zeroproof import (
    LossConfig,
    ProjectiveMLP,
    SCMTrainer,
    SCMTrainingLoss,
    TensorBatches,
    TrainingConfig,
)
from zeroproof.training.targets import Targets

Rows = tuple[Tensor, Targets]
Loss = Callable[[Tensor, Any], Tensor]


@dataclass(frozen=True)
class Schedule:
    """Epochs, rows of a batch, and Adam's rate and decay; the rate follows half a cosine."""

    epochs: int
    batch: int
    rate: float
    decay: float = 0.0

    def start(self, model: nn.Module, rows: Rows, seed: int) -> tuple[Any, ...]:
        """Return batches, optimizer and scheduler."""
        batches = TensorBatches(*rows, batch_size=min(self.batch, len(rows[0])), seed=seed)
        optimizer = Adam(model.parameters(), lr=self.rate, weight_decay=self.decay)
        return batches, optimizer, CosineAnnealingLR(optimizer, self.epochs * len(batches))


class Best:
    """Keeps a model's parameters of the epoch with the least validation loss."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.least = model, math.inf
        self.kept: dict[str, Tensor] | None = None

    def __call__(self, record: dict[str, float]) -> None:
        """Compare the record's validation loss."""
        if record.get("val_loss", math.inf) < self.least:
            self.least = record["val_loss"]
            self.kept = copy.deepcopy(self.model.state_dict())

    def restore(self) -> None:
        """Go back to the best epoch, if there was a validation."""
        if self.kept is not None:
            self.model.load_state_dict(self.kept)


class Ensemble(nn.Module):
    """Networks of :class:`ProjectiveMLP`'s body side by side, each with inputs of its own.

    A mean over all of them trains each as if alone, since Adam's steps do not depend on the scale
    of a gradient; only the chordal fit's sign term averages over all. It costs little more than one
    small network does.

    Args:
        seeds: of the members' initial weights.
        features, outputs: of each member; None gives a free head's ``(P, Q)``.
    """

    def __init__(self, seeds: Iterable[int], features: int, outputs: int | None = None) -> None:
        super().__init__()
        members = []
        for seed in seeds:
            torch.manual_seed(seed)
            mlp = ProjectiveMLP(features)
            last = mlp.head.linear if outputs is None else nn.Linear(64, outputs)
            members.append([*(layer for layer in mlp.body if isinstance(layer, nn.Linear)), last])
        self.tuples, layers = outputs is None, list(zip(*members, strict=True))
        self.weights, self.biases = (
            nn.ParameterList(
                nn.Parameter(torch.stack([getattr(member, name).detach() for member in layer]))
                for layer in layers
            )
            for name in ("weight", "bias")
        )

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return ``(rows, members, outputs)``, or tuples, for ``(rows, members, features)``."""
        x = x.transpose(0, 1)
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias[:, None], functional.silu(x) if number else x, weight.mT)
        x = x.transpose(0, 1)
        return (x[..., 0], x[..., 1]) if self.tuples else x


def network(features: int, seed: int, head: str = "free") -> ProjectiveMLP:
    """Return a projective network with the initial weights of a seed."""
    torch.manual_seed(seed)
    return ProjectiveMLP(features, head=head)


def train_projective(
    model: nn.Module,
    rows: Rows,
    schedule: Schedule,
    seed: int,
    loss: LossConfig,
    validation: Rows | None = None,
) -> nn.Module:
    """Train a network of tuples with the public trainer."""
    batches, optimizer, scheduler = schedule.start(model, rows, seed)
    best = Best(model)
    config = TrainingConfig(
        max_epochs=schedule.epochs,
        seed=seed,
        val_loader=None if validation is None else [validation],
        log_hook=None if validation is None else best,
    )
    trainer = SCMTrainer(
        model, optimizer, SCMTrainingLoss(loss), batches, scheduler=scheduler, config=config
    )
    trainer.fit()
    best.restore()
    return model.eval()


class WithConstants(nn.Module):
    """Appends parameters that are the same for every row."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.constants = nn.Parameter(torch.zeros(number))

    def forward(self, out: Tensor) -> Tensor:
        """Return the outputs and the parameters, side by side."""
        return torch.cat([out, self.constants.expand(len(out), -1)], 1)


def train_plain(
    model: nn.Module,
    rows: Rows,
    schedule: Schedule,
    seed: int,
    loss: Loss,
    validation: Rows | None = None,
) -> nn.Module:
    """Train a network with a loss of one's own, by hand."""
    batches, optimizer, scheduler = schedule.start(model, rows, seed)
    best = Best(model)
    for epoch in range(schedule.epochs):
        batches.set_epoch(epoch)
        for x, y in batches:
            optimizer.zero_grad()
            torch.autograd.backward(loss(model(x), y))
            optimizer.step()
            scheduler.step()
        if validation is not None:
            with torch.no_grad():
                best({"val_loss": loss(model(validation[0]), validation[1]).item()})
    best.restore()
    return model.eval()


def squares(transform: Callable[[Tensor], Tensor]) -> Loss:
    """Regression on transformed targets."""
    return lambda out, y: (out[..., 0] - transform(y)).square().mean()


def circle(out: Tensor, y: Tensor) -> Tensor:
    """Regression on the point (cos 2θ, sin 2θ) of the circle of lines."""
    doubled = 2 * y.atan()
    return (out - torch.stack([doubled.cos(), doubled.sin()], -1)).square().sum(-1).mean()


def classified(out: Tensor, y: Tensor) -> Tensor:
    """Cross entropy of the kind (below, number, above), and the error of a number, in L1."""
    kind = torch.where(y.isfinite(), 1, torch.where(y > 0, 2, 0))
    finite = kind == 1
    error = (out[:, 3] - torch.where(finite, y, 0.0)).abs()
    value = torch.where(finite, error, 0.0).sum() / finite.sum().clamp(min=1)
    return functional.cross_entropy(out[:, :3], kind) + value


def gaussian(out: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation that a Tobit network predicts."""
    return out[:, 0], out[:, 1].clamp(-7, 7).exp()


def tobit(lower: float, upper: float) -> Loss:
    """The censored Gaussian likelihood, of targets that are ±∞ beyond the bounds."""

    def loss(out: Tensor, y: Tensor) -> Tensor:
        mean, deviation = gaussian(out)
        above = -torch.special.log_ndtr((mean - upper) / deviation)
        below = -torch.special.log_ndtr((lower - mean) / deviation)
        far = (y.nan_to_num(0.0, 0.0, 0.0) - mean) / deviation
        inside = far.square() / 2 + deviation.log() + math.log(2 * math.pi) / 2
        return torch.where(y.isfinite(), inside, torch.where(y > 0, above, below)).mean()

    return loss
