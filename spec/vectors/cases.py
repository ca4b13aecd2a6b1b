"""What a case is, the registry of operations, and how numbers are written exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Any, Final, TypeAlias, TypeVar

from ..algebra import Bottom
from ..arrays import Array
from ..formats import round_to

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


@dataclass(frozen=True)
class Within:
    """Finite numbers from the least to the most; None is no bound."""

    least: Fraction | None
    most: Fraction | None

    @staticmethod
    def around(value: Fraction, slack: Fraction) -> Within:
        """Return the numbers within a distance of another."""
        return Within(value - slack, value + slack)


ZERO: Final = Within(Fraction(0), Fraction(0))
"""Zero of either sign."""

Maker: TypeAlias = Callable[[str, Random], Iterator[Case]]
Registered = TypeVar("Registered", bound=Maker)


@dataclass(frozen=True)
class Operation:
    """What an implementation offers, in words, and what makes its cases from a random source."""

    text: str
    maker: Maker


OPERATIONS: Final[dict[str, Operation]] = {}


def operation(*names: str) -> Callable[[Registered], Registered]:
    """Register what makes the cases of some operations; its docstring tells what they do."""

    def register(maker: Registered) -> Registered:
        paragraphs = (maker.__doc__ or "").split("\n\n")
        text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        for name in names:
            OPERATIONS[name] = Operation(text, maker)
        return maker

    return register


def exactly(value: Fraction | float) -> Within:
    """Return a number that may be a zero of either sign."""
    return Within.around(Fraction(value), Fraction(0))


def filled(like: Array, values: Sequence[Any], *, dtype: str | None = "") -> dict[str, Any]:
    """Return an array whose elements may be ranges, or open; a dtype of None is open too."""
    kind = like.dtype if dtype == "" else dtype
    head: dict[str, Any] = {"shape": like.shape}
    return head | ({} if kind is None else {"dtype": kind}) | {"values": values}


def hexed(x: float) -> str:
    """Return a number in hexadecimal, without zeros at its end."""
    digits, point, exponent = x.hex().partition("p")
    whole, dot, fraction = digits.partition(".")
    return whole + dot + (fraction.rstrip("0") or "0") * bool(dot) + point + exponent


def _inward(bound: Fraction, toward: float) -> float | None:
    """Return the double nearest to a bound that lies not beyond it; None where all do."""
    nearest = round_to("float64", bound)
    if isinstance(nearest, Bottom):
        return None
    beyond = (Fraction(nearest) - bound) * (1 if toward < 0 else -1) > 0
    return math.nextafter(nearest, toward) if beyond else nearest


def _bounds(x: Within) -> dict[str, str]:
    least = None if x.least is None else _inward(x.least, math.inf)
    most = None if x.most is None else _inward(x.most, -math.inf)
    if least is not None and most is not None and least > most:
        raise ValueError(f"no double lies within {x}")
    bounds = {"least": least, "most": most}
    return {name: hexed(bound) for name, bound in bounds.items() if bound is not None}


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
        return _bounds(x) or None
    if isinstance(x, Array):
        return written(filled(x, _elements(x)))
    if isinstance(x, Mapping):
        return {name: written(value) for name, value in x.items()}
    return [written(value) for value in x]


def _elements(x: Array) -> list[Any]:
    if "float" in x.dtype or "complex" in x.dtype:
        return [float(value) for value in x.values]
    return [bool(value) if x.dtype == "bool" else int(value) for value in x.values]
