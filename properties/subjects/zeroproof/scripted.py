"""A trainer that plays a plan: a model, a loss and a loader that do what it says."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from spec.runs import Epoch, Event, MicroBatch, Plan
from zeroproof.training.curriculum import LossWeightsCurriculum
from zeroproof.training.trainer import NonFiniteError, SCMTrainer, TrainingConfig

try:
    import numpy
except ImportError:  # which torch does without
    numpy = None  # type: ignore[assignment]

Batch = tuple[Tensor, Tensor]
OVERFLOW = 2.0**12


def seed_everything(seed: int) -> None:
    """Seed all global generators."""
    torch.manual_seed(seed)
    random.seed(seed)
    if numpy is not None:
        numpy.random.seed(seed % 2**32)


class Scripted(nn.Module):
    """``w·slope``, as tuples with the ``|Q|`` of the inputs, or as values with a mask of ⊥."""

    def __init__(self, *, projective: bool = False, noisy: bool = False) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones((), dtype=torch.float64))
        self.projective, self.noisy = projective, noisy

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return tuples, or values and their mask."""
        value: Tensor = self.w * x[:, 0]
        if self.noisy:
            value = value * (1 + torch.rand(()))
        return value, x[:, 1] if self.projective else x[:, 1] == 0


class _Overflow(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].masked_fill(gradients[0].abs() > OVERFLOW, math.inf)


class Own(nn.Module):
    """The mean of the values, plus ``v·slope``, with the faults that the inputs ask for."""

    def __init__(self, watched: Callable[[float, bool], None], *, noisy: bool = False) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.watched, self.noisy = watched, noisy

    def forward(
        self,
        outputs: Batch,
        lifted: Batch,
        *,
        inputs: Tensor,
        tau: float | Tensor,
        loss_weights: dict[str, Any] | None = None,
    ) -> Tensor:
        """Return the loss of a micro-batch."""
        self.watched(float(tau), self.training)
        value = outputs[0].mean()
        loss: Tensor = (value + self.v * inputs[0, 0]) * (loss_weights or {"fit": 1.0})["fit"]
        if self.noisy:
            loss = loss * (1 + random.random())
            loss = loss * (1 + (numpy.random.random() if numpy is not None else 0.0))
        if inputs[0, 2] == 1:
            return loss * math.nan
        if inputs[0, 2] == 2:
            return loss + (value - value.detach()).square().sqrt()  # 0, whose slope is ∞ · 0
        overflowing: Tensor = _Overflow.apply(loss)  # type: ignore[no-untyped-call]
        return overflowing if inputs[0, 2] == 3 else loss


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
        self.epochs, self.left, self.shuffle = list(epochs), most, shuffle
        self.epochs_set: dict[int, None] = {}

    def __len__(self) -> int:
        return len(self.epochs[0]) if self.epochs else 0

    def set_epoch(self, epoch: int) -> None:
        """Note the epoch."""
        self.epochs_set[epoch] = None

    def __iter__(self) -> Iterator[Batch]:
        if not self.epochs:
            raise Pause
        batches = list(self.epochs.pop(0))
        if self.shuffle:
            batches = [batches[i] for i in torch.randperm(len(batches)).tolist()]
        for batch in batches:
            if not self.left:
                raise Pause
            if batch is None:
                raise KeyboardInterrupt
            self.left -= 1
            yield tensors(batch)


