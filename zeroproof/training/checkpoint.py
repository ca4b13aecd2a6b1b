"""Checkpoints: written whole or not at all, read without running code from the file."""

from __future__ import annotations

import os
import pickle
import re
import tempfile
from pathlib import Path
from typing import Any, Final

import torch

from zeroproof.training.builtin import to_builtin

FORMAT = "zeroproof-checkpoint"
VERSION = 4
READABLE = 2, 3, 4  # 1 could not say where in an epoch it was
NAME: Final = re.compile(r"step-\d{10}(-[0-9a-f]{12})?\.pt")  # earlier releases named no run
RUN: Final = slice(len("step-0123456789"), None)  # where a name has its run


class CheckpointError(RuntimeError):
    """A checkpoint file is damaged, foreign, newer than this package, or does not fit."""


def write_checkpoint(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write a state to a temporary name in the same folder, flush it, and rename it.

    Raises OSError when the folder cannot be written, and CheckpointError when a part of the state
    could not be loaded; the old file then stays. Meets: RES-2, RES-5.
    """
    try:
        state = {name: to_builtin(part, name) for name, part in state.items()}
    except TypeError as error:
        raise CheckpointError(f"nothing was saved: {error}") from error
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save({"format": FORMAT, "version": VERSION, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a state that :func:`write_checkpoint` wrote, onto the CPU.

    Args:
        path: a file, or a ``checkpoint_dir``, whose latest checkpoint is taken.

    Raises:
        FileNotFoundError: there is no such file, or none in the folder.
        CheckpointError: the file is damaged, foreign or newer, or the folder has several runs.

    Meets: RES-3, RES-7.
    """
    if Path(path).is_dir():
        latest = {found.stem[RUN]: found for found in checkpoints(path)}
        if not latest:
            raise FileNotFoundError(f"{path} holds no checkpoint (step-*.pt)")
        if len(latest) > 1:
            names = [found.name for found in latest.values()]
            raise CheckpointError(f"{path} holds several runs; load one of these files: {names}")
        (path,) = latest.values()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except pickle.UnpicklingError as error:  # torch's message says how to switch safety off
        refused = re.search(r"GLOBAL (\S+) was not", str(error))
        reason = f"only code could restore its {refused[1]}" if refused else "it is damaged"
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {reason}") from None
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {error}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of zeroproof")
    if (version := state.get("version")) not in READABLE:
        newer = isinstance(version, int) and version > VERSION
        remedy = "upgrade zeroproof-scm" if newer else "load it with the release that wrote it"
        raise CheckpointError(
            f"{path} has version {version}, this package reads {READABLE[0]} to {VERSION}; {remedy}"
        )
    return state


def checkpoints(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the checkpoints of a folder, the oldest first."""
    return sorted(path for path in Path(folder).glob("step-*.pt") if NAME.fullmatch(path.name))


def check_folder(folder: str | os.PathLike[str], run: int, step: int) -> str:
    """Return the name, less its suffix, of a run's checkpoint after ``step`` micro-batches.

    Raises ValueError if the folder has checkpoints of another run, or later ones. Meets: RES-7.
    """
    name = f"step-{step:010d}" + (f"-{run:012x}" if run else "")
    for path in checkpoints(folder):
        if path.stem[RUN] != name[RUN] or path.stem > name:
            raise ValueError(
                f"checkpoint_dir {folder} holds {path.name}, which another run wrote, or this one "
                "later; use another folder, or continue from it: load_checkpoint(checkpoint_dir)"
            )
    return name


def write_latest(folder: str | os.PathLike[str], state: dict[str, Any], count: int) -> None:
    """Write a state, named by its micro-batches and run, and remove all but the run's latest."""
    name = check_folder(folder, state["run"], state["counters"]["micro_step"])
    write_checkpoint(Path(folder) / f"{name}.pt", state)
    own = [path for path in checkpoints(folder) if path.stem[RUN] == name[RUN]]
    for old in own[:-count]:
        old.unlink(missing_ok=True)
