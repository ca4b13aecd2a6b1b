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


class Stateful(nn.Module):
    """A model, or a loss, with a parameter, a buffer and extra state, all of one value."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.parameter = nn.Parameter(torch.tensor(value))
        self.register_buffer("buffer", torch.tensor(value))
        self.extra = value

    def get_extra_state(self) -> float:
        """Return the extra state."""
        return self.extra

    def set_extra_state(self, state: float) -> None:
        """Take it back."""
        self.extra = state

    def forward(self, *given: object) -> torch.Tensor:
        """Return the parameter."""
        return self.parameter


def trainer_of(model: nn.Module, optimizer: Any = torch.optim.Adam) -> Any:
    """Return a trainer that has not trained yet."""
    return training.SCMTrainer(model, optimizer(model.parameters()), mean_square, ones(1))


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
            trainer_of(filled(2.0).model, torch.optim.SGD).save_checkpoint(path)

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

        def trainer(value: float) -> tuple[Any, nn.Parameter]:
            model, loss, other = Stateful(value), Stateful(value), nn.Parameter(torch.tensor(value))
            optimizer = torch.optim.SGD([model.parameter, loss.parameter, other], lr=0.1)
            return training.SCMTrainer(model, optimizer, loss, ones(1)), other

        loaded, other = trainer(2.0)
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "run.pt")
            trainer(1.0)[0].save_checkpoint(path)
            loaded.load_checkpoint(path)
        kind, _, owner = what.replace(" state", "").partition(" of ")
        owners = {"the model": loaded.model, "the loss": loaded.loss_fn}
        found = getattr(owners[owner], kind) if owner in owners else other
        return float(found) == 1.0
