"""Learning rates: when the scheduler steps, and whether it is long enough."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
)

from zeroproof.training.config import TrainingConfig

RISING = ("coverage", "recall", "denom")  # parts of names of what is better when it is larger


class SchedulerStepper:
    """Steps a scheduler of the optimizer's rates, if there is one, as the configuration says.

    Raises ValueError for a scheduler of another optimizer, and a ``ReduceLROnPlateau`` without a
    metric, or whose mode is not its metric's.

    Meets: STEP-2, STEP-7, STEP-10, STEP-12.
    """

    def __init__(
        self, scheduler: LRScheduler | None, config: TrainingConfig, optimizer: Optimizer
    ) -> None:
        self.scheduler, self._config = scheduler, config
        of = getattr(scheduler, "optimizer", optimizer)
        own = {id(group) for group in optimizer.param_groups}
        if of is not optimizer and own.isdisjoint(map(id, of.param_groups)):
            raise ValueError(
                "the scheduler changes the rates of another optimizer; make it of the one that "
                "the trainer gets"
            )
        self._step, self._metric = config.scheduler_step, config.scheduler_metric
        if isinstance(scheduler, ReduceLROnPlateau):
            if self._step != "val":
                raise ValueError(
                    "ReduceLROnPlateau needs a metric; give scheduler_step='val' and a val_loader"
                )
            falls = self._metric.startswith("val_loss")
            mode = "min" if falls or not any(x in self._metric for x in RISING) else "max"
            if scheduler.mode != mode:
                raise ValueError(
                    f"the scheduler's mode is {scheduler.mode!r}, but {self._metric} is better "
                    f"when it is {'larger' if mode == 'max' else 'smaller'}; make it {mode!r}"
                )

    def check_length(self, loader: Iterable[Any], epoch: int, done: int, due: bool) -> None:
        """Raise ValueError if the scheduler ends before training.

        That has made ``done`` micro-batches of the epoch; ``due`` if a validation is left.
        """
        config = self._config
        steps, size = config.max_epochs - epoch, config.gradient_accumulation_steps
        steps += due and self._step == "val"
        if self._step == "update":
            # A loader of unknown length shows its own only in training.
            planned = config.planned_updates(loader) or 0
            steps = planned // config.max_epochs * steps + -done // size
        for needed, most in _step_limits(self.scheduler, steps):
            if needed > most:
                raise ValueError(
                    f"the scheduler ends after {most} steps, but training makes {needed}; give it "
                    f"total_steps={needed}, for one of updates planned_updates(train_loader) of "
                    "the TrainingConfig. A loaded one has the total_steps of its checkpoint"
                )

    def after(self, event: str, record: Mapping[str, float] | None = None) -> None:
        """Step, if configured, after an applied ``"update"``, an ``"epoch"``, or a ``"val"``.

        Raises KeyError for a metric that the validation's record lacks, and ValueError for NaN.
        """
        if self.scheduler is None or self._step != event:
            return
        if event == "update":
            self.scheduler.step()
        elif record is None or not isinstance(self.scheduler, ReduceLROnPlateau):
            with warnings.catch_warnings():  # if the epochs so far have skipped all updates
                warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
                self.scheduler.step()
        elif self._metric not in record:
            raise KeyError(
                f"scheduler_metric {self._metric!r} is not in the validation's record, "
                f"which has {', '.join(sorted(record))}"
            )
        elif math.isnan(record[self._metric]):
            raise ValueError(
                f"scheduler_metric {self._metric!r} is nan, which would cut the rate; look for NaN "
                "in the inputs of val_loader, or give a metric that every validation has"
            )
        else:
            self.scheduler.step(record[self._metric])


def _step_limits(scheduler: object, steps: int) -> Iterator[tuple[int, int]]:
    """Yield, for each scheduler with a last step, how many it will have made, and may make."""
    if isinstance(scheduler, OneCycleLR):
        yield scheduler.last_epoch + steps, scheduler.total_steps
    elif isinstance(scheduler, ChainedScheduler):
        for part in scheduler._schedulers:
            yield from _step_limits(part, steps)
    elif isinstance(scheduler, SequentialLR):
        last, begins = scheduler.last_epoch + steps, scheduler._milestones
        ends = [*(min(begin - 1, last) for begin in begins), last]
        for part, begin, end in zip(scheduler._schedulers, [0, *begins], ends, strict=True):
            yield from _step_limits(part, end - begin - getattr(part, "last_epoch", 0))
