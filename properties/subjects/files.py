"""Checkpoints: of trainers that hold all that there is, read from bad files, of wrapped models."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from properties.assertions import Unsupported
from properties.subjects.tasks import mean_square, ones
from spec.checkpoints import Loaded, Saved

try:
    import numpy
except ImportError:  # which torch does without
    numpy = None  # type: ignore[assignment]


class Kill(BaseException):
    """The end of a process."""


class Stateful(nn.Module):
    """A model or a loss with a parameter, a buffer and extra state."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((2,), value))
        self.register_buffer("seen", torch.full((2,), value))
        self.extra = value

    def get_extra_state(self) -> float:
        return self.extra

    def set_extra_state(self, state: float) -> None:
        self.extra = state

    def forward(self, x: torch.Tensor, lifted: object = None) -> torch.Tensor:
        """Return outputs, and of outputs a loss."""
        return (x * self.weight).sum()[None] if lifted is None else (x * self.weight).sum()


class Counting:
    """An object of the user's, such as an average of the weights."""

    def __init__(self, value: float) -> None:
        self.value = value

    def state_dict(self) -> dict[str, float]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.value = state["value"]


class Everything:
    """All that a run may consist of, filled with one number."""

    def __init__(self, value: float) -> None:
        self.model, self.loss, self.user = Stateful(value), Stateful(value), Counting(value)
        self.free = nn.Parameter(torch.full((2,), value))
        parameters = [*self.model.parameters(), *self.loss.parameters(), self.free]
        self.optimizer = torch.optim.SGD(parameters, lr=0.0)

    def found(self, what: str) -> object:
        """Return a part of the state, by its name in :data:`spec.checkpoints.STATEFUL`."""
        owner = self.model if what.endswith("model") else self.loss
        if what.startswith("parameter"):
            return self.free.tolist() if what.endswith("neither") else owner.weight.tolist()
        if what.startswith("buffer"):
            return owner.get_buffer("seen").tolist()
        return self.user.value if what.endswith("user") else owner.extra


class Hostile:
    """Runs code when it is unpickled by the careless."""

    ran = False

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return run, ()


def run() -> None:
    Hostile.ran = True


class Phase(Enum):
    """A constant by name."""

    FIRST = 1


VALUES: dict[str, Any] = {
    "number": 0.1, "string": "a", "list": [1, (None, True)], "set": {1}, "dictionary": {(1,): b"a"},
    "tensor": torch.ones(2), "dictionary with a default": defaultdict(list, {"a": [1]}),
    "path": Path("a"), "function": run, "object": Counting(1.0), "enumeration": Phase.FIRST,
}  # fmt: skip
"""The values of :data:`spec.checkpoints.LOADABLE` and ``UNLOADABLE``."""
if numpy is not None:
    VALUES |= {
        "number of NumPy": numpy.float64(0.1), "array": numpy.arange(4.0).reshape(2, 2)[::-1],
        "dictionary with keys of NumPy": {numpy.int64(1): [numpy.float32(0.5)]},
        "array of objects": numpy.array([None]),
    }  # fmt: skip


