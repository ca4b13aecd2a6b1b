"""Checkpoints: written whole or not at all, read without running code from the file."""

from __future__ import annotations

import io
import os
import pickle
import re
import reprlib
import secrets
import sys
import tempfile
from collections import Counter, OrderedDict
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

FORMAT = "zeroproof-checkpoint"
VERSION = 4
NAME: Final = re.compile(r"step-\d{10}(-[0-9a-f]{12})?\.pt")  # 0.4.0 named no run
RUN: Final = slice(len("step-0123456789"), None)  # where a name has its run
PLAIN: Final = {type(None), bool, int, float, complex, str, bytes, Tensor, nn.Parameter}
MOST_BITS: Final = 2000  # torch reads integers of up to 255 bytes


class CheckpointError(RuntimeError):
    """A checkpoint file is damaged, foreign, newer than this package, or does not fit."""


def write_checkpoint(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write a state to a temporary name in the same folder, flush it, and rename it.

    Raises OSError when the folder cannot be written, and CheckpointError when a part of the state
    could not be loaded; the old file then stays. Meets: RES-2, RES-5.
    """
    state, path = plain_state(state), Path(path).resolve()  # the file that a link stands for
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(name, "xb") as file:
            torch.save({"format": FORMAT, "version": VERSION, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        name.unlink(missing_ok=True)
        raise


def plain_state(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state as :func:`to_builtin` does; CheckpointError for what could not be loaded."""
    try:
        return {name: to_builtin(part, name) for name, part in state.items()}
    except TypeError as error:
        raise CheckpointError(f"nothing was saved: {error}") from error


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
    if (version := state.get("version")) != VERSION:
        newer = isinstance(version, int) and version > VERSION
        remedy = "upgrade zeroproof-scm" if newer else "zeroproof-scm 0.4.0 reads earlier ones"
        raise CheckpointError(f"{path} has version {version}, not {VERSION}; {remedy}")
    return state


def checkpoints(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the checkpoints of a folder, the oldest first."""
    return sorted(path for path in Path(folder).glob("step-*.pt") if NAME.fullmatch(path.name))


def check_folder(folder: str | os.PathLike[str], run: int, step: int) -> str:
    """Return the name, less its suffix, of a run's checkpoint after ``step`` micro-batches.

    Raises ValueError if the folder has checkpoints of another run, or later ones, and OSError if it
    cannot be written to. Meets: RES-7.
    """
    name = f"step-{step:010d}-{run:012x}"
    for path in checkpoints(folder):
        if path.stem[RUN] != name[RUN] or path.stem > name:
            raise ValueError(
                f"checkpoint_dir {folder} holds {path.name}, which another run wrote, or this one "
                "later; use another folder, or continue from it: load_checkpoint(checkpoint_dir)"
            )
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return name
    except OSError as error:
        wrong = f"checkpoint_dir {folder} cannot be written to: {error}; give another folder"
        raise OSError(wrong) from error


def write_latest(folder: str | os.PathLike[str], state: dict[str, Any], count: int) -> None:
    """Write a state, named by its micro-batches and run, and remove all but the run's latest."""
    name = check_folder(folder, state["run"], state["counters"]["micro_step"])
    write_checkpoint(Path(folder) / f"{name}.pt", state)
    own = [path for path in checkpoints(folder) if path.stem[RUN] == name[RUN]]
    for old in own[:-count]:
        old.unlink(missing_ok=True)


def to_builtin(value: Any, name: str = "state") -> Any:
    """Return a state whose parts all have types that ``torch.load(weights_only=True)`` reads.

    NumPy's numbers become Python's, its arrays tensors (lists, if uint16 or wider); instances of
    subclasses of dict, list, int, float and str become instances of these. Tensors are shared.
    Raises TypeError for anything else; the message begins with its place. Meets: RES-5.

    Example:
        >>> import numpy as np
        >>> to_builtin({"rate": np.float64(0.5), "mean": np.zeros(2)})
        {'rate': 0.5, 'mean': tensor([0., 0.], dtype=torch.float64)}
    """
    if type(value) in PLAIN and (type(value) is not int or value.bit_length() < MOST_BITS):
        return value
    if isinstance(value, dict):
        kind = type(value) if type(value) in (OrderedDict, Counter) else dict
        items = [
            (to_builtin(key, f"a key of {name}"), to_builtin(part, f"{name}[{key!r}]"))
            for key, part in value.items()
        ]
        whole = kind(dict(items))
        if kind is OrderedDict:  # that of a module has the versions of its parts
            vars(whole).update(to_builtin(vars(value), name))
        return whole
    if isinstance(value, list) or type(value) in (tuple, set):
        parts = [to_builtin(part, f"{name}[{i}]") for i, part in enumerate(value)]
        return parts if isinstance(value, list) else type(value)(parts)
    plain = _plain(value)
    if type(plain) is not type(value):
        return to_builtin(plain, name)
    try:  # torch's other types, and those that the program has declared safe
        torch.save(value, file := io.BytesIO())
        torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    except Exception:
        raise TypeError(
            f"{name} is a {type(value).__qualname__}, {reprlib.repr(value)}, which only code could "
            "restore; save numbers, strings, tensors, or lists, tuples, sets and dicts of them"
        ) from None
    return value


def _plain(value: Any) -> Any:
    """Return a number, string or array in a builtin type or as a tensor, else the value itself."""
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return value if value.dtype.kind in "mM" else value.item()  # a time has a unit
    if numpy is not None and type(value) is numpy.ndarray:
        if value.dtype.kind == "u" and value.dtype.itemsize > 1:
            return value.tolist()  # torch's own cannot be sent from rank to rank
        with suppress(TypeError, ValueError):  # such as an array of strings
            return torch.from_numpy(value.copy())
    for kind in () if isinstance(value, Enum) else (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value
