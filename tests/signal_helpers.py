"""What the tests of signals share: what sends them and when, and a run that they end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers import Batch, fit_loss, make_trainer, pole_batches, same, small_model, weights
from zeroproof.training.trainer import SCMTrainer

BATCHES = 4
ENDED = {"SIGINT": KeyboardInterrupt, "SIGTERM": SystemExit, "SIGHUP": SystemExit}


def number_of(name: str) -> signal.Signals:
    return signal.Signals[name]


def send(*names: str) -> None:
    for name in names:
        os.kill(os.getpid(), number_of(name))


class Once:
    """Does something at one of the times that it is called."""

    def __init__(self, at: int, action: Callable[[], None]) -> None:
        self.left, self.action = at, action

    def __call__(self, *_: object) -> None:
        self.left -= 1
        if self.left == 0:
            self.action()


class Shuffled:
    """A loader that draws an order, and calls ``before`` before each of its micro-batches."""

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self.batches, self.before = pole_batches([4] * BATCHES), before

    def __iter__(self) -> Iterator[Batch]:
        for index in torch.randperm(BATCHES).tolist():
            self.before()
            yield self.batches[index]


def signalled(name: str = "SIGINT") -> None:
    """Send a signal, and fail, as what the same signal ends does."""
    send(name)
    raise OSError("something fails")


def noisy(
    loader: Any = None, validated: Any = None, loss: Any = fit_loss, **options: Any
) -> SCMTrainer:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Dropout(0.2), small_model())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=9.0)
    given = {"max_epochs": 2, "val_loader": validated or pole_batches((5,)), **options}
    return make_trainer(
        model, loader or Shuffled(), loss, optimizer=optimizer, scheduler=plateau,
        scheduler_step="val", **given,
    )  # fmt: skip


def ends_as_if_whole(trainer: SCMTrainer, updates: int, folder: Path, name: str = "SIGINT") -> None:
    """Fit; the signal ends it after so many updates, and the resumed run is the uninterrupted."""
    with pytest.raises(ENDED[name]) as caught:
        trainer.fit()
    assert name == "SIGINT" or caught.value.code == 128 + number_of(name)
    whole, rest = noisy(), noisy()
    whole.fit()
    rest.load_checkpoint(folder)
    assert rest.global_step == trainer.global_step == updates
    rest.fit()
    assert same(weights(rest.model), weights(whole.model))
    assert repr(rest.val_history) == repr(whole.val_history)  # where NaN equals NaN
    assert rest.update.optimizer.param_groups[0]["lr"] == 0.0001, "a plateau in each epoch"
