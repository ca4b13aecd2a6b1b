"""What an object is made of: its random generators and numbers, and what a batch holds."""

from __future__ import annotations

import ctypes
import hashlib
import random
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

FEW: Final = 32  # longer lists hold samples, not parts
MOST: Final = 10_000
PARTS: Final = "__iter__", "__getitem__", "__next__", "set_epoch", "get_lock"


def parts(whole: Any) -> dict[str, Any]:
    """Return what an object is made of, by path.

    For a loader these are its samplers, data sets, transforms and loaders, their random generators,
    tensors and numbers. Long lists, and what iterators and modules hold, are not looked into.
    """
    found, seen, waiting = dict[str, Any](), set[int](), deque([("", whole)])
    while waiting and len(seen) < MOST:
        path, part = waiting.popleft()
        if type(part) in (int, float):
            found[path] = part
        if id(part) in seen:
            continue
        seen.add(id(part))
        inner: Any = {}
        if type(part) in (list, tuple, dict) and len(part) <= FEW:
            inner = part if type(part) is dict else dict(enumerate(part))
        elif isinstance(part, Tensor) or _accessors(part) is not None:
            found[path] = part
        elif _is_part(part):
            found[path], inner = part, vars(part)
        waiting.extend((f"{path}.{n}", x) for n, x in inner.items() if n != "_iterator")
    return found


def _is_part(value: Any) -> bool:
    """Tell whether a value is an object that yields, holds or makes data."""
    if isinstance(value, (type, nn.Module)) or not hasattr(value, "__dict__"):
        return False
    return callable(value) or any(hasattr(type(value), name) for name in PARTS)


def _accessors(part: Any) -> tuple[Callable[[], Any], Callable[[Any], object]] | None:
    """Return what reads and what sets the state of a random generator; None of anything else."""
    numpy: Any = sys.modules.get("numpy")
    if isinstance(part, torch.Generator):
        return part.get_state, part.set_state
    if isinstance(part, random.Random) and not isinstance(part, random.SystemRandom):
        return part.getstate, part.setstate
    if numpy is not None and isinstance(part, numpy.random.RandomState):
        return partial(part.get_state, legacy=False), part.set_state
    if numpy is not None and isinstance(part, numpy.random.Generator):
        bits = part.bit_generator
        return partial(getattr, bits, "state"), partial(setattr, bits, "state")
    return None


_numpy_latest: tuple[bytes, Any] = b"", None
"""The memory of NumPy's global generator, and its state; no memory beside a saved Gaussian."""


def _numpy_state(*, quick: bool = False) -> Any:
    """Return the state of NumPy's global generator.

    To ask NumPy for it takes 35 µs, a third of a compiled update. ``quick`` returns the same object
    while the generator's memory is the same. After ``set_state`` it may be wrong: a Gaussian that
    NumPy has drawn ahead lies elsewhere.
    """
    global _numpy_latest
    numpy: Any = sys.modules.get("numpy")
    if numpy is None:
        return None
    memory = b""
    if quick:
        bits: Any = getattr(numpy.random, "get_bit_generator", object)()
        if type(bits).__name__ == "MT19937":  # 624 words and a position
            memory = ctypes.string_at(bits.ctypes.state_address, 4 * 625)
    if not memory or memory != _numpy_latest[0]:
        state = numpy.random.get_state(legacy=False)
        _numpy_latest = b"" if state["has_gauss"] else memory, state
    return _numpy_latest[1]


def random_state(loader: object, *, quick: bool = False) -> dict[str, Any]:
    """Return the global random states, and those of the generators that a loader draws on.

    A ``quick`` state is for use in this process.
    """
    readers = ((path, _accessors(part)) for path, part in parts(loader).items())
    used: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if used else [],
        "python": random.getstate(),
        "numpy": _numpy_state(quick=quick),
        "loader": {path: both[0]() for path, both in readers if both is not None},
    }


def restore_random_state(state: dict[str, Any], loader: object) -> None:
    """Restore what :func:`random_state` returned."""
    global _numpy_latest
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    random.setstate(state["python"])
    numpy: Any = sys.modules.get("numpy")
    if numpy and state["numpy"] and _numpy_state(quick=True) is not state["numpy"]:
        numpy.random.set_state(state["numpy"])
        _numpy_latest = b"", None
    if loader is None:
        return
    found = parts(loader)
    for path, generator_state in state["loader"].items():
        if (both := _accessors(found.get(path))) is not None:
            both[1](generator_state)


def numbers(loader: object) -> dict[str, float]:
    """Return the numbers that a loader and its parts hold, such as a counter of epochs."""
    return {path: x for path, x in parts(loader).items() if type(x) in (int, float)}


def restore_numbers(loader: object, known: dict[str, float]) -> None:
    """Restore what :func:`numbers` returned."""
    found = parts(loader)
    for path, number in known.items():
        owner, _, name = path.rpartition(".")
        if path in found and hasattr(found.get(owner), "__dict__"):
            vars(found[owner])[name] = number


def global_state_moved(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Tell whether a global random state, of Python, NumPy or torch's CPU, was drawn on."""
    places = [repr((state["python"], state["numpy"])) for state in (before, after)]
    return places[0] != places[1] or not torch.equal(before["torch"], after["torch"])


def fingerprint(batch: Any) -> str:
    """Return a hash of a nest: of tensors their dtypes, shapes and bytes, and of plain values."""
    digest, waiting, seen = hashlib.sha256(), [batch], set[int]()
    while waiting:
        x = waiting.pop()
        if isinstance(x, Tensor) and x.layout is torch.strided:
            x = x.detach().cpu().resolve_conj().resolve_neg().contiguous()
            digest.update(f"{x.dtype}{tuple(x.shape)}".encode())
            digest.update(
                (ctypes.c_char * (x.numel() * x.element_size())).from_address(x.data_ptr())
            )
        elif isinstance(x, (list, tuple)):
            waiting += [len(x), *x]
        elif isinstance(x, Mapping):
            waiting += [len(x), *x.keys(), *x.values()]
        elif is_dataclass(x) and id(x) not in seen:
            seen.add(id(x))
            waiting += [getattr(x, field.name, None) for field in fields(x)]
        elif hasattr(x, "tobytes") and getattr(getattr(x, "dtype", None), "kind", "") != "O":
            form = f"{getattr(x, 'dtype', '')}{getattr(x, 'shape', '')}"
            digest.update(form.encode() + x.tobytes())
        elif isinstance(x, (str, bytes, float, int)) or x is None:
            digest.update(repr(x).encode())
    return digest.hexdigest()
