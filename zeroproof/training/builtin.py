"""States in types that torch reads without running code."""

from __future__ import annotations

import io
import reprlib
import sys
from collections import Counter, OrderedDict
from contextlib import suppress
from enum import Enum
from typing import Any, Final

import torch
from torch import Tensor, nn

PLAIN: Final = {type(None), bool, int, float, complex, str, bytes, Tensor, nn.Parameter}
MOST_BITS: Final = 2000  # torch reads integers of up to 255 bytes


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
