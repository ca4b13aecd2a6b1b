"""LIFT: targets become projective tuples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Protocol, TypeAlias

from .algebra import Bottom
from .arrays import Array, identical, same
from .clause import clause, refused, require
from .coverage import Predicted
from .formats import round_to

INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
UNLIFTABLE = ("bool", "complex64", "complex128")

Lifted: TypeAlias = tuple[Array, Array]
"""``(Y_n, Y_d)``."""


def lift(y: float) -> tuple[float, float]:
    """Return ``(Y_n, Y_d)``, which stands for ``Y_n / Y_d``; LIFT-1 to LIFT-3."""
    if math.isnan(y):
        return 1.0, 0.0
    if math.isinf(y):
        return math.copysign(1.0, y), 0.0
    return y, 1.0


def orientation(y: float) -> int:
    """Return the side from which a pole is reached; LIFT-3."""
    return int(math.copysign(1.0, y)) if math.isinf(y) else 0


def as_float(y: float, dtype: str) -> float:
    """Return the number of a float dtype nearest to an integer, ±∞ beyond its range; LIFT-8."""
    rounded = round_to(dtype, Fraction(y))
    return math.copysign(math.inf, y) if isinstance(rounded, Bottom) else rounded


def unlift(Y_n: float, Y_d: float) -> float:
    """Return the target that a lift stands for, NaN for every singular one; LIFT-4."""
    return Y_n / Y_d if Y_d else math.nan


def as_tuples(outputs: Predicted) -> tuple[Array, Array]:
    """Return the tuples as which a model's outputs enter a loss; LIFT-11."""
    if outputs.form == "tuple":
        return outputs.first, outputs.second
    bottoms, values = outputs.bottoms(0.0), outputs.first.values
    P = [1.0 if bottom else x for x, bottom in zip(values, bottoms, strict=True)]
    return outputs.first.with_values(P), outputs.first.with_values([float(not b) for b in bottoms])


@dataclass(frozen=True)
class Effects:
    """What a lift leaves behind: its input after the results were written over, and a graph."""

    input: Array
    tracked: bool


@dataclass(frozen=True)
class Entered:
    """A loss of a model's outputs: its value, and its gradient in their first part."""

    value: float
    gradient: Array


class Lifts(Protocol):
    """A subject that lifts targets, and lets outputs enter losses."""

    def lift(self, y: Array) -> tuple[Array, Array]:
        """Return ``(Y_n, Y_d)``; TypeError for a dtype that has no lift."""

    def lift_interval(self, lower: Array, upper: Array) -> tuple[Lifted, Lifted]:
        """Return the lifts of the ends of intervals; ValueError for what is no interval."""

    def orientation(self, y: Array) -> Array:
        """Return −1, 0 or +1 for each target, in an integer dtype."""

    def lift_effects(self, y: Array) -> Effects:
        """Lift targets that require a gradient, overwrite the results, and return the effects."""

    def unlift(self, y: Array) -> Array:
        """Lift targets and decode the tuples; NaN for ⊥."""

    def using_default_dtype(self, dtype: str) -> AbstractContextManager[object]:
        """Return a context in which floats made from integers have this dtype."""

    def as_tuples(self, outputs: Predicted) -> tuple[Array, Array]:
        """Return the tuples ``(P, Q)`` as which a model's outputs enter a loss."""

    def loss_of_outputs(self, outputs: Predicted) -> Entered:
        """Return the composite training loss of a model's outputs."""


def _require_lift(subject: Lifts, y: Array, chosen: Callable[[float], bool]) -> None:
    Y_n, Y_d = subject.lift(y)
    for value, *found in zip(y.values, Y_n.values, Y_d.values, strict=True):
        if chosen(value):
            expected = lift(value)
            right = all(map(identical, found, expected))
            require(right, "{} lifted to {} instead of {}", value, tuple(found), expected)


@clause("LIFT-1", source="Guide: training.targets.lift_targets", since="0.2.0")
def finite(subject: Lifts, y: Array) -> None:
    """A finite floating-point target ``y`` lifts to ``(y, 1)``, bit for bit."""
    _require_lift(subject, y, math.isfinite)


