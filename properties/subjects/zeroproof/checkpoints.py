"""Checkpoints of ``SCMTrainer``, saved by a process that is killed, and loaded from bad files."""

from __future__ import annotations

import os
import shutil
import signal as signals
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

import torch
from torch import nn

from properties.subjects.files import Checkpoints, Counting, Kill
from properties.subjects.tasks import mean_square, ones
from properties.subjects.zeroproof.ranks import on_ranks
from properties.subjects.zeroproof.scripted import trainer_of
from spec.checkpoints import Interrupted, Killed, Second
from zeroproof.training import checkpoint
from zeroproof.training.trainer import SCMTrainer


@contextmanager
def in_the_foreground() -> Iterator[None]:
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


class ZeroProofCheckpoints(Checkpoints):
    """``SCMTrainer.save_checkpoint`` and ``load_checkpoint``."""

    _trainer_of = staticmethod(trainer_of)
    _refusal = checkpoint.CheckpointError, FileNotFoundError
    _header = MappingProxyType({"format": checkpoint.FORMAT, "version": 1})

    def _shown(self, trainer: SCMTrainer) -> str:
        """Leave out the state of the global generators, which files are made with."""
        return repr({k: v for k, v in trainer.state_dict().items() if k != "position"})

    def _newer(self, path: str) -> None:
        state = checkpoint.read_checkpoint(path)
        torch.save(state | {"version": checkpoint.VERSION + 1}, path)

    def _of_more_ranks(self, path: str) -> None:
        state = checkpoint.read_checkpoint(path)
        state["position"]["ranks"] *= 2
        torch.save(state, path)

    def _holding(self, user: Counting) -> dict[str, Any]:
        return {"extra_state": {"user": user}}

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

    def interrupted_ranks(self, signal: str, ranks: int) -> list[Interrupted]:
        return on_ranks(lambda rank: self.interrupted(signal, sent=rank == ranks - 1), ranks)

    def interrupted(self, signal: str, place: str = "update", *, sent: bool = True) -> Interrupted:
        """Send the signal in the third update, or its save, and look at what is left."""
        layer, updates, user = nn.Linear(2, 1), list[int](), Counting(1.0)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)

        def send() -> dict[str, float]:
            if len(updates) == 3 and sent:
                os.kill(os.getpid(), getattr(signals, signal))
            return {"value": 1.0}

        def step(*_: object) -> None:
            updates.append(1)
            if place == "update":
                send()

        optimizer.register_step_post_hook(step)
        saves: dict[str, Any] = {}
        if place == "save":
            user.state_dict = send  # type: ignore[method-assign]
            saves = {"checkpoint_every": 1, "extra_state": {"user": user}}
        with tempfile.TemporaryDirectory() as folder:
            new = Path(folder, "of", "this run")
            trainer = trainer_of(
                layer, optimizer, mean_square, ones(9), checkpoint_dir=new, **saves
            )
            try:
                with in_the_foreground():
                    trainer.fit()
                raised = ""
            except BaseException as error:
                raised = type(error).__name__
            saved = [checkpoint.read_checkpoint(p) for p in checkpoint.checkpoints(new)]
        steps = [state["counters"]["global_step"] for state in saved]
        return Interrupted(raised, len(updates) - 3, saved=steps[-1:] == [len(updates)])

    def in_folder(self, case: str) -> Second:
        """Train 3 updates into a folder, and then up to 6."""
        with tempfile.TemporaryDirectory() as name:
            folder, other = Path(name) / "run", Path(name) / "other"
            first, second, reader = (_run_into(folder, epochs) for epochs in (1, 2, 2))
            theirs, updates, error = dict[str, bytes](), list[int](), ""

            def train_first(*_: object) -> None:
                if not theirs:
                    first.fit()
                    theirs.update(_files(folder))

            def updated(*_: object) -> None:
                updates.append(1)
                train_first()

            second.update.optimizer.register_step_post_hook(updated)
            if case != "at once":
                train_first()
            if case == "several runs":
                _run_into(other, 1).fit()
                shutil.copytree(other, folder, dirs_exist_ok=True)
            try:
                if case in ("loaded", "several runs"):
                    second.load_checkpoint(folder)
                elif case == "later checkpoints":
                    second.load_checkpoint(checkpoint.checkpoints(folder)[0])
                second.fit()
            except (ValueError, checkpoint.CheckpointError) as refusal:
                error = type(refusal).__name__
            kept = case == "loaded" or theirs.items() <= _files(folder).items()
            with suppress(checkpoint.CheckpointError):
                reader.load_checkpoint(folder)
            return Second(error, len(updates), kept, reader.micro_step == second.micro_step)


def _run_into(folder: Path, epochs: int) -> SCMTrainer:
    """Return a trainer that saves after each update."""
    layer = nn.Linear(2, 1)
    saves: dict[str, Any] = {"checkpoint_dir": folder, "checkpoint_every": 1, "keep_checkpoints": 2}
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    return trainer_of(layer, optimizer, mean_square, ones(3), max_epochs=epochs, **saves)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
