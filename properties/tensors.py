"""Between the specification's arrays and tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spec import Array


def to_tensor(x: Array) -> Tensor:
    """Return a tensor of the array's values, shape and dtype, laid out in memory as it asks."""
    dtype: torch.dtype = getattr(torch, x.dtype)
    made = torch.float64 if dtype.is_floating_point else dtype
    tensor = torch.tensor(x.values, dtype=made).to(dtype).reshape(x.shape)
    if x.layout == "transposed":
        order = list(reversed(range(tensor.dim())))
        return tensor.permute(order).contiguous().permute(order)
    if x.layout == "strided" and tensor.dim() and dtype.is_floating_point:
        return torch.stack([tensor, torch.full_like(tensor, math.nan)], dim=-1)[..., 0]
    return tensor


def to_array(x: Tensor) -> Array:
    """Return a tensor's elements, exactly."""
    x = x.detach()
    values = (x.double() if x.is_floating_point() else x).flatten().tolist()
    return Array(tuple(values), tuple(x.shape), str(x.dtype).removeprefix("torch."))


def flags(x: Tensor) -> tuple[bool, ...]:
    """Return a mask's elements in order."""
    return tuple(x.flatten().tolist())
