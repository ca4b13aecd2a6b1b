"""Checkpoints: written whole or not at all, read without running code from the file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import torch

FORMAT = "zeroproof-checkpoint"
VERSION = 4
READABLE = 2, 3, 4  # 1 could not say where in an epoch it was


class CheckpointError(RuntimeError):
    """A checkpoint file is damaged, foreign, newer than this package, or does not fit."""


def write_checkpoint(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write a state to a temporary name in the same folder, flush it, and rename it.

    Raises OSError when the folder cannot be written; the old file then stays. Meets: RES-2.
    """
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
        CheckpointError: the file is damaged, foreign or newer.

    Meets: RES-3.
    """
    if Path(path).is_dir():
        found = checkpoints(path)
        if not found:
            raise FileNotFoundError(f"{path} holds no checkpoint (step-*.pt)")
        path = found[-1]
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
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
    return sorted(Path(folder).glob("step-*.pt"))


def write_latest(folder: str | os.PathLike[str], state: dict[str, Any], count: int) -> None:
    """Write a state, named by its micro-batches, and remove all but the latest checkpoints."""
    write_checkpoint(Path(folder) / f"step-{state['counters']['micro_step']:010d}.pt", state)
    for old in checkpoints(folder)[:-count]:
        old.unlink(missing_ok=True)
