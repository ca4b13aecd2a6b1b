"""DEC: train on smooth tuples, infer on strict values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, TypeAlias

from spec.bottom import BOTTOM, Bottom, Number, round_to

Gauge: TypeAlias = Literal["raw", "unit"]

UNIT_BAND: Final = Fraction(4, 2**53)


@dataclass(frozen=True)
class Decoded:
    """The exact value or ⊥, and whether it lies in the gap between the thresholds."""

    value: Number
    gap: bool


def below(P: float, Q: float, tau: float, gauge: Gauge = "raw") -> bool:
    """Tell whether a finite tuple's denominator lies below a threshold.

    DEC-1: ``|Q| < τ`` is compared exactly, whatever the tensor's dtype.
    DEC-4: with the unit gauge it is ``|Q| / ‖(P, Q)‖ < τ``, that is ``Q² < τ²(P² + Q²)``.
    """
    p, q, t = Fraction(P), Fraction(Q), Fraction(tau)
    if gauge == "raw":
        return abs(q) < t
    return q * q < t * t * (p * p + q * q)


def near_unit_threshold(P: float, Q: float, tau: float) -> bool:
    """Tell whether rounding alone may decide a comparison in the unit gauge.

    DEC-4: the ratio needs a square root, so it is compared in float64 and need not be exact
    within a relative distance of ``4 · 2⁻⁵³`` (two scalings, a sum and a root, each rounded).
    """
    p, q, t = Fraction(P), Fraction(Q), Fraction(tau)
    square = t * t * (p * p + q * q)
    return square * (1 - UNIT_BAND) ** 2 <= q * q <= square * (1 + UNIT_BAND) ** 2


def decode(
    P: float,
    Q: float,
    tau_infer: float,
    tau_train: float,
    gauge: Gauge = "raw",
    dtype_name: str = "float64",
) -> Decoded:
    """Return what a tuple stands for at a threshold.

    DEC-1: ⊥ iff ``P`` or ``Q`` is not finite, ``Q = 0``, the denominator lies below
    ``τ_infer``, or the quotient overflows the dtype; else exactly ``P / Q``.
    DEC-2: a value is in the gap iff its denominator is at least ``τ_infer`` and below
    ``τ_train``; ⊥ never is.
    """
    if not (math.isfinite(P) and math.isfinite(Q)) or Q == 0:
        return Decoded(BOTTOM, False)
    if below(P, Q, tau_infer, gauge):
        return Decoded(BOTTOM, False)
    quotient = Fraction(P) / Fraction(Q)
    if isinstance(round_to(dtype_name, quotient), Bottom):
        return Decoded(BOTTOM, False)
    return Decoded(quotient, below(P, Q, tau_train, gauge))


def gradient(P: float, Q: float) -> tuple[Fraction, Fraction]:
    """Return ``∂(P/Q)/∂P`` and ``∂(P/Q)/∂Q`` of a value.

    POL-10: for ``|Q| ≥ τ`` they are bounded by ``1/τ`` and ``|P|/τ²``.
    """
    return 1 / Fraction(Q), -Fraction(P) / Fraction(Q) ** 2
