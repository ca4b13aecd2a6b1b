"""What a trainer of torch modules is given, whosever it is, where one looks on from outside."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

from spec.update import Phases

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


class Window:
    """The micro-batches of one window, and a watcher at every public place; STEP-1 and STEP-5."""

    def __init__(self, micro_batches: int) -> None:
        self.seen: list[str] = []
        self.modes: list[bool] = []
        self.layer = nn.Linear(2, 1).eval()
        self.layer.register_forward_pre_hook(self._forward)
        weight: Any = self.layer.weight
        weight.register_post_accumulate_grad_hook(lambda p: self.seen.append("backward"))
        self.optimizer = torch.optim.SGD(self.layer.parameters(), lr=0.1)
        self.optimizer.register_step_post_hook(lambda *_: self.seen.append("step"))
        self.scheduler = LambdaLR(self.optimizer, float)
        clear, step = self.optimizer.zero_grad, self.scheduler.step

        def zero_grad(set_to_none: bool = True) -> None:
            self.seen.append("zero")
            clear(set_to_none)

        def schedule(epoch: int | None = None) -> None:
            self.seen.append("schedule")
            step(epoch)

        self.optimizer.zero_grad = zero_grad  # type: ignore[method-assign]
        self.scheduler.step = schedule  # type: ignore[method-assign]
        self.loader = [(torch.ones(3, 2), torch.ones(3, 1))] * micro_batches

    def _forward(self, module: nn.Module, inputs: Any) -> None:
        self.seen.append("forward")
        self.modes.append(module.training)

    def loss(self, outputs: Tensor, lifted: Batch) -> Tensor:
        """Return the mean square."""
        self.seen.append("loss")
        return outputs.square().mean()

    def phases(self) -> Phases:
        """Return what was seen from the first forward on."""
        return Phases(tuple(self.seen[self.seen.index("forward") :]), tuple(self.modes))


class Disturbed:
    """A model that a validation could change in many ways; VAL-2."""

    def __init__(self, fails: bool) -> None:
        still = nn.Linear(2, 1)
        self.model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5), still)
        still.eval()
        data = TensorDataset(torch.randn(6, 2), torch.randn(6, 1))
        self.loader: DataLoader[Any] = DataLoader(data, batch_size=3, shuffle=True)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self._fails = fails

    def loss(self, outputs: Tensor, lifted: Batch) -> Tensor:
        """Draw, and fail if that is asked for."""
        torch.rand(3)
        random.random()
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.random()
        if self._fails:
            raise KeyError("validation fails")
        return outputs.square().mean()

    def _state(self) -> dict[str, str]:
        numpy: Any = sys.modules.get("numpy")
        return {
            "parameters": repr([p.tolist() for p in self.model.parameters()]),
            "gradients": repr([p.grad for p in self.model.parameters()]),
            "buffers": repr([b.tolist() for b in self.model.buffers()]),
            "torch": repr(torch.get_rng_state().tolist()),
            "cuda": repr(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else ""),
            "python": repr(random.getstate()),
            "numpy": repr(numpy.random.get_state()[1].tolist() if numpy else ""),
            "modes": repr([m.training for m in self.model.modules()]),
        }

    def traces(self, validate: Callable[[], object]) -> tuple[str, ...]:
        """Return what a validation changes."""
        for parameter in self.model.parameters():
            parameter.grad = torch.ones_like(parameter)
        before, raised = self._state(), False
        try:
            validate()
        except KeyError:
            raised = True
        after = self._state() | ({} if raised == self._fails else {"error": "swallowed"})
        return tuple(name for name, value in after.items() if before.get(name) != value)
