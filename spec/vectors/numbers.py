"""The numbers that cases are made of: the edges of each format, their neighbours, and others."""

from __future__ import annotations

import math
from random import Random
from typing import Final

from ..formats import FORMATS, nearest

SINGULAR: Final = (math.inf, -math.inf, math.nan)


def neighbours(dtype: str, x: float) -> list[float]:
    """Return a positive number of a format with the next smaller and the next larger one.

    Of what is no number of the format these are the two around it.
    """
    form, size = FORMATS[dtype], nearest(dtype, x)
    unit = math.ldexp(1.0, max(math.frexp(size)[1] - 1, form.least) - form.precision + 1)
    # Below a power of two numbers lie twice as close, and what is no sum rounds away.
    below = nearest(dtype, size - unit / 2)
    below = below if below < size else size - unit
    return sorted({below, size, nearest(dtype, size + unit)})


def edges(dtype: str) -> list[float]:
    """Return zeros, ends of the subnormal and the normal range, and powers of two, both signs."""
    form = FORMATS[dtype]
    smallest, largest, epsilon = map(float, (form.smallest_normal, form.largest, form.epsilon))
    sizes = [0.0, smallest * epsilon, smallest - smallest * epsilon, smallest, epsilon]
    sizes += [0.5, 1.0 - epsilon / 2, 1.0, 1.0 + epsilon, 3.0, float(2**form.precision), largest]
    return [math.copysign(size, sign) for size in sizes for sign in (1.0, -1.0)]


def uniform(random: Random, least: int, most: int) -> int:
    """Return an integer, alike on every version of Python."""
    return least + int(random.random() * (most - least + 1))


def some(random: Random, dtype: str, count: int, spread: int = 12) -> list[float]:
    """Return numbers of a format whose sizes lie between two powers of two around 1."""
    low, high = (
        max(min(e, FORMATS[dtype].greatest), FORMATS[dtype].least) for e in (-spread, spread)
    )
    sizes = (math.ldexp(1 + random.random(), uniform(random, low, high - 1)) for _ in range(count))
    return [nearest(dtype, size if random.random() < 0.5 else -size) for size in sizes]
