"""Runs of ``SCMTrainer`` that get a signal, and in which something fails then."""

from __future__ import annotations

import os
import signal as signals
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

from properties.subjects.tasks import Batch, mean_square, ones
from properties.subjects.zeroproof.checkpoints import in_the_foreground
from properties.subjects.zeroproof.scripted import trainer_of
from spec.signals import BrokenOff
from zeroproof.training import checkpoint

BATCHES = 4


class Failing:
    """A loader that draws as if to shuffle, and calls ``fail`` before one of its micro-batches."""

    def __init__(self, at: int, fail: Callable[[], None]) -> None:
        # Not as a number, which a checkpoint of the loader would hold.
        self._left, self._fail = iter(range(at)) if at >= 0 else count(), fail

    def __iter__(self) -> Iterator[Any]:
        torch.rand(())
        for batch in ones(BATCHES):
            if next(self._left, None) is None:
                self._fail()
            yield batch


class Run:
    """A run of two epochs, in whose second one something fails."""

    def __init__(
        self, what: str, fail: Callable[[], None], max_epochs: int = 2, **options: Any
    ) -> None:
        torch.manual_seed(0)
        self.records: list[dict[str, float]] = []
        self.what, self.fail, self.begun, self.made = what, fail, 0, 0
        layer = nn.Sequential(nn.Dropout(), nn.Linear(2, 1))
        self.optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
        self.optimizer.register_step_pre_hook(self._step)
        self.optimizer.register_step_post_hook(self._stepped)
        plateau = ReduceLROnPlateau(self.optimizer, patience=0, threshold=10.0)
        # A resumed run first fetches two, to check the loader.
        at = {"first fetch": BATCHES, "fetch": BATCHES + 2, "resumed fetch": 2}.get(what, -1)
        self.loader: Any = Failing(at, fail)
        if what == "worker":
            data = TensorDataset(torch.ones(12, 2), torch.ones(12, 1))
            self.loader = DataLoader(data, 3, num_workers=1, multiprocessing_context="fork")
        validated = Failing(1 if what == "validation" else -1, fail)
        self.losses = count(1)
        self.trainer = trainer_of(
            layer, self.optimizer, self._loss, self.loader, plateau, max_epochs=max_epochs,
            scheduler_step="val", val_loader=validated, log_hook=self._log, **options,
        )  # fmt: skip

    def _loss(self, outputs: Tensor, lifted: Batch) -> Tensor:
        if next(self.losses) == 2 * BATCHES + 3 and self.what == "loss":  # the third of an epoch
            self.fail()
        return mean_square(outputs, lifted)

    def _step(self, *_: object) -> None:
        self.begun += 1
        if self.begun == BATCHES + 2 and self.what in ("worker", "save"):
            self.fail()

    def _stepped(self, *_: object) -> None:
        self.made += 1

    def _log(self, record: dict[str, float]) -> None:
        self.records.append(record)
        if len(self.records) == BATCHES + 3 and self.what == "hook":
            self.fail()

    @property
    def left(self) -> str:
        rate = self.optimizer.param_groups[0]["lr"]
        return repr([rate, *self.trainer.model.state_dict().values()])


def _send(signal: str, what: str) -> None:
    os.kill(os.getpid(), getattr(signals, signal))
    if what == "worker":
        for child in torch.multiprocessing.active_children():
            child.kill()
            os.waitid(os.P_PID, child.pid or 0, os.WEXITED | os.WNOWAIT)  # the death is noted here
    elif what != "save":
        raise KeyboardInterrupt if what == "first fetch" else OSError("something fails")


class ZeroProofSignals:
    """Runs that something breaks off."""

    def broken_off(self, what: str, signal: str) -> BrokenOff:
        with tempfile.TemporaryDirectory() as folder, in_the_foreground():
            whole = Run(what, lambda: None)
            whole.trainer.fit()
            run = Run(what, partial(_send, signal, what), checkpoint_dir=folder)
            raised = ""
            if what == "resumed fetch":
                begun = Run("", lambda: None, max_epochs=1)
                begun.trainer.fit()
                run.trainer.load_state_dict(begun.trainer.state_dict())
                run.begun, run.made, run.records = begun.begun, begun.made, begun.records
            with warnings.catch_warnings(record=True) as warned, ExitStack() as stack:
                warnings.simplefilter("always", RuntimeWarning)
                if what == "save":
                    stack.enter_context(mock.patch("torch.save", side_effect=OSError))
                try:
                    run.trainer.fit()
                except BaseException as error:
                    raised = type(error).__name__
            saved, rest = 0, Run(what, lambda: None)
            if checkpoint.checkpoints(folder):
                rest.trainer.load_checkpoint(folder)
                saved = rest.trainer.global_step
                rest.trainer.fit()
        records = run.records + rest.records
        validated = [int(record["epoch"]) for record in records if "val_loss" in record]
        same = rest.left == whole.left and repr(records) == repr(whole.records)
        told = any("not saved" in str(warning.message) for warning in warned)
        return BrokenOff(raised, run.begun, run.made, saved, validated, same, told)
