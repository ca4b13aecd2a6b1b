"""DEC: train on smooth tuples, infer on strict values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Protocol, cast, get_args

from .algebra import Bottom
from .arrays import Array, identical, same
from .clause import clause, refused, require
from .formats import FORMATS
from .quotients import (
    Decoded,
    Gauge,
    below,
    decode,
    gradient,
    has_quotient,
    near_unit_threshold,
    rounded_quotient,
)
from .thresholds import check


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


@dataclass(frozen=True)
class Wrapped:
    """What an inference wrapper returns of its model's tuples in train mode, and in eval mode.

    The tuples of the train mode come with whether a gradient reaches the model through them.
    """

    tuples: tuple[Array, Array]
    tracked: bool
    decoded: Strict


class Decodes(Protocol):
    """A subject that decodes tuples."""

    def decode(self, case: Tuples) -> Strict:
        """Return values or ⊥; ValueError for shapes that differ, and for thresholds or a gauge
        that do not exist.
        """

    def wrapped(self, case: Tuples, modes: Sequence[bool]) -> Wrapped:
        """Wrap a model that returns these tuples, at these thresholds, and call the wrapper once
        in each mode, True being train mode; return its last results in either mode.
        """

    def decode_gradients(self, case: Tuples) -> tuple[Array, Array]:
        """Return the gradients in P and in Q of the sum of all values."""


def _reference(case: Tuples) -> Iterator[tuple[int, Decoded, tuple[bool, bool]]]:
    """Walk the tuples: position, exact decode, and for each threshold whether it is sure."""
    taus, unit = (case.tau_infer, case.tau_train), case.gauge == "unit"
    for index, (P, Q) in enumerate(case.rows):
        decoded = decode(P, Q, *taus, case.gauge, case.P.dtype)
        infer, train = (not (unit and near_unit_threshold(P, Q, tau)) for tau in taus)
        yield index, decoded, (infer, train)


@clause(
    "DEC-1",
    source="Guide: strict inference; Ours: a threshold that rounds to 0 in half precision is a "
    "threshold all the same",
    since="0.2.0",
)
def value_or_bottom(subject: Decodes, case: Tuples) -> None:
    """A tuple decodes to a value or to ⊥.

    1. A tuple with a NaN or infinite part, or with ``Q = 0``, decodes to ⊥.
    2. A tuple whose denominator, in its gauge (DEC-4), is below τ decodes to ⊥. In the raw gauge
       the comparison is exact, also where τ rounds to 0 in the dtype.
    3. Every other tuple decodes to ⊥ iff ``P / Q`` overflows its dtype.
    4. A value is ``P / Q``, correctly rounded, with the sign of IEEE division; ⊥ becomes NaN.
    5. Values have the shape and the dtype of the parts.
    """
    found, rows = subject.decode(case), case.rows
    kind = (found.value.shape, found.value.dtype)
    require(kind == (case.P.shape, case.P.dtype), "{} became {}", case, kind, claim=5)
    for index, expected, (sure, _) in _reference(case):
        value, bottom, row = found.value.values[index], found.bottom[index], rows[index]
        right = bottom == isinstance(expected.value, Bottom)
        low = has_quotient(*row) and below(*row, case.tau_infer, case.gauge)
        claim = 2 if low else 3 if has_quotient(*row) else 1
        complaint = "element {} of {}: ⊥ is {}"
        require(right or not sure, complaint, index, case, bottom, claim=claim)
        # Also where the flag may be either, the value is one of two.
        exact = math.nan if bottom else rounded_quotient(*row, case.P.dtype)
        right = identical(value, exact) and bottom == math.isnan(exact)
        require(right, "element {} of {}: {}, not {}", index, case, value, exact, claim=4)


@clause("DEC-2", source="Ours: training did not vouch for what lies between", since="0.2.0")
def gap(subject: Decodes, case: Tuples) -> None:
    """The gap lies between the thresholds.

    1. A value is in the gap iff its denominator is below ``τ_train``, compared as in DEC-1.
    2. A ⊥ is never in the gap.
    """
    found = subject.decode(case)
    for index, expected, sure in _reference(case):
        gap, bottom = found.gap[index], found.bottom[index]
        require(not (gap and bottom), "element {} of {}: ⊥ in the gap", index, case, claim=2)
        agreed = bottom == isinstance(expected.value, Bottom)  # or DEC-1 speaks of that
        right = bottom or not agreed or gap == expected.gap or not all(sure)
        require(right, "element {} of {}: gap {}", index, case, gap)


def _require_same(found: Strict, expected: Strict, case: Tuples, claim: int = 1) -> None:
    flags = (found.bottom, found.gap) == (expected.bottom, expected.gap)
    right = flags and same(found.value, expected.value)
    require(right, "{}: {}, not {}", case, found, expected, claim=claim)


@clause("DEC-3", source="Ours: both stand for the same number", since="0.2.0")
def antipodal(subject: Decodes, case: Tuples) -> None:
    """``(−P, −Q)`` decodes as ``(P, Q)`` does, bit for bit."""
    _require_same(subject.decode(case.scaled(-1.0)), subject.decode(case), case)


def _require_gauge(subject: Decodes, case: Tuples, claim: int) -> None:
    """Require that the thresholds decide; of rows that are ⊥ without one, DEC-1 speaks."""
    found = subject.decode(case)
    for index, expected, sure in _reference(case):
        if math.isnan(rounded_quotient(*case.rows[index], case.P.dtype)):
            continue
        flags = found.bottom[index], found.gap[index]
        right = flags == (isinstance(expected.value, Bottom), expected.gap) or not all(sure)
        require(right, "element {} of {}: ⊥ and gap are {}", index, case, flags, claim=claim)


@clause(
    "DEC-4",
    source="Ours: chordal training fixes a direction, not a size, so a threshold on the size "
    "means what the network's scale happens to make it mean",
    since="0.2.0",
)
def gauge(subject: Decodes, case: Tuples, factor: float) -> None:
    """The gauge says which size the thresholds apply to.

    1. With the raw gauge the thresholds apply to ``|Q|``.
    2. With the unit gauge they apply to ``|Q| / ‖(P, Q)‖``, within a relative error of 2⁻⁵¹.
    3. With the unit gauge, multiplying ``P`` and ``Q`` by a power of two changes nothing, bit for
       bit.
    4. Multiplying them by any other number but 0 changes neither ⊥ nor gap, within that error.
    """
    _require_gauge(subject, replace(case, gauge="raw"), 1)
    unit, scaled = replace(case, gauge="unit"), replace(case.scaled(factor), gauge="unit")
    _require_gauge(subject, unit, 2)
    found, expected = subject.decode(scaled), subject.decode(unit)
    if abs(math.frexp(factor)[0]) == 0.5:
        _require_same(found, expected, scaled, 3)
    for index, _, sure in _reference(unit):
        flags = [(x.bottom[index], x.gap[index]) for x in (found, expected)]
        right = flags[0] == flags[1] or not all(sure)
        require(right, "{} times {}: {}, {}", case, factor, *flags, claim=4)


@clause("DEC-5", source="Ours: a stricter reader sees no more", since="0.2.0")
def monotone(subject: Decodes, case: Tuples, higher: float) -> None:
    """Decoding is monotone in the threshold.

    1. Raising τ never turns a ⊥ into a value.
    2. Raising τ never changes a value that stays one.
    """
    loose = subject.decode(case)
    stricter = replace(case, tau_infer=higher, tau_train=max(higher, case.tau_train))
    strict = subject.decode(stricter)
    for index, (was, now) in enumerate(zip(loose.bottom, strict.bottom, strict=True)):
        require(now or not was, "{}: raising τ to {} freed element {}", case, higher, index)
        values = loose.value.values[index], strict.value.values[index]
        stays = now or was or identical(*values)
        require(stays, "{}: raising τ made {} of {}", case, *values, claim=2)


@clause("DEC-6", source="Ours: a broadcast would pair every P with every Q", since="0.2.0")
def refuses(subject: Decodes, case: Tuples, tau_infer: float, tau_train: float, gauge: str) -> None:
    """A decode raises ValueError where its arguments do not fit.

    1. Parts that differ in shape raise ValueError, a shared denominator (DEC-9) apart; they are
       never broadcast.
    2. Thresholds raise ValueError unless ``0 ≤ τ_infer ≤ τ_train < ∞``.
    3. A gauge other than raw and unit raises ValueError.
    """
    broad = Array(case.Q.values, (1, *case.Q.shape), case.Q.dtype)
    wrong = {1: replace(case, Q=broad)}
    if refused(ValueError, lambda: check(tau_infer, tau_train)):
        wrong[2] = replace(case, tau_infer=tau_infer, tau_train=tau_train)
    if gauge not in get_args(Gauge):
        wrong[3] = replace(case, gauge=cast(Gauge, gauge))
    for claim, bad in wrong.items():
        raises = refused(ValueError, lambda of=bad: subject.decode(of), claim=claim)  # type: ignore[misc]
        require(raises, "{} was decoded", bad, claim=claim)


@clause(
    "DEC-8",
    source="Ours: training needs the tuples, whose gradient passes through poles",
    since="0.4.0",
)
def wrapper(subject: Decodes, case: Tuples, modes: Sequence[bool]) -> None:
    """An inference wrapper decodes in eval mode only.

    1. In train mode an inference wrapper returns its model's tuples unchanged, and gradients pass.
    2. In eval mode it returns their strict decode at its thresholds, in its gauge.
    """
    found, expected = subject.wrapped(case, modes), subject.decode(case)
    pairs = zip(found.tuples, (case.P, case.Q), strict=True)
    right = all(same(part, given) for part, given in pairs)
    require(right, "train mode made {} of {}", found.tuples, case)
    require(found.tracked, "no gradient reaches the model in train mode")
    _require_same(found.decoded, expected, case, 2)


@clause(
    "POL-10",
    source="Ours: what a threshold is for in training; the unit gauge bounds the direction, which "
    "leaves a short tuple its steep quotient",
    since="0.2.0",
)
def bounded(subject: Decodes, case: Tuples) -> None:
    """The gradient of a decode is bounded.

    1. A value's gradient is ``1/Q`` in ``P`` and ``−P/Q²`` in ``Q``: for ``|Q| ≥ τ`` at most
       ``1/τ`` and ``|P|/τ²`` in size.
    2. A ⊥ element's gradient is 0.
    """
    form, tau = FORMATS[case.P.dtype], Fraction(case.tau_infer)
    bottoms = subject.decode(case).bottom
    parts = [part.values for part in subject.decode_gradients(case)]
    for (P, Q), bottom, *found in zip(case.rows, bottoms, *parts, strict=True):
        if bottom:
            require(found == [0.0, 0.0], "{}: gradient {} at ⊥", case, found, claim=2)
        if bottom or not has_quotient(P, Q):  # DEC-1 requires a ⊥
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
