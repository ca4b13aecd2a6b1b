"""What a case is, and how numbers are written exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Any, Final, TypeAlias

from ..arrays import Array
from ..runs import MicroBatch

ANYTHING: Final = None
"""What stands where no clause says what the value is."""


@dataclass(frozen=True)
class Case:
    """An operation's arguments, and what comes of them: a result or a kind of refusal.

    The clauses, separated by spaces, are those that the result follows from. Of a result only what
    stands in it is compared.
    """

    clauses: str
    arguments: Mapping[str, Any]
    result: Mapping[str, Any] | None = None
    refusal: str = ""


Maker: TypeAlias = Callable[[str, Random], Iterator[Case]]
"""What makes an operation's cases from a random source; its docstring tells what that one does."""


@dataclass(frozen=True)
class Within:
    """Finite numbers from the least to the most."""

    least: Fraction
    most: Fraction


def around(value: Fraction | float, slack: Fraction = Fraction(0)) -> Within:
    """Return the numbers within a distance of another; without a distance, either zero for 0."""
    return Within(Fraction(value) - slack, Fraction(value) + slack)


ZERO: Final = around(0)


def filled(like: Array, values: Sequence[Any]) -> dict[str, Any]:
    """Return an array whose elements may be ranges, or open."""
    return {"shape": like.shape, "dtype": like.dtype, "values": values}


def hexed(x: float) -> str:
    """Return a number in hexadecimal, without zeros at its end."""
    digits, point, exponent = x.hex().partition("p")
    whole, dot, fraction = digits.partition(".")
    return whole + dot + (fraction.rstrip("0") or "0") * bool(dot) + point + exponent


def _bounds(x: Within) -> dict[str, str]:
    """Return the least and the most double of a range."""
    least, most = float(x.least), float(x.most)
    least = math.nextafter(least, math.inf) if least < x.least else least
    most = math.nextafter(most, -math.inf) if most > x.most else most
    if least > most:
        raise ValueError(f"no double lies within {x}")
    return {"least": hexed(least), "most": hexed(most)}


def written(x: Any) -> Any:
    """Return a value as JSON can hold it, exactly.

    Example:
        >>> written({"x": -0.0, "near": Within(Fraction(1), Fraction(3, 2))})
        {'x': '-0x0.0p+0', 'near': {'least': '0x1.0p+0', 'most': '0x1.8p+0'}}
    """
    if x is None or isinstance(x, (bool, int, str)):
        return x
    if isinstance(x, float):
        return hexed(x)
    if isinstance(x, Within):
        return _bounds(x)
    if isinstance(x, Array):
        return written(filled(x, _elements(x)))
    if isinstance(x, MicroBatch):
        slope = {"samples": x.samples, "slope": hexed(float(x.slope))}
        return slope | ({"fault": x.fault} if x.fault else {})
    if isinstance(x, Mapping):
        return {name: written(value) for name, value in x.items()}
    return [written(value) for value in x]


def _elements(x: Array) -> list[Any]:
    if "float" in x.dtype or "complex" in x.dtype:
        return [float(value) for value in x.values]
    return [bool(value) if x.dtype == "bool" else int(value) for value in x.values]
