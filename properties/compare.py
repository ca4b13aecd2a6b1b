"""Tensors as exact numbers and as bits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import jaxtyping
import torch
from torch import Tensor

INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def name_of(dtype: torch.dtype) -> str:
    """Return the name by which ``spec`` knows a format."""
    return str(dtype).removeprefix("torch.")


def floats(x: Tensor) -> list[float]:
    """Return the elements in order; every format here is exact in a Python float."""
    values: list[float] = x.detach().double().flatten().tolist()
    return values


def exact(x: Tensor) -> list[Fraction]:
    """Return the elements of a finite tensor in order, exactly."""
    return [Fraction(value) for value in floats(x)]


def flags(x: Tensor) -> list[bool]:
    """Return the elements of a mask in order."""
    values: list[bool] = x.flatten().tolist()
    return values


def tensor_of(values: list[float], like: Tensor) -> Tensor:
    """Return values, all representable, as a tensor of the shape and dtype of another."""
    return torch.tensor(values, dtype=torch.float64).to(like.dtype).reshape(like.shape)


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


def leaf(x: Tensor) -> Tensor:
    """Return a copy of a tensor that collects a gradient."""
    return x.detach().clone().requires_grad_()


def backward(y: Tensor, gradient: Tensor | None = None) -> None:
    """Run the backward pass of a tensor, from the given gradient or that of a scalar."""
    y.backward(gradient)  # type: ignore[no-untyped-call]


def gradient_of(x: Tensor) -> Tensor:
    """Return the gradient that a leaf collected, zeros if none reached it."""
    return torch.zeros_like(x) if x.grad is None else x.grad


@contextmanager
def without_shape_checks() -> Iterator[None]:
    """Call as a user does, for whom annotations are not checked and the library must refuse."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
