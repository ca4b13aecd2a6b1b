"""AMP and STEP: an update of ``SCMTrainer``, looked at from outside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from properties.assertions import Unsupported
from properties.subjects.tasks import Plateau, Window
from spec.precision import Precision
from spec.update import Phases

training: Any = import_module("zeroproof.training")

Batch = tuple[Tensor, Tensor]


def name_of(x: Tensor) -> str:
    """Return the name of a tensor's dtype."""
    return str(x.dtype).removeprefix("torch.")


def mean_square(outputs: Tensor, lifted: Batch) -> Tensor:
    """Return a loss."""
    return outputs.square().mean()


def ones(count: int) -> list[Batch]:
    """Return micro-batches that are all alike."""
    return [(torch.ones(3, 2), torch.ones(3, 1))] * count


class Reads(TorchFunctionMode):
    """Counts the calls by which Python reads a tensor's elements."""

    NAMES = frozenset({"item", "tolist", "__bool__", "__float__", "__int__", "__index__"})

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch, and count it where it reads."""
        self.count += getattr(func, "__name__", "") in self.NAMES
        return func(*args, **(kwargs or {}))


class PublicUpdates:
    """One linear layer under ``SCMTrainer``."""

    def precision(self, dtype: str, option: str = "mixed_precision") -> Precision:
        """Train under autocast, looking at dtypes."""
        layer, forward, seen, inside = nn.Linear(2, 1), list[str](), list[str](), list[str]()
        layer.register_forward_hook(lambda m, i, o: forward.append(name_of(o)))

        def loss(outputs: Tensor, lifted: Batch) -> Tensor:
            seen.extend(name_of(x) for x in (outputs, *lifted))
            inside.append(name_of(torch.ones(2, 2) @ torch.ones(2, 2)))
            return mean_square(outputs, lifted)

        config = training.TrainingConfig(**{option: True}, amp_dtype=getattr(torch, dtype))
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        trainer = training.SCMTrainer(layer, optimizer, loss, ones(1), config=config)
        trainer.fit()
        return Precision(forward[0], tuple(seen), inside[0], trainer.scaler.is_enabled())

    def phases(self, micro_batches: int) -> Phases:
        """Train one window."""
        task = Window(micro_batches)
        config = training.TrainingConfig(gradient_accumulation_steps=micro_batches)
        given = task.layer, task.optimizer, task.loss, task.loader
        training.SCMTrainer(*given, scheduler=task.scheduler, config=config).fit()
        return task.phases()

    def watched(self, losses: Sequence[float]) -> list[float]:
        """Train under a scheduler that steps by what validations measure."""
        if "scheduler_cadence" not in {field.name for field in fields(training.TrainingConfig)}:
            raise Unsupported("a scheduler that watches a metric")
        task = Plateau(losses)
        config = training.TrainingConfig(
            max_epochs=len(losses),
            val_loader=task.validation,
            scheduler_cadence="per_validation_metric",
        )
        given = task.layer, task.optimizer, task.loss, task.loader
        training.SCMTrainer(*given, scheduler=task.scheduler, config=config).fit()
        return task.scheduler.rates

    def untrainable(self, case: str) -> None:
        """Fit what cannot be trained."""
        layer = nn.Linear(2, 1)
        batches = ones(0 if case == "empty loader" else 1)

        def loss(outputs: Tensor, lifted: Batch) -> Tensor:
            mean = outputs.mean()
            return mean.detach() if case == "loss without gradient" else mean

        trainer = training.SCMTrainer(
            layer,
            torch.optim.SGD(layer.parameters(), lr=0.1),
            loss,
            iter(batches) if case == "exhausted loader" else batches,
            config=training.TrainingConfig(max_epochs=2),
        )
        trainer.fit()
        trainer.fit()

    def host_reads(self, updates: int, skips_on_device: bool) -> int:
        """Count what Python reads of tensors, up to the last micro-batch of an epoch."""
        layer, reads = nn.Linear(2, 1), Reads()
        within: list[int] = []

        def loader() -> Iterator[Batch]:
            for batch in ones(updates):
                within.append(reads.count)
                yield batch

        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, fused=skips_on_device)
        trainer = training.SCMTrainer(layer, optimizer, mean_square, loader())
        with reads:
            trainer.fit()
        return within[-1]
