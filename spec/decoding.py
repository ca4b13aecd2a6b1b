"""DEC: train on smooth tuples, infer on strict values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Final, Literal, Protocol, TypeAlias

from .arrays import Array, identical
from .bottom import BOTTOM, FORMATS, Bottom, Number, round_to
from .clause import clause, refused, require

Gauge: TypeAlias = Literal["raw", "unit"]

UNIT_BAND: Final = Fraction(4, 2**53)


@dataclass(frozen=True)
class Decoded:
    """The exact value or ⊥, and whether it lies in the gap between the thresholds."""

    value: Number
    gap: bool


@lru_cache(maxsize=2**18)  # small formats are asked in full, again and again
def squared_sine(P: float, Q: float) -> Fraction:
    """Return ``Q² / (P² + Q²)`` of a tuple, the square of what the unit gauge compares; DEC-4."""
    p, q = Fraction(P), Fraction(Q)
    return q * q / (p * p + q * q)


def below(P: float, Q: float, tau: float, gauge: Gauge = "raw") -> bool:
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
    if Q == 0:
        return False  # ⊥ whatever the threshold
    square = Fraction(tau) ** 2
    return square * (1 - UNIT_BAND) ** 2 <= squared_sine(P, Q) <= square * (1 + UNIT_BAND) ** 2


@lru_cache(maxsize=2**18)
def quotient(P: float, Q: float, dtype_name: str) -> tuple[Fraction, float | Bottom]:
    """Return ``P / Q`` of a finite tuple with ``Q ≠ 0``: exactly, and rounded to a format.

    It rounds to ⊥ beyond the format's largest number. A cache takes 0.0 and −0.0 for one, so no
    sign of a zero comes from here; DEC-1.
    """
    exact = Fraction(P) / Fraction(Q)
    return exact, round_to(dtype_name, exact)


@lru_cache(maxsize=2**18)
def decode(
    P: float,
    Q: float,
    tau_infer: float,
    tau_train: float,
    gauge: Gauge = "raw",
    dtype_name: str = "float64",
) -> Decoded:
    """Return what a tuple stands for at a threshold; DEC-1, DEC-2."""
    if not (math.isfinite(P) and math.isfinite(Q)) or Q == 0:
        return Decoded(BOTTOM, False)
    if below(P, Q, tau_infer, gauge):
        return Decoded(BOTTOM, False)
    value, rounded = quotient(P, Q, dtype_name)
    if isinstance(rounded, Bottom):
        return Decoded(BOTTOM, False)
    return Decoded(value, below(P, Q, tau_train, gauge))


def gradient(P: float, Q: float) -> tuple[Fraction, Fraction]:
    """Return ``∂(P/Q)/∂P`` and ``∂(P/Q)/∂Q`` of a value; POL-10."""
    return 1 / Fraction(Q), -Fraction(P) / Fraction(Q) ** 2


@dataclass(frozen=True)
class Tuples:
    """Tuples ``(P, Q)``, alike in shape and dtype, and the thresholds to decode them at."""

    P: Array
    Q: Array
    tau_infer: float
    tau_train: float
    gauge: Gauge = "raw"

    @property
    def rows(self) -> list[tuple[float, float]]:
        """The tuples in order."""
        return list(zip(self.P.values, self.Q.values, strict=True))

    def scaled(self, factor: float) -> Tuples:
        """Return the tuples multiplied by a factor."""
        P, Q = (part.with_values([x * factor for x in part.values]) for part in (self.P, self.Q))
        return replace(self, P=P, Q=Q)


@dataclass(frozen=True)
class Strict:
    """A strict decode: values with NaN for ⊥, and the flags of ⊥ and of the gap."""

    value: Array
    bottom: tuple[bool, ...]
    gap: tuple[bool, ...]


class Decodes(Protocol):
    """A subject that decodes tuples."""

    def decode(self, case: Tuples) -> Strict:
        """Return values or ⊥; ValueError where P and Q differ in shape."""

    def decode_gradients(self, case: Tuples) -> tuple[Array, Array]:
        """Return the gradients in P and in Q of the sum of all values."""


def _reference(case: Tuples) -> Iterator[tuple[int, Decoded, tuple[bool, bool]]]:
    """Walk the tuples: position, exact decode, and for each threshold whether it is sure."""
    taus = (case.tau_infer, case.tau_train)
    for index, (P, Q) in enumerate(case.rows):
        decoded = decode(P, Q, *taus, case.gauge, case.P.dtype)
        close = case.gauge == "unit" and math.isfinite(P) and math.isfinite(Q)
        infer, train = (not (close and near_unit_threshold(P, Q, tau)) for tau in taus)
        yield index, decoded, (infer, train)


def _rounded(P: float, Q: float, dtype_name: str) -> float:
    """Return ``P / Q`` rounded, a zero with the sign that IEEE gives it; NaN for ⊥."""
    if not (math.isfinite(P) and math.isfinite(Q)) or Q == 0:
        return math.nan
    _, rounded = quotient(P, Q, dtype_name)
    if isinstance(rounded, Bottom):
        return math.nan
    return math.copysign(rounded, math.copysign(1.0, P) * math.copysign(1.0, Q))


@clause(
    "DEC-1",
    source="Guide: strict inference; Ours: a threshold that rounds to 0 in half precision is a "
    "threshold all the same",
    since="0.2.0",
)
def value_or_bottom(subject: Decodes, case: Tuples) -> None:
    """A tuple decodes to ⊥ iff a part is not finite, ``Q = 0``, ``|Q| < τ`` (compared exactly, also
    where τ rounds to 0 in the dtype), or the quotient is not finite; else to ``P / Q``, correctly
    rounded, in the shape and dtype of the parts.
    """
    found, rows = subject.decode(case), case.rows
    kind = (found.value.shape, found.value.dtype)
    require(kind == (case.P.shape, case.P.dtype), "{} became {}", case, kind)
    for index, expected, (sure, _) in _reference(case):
        value, bottom = found.value.values[index], found.bottom[index]
        right = bottom == isinstance(expected.value, Bottom)
        require(right or not sure, "element {} of {}: ⊥ is {}", index, case, bottom)
        # Also where the flag may be either, the value is one of two.
        exact = math.nan if bottom else _rounded(*rows[index], case.P.dtype)
        same = identical(value, exact) and bottom == math.isnan(exact)
        require(same, "element {} of {}: {}, not {}", index, case, value, exact)


@clause("DEC-2", source="Ours: training did not vouch for what lies between", since="0.2.0")
def gap(subject: Decodes, case: Tuples) -> None:
    """A value is in the gap iff it is not ⊥ and its denominator is at least ``τ_infer`` and below
    ``τ_train``.
    """
    found = subject.decode(case)
    for index, expected, sure in _reference(case):
        right = found.gap[index] == expected.gap or not all(sure)
        require(right, "element {} of {}: gap {}", index, case, found.gap[index])
        require(not (found.gap[index] and found.bottom[index]), "{}: ⊥ in the gap", case)


def _require_alike(found: Strict, expected: Strict, case: Tuples) -> None:
    require((found.bottom, found.gap) == (expected.bottom, expected.gap), "flags of {}", case)
    for x, y in zip(found.value.values, expected.value.values, strict=True):
        require(identical(x, y), "{}: {}, not {}", case, x, y)


@clause("DEC-3", source="Ours: both stand for the same number", since="0.2.0")
def antipodal(subject: Decodes, case: Tuples) -> None:
    """``(−P, −Q)`` decodes as ``(P, Q)`` does, bit for bit."""
    _require_alike(subject.decode(case.scaled(-1.0)), subject.decode(case), case)


@clause(
    "DEC-4",
    source="Ours: chordal training fixes a direction, not a size, so a threshold on the size "
    "means what the network's scale happens to make it mean",
    since="0.2.0",
)
def gauge(subject: Decodes, case: Tuples, factor: float) -> None:
    """With the unit gauge the thresholds apply to ``|Q| / ‖(P, Q)‖``, and the whole result is
    invariant under scaling both parts, bitwise by a power of two; the raw gauge compares ``|Q|``.
    """
    unit, scaled = replace(case, gauge="unit"), replace(case.scaled(factor), gauge="unit")
    found, expected = subject.decode(scaled), subject.decode(unit)
    if abs(math.frexp(factor)[0]) == 0.5:
        _require_alike(found, expected, scaled)
    for index, _, sure in _reference(unit):
        flags = [(x.bottom[index], x.gap[index]) for x in (found, expected)]
        require(flags[0] == flags[1] or not all(sure), "{} times {}: {}, {}", case, factor, *flags)
    raw = subject.decode(replace(case, gauge="raw"))
    for (_, Q), bottom in zip(case.rows, raw.bottom, strict=True):
        low = math.isfinite(Q) and abs(Fraction(Q)) < Fraction(case.tau_infer)
        require(bottom or not low, "{}: raw {} passed", case, Q)


@clause("DEC-5", source="Ours: a stricter reader sees no more", since="0.2.0")
def monotone(subject: Decodes, case: Tuples, higher: float) -> None:
    """Raising τ never turns a ⊥ into a value, nor changes a value that stays one."""
    loose = subject.decode(case)
    stricter = replace(case, tau_infer=higher, tau_train=max(higher, case.tau_train))
    strict = subject.decode(stricter)
    for index, (was, now) in enumerate(zip(loose.bottom, strict.bottom, strict=True)):
        require(now or not was, "{}: raising τ to {} freed element {}", case, higher, index)
        values = loose.value.values[index], strict.value.values[index]
        require(now or identical(*values), "{}: raising τ made {} of {}", case, *values)


@clause("DEC-6", source="Ours: a broadcast would pair every P with every Q", since="0.2.0")
def shapes(subject: Decodes, case: Tuples) -> None:
    """Parts that differ in shape are a ValueError, never a broadcast."""
    wrong = replace(case, Q=Array(case.Q.values, (1, *case.Q.shape), case.Q.dtype))
    require(refused(ValueError, lambda: subject.decode(wrong)), "{} was decoded", wrong)


@clause(
    "POL-10",
    source="Ours: what a threshold is for in training; the unit gauge bounds the direction, which "
    "leaves a short tuple its steep quotient",
    since="0.2.0",
)
def bounded(subject: Decodes, case: Tuples) -> None:
    """The decode's own gradient is ``1/Q`` in ``P`` and ``−P/Q²`` in ``Q``, so for ``|Q| ≥ τ`` at
    most ``1/τ`` and ``|P|/τ²`` in size; a ⊥ element's is 0.
    """
    form, tau = FORMATS[case.P.dtype], Fraction(case.tau_infer)
    bottoms = subject.decode(case).bottom
    parts = [part.values for part in subject.decode_gradients(case)]
    for (P, Q), bottom, *found in zip(case.rows, bottoms, *parts, strict=True):
        if bottom:
            require(found == [0.0, 0.0], "{}: gradient {} at ⊥", case, found)
        if bottom or not (math.isfinite(P) and math.isfinite(Q) and Q):  # DEC-1 requires a ⊥
            continue
        p, q = abs(Fraction(P)), abs(Fraction(Q))
        bounds = (1 / tau, p / tau**2) if 0 < tau <= q else (None, None)
        # On the way to −P/Q² a library may lose the digits of a subnormal quotient.
        losses = (False, 0 < p / q < form.smallest_normal)
        for got, want, bound, lost in zip(found, gradient(P, Q), bounds, losses, strict=True):
            if lost or abs(want) > form.largest / 2:
                continue
            slack = 4 * form.epsilon * abs(want) + form.smallest_normal
            right = math.isfinite(got) and abs(Fraction(got) - want) <= slack
            require(right, "{}: {}, not {}", case, got, float(want))
            within = bound is None or abs(Fraction(got)) <= bound + slack
            require(within, "{}: gradient {} beyond {}", case, got, bound)
