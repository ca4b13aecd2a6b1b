"""Trainers that play a plan: a model, a loss and a loader that do what it says."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from properties.subjects.tasks import Batch
from spec.runs import Event, MicroBatch, Plan

try:
    import numpy
except ImportError:  # which torch does without
    numpy = None  # type: ignore[assignment]

OVERFLOW = 2.0**12


def seed_everything(seed: int) -> None:
    torch.manual_seed(seed)
    random.seed(seed)
    if numpy is not None:
        numpy.random.seed(seed % 2**32)


class Scripted(nn.Module):
    """``w·slope``, as tuples with the ``|Q|`` of the inputs, or as values with a mask of ⊥.

    Further outputs are never ⊥, and have a ``|Q|`` of 1. If autocast is ``off``, it must not be in
    force.
    """

    def __init__(
        self, *, projective: bool = False, noisy: bool = False, off: bool = False, outputs: int = 1
    ) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(1, dtype=torch.float64))
        self.projective, self.noisy, self.off, self.outputs = projective, noisy, off, outputs

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value: Tensor = self.w[0] * x[:, 0]
        if self.off and (one := torch.ones(1, 1, device=x.device)).mm(one).dtype != one.dtype:
            value = value * math.nan
        if self.noisy:
            value = value * (1 + torch.rand(()))
        second = x[:, 1] if self.projective else x[:, 1] == 0
        if self.outputs == 1:
            return value, second
        others = [torch.full_like(second, self.projective)] * (self.outputs - 1)
        return value[:, None].expand(-1, self.outputs), torch.stack([second, *others], 1)


class _Overflow(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, fault: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Batch, output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (fault,) = ctx.saved_tensors
        overflows = (fault == 4) | (fault == 3) & (gradient.abs() > OVERFLOW)
        return gradient.masked_fill(overflows, math.inf), None


class Own(nn.Module):
    """The mean of the values, plus ``v·slope``, with the faults that the inputs ask for.

    If it ``tells``, its τ and the slope are terms to log, since nothing is watched in compiled
    code. If it is ``owned`` by the trainer, a gradient's fault is in ``v`` alone. If ``v`` is
    ``free``, it is no parameter of this module. The values have a factor that is frozen, and one
    that is detached.
    """

    tells = owned = False
    v: nn.Parameter

    def __init__(
        self, watched: Callable[[float, bool], None], *, noisy: bool = False, free: bool = False
    ) -> None:
        super().__init__()
        v = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        (object.__setattr__ if free else setattr)(self, "v", v)
        self.watched, self.noisy = watched, noisy
        one = torch.ones((), dtype=torch.float64)
        self.frozen, self.idle = nn.Parameter(one, requires_grad=False), nn.Parameter(one.clone())

    def forward(
        self,
        outputs: Batch,
        lifted: Batch,
        *,
        inputs: Tensor,
        tau: float | Tensor,
        loss_weights: dict[str, Any] | None = None,
    ) -> Any:
        if not torch.compiler.is_compiling():
            self.watched(float(tau), self.training)
        value, fault = outputs[0].mean() * self.frozen * self.idle.detach(), inputs[0, 2]
        loss: Tensor = (value + self.v[0] * inputs[0, 0]) * (loss_weights or {"fit": 1.0})["fit"]
        if self.noisy:
            loss = loss * (1 + random.random())
            loss = loss * (1 + (numpy.random.random() if numpy is not None else 0.0))
        # The gradient of what is added is 0: the loss alone is not finite.
        lost = torch.where(inputs[0, 0] > 0, math.inf, math.nan)
        loss = loss + torch.where(fault == 1, lost, 0.0)
        spoiled = self.v[0] if self.owned else value
        still = torch.where(fault == 2, (spoiled - spoiled.detach()).square(), 1.0).sqrt()
        loss = loss + (still - (fault != 2).to(loss.dtype))  # 0, whose slope at 2 is ∞ · 0
        loss = _Overflow.apply(loss, fault)  # type: ignore[no-untyped-call]
        return (loss, {"tau": tau, "slope": inputs[0, 0]}) if self.tells else loss


def tensors(batch: MicroBatch) -> Batch:
    """Return a micro-batch as a loader yields it."""
    inputs, targets = batch.inputs, batch.targets
    return torch.tensor(inputs, dtype=torch.float64), torch.tensor(targets, dtype=torch.float64)


class Pause(Exception):
    """There is no further epoch for now."""


class Loader:
    """Yields the next epoch each time it is asked; None in its place is a Ctrl-C.

    It pauses before the epoch that it does not have, and after a number of micro-batches.
    """

    def __init__(
        self, epochs: Sequence[Sequence[MicroBatch | None]], most: float, *, shuffle: bool = False
    ) -> None:
        self.epochs, self.left, self.shuffle = list(epochs), [most], shuffle
        self.epochs_set: dict[int, None] = {}
        self.generator = torch.Generator().manual_seed(torch.initial_seed())

    def __len__(self) -> int:
        return len(self.epochs[0]) if self.epochs else 0

    def set_epoch(self, epoch: int) -> None:
        self.epochs_set[epoch] = None

    def __iter__(self) -> Iterator[Batch]:
        if not self.epochs:
            raise Pause
        batches = list(self.epochs.pop(0))
        if self.shuffle:
            for source in (None, self.generator):
                order = torch.randperm(len(batches), generator=source).tolist()
                batches = [batches[i] for i in order]
        for batch in batches:
            if not self.left[0]:
                raise Pause
            if batch is None:
                raise KeyboardInterrupt
            yield self.made(batch)
            self.left[0] -= 1

    def made(self, batch: MicroBatch) -> Batch:
        return tensors(batch)


class StatefulLoader(Loader):
    """Shuffles by numbers of its own, and knows where in its epoch it is."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._random, self._done = random.Random(3), 0
        self._start = self._random.getstate()

    def __iter__(self) -> Iterator[Batch]:
        for epoch in self.epochs[:1]:
            self.epochs[0] = self._random.sample(epoch, len(epoch))[self._done :]
        yield from super().__iter__()
        self._start, self._done = self._random.getstate(), 0

    def made(self, batch: MicroBatch) -> Batch:
        self._done += 1
        return super().made(batch)

    def state_dict(self) -> dict[str, Any]:
        return {"start": self._start, "done": self._done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._start, self._done = state["start"], state["done"]
        self._random.setstate(self._start)
        self.left[0] -= self._done  # which are not yielded again


class Session:
    """A trainer of a plan, and what it was seen to do.

    A loss may replace the plan's; the options are more of the trainer's. Of several ranks all but
    the first begin with other parameters; there the optimizer decays what has a gradient.
    """

    _trainer_of: Callable[..., Any]
    _optimizer: Any = torch.optim.SGD

    def __init__(
        self, plan: Plan, loader: Loader, *, projective: bool, loss: Any = None, **options: Any
    ) -> None:
        self.events, self.taus = list[Event](), set[float]()
        precision, _, switch = plan.precision.partition(" ")
        self.model = Scripted(
            projective=projective, noisy=plan.random, off=switch == "off", outputs=plan.outputs
        )
        free = plan.free and plan.own_parameter
        self.loss, self.loader = Own(self._called, noisy=plan.random, free=free), loader
        self.loss.tells, self.loss.owned = plan.tells, plan.own_parameter
        groups = [{"params": [p]} for p in (self.model.w, self.loss.v)[: 1 + plan.own_parameter]]
        rate = torch.tensor(1 / 8, dtype=torch.float64) if plan.tensor_rate else 1 / 8
        self.optimizer = self._optimizer(groups, lr=rate, momentum=plan.momentum)
        self.optimizer.register_step_post_hook(lambda *_: self._updated())
        if dist.is_initialized():
            for parameter in (self.model.w, self.loss.v):
                parameter.data += dist.get_rank()
            still = [self.loss.frozen, self.loss.idle]
            self.optimizer.add_param_group({"params": still, "weight_decay": 0.5})
        if plan.stale:
            for parameter in (p for group in groups for p in group["params"]):
                parameter.grad = torch.ones_like(parameter)
        own = {
            "gradient_accumulation_steps": plan.accumulation,
            "coverage_threshold": plan.threshold,
            "coverage_patience": plan.patience,
            "val_loader": [tensors(batch) for batch in plan.validation] or None,
            "log_hook": self._logged,
            "mixed_precision": bool(precision) and not switch,
            "amp_dtype": precision or "float16",
        }
        given = self.model, self.optimizer, loss or self.loss, loader
        scheduler = LambdaLR(self.optimizer, lambda k: 0.5**k)
        self.trainer = self._trainer_of(*given, scheduler=scheduler, **own | options)

    def _called(self, tau: float, training: bool) -> None:
        if training:
            self.events.append(Event("draw", {"tau": tau}))
        else:
            self.taus.add(tau)

    def _step(self) -> float:
        """Return the number of an update that was just made, if the trainer knows it by now."""
        return math.nan

    def _updated(self) -> None:
        values = {"w": self.model.w.item(), "v": self.loss.v.item(), "global_step": self._step()}
        self.events.append(Event("update", values))

    def _logged(self, record: dict[str, float]) -> None:
        raise NotImplementedError

    def _validated(self, record: dict[str, float]) -> None:
        tau = self.taus.pop() if len(self.taus) == 1 else math.nan
        self.events.append(Event("validate", type(record)(record, loss_tau=tau)))
        self.taus.clear()
