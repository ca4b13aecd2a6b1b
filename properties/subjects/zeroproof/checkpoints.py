"""Checkpoints of ``SCMTrainer``, saved by a process that is killed, and loaded from bad files."""

from __future__ import annotations

import os
import signal as signals
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from spec.checkpoints import Interrupted, Killed, Loaded
from zeroproof.training import checkpoint
from zeroproof.training.trainer import SCMTrainer, TrainingConfig


class Kill(BaseException):
    """The end of a process."""


def _trainer(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> SCMTrainer:
    return SCMTrainer(
        model,
        optimizer or torch.optim.Adam(model.parameters()),
        lambda outputs, lifted: outputs.square().mean(),
        [(torch.ones(3, 2), torch.ones(3, 1))],
        config=TrainingConfig(max_epochs=1),
    )


class Stateful(nn.Module):
    """A model or a loss with a parameter, a buffer and extra state."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((2,), value))
        self.register_buffer("seen", torch.full((2,), value))
        self.extra = value

    def get_extra_state(self) -> float:
        """Return what is no tensor."""
        return self.extra

    def set_extra_state(self, state: float) -> None:
        """Put it back."""
        self.extra = state

    def forward(self, x: torch.Tensor, lifted: object = None) -> torch.Tensor:
        """Return outputs, and of outputs a loss."""
        return (x * self.weight).sum()[None] if lifted is None else (x * self.weight).sum()


class Counting:
    """An object of the user's, such as an average of the weights."""

    def __init__(self, value: float) -> None:
        self.value = value

    def state_dict(self) -> dict[str, float]:
        """Return the state."""
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Put it back."""
        self.value = state["value"]


class Everything:
    """A trainer of all that a run may consist of, filled with one number."""

    def __init__(self, value: float) -> None:
        self.model, self.loss, self.user = Stateful(value), Stateful(value), Counting(value)
        self.free = nn.Parameter(torch.full((2,), value))
        parameters = [*self.model.parameters(), *self.loss.parameters(), self.free]
        self.trainer = SCMTrainer(
            self.model,
            torch.optim.SGD(parameters, lr=0.0),
            self.loss,
            [(torch.ones(1, 2), torch.ones(1))],
            config=TrainingConfig(max_epochs=1, extra_state={"user": self.user}),
        )

    def found(self, what: str) -> object:
        """Return a part of the state, by its name in :data:`spec.checkpoints.STATEFUL`."""
        owner = self.model if what.endswith("model") else self.loss
        if what.startswith("parameter"):
            return self.free.tolist() if what.endswith("neither") else owner.weight.tolist()
        if what.startswith("buffer"):
            return owner.get_buffer("seen").tolist()
        return self.user.value if what.endswith("user") else owner.extra


@contextmanager
def _in_the_foreground() -> Iterator[None]:
    """Let Ctrl-C through, which a shell's background jobs ignore."""
    before = signals.signal(signals.SIGINT, signals.default_int_handler)
    try:
        yield
    finally:
        signals.signal(signals.SIGINT, before)


@contextmanager
def _killed(at: int) -> Iterator[None]:
    """Kill at the given call that a save makes; what was not flushed when renamed is lost."""
    calls, flushed = 0, False

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            if calls == at:
                raise Kill
            calls += 1
            return call(*args, **kwargs)

        return wrapper

    def save(state: Any, file: Any) -> None:
        nonlocal flushed
        flushed = False
        torch_save(state, file)
        if calls == at:
            file.truncate(100)
            raise Kill

    def fsync(descriptor: int) -> None:
        nonlocal flushed
        flushed = True

    def replace(source: str, target: str) -> None:
        assert Path(source).parent == Path(target).parent, "renamed across folders"
        if not flushed:
            os.truncate(source, 100)
        rename(source, target)

    torch_save, rename = torch.save, os.replace
    with (
        mock.patch("torch.save", counted(save)),
        mock.patch("tempfile.mkstemp", counted(tempfile.mkstemp)),
        mock.patch("os.fsync", counted(fsync)),
        mock.patch("os.replace", counted(replace)),
        mock.patch.object(Path, "unlink", return_value=None),  # the dead clean nothing up
    ):
        yield


def _shown(trainer: SCMTrainer) -> str:
    """Return the state, but for that of the global generators, which files are made with."""
    return repr({k: v for k, v in trainer.state_dict().items() if k != "position"})


class Hostile:
    """Runs code when it is unpickled by the careless."""

    ran = False

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return _run, ()


def _run() -> None:
    Hostile.ran = True


def _bad_file(what: str, path: Path) -> None:
    _trainer(nn.Linear(2, 1)).save_checkpoint(path)
    if what == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    elif what == "garbage":
        path.write_bytes(bytes(range(256)))
    elif what == "foreign":
        torch.save({"state": 1}, path)
    elif what == "newer":
        state = checkpoint.read_checkpoint(path)
        torch.save(state | {"version": checkpoint.VERSION + 1}, path)
    elif what == "hostile":
        torch.save({"format": checkpoint.FORMAT, "version": 1, "model": Hostile()}, path)
    elif what == "of another model":
        _trainer(nn.Linear(2, 1, bias=False)).save_checkpoint(path)
    elif what == "of another optimizer":
        layer = nn.Linear(2, 1)
        groups = [{"params": [p]} for p in layer.parameters()]
        _trainer(layer, torch.optim.Adam(groups)).save_checkpoint(path)


class ZeroProofCheckpoints:
    """``SCMTrainer.save_checkpoint`` and ``load_checkpoint``."""

    def save_killed(self, at: int) -> Killed:
        """Save over an old checkpoint, up to a call."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.pt"
            checkpoint.write_checkpoint(path, {"content": "old"})
            done = True
            try:
                with _killed(at):
                    checkpoint.write_checkpoint(path, {"content": "new"})
            except Kill:
                done = False
            try:
                found = checkpoint.read_checkpoint(path)["content"]
            except checkpoint.CheckpointError:
                found = "neither"
        return Killed(found, done)

    def load(self, what: str) -> Loaded:
        """Load into a trainer with weights of its own."""
        trainer, error, Hostile.ran = _trainer(nn.Linear(2, 1)), "", False
        trainer.fit()
        before = _shown(trainer)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.pt"
            _bad_file(what, path)
            try:
                trainer.load_checkpoint(path)
            except checkpoint.CheckpointError as caught:
                error = type(caught).__name__
        return Loaded(error, _shown(trainer) != before, Hostile.ran)

    def survives(self, what: str) -> bool:
        """Save a run, and load it into another trainer."""
        saved, loaded = Everything(2.0), Everything(3.0)
        with tempfile.TemporaryDirectory() as folder:
            saved.trainer.save_checkpoint(Path(folder) / "run.pt")
            loaded.trainer.load_checkpoint(Path(folder) / "run.pt")
        return loaded.found(what) == saved.found(what)

    def interrupted(self, signal: str) -> Interrupted:
        """Send the signal in the third update, and look at what is left."""
        layer, updates = nn.Linear(2, 1), list[int]()
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)

        def step(*_: object) -> None:
            updates.append(1)
            if len(updates) == 3:
                os.kill(os.getpid(), getattr(signals, signal))

        optimizer.register_step_post_hook(step)
        with tempfile.TemporaryDirectory() as folder:
            trainer = SCMTrainer(
                layer,
                optimizer,
                lambda outputs, lifted: outputs.square().mean(),
                [(torch.ones(3, 2), torch.ones(3, 1))] * 9,
                config=TrainingConfig(max_epochs=1, checkpoint_dir=folder),
            )
            try:
                with _in_the_foreground():
                    trainer.fit()
                raised = ""
            except BaseException as error:
                raised = type(error).__name__
            saved = [checkpoint.read_checkpoint(p) for p in checkpoint.checkpoints(folder)]
        steps = [state["counters"]["global_step"] for state in saved]
        return Interrupted(raised, len(updates) - 3, saved=steps == [len(updates)])

    def checkpoint_keys(self, wrapper: str) -> list[str]:
        """Save a wrapped model's state."""
        inner = nn.Linear(2, 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, as it is imported
            model: Any = nn.DataParallel(inner) if wrapper == "module." else torch.compile(inner)
        return list(_trainer(model).state_dict()["model"])
