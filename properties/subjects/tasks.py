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

from spec.update import Phases, Precision

Batch: TypeAlias = tuple[Tensor, Tensor]


def mean_square(outputs: Tensor, lifted: Batch) -> Tensor:
    return outputs.square().mean()


def ones(count: int) -> list[Batch]:
    """Return micro-batches that are all alike."""
    return [(torch.ones(3, 2), torch.ones(3, 1))] * count


def name_of(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")


def _plain(state: Any) -> list[object]:
    return [part.tolist() if hasattr(part, "tolist") else part for part in state]


def surroundings(layer: nn.Module) -> dict[str, str]:
    """Return what is around training: random states, modes and gradients."""
    numpy: Any = sys.modules.get("numpy")
    return {
        "gradients": repr([p.grad for p in layer.parameters()]),
        "torch": repr(torch.get_rng_state().tolist()),
        "cuda": repr(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else ""),
        "python": repr(random.getstate()),
        "numpy": repr(_plain(numpy.random.get_state())) if numpy else "",
        "modes": repr([m.training for m in layer.modules()]),
        "mode": repr(torch.is_grad_enabled()),
        "dtype": repr(torch.get_default_dtype()),
    }


class Noting(ReduceLROnPlateau):
    """Notes the rate after each step."""

    def __init__(self, optimizer: torch.optim.Optimizer, mode: Any) -> None:
        self.rates: list[float] = []
        super().__init__(optimizer, mode, factor=0.5, patience=0, threshold=0.0)

    def step(self, *metrics: Any) -> None:
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

    def __init__(self, losses: Sequence[float], mode: str = "min") -> None:
        self.layer = nn.Linear(2, 1)
        self.optimizer = torch.optim.SGD(self.layer.parameters(), lr=1 / 8)
        self.scheduler = Noting(self.optimizer, mode)
        self.loader, self.validation = Targets([0.0] * len(losses)), Targets(losses)

    @staticmethod
    def loss(outputs: Tensor, lifted: Batch) -> Tensor:
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
        self.loader = ones(micro_batches)

    def _forward(self, module: nn.Module, inputs: Any) -> None:
        self.seen.append("forward")
        self.modes.append(module.training)

    def loss(self, outputs: Tensor, lifted: Batch) -> Tensor:
        self.seen.append("loss")
        return outputs.square().mean()

    def phases(self) -> Phases:
        """Return what was seen from the first forward on."""
        return Phases(tuple(self.seen[self.seen.index("forward") :]), tuple(self.modes))


class Averaging(torch.optim.SGD):
    """Has modes, as schedule-free optimizers do: in one, its parameters are others."""

    factor = 3.0

    def train(self, mode: bool = True) -> None:
        for group in self.param_groups:
            for parameter in group["params"] if group.get("trains", False) != mode else ():
                parameter.data *= (
                    self.factor if mode else 1 / self.factor
                )  # there and back changes its last bits
            group["trains"] = mode

    def eval(self) -> None:
        self.train(False)


class Counting(nn.Module):
    """Puts another tensor in the place of a buffer, and counts in another one."""

    calls: Tensor
    uses: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("uses", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        self.uses += 1
        return x


class Calling(nn.Module):
    """A loss that is a module with buffers, part of which has a mode of its own."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.parts, self.function = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5).eval()), function
        self.counting = Counting()

    def forward(self, *given: Any) -> Tensor:
        return self.function(self.counting(given[0]), *given[1:])


class Disturbed:
    """A model that a validation could change in many ways; VAL-2.

    The optimizer is in train mode, as before training, or in eval mode, as after it.
    """

    def __init__(self, fails: bool, trains: bool) -> None:
        still = nn.Linear(2, 1)
        self.layer = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5), Counting(), still)
        still.eval()
        data = TensorDataset(torch.randn(6, 2), torch.randn(6, 1))
        self.generators = [torch.Generator() for _ in range(2)]
        self.loader, self.validation = (
            DataLoader(data, 3, shuffle=True, generator=generator) for generator in self.generators
        )
        self.optimizer = Averaging(self.layer.parameters(), lr=0.1)
        self.optimizer.train(trains)
        self.optimizer.factor = 1.0 if fails else 3.0  # and then changes its mode alone
        self._fails, self.loss = fails, Calling(self._loss)

    def _loss(self, outputs: Tensor, lifted: Batch) -> Tensor:
        """Draw, and fail if that is asked for."""
        torch.rand(3)
        random.random()
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.random()
        if self._fails:
            raise KeyError("validation fails")
        return outputs.square().mean()

    def _state(self) -> dict[str, str]:
        return surroundings(nn.ModuleList([self.layer, self.loss])) | {
            "parameters": repr([p.tolist() for p in self.layer.parameters()]),
            "buffers": repr([b.tolist() for m in (self.layer, self.loss) for b in m.buffers()]),
            "generator": repr([g.get_state().tolist() for g in self.generators]),
            "optimizer": repr([group["trains"] for group in self.optimizer.param_groups]),
        }

    def traces(self, validate: Callable[[], object]) -> tuple[str, ...]:
        """Return what a validation changes."""
        for parameter in self.layer.parameters():
            parameter.grad = torch.ones_like(parameter)
        before, raised = self._state(), False
        try:
            validate()
        except KeyError:
            raised = True
        after = self._state() | ({} if raised == self._fails else {"error": "swallowed"})
        return tuple(name for name, value in after.items() if before.get(name) != value)


class Tasks:
    """What trainers of torch modules show, each made by the package that a subclass is of."""

    _trainer_of: Callable[..., Any]

    def _scales(self, trainer: Any) -> bool:
        """Tell whether a trainer scales its loss."""
        raise NotImplementedError

    def precision(self, dtype: str, option: str = "mixed_precision") -> Precision:
        """Train under autocast, looking at dtypes."""
        layer, forward, seen, inside = nn.Linear(2, 1), list[str](), list[str](), list[str]()
        layer.register_forward_hook(lambda m, i, o: forward.append(name_of(o)))

        def loss(outputs: Tensor, lifted: Batch) -> Tensor:
            seen.extend(name_of(x) for x in (outputs, *lifted))
            inside.append(name_of(torch.ones(2, 2) @ torch.ones(2, 2)))
            return mean_square(outputs, lifted)

        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        options: dict[str, Any] = {option: True}
        options |= {"amp_dtype": dtype, "val_loader": ones(1)}
        trainer = self._trainer_of(layer, optimizer, loss, ones(1), **options)
        trainer.fit()
        once, within = (" and ".join(sorted({*names})) for names in (forward, inside))
        return Precision(once, tuple(seen), within, self._scales(trainer))

    def _fit(self, task: Window | Plateau, **options: Any) -> None:
        given = task.layer, task.optimizer, task.loss, task.loader
        self._trainer_of(*given, scheduler=task.scheduler, **options).fit()

    def phases(self, micro_batches: int) -> Phases:
        task = Window(micro_batches)
        self._fit(task, gradient_accumulation_steps=micro_batches)
        return task.phases()

    def _rates(self, losses: Sequence[float], mode: str = "min", **options: Any) -> list[float]:
        """Train under a scheduler that steps by what validations measure."""
        task = Plateau(losses, mode)
        self._fit(task, max_epochs=len(losses), val_loader=task.validation, **options)
        return task.scheduler.rates

    def untrainable(self, case: str) -> None:
        stops = case.endswith("stop")
        layer, batches = nn.Linear(2, 1), ones(0 if case == "empty loader" else 1)
        if stops:  # all is ⊥
            layer.register_forward_hook(lambda m, i, y: (y, torch.ones_like(y, dtype=torch.bool)))

        def loss(outputs: Any, lifted: Batch) -> Tensor:
            mean: Tensor = (outputs[0] if stops else outputs).mean()
            return mean.detach() if case == "loss without gradient" else mean

        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        loader = iter(batches) if case == "exhausted loader" else batches
        options = {"max_epochs": 2, "coverage_threshold": 0.5 if stops else 0.0}
        trainer = self._trainer_of(layer, optimizer, loss, loader, **options)
        trainer.fit()
        trainer.fit()

    def validation_traces(self, fails: bool) -> tuple[str, ...]:
        found = list[str]()
        for trains in (True, False):
            task = Disturbed(fails, trains)
            given = task.layer, task.optimizer, task.loss, task.loader
            trainer = self._trainer_of(*given, val_loader=task.validation)
            found += task.traces(trainer.validate)
        return tuple(dict.fromkeys(found))
