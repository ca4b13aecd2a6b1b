"""RES: checkpoints of ``SCMTrainer``, saved by a process that is killed, loaded from bad files."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from properties.assertions import Unsupported
from properties.subjects.third_party.adapters.updates import mean_square, ones
from spec.checkpoints import Killed, Loaded

training: Any = import_module("zeroproof.training")


class Kill(BaseException):
    """The end of a process."""


class Hostile:
    """Runs code when it is unpickled by the careless."""

    ran = False

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return run, ()


def run() -> None:
    """Be run."""
    Hostile.ran = True


class Stateful(nn.BatchNorm1d):
    """A model, or a loss, with parameters, buffers and extra state of one value."""

    def __init__(self, value: float) -> None:
        super().__init__(1)
        self.extra = value
        for part in (self.weight, self.running_mean):
            part.data.fill_(value)  # type: ignore[union-attr]

    def get_extra_state(self) -> float:
        """Return the extra state."""
        return self.extra

    def set_extra_state(self, state: float) -> None:
        """Take it back."""
        self.extra = state


def trainer_of(model: nn.Module, groups: Any = ()) -> Any:
    """Return a trainer that has not trained yet, perhaps with groups of parameters."""
    optimizer = torch.optim.Adam(groups or model.parameters())
    return training.SCMTrainer(model, optimizer, mean_square, ones(1))


def filled(value: float) -> Any:
    """Return a trainer whose weights are all alike."""
    layer = nn.Linear(2, 1)
    for parameter in layer.parameters():
        nn.init.constant_(parameter, value)
    return trainer_of(layer)


class PublicCheckpoints:
    """``save_checkpoint`` and ``load_checkpoint``."""

    def save_killed(self, at: int) -> Killed:
        """Save over an old checkpoint: killed before the file is written, within, or not."""
        save = torch.save

        def cut(state: object, path: str) -> None:
            if at > 0:
                save(state, path)
                os.truncate(path, 100)
            raise Kill

        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "run.pt")
            filled(1.0).save_checkpoint(path)
            done = False
            try:
                with mock.patch("torch.save", cut if at < 2 else save):
                    filled(2.0).save_checkpoint(path)
                done = True
            except Kill:
                pass
            reader = filled(3.0)
            try:
                reader.load_checkpoint(path)
                found = {1.0: "old", 2.0: "new"}[reader.model.bias.item()]
            except Exception:
                found = "neither"
        return Killed(found, done)

    def _bad_file(self, what: str, path: str) -> None:
        filled(2.0).save_checkpoint(path)
        if what == "truncated":
            os.truncate(path, os.path.getsize(path) // 2)
        elif what == "garbage":
            Path(path).write_bytes(bytes(range(256)))
        elif what == "foreign":
            torch.save({"state": 1}, path)
        elif what == "newer":
            self._newer(path)
        elif what == "hostile":
            torch.save({"model": Hostile(), "optimizer": {}}, path)
        elif what == "of another model":
            other = nn.Linear(2, 1, bias=False)
            nn.init.constant_(other.weight, 2.0)
            trainer_of(other).save_checkpoint(path)
        elif what == "of another optimizer":
            model = filled(2.0).model
            trainer_of(model, [{"params": [p]} for p in model.parameters()]).save_checkpoint(path)

    def _newer(self, path: str) -> None:
        raise Unsupported("a version of the files")

    def load(self, what: str) -> Loaded:
        """Load into a trainer with weights of its own."""
        trainer, error, Hostile.ran = filled(1.0), "", False

        def state() -> str:
            return repr([trainer.model.state_dict(), trainer.optimizer.state_dict()])

        before = state()
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "run.pt")
            self._bad_file(what, path)
            try:
                trainer.load_checkpoint(path)
            except Exception as caught:
                error = type(caught).__name__
        return Loaded(error, state() != before, Hostile.ran)

    def checkpoint_keys(self, wrapper: str) -> list[str]:
        """Save a wrapped model's state."""
        inner = nn.Linear(2, 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, as it is imported
            model: Any = nn.DataParallel(inner) if wrapper == "module." else torch.compile(inner)
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "run.pt")
            trainer_of(model).save_checkpoint(path)
            return list(torch.load(path)["model"])

    def survives(self, what: str) -> bool:
        """Save a trainer of things that are 1, and load into one of others."""
        if what == "object of the user":
            raise Unsupported("objects of the user in a checkpoint")

        def trainer(value: float) -> Any:
            modules = model, loss = Stateful(value), Stateful(value)
            free = nn.Parameter(torch.tensor(value))
            optimizer = torch.optim.SGD([*(m.weight for m in modules), free], lr=0.1)
            return training.SCMTrainer(model, optimizer, loss, ones(1))

        loaded = trainer(2.0)
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "run.pt")
            trainer(1.0).save_checkpoint(path)
            loaded.load_checkpoint(path)
        kind, _, owner = what.partition(" of ")
        if owner == "neither":
            return float(loaded.optimizer.param_groups[0]["params"][-1]) == 1.0
        of = loaded.model if owner == "the model" else loaded.loss_fn
        names = {"parameter": "weight", "buffer": "running_mean", "extra state": "extra"}
        return float(getattr(of, names[kind])) == 1.0
