"""Checkpoints: written whole or not at all, read without running code from the file."""

from __future__ import annotations

import os
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

FORMAT = "zeroproof-checkpoint"
VERSION = 3
READABLE = 2, 3  # 1 could not say where in an epoch it was


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
            f"{path} has version {version}, this package reads version {VERSION}; {remedy}"
        )
    return state


def checkpoint_path(folder: str | os.PathLike[str], micro_step: int) -> Path:
    """Return the name of the checkpoint that is written after so many micro-batches."""
    return Path(folder) / f"step-{micro_step:010d}.pt"


def checkpoints(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the checkpoints of a folder, the oldest first."""
    return sorted(Path(folder).glob("step-*.pt"))


def keep_latest(folder: str | os.PathLike[str], count: int) -> None:
    """Remove all but the latest checkpoints of a folder."""
    for old in checkpoints(folder)[:-count]:
        old.unlink(missing_ok=True)


def unwrap(model: nn.Module) -> nn.Module:
    """Return the user's own module, without the wrappers that prefix its keys (RES-3)."""
    while True:
        parallel = isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel))
        inner = getattr(model, "module" if parallel else "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def plain(state: Any) -> Any:
    """Turn NumPy's arrays into lists, which a checkpoint may hold (RES-3)."""
    if isinstance(state, dict):
        return {key: plain(value) for key, value in state.items()}
    if isinstance(state, Tensor):
        return state
    return state.tolist() if hasattr(state, "tolist") else state


def _generators(loader: object) -> list[torch.Generator]:
    """Return the distinct generators of a loader and of its samplers, in a fixed order."""
    sampler, batch_sampler = (getattr(loader, n, None) for n in ("sampler", "batch_sampler"))
    nested = [getattr(s, "sampler", None) for s in (sampler, batch_sampler)]
    owners = [loader, sampler, batch_sampler, *nested]
    found = [getattr(owner, "generator", None) for owner in owners]
    return list(dict.fromkeys(g for g in found if isinstance(g, torch.Generator)))


def random_state(loader: object) -> dict[str, Any]:
    """Return the global random states, and those of the generators a loader draws on."""
    numpy: Any = sys.modules.get("numpy")
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": None if numpy is None else numpy.random.get_state(legacy=False),
        "loader": [generator.get_state() for generator in _generators(loader)],
    }


def restore_random_state(state: dict[str, Any], loader: object) -> None:
    """Put back what :func:`random_state` returned."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    random.setstate(state["python"])
    if state["numpy"] is not None and "numpy" in sys.modules:
        sys.modules["numpy"].random.set_state(state["numpy"])
    for generator, generator_state in zip(_generators(loader), state["loader"], strict=False):
        generator.set_state(generator_state)
