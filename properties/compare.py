"""Tensors as bits."""

from __future__ import annotations

import math

import torch
from torch import Tensor

INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def bits(x: Tensor) -> Tensor:
    """Return the bit patterns, one pattern for every NaN."""
    x = x.detach().contiguous()
    x = torch.where(torch.isnan(x), torch.full_like(x, math.nan), x)
    return x.view(INTEGERS[x.element_size()])


def assert_same(actual: Tensor, expected: Tensor, what: str) -> None:
    """Fail unless two tensors agree in shape, in dtype and bit for bit, NaN equal to NaN."""
    kinds = [(tuple(x.shape), x.dtype) for x in (actual, expected)]
    assert kinds[0] == kinds[1], f"{what}: got {kinds[0]}, expected {kinds[1]}"
    if actual.is_floating_point():
        same = bool((bits(actual) == bits(expected)).all())
    else:
        same = torch.equal(actual, expected)
    assert same, f"{what}: got {actual!r}, expected {expected!r}"
