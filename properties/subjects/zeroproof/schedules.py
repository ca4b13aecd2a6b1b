"""STEP-10, LOG-3 and VAL-3: ``SCMTrainer`` under schedulers, hooks and losses of derivatives."""

from __future__ import annotations

import math
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ChainedScheduler, ConstantLR, OneCycleLR, SequentialLR

from properties.subjects.tasks import Batch, Calling, mean_square, ones, surroundings
from properties.subjects.zeroproof.scripted import trainer_of
from properties.subjects.zeroproof.unchecked import unchecked
from spec.epochs import Derived
from spec.runs import Plan
from zeroproof.training.trainer import SCMTrainer, TrainingConfig


class Counted:
    """A loader that counts its micro-batches; its length is known if it is sized."""

    def __init__(self, count: int, *, seconds: float = 0.0) -> None:
        self.count, self.seconds, self.yielded = count, seconds, 0

    def __iter__(self) -> Iterator[Batch]:
        for batch in ones(self.count):
            time.sleep(self.seconds)
            self.yielded += 1
            yield batch


class Sized(Counted):
    def __len__(self) -> int:
        return self.count


class Curve(nn.Module):
    """``a·x² + b·x``, or its derivative."""

    def __init__(self, derives: bool) -> None:
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.tensor(x, dtype=torch.float64)) for x in (3.0, 0.0))
        self.b.requires_grad_(False)
        self.derives, self.attached = derives, False

    def forward(self, x: Tensor) -> Tensor:
        if self.derives:
            x = x.clone().requires_grad_()
        y: Tensor = self.a * x.square() + self.b * x
        self.attached = y.requires_grad
        return slope(y, x) if self.derives else y


def slope(y: Tensor, x: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    return found


class ZeroProofSchedules:
    """``SCMTrainer``, as far as one sees it before training and around it."""

    def planned_updates(self, plan: Plan, sized: bool) -> tuple[int | None, int | None]:
        loader = (Sized if sized else Counted)(len(plan.epochs[0]))
        trainer = _scheduled(plan, len(plan.epochs), 1000, loader)
        return trainer.config.planned_updates(loader), trainer.planned_updates

    def scheduled(self, plan: Plan, total: int, begun: int) -> int | None:
        size = len(plan.epochs[0])
        loader = Sized(size)
        late = 1 if plan.cadence == "epoch" and total > 1 else None
        trainer = _scheduled(plan, len(plan.epochs), 1000 if begun else total, loader, late)
        if begun:
            with tempfile.TemporaryDirectory() as folder:
                saves = {"checkpoint_dir": folder, "checkpoint_every": 1, "keep_checkpoints": 99}
                _scheduled(plan, 1, total, loader, late, **saves).fit()
                done = min(begun * plan.accumulation, size)
                trainer.load_checkpoint(next(Path(folder).glob(f"step-{done:010d}*")))
        before = trainer.global_step
        try:
            trainer.fit()
        except ValueError:
            return trainer.global_step - before
        return None

    def arrivals(self, updates: int, slow: bool) -> Sequence[int]:
        layer, seen = nn.Linear(2, 1), list[int]()
        loader = Counted(updates, seconds=0.01 * slow)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        hook = lambda record: seen.append(loader.yielded)  # noqa: E731
        trainer_of(layer, optimizer, mean_square, loader, log_hook=hook).fit()
        return seen

    def hook_traces(self, fails: bool) -> tuple[str, ...]:
        layer, loss = nn.Sequential(nn.Linear(2, 1), nn.Identity()), Calling(mean_square)
        both = nn.ModuleList([layer, loss])
        if numpy := sys.modules.get("numpy"):
            numpy.random.normal()  # which keeps a second one

        def hook(record: dict[str, float]) -> None:
            disturb(layer, 3 if fails else 1)
            loss.eval()
            if fails:
                raise KeyError("the hook fails")

        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        with unchecked():
            trainer = trainer_of(layer, optimizer, loss, ones(1), log_hook=hook)
            before, dtype = surroundings(both), torch.get_default_dtype()
            with suppress(KeyError):
                trainer.fit()
            after = surroundings(both)
            torch.set_grad_enabled(True)
            torch.set_default_dtype(dtype)
        return tuple(name for name, value in after.items() if before[name] != value)

    def derived(self, place: str, inputs: Sequence[float], fails: bool) -> Derived:
        x = torch.tensor(inputs, dtype=torch.float64)[:, None]

        def loss(outputs: Tensor, lifted: Batch, inputs: Tensor) -> Tensor:
            if fails:
                raise KeyError("the loss fails")
            return (slope(outputs, inputs) if place == "loss" else outputs).square().mean()

        free = nn.Parameter(torch.ones(1, dtype=torch.float64))

        def multiplied(outputs: Tensor, lifted: Batch) -> Tensor:
            found = (free * outputs).mean()
            plain.attached |= found.requires_grad
            return found

        def validated(model: Curve, loss: Callable[..., Tensor], **options: Any) -> float:
            optimizer = torch.optim.SGD([*model.parameters(), free], lr=0.1)
            trainer = trainer_of(model, optimizer, loss, [(x, x)], val_loader=[(x, x)], **options)
            with suppress(KeyError, RuntimeError):  # the second is torch's, without a graph
                return trainer.validate()["val_loss"]
            return math.nan

        attaching = {"prepare_batch": lambda batch: (batch[0].clone().requires_grad_(), batch[1])}
        model, plain = Curve(place == "model"), Curve(False)
        found = validated(model, loss, **(attaching if place == "loss" else {}))
        validated(plain, multiplied)
        return Derived(found, plain.attached, tuple(p.requires_grad for p in model.parameters()))


def disturb(layer: nn.Module, draws: int = 3) -> None:
    """Change all that is within reach."""
    torch.rand(3)
    random.random()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.normal(size=draws)
    layer.eval()
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float64)
    for parameter in layer.parameters():
        parameter.grad = torch.ones_like(parameter)


def _scheduled(
    plan: Plan, epochs: int, total: int, loader: Counted, late: int | None = None, **options: Any
) -> SCMTrainer:
    """Return a trainer under a scheduler of ``total`` steps, which may begin some of them late."""
    layer = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.5)
    config = TrainingConfig(
        max_epochs=epochs,
        gradient_accumulation_steps=plan.accumulation,
        scheduler_step={"validation": "val"}.get(plan.cadence, plan.cadence),
        val_loader=ones(1),
        **options,
    )
    schedule: Any = OneCycleLR(optimizer, 0.1, total - (late or 0))
    if late:
        schedule = SequentialLR(optimizer, [ConstantLR(optimizer), schedule], [late])
    elif plan.cadence == "validation":
        schedule = ChainedScheduler([schedule])
    return SCMTrainer(layer, optimizer, mean_square, loader, scheduler=schedule, config=config)
