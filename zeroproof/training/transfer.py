"""Numbers on their way from the device to the host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

Number: TypeAlias = float | Tensor
"""Python's number, or a scalar."""


class Transfer:
    """A copy of a tensor that the host reads later, when it is long there (STEP-4).

    From a CUDA device the copy goes through pinned memory, and no one waits for it before
    :meth:`read`; elsewhere the tensor is read as it is.
    """

    def __init__(self, x: Tensor) -> None:
        self._host, self._arrived = x, None
        if x.device.type == "cuda":
            self._host = torch.empty(x.shape, dtype=x.dtype, pin_memory=True)
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.send(x)

    def send(self, x: Tensor) -> None:
        """Copy another tensor of that shape and device; the one before has been read."""
        if self._arrived is None:
            self._host = x
        else:
            self._host.copy_(x, non_blocking=True)
            self._arrived.record()

    def read(self) -> Any:
        """Return the elements as nested lists of Python's numbers."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._host.tolist()


def to_host(scalars: Sequence[Tensor]) -> list[float]:
    """Return scalars of one device as numbers, after one wait for it."""
    if scalars[0].device.type == "cpu":
        return [x.item() for x in scalars]  # cheaper than to stack them
    numbers: list[float] = torch.stack(list(scalars)).tolist()
    return numbers


def waits(x: Tensor) -> bool:
    """Tell whether to read a tensor would take a wait, or break a graph."""
    return not x.is_cpu or torch.compiler.is_compiling()


def number(x: Tensor) -> Number:
    """Return a scalar as Python's number if that takes no wait, and otherwise without its graph."""
    return x.detach() if waits(x) else x.item()


def bounded(x: Number, lower: float, upper: float) -> Number:
    """Return the number within the bounds; NaN stays NaN."""
    return x.clamp(lower, upper) if isinstance(x, Tensor) else min(max(x, lower), upper)


def as_scalar(x: Number, like: Tensor) -> Tensor:
    """Return a number as a scalar, of a tensor's dtype and on its device, without a wait."""
    if isinstance(x, Tensor):
        return x.to(like.dtype)
    try:
        return torch.full((), x, dtype=like.dtype, device=like.device)
    except RuntimeError:  # it is beyond the dtype's largest number
        return torch.full((), math.copysign(math.inf, x), dtype=like.dtype, device=like.device)


def from_host(values: Sequence[float], device: torch.device) -> Tensor:
    """Return numbers as a float64 vector on a device, again without a wait."""
    vector = torch.tensor(values, dtype=torch.float64)
    if device.type == "cuda":
        vector = vector.pin_memory()
    return vector.to(device, non_blocking=True)


def to_vector(numbers: Sequence[Number], like: Tensor) -> Tensor:
    """Return numbers as a vector, of a tensor's dtype and on its device."""
    scalars = [x for x in numbers if isinstance(x, Tensor)]
    if scalars and len(scalars) == len(numbers) and len({x.dtype for x in scalars}) == 1:
        return torch.stack(scalars).to(like.dtype)
    if scalars:
        return torch.stack([as_scalar(x, like) for x in numbers])
    return from_host(numbers, like.device).to(like.dtype)  # type: ignore[arg-type]
