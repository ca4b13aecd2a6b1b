"""What a tuple stands for: its quotient, exactly, or ⊥."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from .algebra import BOTTOM, Bottom, Number
from .formats import round_to

Gauge: TypeAlias = Literal["raw", "unit"]

UNIT_BAND: Final = Fraction(4, 2**53)


@dataclass(frozen=True)
class Decoded:
    """The exact value or ⊥, and whether it lies in the gap between the thresholds."""

    value: Number
    gap: bool


def has_quotient(P: float, Q: float) -> bool:
    """Tell whether a tuple is finite, and its denominator not 0."""
    return math.isfinite(P) and math.isfinite(Q) and Q != 0


@lru_cache(maxsize=2**18)  # small formats are asked in full, again and again
def squared_sine(P: float, Q: float) -> Fraction:
    """Return ``Q² / (P² + Q²)`` of a tuple, the square of what the unit gauge compares; DEC-4."""
    p, q = Fraction(P), Fraction(Q)
    return q * q / (p * p + q * q)


def below(P: float, Q: float, tau: float, gauge: Gauge) -> bool:
    """Tell whether a finite tuple's denominator, not 0, lies below a threshold.

    With the raw gauge that is ``|Q| < τ``, compared exactly, whatever the dtype (DEC-1); with the
    unit gauge ``|Q| / ‖(P, Q)‖ < τ`` (DEC-4).
    """
    if gauge == "raw":
        return abs(Q) < tau  # of two double-precision numbers, so exact
    return squared_sine(P, Q) < Fraction(tau) ** 2


def near_unit_threshold(P: float, Q: float, tau: float) -> bool:
    """Tell whether rounding alone may decide a comparison in the unit gauge.

    The ratio needs a square root, so it is compared in float64 and need not be exact within a
    relative distance of ``4 · 2⁻⁵³`` (two scalings, a sum and a root, each rounded); DEC-4.
    """
    if not has_quotient(P, Q):
        return False  # ⊥ whatever the threshold
    square = Fraction(tau) ** 2
    return square * (1 - UNIT_BAND) ** 2 <= squared_sine(P, Q) <= square * (1 + UNIT_BAND) ** 2


@lru_cache(maxsize=2**18)
def quotient(P: float, Q: float, dtype_name: str) -> tuple[Number, float]:
    """Return ``P / Q`` exactly and rounded to a format; ⊥ and NaN if it has none or overflows.

    A cache takes 0.0 and −0.0 for one, so no sign of a zero comes from here; DEC-1.
    """
    if not has_quotient(P, Q):
        return BOTTOM, math.nan
    exact = Fraction(P) / Fraction(Q)
    rounded = round_to(dtype_name, exact)
    return (BOTTOM, math.nan) if isinstance(rounded, Bottom) else (exact, rounded)


@lru_cache(maxsize=2**18)
def decode(
    P: float, Q: float, tau_infer: float, tau_train: float, gauge: Gauge, dtype_name: str
) -> Decoded:
    """Return what a tuple stands for at a threshold; DEC-1, DEC-2."""
    value, _ = quotient(P, Q, dtype_name)
    if isinstance(value, Bottom) or below(P, Q, tau_infer, gauge):
        return Decoded(BOTTOM, False)
    return Decoded(value, below(P, Q, tau_train, gauge))


def gradient(P: float, Q: float) -> tuple[Fraction, Fraction]:
    """Return ``∂(P/Q)/∂P`` and ``∂(P/Q)/∂Q`` of a value; POL-10."""
    return 1 / Fraction(Q), -Fraction(P) / Fraction(Q) ** 2


def rounded_quotient(P: float, Q: float, dtype_name: str) -> float:
    """Return ``P / Q`` rounded, a zero with the sign that IEEE gives it; NaN for ⊥."""
    _, nearest = quotient(P, Q, dtype_name)
    return math.copysign(nearest, math.copysign(1.0, P) * math.copysign(1.0, Q))
