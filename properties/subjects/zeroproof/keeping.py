"""STEP-8 and STEP-9 by ``SCMTrainer``: models that are spoiled, frozen, and written to."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from properties.subjects.tasks import Batch, mean_square, ones
from properties.subjects.zeroproof.scripted import trainer_of
from properties.subjects.zeroproof.unchecked import unchecked
from spec.finite import Broken
from zeroproof.training.trainer import NonFiniteError


class Spoiled(nn.Module):
    """Multiplies by the first element of ``w``; the gradient of the second one is always 0."""

    def __init__(self, cause: str) -> None:
        super().__init__()
        dtype = torch.float16 if cause == "float16 parameters" else torch.float32
        self.w, self.none = (nn.Parameter(torch.ones(n, dtype=dtype)) for n in (2, 0))
        if cause in ("infinite from the start", "a rate of infinity"):
            nn.init.constant_(self.w[1], -math.inf)

    def forward(self, x: Tensor, lifted: object = None) -> Tensor:
        """Return outputs, or as a loss the mean square of some."""
        return x[:, :1] * self.w[0] if lifted is None else (x * self.w[0]).square().mean()


class Stubborn(nn.BatchNorm1d):
    """Has a ``train`` of its own."""

    def train(self, mode: bool = True) -> Stubborn:
        return super().train(mode)


class Writing(nn.Module):
    """A model that writes its buffer, or a loss that puts another tensor there.

    It spoils its result if there is a fault.
    """

    held: Tensor

    def __init__(self, before: Sequence[float], written: Sequence[float], fault: bool) -> None:
        super().__init__()
        self.layer, self.fault = nn.Linear(2, 1), fault
        self.register_buffer("held", torch.tensor(before, dtype=torch.float64))
        self.written = torch.tensor(written, dtype=torch.float64)

    def forward(self, x: Tensor, lifted: object = None) -> Tensor:
        if lifted is None:
            self.held.copy_(self.written)
        else:
            self.held = self.written.clone()
        found: Tensor = self.layer(x) if lifted is None else x.mean()
        return found * (math.nan if self.fault else 1.0)


class Freezing:
    """Yields micro-batches, before each of which it freezes or frees a parameter."""

    def __init__(
        self, parameter: nn.Parameter, trained: Sequence[bool], batch: Batch | None = None
    ) -> None:
        self._parameter, self._trained = parameter, trained
        self._batch = batch or ones(1)[0]
        self.values: list[Any] = []

    def __iter__(self) -> Iterator[Batch]:
        for trained in self._trained:
            self.values.append(self._parameter.tolist())
            self._parameter.requires_grad_(trained)
            yield self._batch
        self.values.append(self._parameter.tolist())


class ZeroProofKeeping:
    """What ``SCMTrainer`` makes of parameters, modes and buffers."""

    def spoiled(self, cause: str) -> Broken:
        spoiled, validated = Spoiled(cause), list[Any]()
        eps = 0.0 if cause == "an eps of 0" else 1e-8
        rate = math.inf if cause == "a rate of infinity" else 1e-3
        groups: Any = [{"params": [spoiled.none], "lr": 1e-3}, {"params": [spoiled.w]}]
        model: nn.Module = spoiled
        loss: Any = mean_square
        if cause == "a rate of 3e38":  # of which Adam takes no more than a tenth
            model, loss = nn.Identity(), spoiled
            optimizer: Any = torch.optim.SGD(groups, 3e38)
        else:
            optimizer = torch.optim.Adam(groups, rate, eps=eps)
        with tempfile.TemporaryDirectory() as folder, unchecked():
            trainer = trainer_of(
                model,
                optimizer,
                loss,
                ones(3),
                val_loader=ones(1),
                log_hook=lambda record: validated.append("val_loss" in record),
                checkpoint_dir=folder,
                checkpoint_every=2,
            )
            error = ""
            try:
                trainer.fit()
            except NonFiniteError as raised:
                error = str(raised)
            return Broken(error, sum(validated), len(list(Path(folder).iterdir())))

    def modes(self, frozen: Sequence[bool], validates: bool) -> list[list[bool]]:
        layers = [(nn.BatchNorm1d, Stubborn)[i % 2](2) for i in range(len(frozen))]
        model, seen = nn.Sequential(*layers, nn.Linear(2, 1)), list[list[bool]]()

        def note(*_: object) -> None:
            if model.training:
                seen.append([layer.training for layer in layers])

        for layer, still in zip(layers, frozen, strict=True):
            layer.train(not still)
        model[-1].register_forward_hook(note)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        options = {"max_epochs": 2, "val_loader": ones(1) if validates else None}
        trainer_of(model, optimizer, mean_square, ones(1), **options).fit()
        note()
        return seen

    def freezes(self, trained: Sequence[bool]) -> list[bool]:
        model = nn.Linear(2, 1)
        loader = Freezing(model.bias, trained)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with suppress(StopIteration):
            trainer_of(model, optimizer, lambda y, _: y.mean(), loader).fit()
        pairs = zip(loader.values, loader.values[1:], strict=False)
        return [old != new for old, new in pairs]

    def buffer(self, before: Sequence[float], written: Sequence[float], fault: bool) -> list[float]:
        model, loss = (Writing(before, written, fault) for _ in range(2))
        optimizer = torch.optim.SGD(model.layer.parameters(), lr=0.1)
        trainer_of(model, optimizer, loss, ones(2), gradient_accumulation_steps=2).fit()
        return [*model.held.tolist(), *loss.held.tolist()]