class Session:
    """A trainer of a plan from an epoch on, and what it was seen to do.

    The options are more of the trainer's.
    """

    def __init__(
        self,
        plan: Plan,
        first: int,
        last: int,
        most: float = math.inf,
        *,
        resumes: bool = False,
        **options: Any,
    ) -> None:
        seed_everything(plan.seed + resumes)  # what resumes must not lean on its own seed
        self.events: list[Event] = []
        self.taus: set[float] = set()
        batches = [*plan.micro_batches, *plan.validation]
        projective = any("t" in batch.samples for batch in batches)
        self.plan, self.model = plan, Scripted(projective=projective, noisy=plan.random)
        self.loss = Own(self._called, noisy=plan.random)
        groups = [*self.model.parameters(), *(self.loss.parameters() if plan.own_parameter else ())]
        rate = torch.tensor(1 / 8, dtype=torch.float64) if plan.tensor_rate else 1 / 8
        self.optimizer = torch.optim.SGD(groups, lr=rate, momentum=plan.momentum)
        self.optimizer.register_step_post_hook(lambda *_: self._updated())
        if plan.stale:
            for parameter in groups:
                parameter.grad = torch.ones_like(parameter)
        self.loader = Loader(plan.epochs[first:], most, shuffle=plan.random)
        self.trainer = SCMTrainer(
            self.model,
            self.optimizer,
            self.loss,
            self.loader,
            scheduler=torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda k: 0.5**k),
            config=config_of(plan, max_epochs=last, log_hook=self._logged, **options),
        )
        self.skipped, self.skips = 0.0, list[Event]()
        self.progress: tuple[float | None, float | None] = None, None

    def _called(self, tau: float, training: bool) -> None:
        if training:
            self.events.append(Event("draw", {"tau": tau}))
        else:
            self.taus.add(tau)

    def _updated(self) -> None:
        values = {"w": self.model.w.item(), "v": self.loss.v.item()}
        self.events.append(Event("update", values | {"global_step": math.nan}))

    def _logged(self, record: dict[str, float]) -> None:
        progress = record.get("global_step"), record.get("skipped")
        if "val_loss" in record or progress != self.progress:
            self._end_window()
        if "val_loss" in record:
            tau = self.taus.pop() if len(self.taus) == 1 else math.nan
            self.events.append(Event("validate", record | {"loss_tau": tau}))
            self.taus.clear()
            return
        self.events.append(Event("log", record))
        self.progress = progress
        if record["skipped"] > self.skipped:
            self.skipped = record["skipped"]
            self.skips.append(Event("skip", {"skipped": self.skipped}))

    def _end_window(self) -> None:
        """Tell of a skip after the records of its window, which all have its number."""
        self.events += self.skips
        self.skips.clear()

    def fit(self) -> None:
        """Train; a trainer that has stopped must refuse to."""
        stopped = self.trainer.stopped
        try:
            try:
                self.trainer.fit()
            finally:
                self._end_window()
        except NonFiniteError as error:
            named = f"global step {self.trainer.global_step}" in str(error)
            step = self.trainer.global_step if named else math.nan
            self.events.append(Event("error", {"global_step": step}))
        except RuntimeError:
            if not stopped:
                raise
        if self.trainer.stopped and not stopped:
            self.events.append(Event("stop", {"epoch": self.trainer.epoch - 1}))

    def epoch(self, batches: Epoch) -> list[Event]:
        """Train one more epoch."""
        self.events.clear()
        self.loader.epochs = [batches]
        with suppress(Pause):
            self.fit()
        return list(numbered(self.events, self.trainer.global_step))

    def break_off(self, batches: Epoch) -> None:
        """Start an epoch, and break it off after these micro-batches."""
        self.loader.epochs = [(*batches, None)]
        with suppress(KeyboardInterrupt):
            self.trainer.fit()

    def validate(self) -> Event:
        """Validate out of turn."""
        self.trainer.validate()
        return self.events.pop()

    def save(self) -> dict[str, Any]:
        """Return the state."""
        return copy.deepcopy(self.trainer.state_dict())

    def load_latest(self, folder: str) -> None:
        """Continue from the latest checkpoint of a folder."""
        self.trainer.load_checkpoint(folder)
        self.skipped = self.trainer.skipped_steps

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self.trainer.load_state_dict(copy.deepcopy(state))
        self.skipped = self.trainer.skipped_steps


def config_of(plan: Plan, **options: Any) -> TrainingConfig:
    """Return the options of a plan."""
    precision, _, switch = plan.precision.partition(" ")
    weights = LossWeightsCurriculum({"fit": lambda epoch: plan.weights[epoch]})
    return TrainingConfig(
        gradient_accumulation_steps=plan.accumulation,
        coverage_threshold=plan.threshold,
        coverage_patience=plan.patience,
        max_nonfinite_steps=plan.max_nonfinite,
        tau_train_min=plan.tau_min,
        tau_train_max=plan.tau_max,
        seed=plan.seed,
        max_grad_norm=plan.max_norm,
        val_loader=[tensors(batch) for batch in plan.validation] or None,
        history_limit=plan.history_limit,
        mixed_precision=bool(precision) and not switch,
        amp_dtype=precision or "float16",
        loss_curriculum=weights if plan.weights else None,
        **options,
    )


def numbered(events: Sequence[Event], last: int) -> tuple[Event, ...]:
    """Number the updates so that the last one carries the trainer's own count."""
    first = last - sum(event.kind == "update" for event in events)
    found = []
    for event in events:
        first += event.kind == "update"
        own = {"global_step": first} if event.kind == "update" else {}
        found.append(Event(event.kind, {**event.values, **own}))
    return tuple(found)
