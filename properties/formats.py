"""Every number of the small IEEE formats."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from functools import cache

from spec import Array

HALVES = ("float16", "bfloat16")
EIGHTHS = ("float8_e5m2", "float8_e4m3fn")
# In which 8-bit numbers are held, since torch, as most libraries, has no arithmetic in these.
WIDER = (*HALVES, "float32")


def _unpacked(code: str, bits: int) -> float:
    (value,) = struct.unpack(code, bits.to_bytes(struct.calcsize(code), "little"))
    return float(value)


def _float8_e4m3fn(bits: int) -> float:
    exponent, mantissa = bits >> 3 & 15, bits & 7
    if (exponent, mantissa) == (15, 7):
        return math.nan
    size = math.ldexp(8 + mantissa, exponent - 10) if exponent else math.ldexp(mantissa, -9)
    return math.copysign(size, -1.0 if bits & 128 else 1.0)


DECODERS: dict[str, tuple[int, Callable[[int], float]]] = {
    "float16": (16, lambda bits: _unpacked("<e", bits)),
    "bfloat16": (16, lambda bits: _unpacked("<f", bits << 16)),
    "float8_e5m2": (8, lambda bits: _unpacked("<e", bits << 8)),
    "float8_e4m3fn": (8, _float8_e4m3fn),
}


@cache
def values_of(format: str) -> tuple[float, ...]:
    """Return all numbers of a format in the order of their bits, NaN once."""
    width, decode = DECODERS[format]
    values = [decode(bits) for bits in range(2**width)]
    return (*(v for v in values if not math.isnan(v)), math.nan)


@cache
def every(format: str) -> Array:
    """Return a vector of all numbers of a half-precision format, in that format."""
    return Array.of(values_of(format), format)


@cache
def pairs(format: str, dtype: str) -> tuple[Array, Array]:
    """Return all pairs of numbers of an 8-bit format, as two vectors of a wider dtype."""
    values = values_of(format)
    first = [x for x in values for _ in values]
    return Array.of(first, dtype), Array.of(values * len(values), dtype)
