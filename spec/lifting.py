"""LIFT: targets become projective tuples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from .arrays import Array, identical, same
from .clause import clause, refused, require

INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
UNLIFTABLE = ("bool", "complex64", "complex128")


def lift(y: float) -> tuple[float, float]:
    """Return ``(Y_n, Y_d)``, which stands for ``Y_n / Y_d``; LIFT-1 to LIFT-3."""
    if math.isnan(y):
        return 1.0, 0.0
    if math.isinf(y):
        return math.copysign(1.0, y), 0.0
    return y, 1.0


def orientation(y: float) -> int:
    """Return the side from which a pole is reached; LIFT-3."""
    if math.isinf(y):
        return 1 if y > 0 else -1
    return 0


def unlift(Y_n: float, Y_d: float) -> float:
    """Return the target that a lift stands for, NaN for every singular one; LIFT-4."""
    return Y_n / Y_d if Y_d else math.nan


@dataclass(frozen=True)
class Effects:
    """What a lift leaves behind: its input after the results were written over, and a graph."""

    input: Array
    tracked: bool


class Lifts(Protocol):
    """A subject that lifts targets."""

    def lift(self, y: Array) -> tuple[Array, Array]:
        """Return ``(Y_n, Y_d)``; TypeError for a dtype that has no lift."""

    def orientation(self, y: Array) -> Array:
        """Return −1, 0 or +1 for each target, in an integer dtype."""

    def lift_effects(self, y: Array) -> Effects:
        """Lift targets that require a gradient, write over the results, and tell the effects."""

    def unlift(self, y: Array) -> Array:
        """Lift targets and decode the tuples; NaN for ⊥."""

    @property
    def default_dtype(self) -> str:
        """The dtype of floats made from integers."""


def _require_lift(subject: Lifts, y: Array, chosen: Callable[[float], bool]) -> None:
    Y_n, Y_d = subject.lift(y)
    for value, *found in zip(y.values, Y_n.values, Y_d.values, strict=True):
        if chosen(value):
            expected = lift(value)
            right = all(map(identical, found, expected))
            require(right, "{} lifted to {} instead of {}", value, tuple(found), expected)


@clause("LIFT-1", source="Guide: training.targets.lift_targets", since="0.2.0")
def finite(subject: Lifts, y: Array) -> None:
    """A finite target ``y`` lifts to ``(y, 1)``, bit for bit."""
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
    """A target NaN lifts to ``(1, 0)``; the orientation is ±1 for ``±∞``, else 0, NaN included."""
    _require_lift(subject, y, math.isnan)
    found = subject.orientation(y)
    expected = tuple(float(orientation(value)) for value in y.values)
    require(found.shape == y.shape, "orientation has shape {}, not {}", found.shape, y.shape)
    require(found.values == expected, "orientation of {} is {}, not {}", y, found.values, expected)


@clause("LIFT-4", source="Ours: a lift that loses a bit cannot be a target", since="0.2.0")
def round_trip(subject: Lifts, y: Array) -> None:
    """Decoding the lift gives a finite ``y`` back bitwise, −0.0 included, and ⊥ for the others."""
    expected = y.with_values([unlift(*lift(value)) for value in y.values])
    found = subject.unlift(y)
    require(same(found, expected), "round trip of {} is {}, not {}", y, found, expected)


@clause("LIFT-5", source="Ours: losses multiply both parts, so neither may be ∞", since="0.2.0")
def parts(subject: Lifts, y: Array) -> None:
    """``Y_d`` is 0 or 1, both parts are finite, and no lift is ``(0, 0)``."""
    Y_n, Y_d = subject.lift(y)
    for n, d in zip(Y_n.values, Y_d.values, strict=True):
        right = d in (0.0, 1.0) and math.isfinite(n) and (n, d) != (0.0, 0.0)
        require(right, "the lift of {} holds ({}, {})", y, n, d)


@clause("LIFT-6", source="Ours: a lift is data, not a layer", since="0.2.0")
def keeps(subject: Lifts, y: Array) -> None:
    """A lift keeps shape and dtype, is outside any graph, and leaves its input untouched."""
    for part in subject.lift(y):
        right = (part.shape, part.dtype) == (y.shape, y.dtype)
        require(right, "{} lifted to {}", y, part)
    effects = subject.lift_effects(y)
    require(not effects.tracked, "the lift of {} is part of a graph", y)
    require(same(effects.input, y), "writing to the lift of {} made it {}", y, effects.input)


@clause("LIFT-7", source="Ours: samples are independent", since="0.2.0")
def elementwise(subject: Lifts, y: Array, chosen: Sequence[int]) -> None:
    """Lifting commutes with taking elements, in any order and with repetition."""
    some = Array.of([y.values[i] for i in chosen], y.dtype)
    for whole, part in zip(subject.lift(y), subject.lift(some), strict=True):
        expected = Array.of([whole.values[i] for i in chosen], whole.dtype)
        require(
            same(part, expected), "lift of elements {} of {}: {}, not {}", chosen, y, part, expected
        )


@clause("LIFT-8", source="Ours: counts are fine targets; truth values are not", since="0.2.0")
def dtypes(subject: Lifts, y: Array) -> None:
    """Integer targets lift to the default float dtype; bool and complex ones are a TypeError."""
    if y.dtype in UNLIFTABLE:
        require(refused(TypeError, lambda: subject.lift(y)), "{} was lifted", y)
        require(refused(TypeError, lambda: subject.orientation(y)), "{} was oriented", y)
        return
    for part in subject.lift(y):
        found, expected = part.dtype, subject.default_dtype
        require(found == expected, "{} lifted to {}, not {}", y, found, expected)
