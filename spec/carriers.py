"""BOT: arrays of IEEE floats with ⊥, the operations on them, and what a subject offers."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Protocol, TypeAlias, TypeVar

from .algebra import BOTTOM, Bottom, Meadow, Number, Rationals
from .arrays import Array
from .formats import from_ieee, root_to, round_to

Value = TypeVar("Value")

ARITY: Final = {
    "add": 2, "sub": 2, "mul": 2, "div": 2, "neg": 1, "inv": 1, "absolute": 1, "sign": 1,
    "sqrt": 1, "exp": 1, "log": 1, "power": 2,
}  # fmt: skip
"""The operations, and how many operands each has."""

RATIONAL: Final = ("add", "sub", "mul", "div", "neg", "inv", "absolute", "sign")
"""The operations whose exact results are rational."""

PYTHON: Final[dict[str, Callable[..., float]]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv,
    "neg": operator.neg, "inv": lambda x: 1 / x, "absolute": abs,
    "sign": lambda x: float((x > 0) - (x < 0)),
    "sqrt": math.sqrt, "exp": math.exp, "log": math.log, "power": math.pow,
}  # fmt: skip
"""The operations on Python's floats."""


@dataclass(frozen=True)
class Carrier:
    """An array and, for each of its elements, whether it is ⊥; NaN and ±∞ are ⊥ in any case."""

    payload: Array
    bottom: tuple[bool, ...]

    def numbers(self, shape: tuple[int, ...]) -> list[Number]:
        """Return what the elements stand for, broadcast to a shape."""
        pairs = zip(self.payload.values, self.bottom, strict=True)
        numbers = [BOTTOM if flag else from_ieee(value) for value, flag in pairs]
        return spread(numbers, self.payload.shape, shape)

    def with_one(self, where: Sequence[bool]) -> Carrier:
        """Return the carrier with 1 for some elements."""
        values = [1.0 if w else v for v, w in zip(self.payload.values, where, strict=True)]
        flags = [not w and b for b, w in zip(self.bottom, where, strict=True)]
        return Carrier(self.payload.with_values(values), tuple(flags))

    def take(self, chosen: Sequence[int], *, joined: bool = False) -> Carrier:
        """Return a vector of some elements, behind all of them if ``joined``."""
        places = [*range(len(self.bottom) if joined else 0), *chosen]
        payload = Array.of([self.payload.values[i] for i in places], self.payload.dtype)
        return Carrier(payload, tuple(self.bottom[i] for i in places))


Operand: TypeAlias = Carrier | Array | float


class Bottoms(Protocol):
    """A subject with total operations."""

    def enter(self, x: Array, bottom: tuple[bool, ...]) -> Carrier:
        """Return an array as a carrier, the flagged elements ⊥ whatever they are."""

    def leave(self, x: Carrier) -> Array:
        """Return a carrier as a plain array."""

    def apply(self, operation: str, *operands: Operand) -> Carrier:
        """Apply one of the operations, the keys of ``ARITY``; at least one operand is no number."""

    def ieee(self, operation: str, *operands: Array) -> Array:
        """Apply the host library's own operation, which does not know ⊥."""

    def gradients(
        self, operation: str, incoming: Array, *operands: Operand
    ) -> tuple[Carrier, tuple[Array, ...]]:
        """Apply an operation; its operands that are carriers are tracked for gradients.

        Return its result, and the gradient that each carrier receives when ``incoming`` arrives
        at the result.
        """


class Indexes(Bottoms, Protocol):
    """A subject whose carriers have an indexing of their own."""

    def select(self, x: Carrier, chosen: Sequence[int]) -> Carrier:
        """Return the elements of a vector at some positions, by indexing the library's carrier."""


class Operates(Bottoms, Protocol):
    """A subject whose carriers have the language's operators."""

    def operate(self, operation: str, *operands: Operand) -> Carrier:
        """Apply an operation by its operator; at least one operand is a carrier."""


def _applies(operation: str) -> Callable[..., float]:
    def method(self: Elementwise, *elements: float) -> float:
        operands = [Array.of([x], self.dtype_name) for x in elements]
        return self.subject.leave(self.subject.apply(operation, *operands)).values[0]

    method.__doc__ = f"Apply ``{operation}``."
    return method


class Elementwise(Meadow[float]):
    """A format's numbers under a subject's operations: floats, NaN for ⊥; ALG."""

    zero = 0.0
    one = 1.0
    bottom = math.nan

    def __init__(self, subject: Bottoms, dtype_name: str) -> None:
        self.subject, self.dtype_name = subject, dtype_name

    add, sub, mul, div = map(_applies, ("add", "sub", "mul", "div"))
    neg, inv, absolute, sign = map(_applies, ("neg", "inv", "absolute", "sign"))


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape to which shapes broadcast; they fit."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(next((s for s in sizes if s != 1), 1) for sizes in zip(*padded, strict=True))


def spread(values: Sequence[Value], shape: tuple[int, ...], to: tuple[int, ...]) -> list[Value]:
    """Return elements of an array of one shape, broadcast to another."""
    if shape == to:
        return list(values)
    positions = [0]
    padded = (1,) * (len(to) - len(shape)) + shape
    for size, wide in zip(padded, to, strict=True):
        positions = [p * size + i % size for p in positions for i in range(wide)]
    return [values[p] for p in positions]


def ieee(function: Callable[..., float], *arguments: float) -> float:
    """Apply a function of Python as IEEE does, without an error: NaN or ∞ for no number."""
    try:
        return function(*arguments)
    except OverflowError:
        return math.inf
    except (ValueError, ZeroDivisionError):
        return math.nan


def in_real_domain(operation: str, *arguments: Fraction) -> bool:
    """Tell whether an operation has a real result at these arguments; BOT-3.2.

    Divisions are for the algebra to decide.
    """
    x = arguments[0]
    if operation == "log":
        return x > 0
    if operation == "sqrt":
        return x >= 0
    if operation == "power":
        y = arguments[1]
        return x > 0 or (y >= 0 if x == 0 else y.denominator == 1)
    return True


def result(
    operation: str, dtype_name: str, arguments: Sequence[Number], host: float
) -> float | Bottom:
    """Return the result of an operation, given the host's own; BOT-3."""
    if operation in RATIONAL:
        return round_to(dtype_name, getattr(Rationals(), operation)(*arguments))
    known = [x for x in arguments if not isinstance(x, Bottom)]
    if len(known) < len(arguments) or not in_real_domain(operation, *known):
        return BOTTOM
    if operation == "sqrt":
        return root_to(dtype_name, known[0])
    return host if math.isfinite(host) else BOTTOM