@clause("LIFT-2", source="Guide: training.targets.lift_targets", since="0.2.0")
def infinite(subject: Lifts, y: Array) -> None:
    """A target ``±∞`` lifts to ``(±1, 0)``, the point at infinity in its orientation."""
    _require_lift(subject, y, math.isinf)


@clause(
    "LIFT-3",
    source="Guide: training.targets.lift_targets; Ours: NaN says that there is a pole and nothing "
    "about its sides, so a loss must be able to tell it from +∞, with which it shares its lift",
    since="0.2.0",
)
def unoriented(subject: Lifts, y: Array) -> None:
    """NaN is an unoriented target.

    1. A target NaN lifts to ``(1, 0)``.
    2. The orientation of a target is +1 for ``+∞``, −1 for ``−∞``, and 0 for NaN and numbers.
    """
    _require_lift(subject, y, math.isnan)
    found, expected = subject.orientation(y), tuple(orientation(value) for value in y.values)
    right = (found.shape, found.values) == (y.shape, expected)
    require(right, "orientation of {} is {}, not {}", y, found, expected, claim=2)


@clause("LIFT-4", source="Ours: a lift that loses a bit cannot be a target", since="0.2.0")
def round_trip(subject: Lifts, y: Array) -> None:
    """A lifted target can be decoded.

    1. The lift of a finite ``y`` decodes to ``y``, bit for bit, −0.0 included.
    2. The lift of ±∞ or NaN decodes to ⊥.
    """
    found = subject.unlift(y)
    kind = (found.shape, found.dtype)
    require(kind == (y.shape, y.dtype), "round trip of {} is {}", y, found)
    for value, back in zip(y.values, found.values, strict=True):
        claim, expected = 1 if math.isfinite(value) else 2, unlift(*lift(value))
        require(identical(back, expected), "{} came back as {}", value, back, claim=claim)


@clause("LIFT-5", source="Ours: losses multiply both parts, so neither may be ∞", since="0.2.0")
def parts(subject: Lifts, y: Array) -> None:
    """The parts of a lift are limited.

    1. ``Y_d`` is 0 or 1.
    2. Both parts are finite.
    3. No lift is ``(0, 0)``.
    """
    Y_n, Y_d = subject.lift(y)
    for n, d in zip(Y_n.values, Y_d.values, strict=True):
        finite = math.isfinite(n) and math.isfinite(d)
        for claim, holds in ((2, finite), (1, d in (0.0, 1.0)), (3, (n, d) != (0.0, 0.0))):
            require(holds, "the lift of {} holds ({}, {})", y, n, d, claim=claim)


@clause("LIFT-6", source="Ours: a lift is data, not a layer", since="0.2.0")
def keeps(subject: Lifts, y: Array) -> None:
    """A lift is data.

    1. A lift keeps the shape and the floating-point dtype of its targets.
    2. A lift is outside any graph.
    3. A lift shares no memory with its targets: overwriting it leaves them untouched.
    """
    for part in subject.lift(y):
        right = (part.shape, part.dtype) == (y.shape, y.dtype)
        require(right, "{} lifted to {}", y, part)
    found = subject.lift_effects(y)
    require(not found.tracked, "the lift of {} is part of a graph", y, claim=2)
    right = same(found.input, y)
    require(right, "writing to the lift of {} made it {}", y, found.input, claim=3)


@clause("LIFT-7", source="Ours: samples are independent", since="0.2.0")
def elementwise(subject: Lifts, y: Array, chosen: Sequence[int]) -> None:
    """Lifting commutes with taking elements, in any order and with repetition."""
    taken = Array.of([y.values[i] for i in chosen], y.dtype)
    for full, part in zip(subject.lift(y), subject.lift(taken), strict=True):
        expected = Array.of([full.values[i] for i in chosen], full.dtype)
        right = same(part, expected)
        require(right, "lift of elements {} of {}: {}, not {}", chosen, y, part, expected)


