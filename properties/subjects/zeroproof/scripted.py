"""A trainer that plays a plan: a model, a loss and a loader that do what it says."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from spec.runs import Epoch, Event, MicroBatch, Plan
from zeroproof.training.trainer import NonFiniteError, SCMTrainer, TrainingConfig

Batch = tuple[Tensor, Tensor]


class Scripted(nn.Module):
    """``w·slope``, and ⊥ where the inputs say so."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return values and their mask of ⊥."""
        return self.w * x[:, 0], x[:, 1] != 0


class Own(nn.Module):
    """The mean of the values, plus ``v·slope``, with the faults that the inputs ask for."""

    def __init__(self, watched: Callable[[float], None]) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.watched = watched

    def forward(
        self, outputs: Batch, lifted: Batch, *, inputs: Tensor, tau: float | Tensor
    ) -> Tensor:
        """Return the loss of a micro-batch."""
        if self.training:
            self.watched(float(tau))
        value = outputs[0].mean()
        loss = value + self.v * inputs[0, 0]
        if inputs[0, 2] == 1:
            return loss * math.nan
        if inputs[0, 2] == 2:
            return loss + (value - value.detach()).square().sqrt()  # 0, whose slope is ∞ · 0
        return loss


def tensors(batch: MicroBatch) -> Batch:
    """Return a micro-batch as a loader yields it."""
    fault = {"": 0.0, "loss": 1.0, "gradient": 2.0}[batch.fault]
    rows = [[float(batch.slope), float(s in "bB"), fault] for s in batch.samples]
    targets = [math.inf if s in "VB" else 0.0 for s in batch.samples]
    return torch.tensor(rows, dtype=torch.float64), torch.tensor(targets, dtype=torch.float64)


class Pause(Exception):
    """There is no further epoch for now."""


class Loader:
    """Yields the next epoch each time it is asked; None in its place is a Ctrl-C.

    It pauses before the epoch that it does not have, and after a number of micro-batches.
    """

    def __init__(self, epochs: Sequence[Sequence[MicroBatch | None]], most: float) -> None:
        self.epochs, self.left = list(epochs), most

    def __len__(self) -> int:
        return len(self.epochs[0]) if self.epochs else 0

    def __iter__(self) -> Iterator[Batch]:
        if not self.epochs:
            raise Pause
        for batch in self.epochs.pop(0):
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
        self, plan: Plan, first: int, last: int, most: float = math.inf, **options: Any
    ) -> None:
        self.events: list[Event] = []
        self.plan, self.model = plan, Scripted()
        self.loss = Own(lambda tau: self.events.append(Event("draw", {"tau": tau})))
        groups = [*self.model.parameters(), *(self.loss.parameters() if plan.own_parameter else ())]
        self.optimizer = torch.optim.SGD(groups, lr=1 / 8)
        self.optimizer.register_step_post_hook(lambda *_: self._updated())
        if plan.stale:
            for parameter in groups:
                parameter.grad = torch.ones_like(parameter)
        precision, _, switch = plan.precision.partition(" ")
        self.loader = Loader(plan.epochs[first:], most)
        self.trainer = SCMTrainer(
            self.model,
            self.optimizer,
            self.loss,
            self.loader,
            scheduler=torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda k: 0.5**k),
            config=TrainingConfig(
                max_epochs=last,
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
                log_hook=self._logged,
                mixed_precision=bool(precision) and not switch,
                amp_dtype=precision or "float16",
                **options,
            ),
        )
        self.skipped = 0.0

    def _updated(self) -> None:
        values = {"w": self.model.w.item(), "v": self.loss.v.item()}
        self.events.append(Event("update", values | {"global_step": math.nan}))

    def _logged(self, record: dict[str, float]) -> None:
        kind: Any = "validate" if "val_loss" in record else "log"
        self.events.append(Event(kind, record))
        if kind == "log" and record["skipped"] > self.skipped:
            self.skipped = record["skipped"]
            self.events.append(Event("skip", {"skipped": self.skipped}))

    def fit(self) -> int:
        """Train, and return the number of records kept."""
        try:
            self.trainer.fit()
        except NonFiniteError as error:
            named = f"global step {self.trainer.global_step}" in str(error)
            step = self.trainer.global_step if named else math.nan
            self.events.append(Event("error", {"global_step": step}))
        if self.trainer.stopped:
            self.events.append(Event("stop", {"epoch": self.trainer.epoch - 1}))
        return len(self.trainer.log.records)

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
        """Go on from the latest checkpoint of a folder."""
        self.trainer.load_checkpoint(folder)
        self.skipped = self.trainer.skipped_steps

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.trainer.load_state_dict(copy.deepcopy(state))
        self.skipped = self.trainer.skipped_steps


def numbered(events: list[Event], last: int) -> tuple[Event, ...]:
    """Number the updates so that the last one carries the trainer's own count."""
    first = last - sum(event.kind == "update" for event in events)
    found = []
    for event in events:
        first += event.kind == "update"
        own = {"global_step": first} if event.kind == "update" else {}
        found.append(Event(event.kind, {**event.values, **own}))
    return tuple(found)
