"""Plans played by ``SCMTrainer``."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from torch import nn

from properties.subjects import scripted
from properties.subjects.scripted import Loader, Pause, StatefulLoader, seed_everything
from spec.runs import Epoch, Event, MicroBatch, Plan
from zeroproof.training.curriculum import LossWeightsCurriculum
from zeroproof.training.distributed import rank_and_size
from zeroproof.training.targets import Interval
from zeroproof.training.trainer import NonFiniteError, SCMTrainer, TrainingConfig


def trainer_of(
    model: nn.Module, optimizer: Any, loss: Any, loader: Any, scheduler: Any = None, **options: Any
) -> SCMTrainer:
    """Return a trainer, of one epoch if no options say how many."""
    config = TrainingConfig(**{"max_epochs": 1} | options)
    return SCMTrainer(model, optimizer, loss, loader, scheduler=scheduler, config=config)


class Repeated(Loader):
    """Yields the epoch of the number that it is given.

    Unless a loss looks at them, finite targets of an odd number of samples are intervals of one
    point.
    """

    all: Any
    looked_at = False

    def set_epoch(self, epoch: int) -> None:
        self.all = getattr(self, "all", tuple(self.epochs))
        if self.all is not None:
            self.epochs = list(self.all[epoch:])
        super().set_epoch(epoch)

    def made(self, batch: MicroBatch) -> Any:
        inputs, targets = super().made(batch)
        exact = self.looked_at or len(targets) % 2 == 0 or not targets.isfinite().all()
        return inputs, targets if exact else Interval(targets, targets)


class Session(scripted.Session):
    """A trainer of a plan from an epoch on, and what it was seen to do."""

    _trainer_of = staticmethod(trainer_of)

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
        # What resumes must not lean on its own seed; and ranks draw other numbers.
        seed_everything(plan.seed + resumes + 2 * rank_and_size()[0])
        batches = [*plan.micro_batches, *plan.validation]
        weights = LossWeightsCurriculum({"fit": lambda epoch: plan.weights[epoch]})
        own = {
            "max_epochs": last,
            "max_nonfinite_steps": plan.max_nonfinite,
            "tau_train_min": plan.tau_min,
            "tau_train_max": plan.tau_max,
            "seed": plan.seed,
            "max_grad_norm": plan.max_norm,
            "history_limit": plan.history_limit,
            "scheduler_step": {"validation": "val"}.get(plan.cadence, plan.cadence),
            "loss_curriculum": weights if len(plan.weights) > 1 else None,
            "loss_weights": {"fit": plan.weights[0]} if plan.weights else None,
        }
        kind = StatefulLoader if plan.stateful else Loader
        loader = type("Repeated", (Repeated, kind), {})(plan.epochs, most, shuffle=plan.random)
        loader.looked_at = "loss" in options
        projective = any({*batch.samples} & {*"ti"} for batch in batches)
        super().__init__(plan, loader, projective=projective, **own | options)
        self.skipped, self.skips = 0.0, list[Event]()
        self.progress: tuple[float | None, float | None] = None, None

    def _logged(self, record: dict[str, float]) -> None:
        progress = record.get("global_step"), record.get("skipped")
        if "val_loss" in record or progress != self.progress:
            self._end_window()
        if "val_loss" in record:
            self._validated(record)
            record.clear()  # of which a trainer keeps its own
            return
        self.events.append(Event("log", record.copy()))
        self.progress = progress
        if record["skipped"] > self.skipped:
            self.skipped = record["skipped"]
            self.skips.append(Event("skip", {"skipped": self.skipped}))
        record.clear()

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
        self.events.clear()
        vars(self.loader).update(epochs=[batches], all=None)
        with suppress(Pause):
            self.fit()
        return list(numbered(self.events, self.trainer.global_step))

    def break_off(self, batches: Epoch) -> None:
        """Start an epoch, and break it off after these micro-batches."""
        vars(self.loader).update(epochs=[(*batches, None)], all=None)
        with suppress(KeyboardInterrupt):
            self.trainer.fit()

    def validate(self) -> Event:
        self.trainer.validate()
        return self.events.pop()

    def save(self) -> dict[str, Any]:
        return copy.deepcopy(self.trainer.state_dict())

    def load_latest(self, folder: str) -> None:
        self.trainer.load_checkpoint(folder)
        self.skipped = self.trainer.skipped_steps

    def load(self, state: dict[str, Any]) -> None:
        self.trainer.load_state_dict(copy.deepcopy(state))
        self.skipped = self.trainer.skipped_steps


class CompiledSession(Session):
    """Sees draws and updates by the records, since a graph runs no hook and no Python."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.window, self.values = list[dict[str, float]](), dict[str, float]()
        super().__init__(*arguments, **options)
        self.loss.tells = True

    def _called(self, tau: float, training: bool) -> None:
        if not training:
            super()._called(tau, training)

    def _updated(self) -> None:
        pass

    def _logged(self, record: dict[str, float]) -> None:
        if "val_loss" in record:
            super()._logged(record)
            return
        progress = record["global_step"], record["skipped"]
        if progress != self.progress:
            self._end_window()
            self.progress = progress
            self.values = {"w": self.model.w.item(), "v": self.loss.v.item()}
        self.window.append(record)

    def _end_window(self) -> None:
        """Tell what the records of a window show: draws, the update, logs, the skip."""
        for record in self.window:
            self.events.append(Event("draw", {"tau": record["loss_tau"]}))
        skipped = self.window[0]["skipped"] > self.skipped if self.window else True
        if not skipped:
            self.events.append(Event("update", {**self.values, "global_step": math.nan}))
        self.events += [Event("log", record) for record in self.window]
        if self.window and skipped:
            self.skipped = self.window[0]["skipped"]
            self.events.append(Event("skip", {"skipped": self.skipped}))
        self.window.clear()


def numbered(events: Sequence[Event], last: int) -> tuple[Event, ...]:
    """Number the updates so that the last one carries the trainer's own count."""
    first = last - sum(event.kind == "update" for event in events)
    found = []
    for event in events:
        first += event.kind == "update"
        own = {"global_step": first} if event.kind == "update" else {}
        found.append(Event(event.kind, {**event.values, **own}))
    return tuple(found)
