"""Checkpoints of ``SCMTrainer``, saved by a process that is killed, and loaded from bad files."""

from __future__ import annotations

import copy
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


def _trainer(model: nn.Module) -> SCMTrainer:
    return SCMTrainer(
        model,
        torch.optim.Adam(model.parameters()),
        lambda outputs, lifted: outputs.square().mean(),
        [(torch.ones(3, 2), torch.ones(3, 1))],
        config=TrainingConfig(max_epochs=1),
    )


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
        before = copy.deepcopy(trainer.state_dict())
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.pt"
            _bad_file(what, path)
            try:
                trainer.load_checkpoint(path)
            except checkpoint.CheckpointError as caught:
                error = type(caught).__name__
        after = trainer.state_dict()
        changed = repr(before["model"]) != repr(after["model"])
        return Loaded(error, changed or before["counters"] != after["counters"], Hostile.ran)

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
