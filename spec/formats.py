"""The IEEE formats that approximate numbers with ⊥, and correct rounding to them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Final

from .algebra import BOTTOM, Bottom, Number, Rationals


@dataclass(frozen=True)
class Format:
    """A binary IEEE format: bits of precision, least and greatest exponent of a normal number."""

    precision: int
    least: int
    greatest: int

    @cached_property
    def epsilon(self) -> Fraction:
        """The distance from 1 to the next larger number."""
        return Fraction(2) ** (1 - self.precision)

    @cached_property
    def smallest_normal(self) -> Fraction:
        """The least positive number of full precision."""
        return Fraction(2) ** self.least

    @cached_property
    def largest(self) -> Fraction:
        """The greatest finite number."""
        return (2 - self.epsilon) * Fraction(2) ** self.greatest


FORMATS: Final = {
    "float16": Format(11, -14, 15),
    "bfloat16": Format(8, -126, 127),
    "float32": Format(24, -126, 127),
    "float64": Format(53, -1022, 1023),
}


@lru_cache(2**17)
def from_ieee(x: float) -> Number:
    """Return what a float stands for: its exact value, and ⊥ for NaN and ±∞."""
    return Fraction(x) if math.isfinite(x) else BOTTOM


def _floor_log2(n: int, d: int) -> int:
    guess = n.bit_length() - d.bit_length()
    below = n < d << guess if guess >= 0 else n << -guess < d
    return guess - below


def _scaled(n: int, d: int, exponent: int) -> tuple[int, int]:
    """Return numerator and denominator of ``n / d / 2^exponent``."""
    return (n, d << exponent) if exponent >= 0 else (n << -exponent, d)


def _in_units(form: Format, units: int, exponent: int) -> float | Bottom:
    """Return ``units · 2^exponent``, ⊥ beyond the largest finite number of a format."""
    too_large = units.bit_length() + exponent > form.greatest + 1
    return BOTTOM if too_large else math.ldexp(units, exponent)


def round_to(dtype_name: str, x: Number) -> float | Bottom:
    """Return the float nearest to ``x`` in a format, the even one of two equally near.

    ⊥ is for ⊥, and for what rounds beyond the largest finite number.
    """
    if isinstance(x, Bottom):
        return BOTTOM
    n, d = abs(x.numerator), x.denominator
    if n == 0:
        return 0.0
    form = FORMATS[dtype_name]
    exponent = max(_floor_log2(n, d), form.least) - form.precision + 1
    n, d = _scaled(n, d, exponent)
    units, rest = divmod(n, d)
    units += 2 * rest > d or (2 * rest == d and units % 2)
    size = _in_units(form, units, exponent)
    return -size if x.numerator < 0 and not isinstance(size, Bottom) else size


def root_to(dtype_name: str, x: Number) -> float | Bottom:
    """Return the float nearest to the square root of ``x``; ⊥ for ⊥ and for ``x < 0``."""
    if isinstance(x, Bottom) or x < 0:
        return BOTTOM
    n, d = x.numerator, x.denominator
    if n == 0:
        return 0.0
    form = FORMATS[dtype_name]
    exponent = max(_floor_log2(n, d) // 2, form.least) - form.precision + 1
    n, d = _scaled(n, d, 2 * exponent)
    units = math.isqrt(n // d)
    excess = 4 * n - (2 * units + 1) ** 2 * d
    units += excess > 0 or (excess == 0 and units % 2)
    return _in_units(form, units, exponent)


def nearest(dtype_name: str, x: float) -> float:
    """Return the float of a format nearest to another, as IEEE rounds: ±∞ beyond the largest.

    It is :func:`round_to` for floats, with the sign of zeros and of infinities kept.
    """
    if x == 0 or not math.isfinite(x):
        return x
    form = FORMATS[dtype_name]
    exponent = max(math.frexp(x)[1] - 1, form.least) - form.precision + 1
    size = _in_units(form, round(math.ldexp(abs(x), -exponent)), exponent)
    return math.copysign(math.inf if isinstance(size, Bottom) else size, x)


def _rounds(operation: str) -> Callable[..., Number]:
    exact = getattr(Rationals(), operation)

    def method(self: Floats, *elements: Number) -> Number:
        x = exact(*elements)
        rounded = round_to(self.dtype_name, x)
        if not isinstance(x, Bottom) and x != 0:
            underflow = abs(x) < FORMATS[self.dtype_name].smallest_normal
            self.left_range |= underflow or isinstance(rounded, Bottom)
        return BOTTOM if isinstance(rounded, Bottom) else Fraction(rounded)

    return method


class Floats(Rationals):
    """The numbers of a format with ⊥, under operations that are rounded once, division included.

    It notes whether a result has over- or underflowed, that is, whether it was too large or too
    small for a number of full precision.
    """

    def __init__(self, dtype_name: str) -> None:
        self.dtype_name = dtype_name
        self.left_range = False

    add, mul, inv, div = map(_rounds, ("add", "mul", "inv", "div"))
