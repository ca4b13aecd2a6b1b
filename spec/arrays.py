"""What subjects take and give: arrays of floats that any library can read, and their equality."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Array:
    """Elements in row-major order, a shape, the name of a dtype, and how memory is laid out.

    Every floating-point format here is exact in a Python float. The layout is a wish that a
    subject may ignore: ``"contiguous"``, ``"transposed"`` or ``"strided"``.
    """

    values: tuple[float, ...]
    shape: tuple[int, ...]
    dtype: str = "float64"
    layout: str = "contiguous"

    @staticmethod
    def of(values: Sequence[float], dtype: str = "float64") -> Array:
        """Return a vector."""
        return Array(tuple(values), (len(values),), dtype)

    @staticmethod
    def full(value: float, like: Array) -> Array:
        """Return an array of one value, alike in shape and dtype."""
        return like.with_values([value] * len(like.values))

    def with_values(self, values: Sequence[float]) -> Array:
        """Return the same array with other elements."""
        return Array(tuple(values), self.shape, self.dtype)


def identical(x: float, y: float) -> bool:
    """Tell whether two floats have the same bits; every NaN is the same."""
    if math.isnan(x) or math.isnan(y):
        return math.isnan(x) and math.isnan(y)
    return x == y and math.copysign(1.0, x) == math.copysign(1.0, y)


def same(x: Array, y: Array) -> bool:
    """Tell whether two arrays agree in shape, in dtype and bit for bit."""
    return (
        (x.shape, x.dtype) == (y.shape, y.dtype)
        and len(x.values) == len(y.values)
        and all(map(identical, x.values, y.values))
    )