class Checkpoints:
    """``save_checkpoint`` and ``load_checkpoint`` of the trainers that a subclass makes."""

    _trainer_of: Callable[..., Any]
    _refusal: type[Exception] | tuple[type[Exception], ...] = Exception
    """What a refused file raises."""
    _header: Mapping[str, Any] = {}
    """What a file has beside its state."""

    def _filled(
        self, value: float, *, bias: bool = True, apart: bool = False, kind: Any = torch.optim.Adam
    ) -> Any:
        """Return a trainer whose weights are all alike, perhaps each in a group of its own."""
        layer = nn.Linear(2, 1, bias=bias)
        for parameter in layer.parameters():
            nn.init.constant_(parameter, value)
        groups: Any = [{"params": [p]} for p in layer.parameters()]
        optimizer = kind(groups if apart else layer.parameters())
        return self._trainer_of(layer, optimizer, mean_square, ones(1))

    def _shown(self, trainer: Any) -> str:
        raise NotImplementedError

    def _newer(self, path: str) -> None:
        """Write a file of the next version over one of this."""
        raise NotImplementedError

    def _of_more_ranks(self, path: str) -> None:
        """Write a file of another rank over one of this."""
        raise NotImplementedError

    def _bad_file(self, what: str, path: str) -> None:
        self._filled(2.0, bias=what != "of another model").save_checkpoint(path)
        if what == "truncated":
            os.truncate(path, os.path.getsize(path) // 2)
        elif what == "garbage":
            Path(path).write_bytes(bytes(range(256)))
        elif what == "missing":
            os.remove(path)
        elif what == "foreign":
            torch.save({"state": 1}, path)
        elif what == "newer":
            self._newer(path)
        elif what == "of more ranks":
            self._of_more_ranks(path)
        elif what == "hostile":
            torch.save({**self._header, "model": Hostile(), "optimizer": {}}, path)
        elif what == "of another optimizer":
            self._filled(2.0, apart=True).save_checkpoint(path)
        elif what == "of another kind of optimizer":
            self._filled(2.0, kind=torch.optim.SGD).save_checkpoint(path)

    def save_failed(self) -> tuple[str, list[str]]:
        errors = list[str]()
        with tempfile.TemporaryDirectory() as folder:
            for error in (OSError, KeyboardInterrupt):
                with mock.patch("torch.save", side_effect=error):
                    try:
                        self._filled(1.0).save_checkpoint(str(Path(folder) / "run.pt"))
                    except error:
                        errors.append(error.__name__)
            return " ".join(errors) if len(errors) == 2 else "", os.listdir(folder)

    def load(self, what: str) -> Loaded:
        trainer, error, Hostile.ran = self._filled(1.0), "", False
        trainer.fit()
        before = self._shown(trainer)
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "run.pt")
            self._bad_file(what, path)
            try:
                trainer.load_checkpoint(folder if what == "missing" else path)
            except self._refusal as caught:
                error = type(caught).__name__
        return Loaded(error, self._shown(trainer) != before, Hostile.ran)

    def checkpoint_keys(self, wrapper: str) -> list[str]:
        inner = nn.Linear(2, 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch imports deprecated code
            model: Any = nn.DataParallel(inner) if "module." in wrapper else inner
            model = torch.compile(model) if "_orig_mod." in wrapper else model
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "run.pt")
            optimizer = torch.optim.Adam(model.parameters())
            self._trainer_of(model, optimizer, mean_square, ones(1)).save_checkpoint(path)
            return list(torch.load(path)["model"])

    def _holding(self, user: Counting) -> dict[str, Any]:
        """Return the options by which a trainer saves an object of the user's."""
        return {}

    def survives(self, what: str) -> bool:
        """Save a run, and load it into another trainer."""
        runs = saved, loaded = Everything(2.0), Everything(3.0)
        one, other = (
            self._trainer_of(r.model, r.optimizer, r.loss, ones(1), **self._holding(r.user))
            for r in runs
        )
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "run.pt")
            one.save_checkpoint(path)
            other.load_checkpoint(path)
        return loaded.found(what) == saved.found(what)

    def saved(self, value: str) -> Saved:
        """Save and load an optimizer that has a value in its parameters' group."""
        if value not in VALUES:
            raise Unsupported("NumPy is not installed")
        optimizers, trainers = [], []
        for _ in range(2):
            layer = nn.Linear(2, 1)
            optimizers.append(torch.optim.SGD(layer.parameters(), lr=0.1))
            trainers.append(self._trainer_of(layer, optimizers[-1], mean_square, ones(1)))
        groups, error, equal = [o.param_groups[0] for o in optimizers], "", False
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.pt"
            trainers[0].save_checkpoint(str(path))
            before = path.read_bytes()
            groups[0]["place"] = VALUES[value]
            try:
                trainers[0].save_checkpoint(str(path))
            except Exception as refusal:
                error = str(refusal)
            kept = os.listdir(folder) == ["run.pt"] and path.read_bytes() == before
            with suppress(Exception):
                trainers[1].load_checkpoint(str(path))
                found = optimizers[1].param_groups[0].get("place")
                equal = _listed(found) == _listed(VALUES[value])
        return Saved(error, equal, kept)


def _listed(value: Any) -> Any:
    """Return an array or a tensor as lists."""
    return value.tolist() if hasattr(value, "tolist") else value
