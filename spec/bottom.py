"""ALG and BOT: rational numbers with ⊥, and the IEEE formats that approximate them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Final, TypeAlias


class Bottom(Enum):
    """The absorptive element of the common meadow."""

    BOTTOM = "⊥"


BOTTOM: Final = Bottom.BOTTOM
Number: TypeAlias = Fraction | Bottom


def add(x: Number, y: Number) -> Number:
    """ALG core, BOT-1: ``x + y``, and ⊥ if an operand is ⊥."""
    if isinstance(x, Bottom) or isinstance(y, Bottom):
        return BOTTOM
    return x + y


def neg(x: Number) -> Number:
    """ALG core, BOT-1: ``−x``, and ⊥ for ⊥."""
    return BOTTOM if isinstance(x, Bottom) else -x


def sub(x: Number, y: Number) -> Number:
    """ALG core, BOT-1: ``x − y`` is ``x + (−y)``."""
    return add(x, neg(y))


def mul(x: Number, y: Number) -> Number:
    """ALG core, BOT-1: ``x · y``, and ⊥ if an operand is ⊥, so that ``0 · ⊥ = ⊥``."""
    if isinstance(x, Bottom) or isinstance(y, Bottom):
        return BOTTOM
    return x * y


def inv(x: Number) -> Number:
    """ALG inverse, BOT-3: ``x⁻¹``, and ⊥ for 0 and for ⊥."""
    return BOTTOM if isinstance(x, Bottom) or x == 0 else 1 / x


def div(x: Number, y: Number) -> Number:
    """ALG fracterms, BOT-3: ``x / y`` is ``x · y⁻¹``, so ⊥ if the divisor is 0."""
    return mul(x, inv(y))


def absolute(x: Number) -> Number:
    """ALG sign, BOT-1: ``|x|``, and ⊥ for ⊥."""
    return BOTTOM if isinstance(x, Bottom) else abs(x)


def sign(x: Number) -> Number:
    """ALG sign: ``s(x) = x / |x|``, ``s(0) = 0`` and ``s(⊥) = ⊥``."""
    if isinstance(x, Bottom):
        return BOTTOM
    return Fraction((x > 0) - (x < 0))


def in_real_domain(operation: str, *arguments: Fraction) -> bool:
    """Tell whether the operation has a real result at these arguments.

    BOT-3: division by 0, the logarithm of ``x ≤ 0``, the root of ``x < 0``, a negative power of 0
    and a non-integer power of a negative number have none, and are ⊥; all else is in the domain.
    """
    x = arguments[0]
    if operation == "inv":
        return x != 0
    if operation == "div":
        return arguments[1] != 0
    if operation == "log":
        return x > 0
    if operation == "sqrt":
        return x >= 0
    if operation == "power":
        y = arguments[1]
        return x > 0 or (y >= 0 if x == 0 else y.denominator == 1)
    return True


def from_ieee(x: float) -> Number:
    """BOT-4: a finite float enters as its exact value, NaN and ±∞ enter as ⊥.

    A number that meets a tensor enters rounded to the tensor's dtype.
    """
    return Fraction(x) if math.isfinite(x) else BOTTOM


@dataclass(frozen=True)
class Format:
    """A binary IEEE format: bits of precision, least and greatest exponent of a normal number."""

    precision: int
    least: int
    greatest: int

    @property
    def epsilon(self) -> Fraction:
        """The distance from 1 to the next larger number."""
        return Fraction(2) ** (1 - self.precision)

    @property
    def smallest_normal(self) -> Fraction:
        """The least positive number of full precision."""
        return Fraction(2) ** self.least

    @property
    def largest(self) -> Fraction:
        """The greatest finite number."""
        return (2 - self.epsilon) * Fraction(2) ** self.greatest


FORMATS: Final = {
    "float16": Format(11, -14, 15),
    "bfloat16": Format(8, -126, 127),
    "float32": Format(24, -126, 127),
    "float64": Format(53, -1022, 1023),
}


def _floor_log2(x: Fraction) -> int:
    guess = x.numerator.bit_length() - x.denominator.bit_length()
    return guess if Fraction(2) ** guess <= x else guess - 1


def round_to(dtype_name: str, x: Number) -> float | Bottom:
    """Return the float nearest to ``x`` in a format, the even one of two equally near.

    BOT-3: ``+ − · /`` round the exact rational result correctly, and a result that rounds beyond
    the largest finite number is ⊥.
    """
    if isinstance(x, Bottom):
        return BOTTOM
    if x == 0:
        return 0.0
    form = FORMATS[dtype_name]
    exponent = max(_floor_log2(abs(x)), form.least)
    spacing = Fraction(2) ** (exponent - form.precision + 1)
    rounded = round(x / spacing) * spacing
    return BOTTOM if abs(rounded) > form.largest else float(rounded)
