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
    """Multiplies by the first element of ``w``; the gradient of the others is always 0."""

    def __init__(self, cause: str) -> None:
        super().__init__()
        dtype = torch.float16 if cause == "float16 parameters" else torch.float32
        self.w, self.none = (nn.Parameter(torch.ones(n, dtype=dtype)) for n in (3, 0))
        if cause in ("infinite from the start", "a rate of infinity"):
            for element, value in zip(self.w[1:], (-math.inf, math.nan), strict=True):
                nn.init.constant_(element, value)

    def forward(self, x: Tensor, lifted: object = None) -> Tensor:
        """Return outputs, or as a loss the mean square of some."""
        return x[:, :1] * self.w[0] if lifted is None else (x * self.w[0]).square().mean()


class Stubborn(nn.BatchNorm1d):
    """Has a ``train`` of its own."""

    def train(self, mode: bool = True) -> Stubborn:
        return super().train(mode)


class Writing(nn.Module):
    """A model that writes its buffer, or a loss that puts another tensor there.

    Of inputs or targets that are 1 it writes what is there ``before``. Of others it spoils its
    result, or the gradient alone, if there is such a fault.
    """

    held: Tensor

    def __init__(self, before: Sequence[float], written: Sequence[float], fault: str) -> None:
        super().__init__()
        self.layer, self.fault = nn.Linear(2, 1), fault
        self.values = torch.tensor([before, written], dtype=torch.float64)
        self.register_buffer("held", torch.zeros_like(self.values[0]), persistent=False)

    def forward(self, x: Tensor, lifted: Batch | None = None) -> Tensor:
        late = (x if lifted is None else lifted[0])[0, 0].item() != 1
        values, fault = self.values[int(late)], self.fault if late else ""
        if lifted is None:
            self.held.copy_(values)
        else:
            self.held = values.clone()
        found: Tensor = self.layer(x) if lifted is None else x.mean()
        if fault == "gradient":
            return found + (found - found.detach()).square().sqrt()  # 0, whose slope is ∞ · 0
        return found * (math.nan if fault else 1.0)


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
        alone = self._spoiled(cause)
        with tempfile.TemporaryDirectory() as folder:
            saves = {"checkpoint_dir": folder, "checkpoint_every": 2}
            found = self._spoiled(cause, val_loader=ones(1), **saves)
            saved = len(list(Path(folder).iterdir()))
        return Broken(alone[0] and found[0], found[1], saved)

    def _spoiled(self, cause: str, **options: Any) -> tuple[str, int]:
        """Return the error, and the number of validations."""
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
        options["log_hook"] = lambda record: validated.append("val_loss" in record)
        with unchecked():
            error = ""
            try:
                trainer_of(model, optimizer, loss, ones(3), **options).fit()
            except NonFiniteError as raised:
                error = str(raised)
        return error, sum(validated)

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
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.5, weight_decay=0.1)
        with suppress(StopIteration):
            trainer_of(model, optimizer, lambda y, _: y.mean(), loader).fit()
        pairs = zip(loader.values, loader.values[1:], strict=False)
        return [old != new for old, new in pairs]

    def buffer(self, before: Sequence[float], written: Sequence[float], fault: str) -> list[float]:
        model, loss = (Writing(before, written, fault) for _ in range(2))
        optimizer = torch.optim.SGD(model.layer.parameters(), lr=0.1)
        loader = [*ones(2), *((2 * x, 2 * y) for x, y in ones(2))]
        trainer_of(model, optimizer, loss, loader, gradient_accumulation_steps=2).fit()
        return [*model.held.tolist(), *loss.held.tolist()]