@clause("LIFT-8", source="Ours: counts are fine targets; truth values are not", since="0.2.0")
def dtypes(subject: Lifts, y: Array, default: str) -> None:
    """The dtype of a target decides whether it lifts, and to which dtype.

    1. Integer targets lift to the default float dtype, whatever it is set to.
    2. An integer lifts, and is oriented, as the nearest number of that dtype, ±∞ beyond its range.
    3. A bool or complex target raises TypeError, also from the orientation.
    """
    with subject.using_default_dtype(default):
        if y.dtype in UNLIFTABLE:
            for name in ("lift", "orientation"):
                raises = refused(TypeError, lambda of=name: getattr(subject, of)(y), claim=3)  # type: ignore[misc]
                require(raises, "{} was accepted", y, claim=3)
            return
        lifted = subject.lift(y)
        for part in lifted:
            right = (part.shape, part.dtype) == (y.shape, default)
            require(right, "{} lifted to {}, not to {}", y, part, default)
        sides = subject.orientation(y)
    columns = y.values, sides.values, *(part.values for part in lifted)
    for value, side, *found in zip(*columns, strict=True):
        target = as_float(value, default)
        right = all(map(identical, found, lift(target))) and side == orientation(target)
        require(right, "{} lifted to {}, orientation {}", value, found, side, claim=2)


def is_interval(lower: float, upper: float) -> bool:
    """Tell whether there is an interval between two ends; LIFT-9."""
    return lower <= upper  # which holds of no NaN


@clause(
    "LIFT-9",
    source="Ours: “more than 99.5” is [99.5, ∞]; to call it 99.5, or ∞, is to say what nobody saw",
    since="0.5.0",
)
def intervals(subject: Lifts, lower: Array, upper: Array) -> None:
    """A target may be an interval, from a lower end up to an upper one; either may be ±∞.

    1. An interval lifts to the lifts of its two ends; if they are equal, both are the lift of that
       number.
    2. A lower end above the upper one, or an end that is NaN, raises ValueError.
    3. Ends of different shapes raise ValueError.
    """
    alike = lower.shape == upper.shape
    if not (alike and all(map(is_interval, lower.values, upper.values))):
        claim = 2 if alike else 3
        raises = refused(ValueError, lambda: subject.lift_interval(lower, upper), claim=claim)
        require(raises, "{} to {} was accepted", lower, upper, claim=claim)
        return
    for end, found in zip((lower, upper), subject.lift_interval(lower, upper), strict=True):
        right = all(map(same, found, subject.lift(end)))  # of which LIFT-1 to LIFT-8 speak
        require(right, "{} to {}: {} lifted to {}", lower, upper, end, found)


def _close(x: float, y: float) -> bool:
    return identical(x, y) or abs(x - y) <= 1e-5 * max(abs(x), abs(y))


@clause(
    "LIFT-11",
    source="Ours: (0, 0) is no tuple: no target is at any distance from it",
    since="0.4.0",
)
def outputs_enter(subject: Lifts, outputs: Predicted) -> None:
    """The outputs of a model enter a loss as tuples.

    1. A decoded value ``v`` enters as ``(v, 1)``.
    2. A decoded ⊥ enters as ``(1, 0)``.
    3. A tuple ``(P, Q)`` enters as it was returned.
    4. The composite loss of decoded values, and its gradient in them, is that of these tuples.
    """
    found, expected = subject.as_tuples(outputs), as_tuples(outputs)
    for name, part, right in zip("PQ", found, expected, strict=True):
        kind = (part.shape, part.dtype) == (right.shape, right.dtype)
        require(kind, "{} of {} is {}", name, outputs, part)
        for i, bottom in enumerate(outputs.bottoms(0.0)):
            claim = 3 if outputs.form == "tuple" else 2 if bottom else 1
            x, y = part.values[i], right.values[i]
            require(identical(x, y), "{} of {}: {}, not {}", name, outputs, x, y, claim=claim)
    if outputs.form == "tuple":
        return
    loss = subject.loss_of_outputs(outputs)
    tuples = replace(outputs, form="tuple", first=expected[0], second=expected[1])
    wanted = subject.loss_of_outputs(tuples)
    rows = zip(wanted.gradient.values, outputs.bottoms(0.0), strict=True)
    slopes = [0.0 if bottom else g for g, bottom in rows]  # ⊥ is a constant
    pairs = [(loss.value, wanted.value), *zip(loss.gradient.values, slopes, strict=True)]
    close = all(_close(x, y) for x, y in pairs)
    require(close, "{}: {}, but of its tuples {}", outputs, loss, wanted, claim=4)
