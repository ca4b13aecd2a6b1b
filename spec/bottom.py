"""BOT: ⊥ on arrays of IEEE floats."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from .algebra import BOTTOM, Bottom, Meadow, Number, absolute, add, div, inv, mul, neg, sign, sub
from .arrays import Array, identical
from .clause import clause, refused, require
from .formats import FORMATS, Format, from_ieee, nearest, root_to, round_to

__all__ = [
    "BOTTOM", "FORMATS", "Bottom", "Bottoms", "Carrier", "Format", "Number", "from_ieee",
    "nearest", "round_to",
]  # fmt: skip

Value = TypeVar("Value")

ARITY: Final = {
    "add": 2, "sub": 2, "mul": 2, "div": 2, "neg": 1, "inv": 1, "absolute": 1, "sign": 1,
    "sqrt": 1, "exp": 1, "log": 1, "power": 2,
}  # fmt: skip
"""The operations, and how many operands each has."""

RATIONAL: Final[dict[str, Callable[..., Number]]] = {
    "add": add, "sub": sub, "mul": mul, "div": div,
    "neg": neg, "inv": inv, "absolute": absolute, "sign": sign,
}  # fmt: skip
"""The operations whose exact results are rational."""

APPROXIMATE: Final = ("sqrt", "exp", "log", "power")
"""The operations that libraries round as they can, and in a vector otherwise than alone."""

LAST_BITS: Final = 4
"""How many ε two roundings of one approximate result may be apart; BOT-6."""

NEAR_LARGEST: Final = Fraction(99, 100)
"""The part of a format's largest number beyond which last bits decide on overflow; BOT-6."""


@dataclass(frozen=True)
class Carrier:
    """An array and, for each of its elements, whether it is ⊥; NaN and ±∞ are ⊥ unasked."""

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
        """Apply one of the operations; at least one operand is no number."""

    def ieee(self, operation: str, *operands: Array) -> Array:
        """Apply the host library's own operation, which knows no ⊥."""

    def gradients(
        self, operation: str, incoming: Array, *operands: Carrier
    ) -> tuple[Carrier, tuple[Array, ...]]:
        """Apply an operation to operands that are tracked for gradients.

        Return its result, and the gradient that each operand receives when ``incoming`` arrives
        at the result.
        """


class Elementwise(Meadow[float]):
    """A format's numbers under a subject's operations: floats, NaN for ⊥; ALG."""

    zero = 0.0
    one = 1.0
    bottom = math.nan

    def __init__(self, subject: Bottoms, dtype_name: str) -> None:
        self._subject, self._dtype_name = subject, dtype_name

    def _apply(self, operation: str, *elements: float) -> float:
        operands = [Array.of([x], self._dtype_name) for x in elements]
        return self._subject.leave(self._subject.apply(operation, *operands)).values[0]

    def add(self, x: float, y: float) -> float:
        """Return ``x + y``."""
        return self._apply("add", x, y)

    def neg(self, x: float) -> float:
        """Return ``−x``."""
        return self._apply("neg", x)

    def mul(self, x: float, y: float) -> float:
        """Return ``x · y``."""
        return self._apply("mul", x, y)

    def inv(self, x: float) -> float:
        """Return ``x⁻¹``."""
        return self._apply("inv", x)

    def sub(self, x: float, y: float) -> float:
        """Return ``x − y``."""
        return self._apply("sub", x, y)

    def div(self, x: float, y: float) -> float:
        """Return ``x / y``."""
        return self._apply("div", x, y)

    def absolute(self, x: float) -> float:
        """Return ``|x|``."""
        return self._apply("absolute", x)

    def sign(self, x: float) -> float:
        """Return ``s(x)``."""
        return self._apply("sign", x)


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


def in_real_domain(operation: str, *arguments: Fraction) -> bool:
    """Tell whether an operation has a real result at these arguments.

    The logarithm of ``x ≤ 0``, the root of ``x < 0``, a negative power of 0 and a non-integer
    power of a negative number have none; divisions are for the algebra to decide.
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
        return round_to(dtype_name, RATIONAL[operation](*arguments))
    known = [x for x in arguments if not isinstance(x, Bottom)]
    if len(known) < len(arguments) or not in_real_domain(operation, *known):
        return BOTTOM
    if operation == "sqrt":
        return root_to(dtype_name, known[0])
    return host if math.isfinite(host) else BOTTOM


def _rows(operands: Sequence[Carrier]) -> tuple[tuple[int, ...], list[tuple[Number, ...]]]:
    """Return the shape of a result, and the operands of each of its elements."""
    shape = broadcast(*(operand.payload.shape for operand in operands))
    return shape, list(zip(*(operand.numbers(shape) for operand in operands), strict=True))


@clause("BOT-1", source="Ours: x + ⊥ = x · ⊥ = ⊥ of the algebra, element by element", since="0.2.0")
def absorption(subject: Bottoms, operation: str, *operands: Carrier) -> None:
    """The result has the operands' broadcast shape and is ⊥ wherever an operand reaches it as ⊥."""
    shape, rows = _rows(operands)
    found = subject.apply(operation, *operands)
    require(found.payload.shape == shape, "shape {}, not {}", found.payload.shape, shape)
    for row, flag in zip(rows, found.bottom, strict=True):
        require(flag or BOTTOM not in row, "{} of {} is not ⊥", operation, row)


@clause("BOT-2", source="Ours: an operation that may fail has to be guarded", since="0.2.0")
def total(subject: Bottoms, operation: str, *operands: Carrier) -> None:
    """No operation raises an error or returns NaN or ±∞ in a payload, which is 0.0 at ⊥."""
    found: list[Carrier] = []
    raises = refused(Exception, lambda: found.append(subject.apply(operation, *operands)))
    require(not raises, "{} raises", operation)
    for value, flag in zip(found[0].payload.values, found[0].bottom, strict=True):
        require(math.isfinite(value), "{} returns {}, ⊥: {}", operation, value, flag)
        require(not flag or identical(value, 0.0), "{} has {} under ⊥", operation, value)


@clause(
    "BOT-3",
    source="Ours: these are the cases in which IEEE arithmetic has an exception; Paper: IEEE 754",
    since="0.2.0",
)
def exactly_when(subject: Bottoms, operation: str, *operands: Carrier) -> None:
    """An element is ⊥ exactly when it must be, and else the host's IEEE result, bit for bit.

    It must be ⊥ when an operand is ⊥, when the operation has no real result (a divisor 0, the
    logarithm of ``x ≤ 0``, the root of ``x < 0``, a negative power of 0, a non-integer power of a
    negative number), and when the result rounds beyond the largest finite number. Sum,
    difference, product, quotient, inverse, negation, absolute value and sign must be the exact
    result correctly rounded, and the root within a relative ε of it.
    """
    _, rows = _rows(operands)
    found = subject.apply(operation, *operands)
    host = subject.ieee(operation, *(operand.payload for operand in operands))
    dtype = operands[0].payload.dtype
    require(found.payload.dtype == dtype, "{} is {}", operation, found.payload.dtype)
    elements = zip(rows, found.payload.values, found.bottom, host.values, strict=True)
    for row, value, flag, theirs in elements:
        expected = result(operation, dtype, row, theirs)
        if isinstance(expected, Bottom):
            require(flag, "{} of {} is {}, not ⊥", operation, row, value)
        else:
            slack = FORMATS[dtype].epsilon * Fraction(expected) if operation == "sqrt" else 0
            number = not flag and math.isfinite(value)
            right = number and abs(Fraction(value) - Fraction(expected)) <= slack
            require(right, "{} of {}: {}, ⊥: {}, not {}", operation, row, value, flag, expected)
            same_bits = identical(value, theirs)
            require(same_bits, "{} of {} is {}, IEEE's {}", operation, row, value, theirs)


@clause("BOT-4", source="Ours: NaN and ±∞ are how others write what is no number", since="0.2.0")
def boundary(subject: Bottoms, x: Array, marked: tuple[bool, ...]) -> None:
    """NaN, ±∞ and flagged elements must enter as ⊥, others bit for bit; ⊥ must leave as NaN."""
    entered = subject.enter(x, marked)
    left = subject.leave(entered)
    require(left.shape == x.shape and left.dtype == x.dtype, "{} leaves as {}", x, left)
    elements = zip(
        x.values, marked, entered.payload.values, entered.bottom, left.values, strict=True
    )
    for value, mark, payload, flag, out in elements:
        bottom = mark or not math.isfinite(value)
        require(flag == bottom, "{}, flagged: {}, enters as ⊥: {}", value, mark, flag)
        require(bottom or identical(payload, value), "{} enters as {}", value, payload)
        right = identical(out, math.nan if bottom else value)
        require(right, "{}, flagged: {}, leaves as {}", value, mark, out)


def _equal(x: Carrier, y: Carrier) -> bool:
    same_kind = (x.payload.shape, x.payload.dtype) == (y.payload.shape, y.payload.dtype)
    return (
        same_kind
        and x.bottom == y.bottom
        and all(map(identical, x.payload.values, y.payload.values))
    )


@clause("BOT-5", source="Ours: one bad sample must not spoil its batch", since="0.2.0")
def isolation(subject: Bottoms, operation: str, poison: float, *operands: Carrier) -> None:
    """An element that is ⊥ receives gradient 0 and changes no other value or gradient by a bit.

    So it is whatever its operands are, and whatever gradient arrives at it, NaN and ±∞ included.
    """
    ones = Array.full(1.0, like=operands[0].payload)
    found, gradients = subject.gradients(operation, ones, *operands)
    at = found.bottom
    clean, calm = subject.gradients(operation, ones, *(x.with_one(at) for x in operands))
    poisoned = ones.with_values([poison if flag else 1.0 for flag in at])
    _, under = subject.gradients(operation, poisoned, *operands)
    require(len(gradients) == len(operands), "{} gradients of {}", len(gradients), operation)
    for mine, others, theirs in zip(gradients, calm, under, strict=True):
        for flag, x, y, z in zip(at, mine.values, others.values, theirs.values, strict=True):
            right = x == z == 0 if flag else identical(x, y) and identical(x, z)
            require(right, "{}: gradient {}, {} without ⊥, {} under {}", operation, x, y, z, poison)
    for flag, x, y in zip(at, found.payload.values, clean.payload.values, strict=True):
        require(flag or identical(x, y), "{}: {}, but {} without ⊥", operation, x, y)


def _close(x: Carrier, y: Carrier) -> bool:
    """Tell whether carriers are one up to the last bits of approximate results."""
    form = FORMATS[x.payload.dtype]
    for a, b in zip(x.numbers(x.payload.shape), y.numbers(x.payload.shape), strict=True):
        if isinstance(a, Bottom) or isinstance(b, Bottom):
            value = b if isinstance(a, Bottom) else a
            if not isinstance(value, Bottom) and abs(value) <= NEAR_LARGEST * form.largest:
                return False
        elif abs(a - b) > LAST_BITS * form.epsilon * abs(b) + form.smallest_normal:
            return False
    return True


@clause("BOT-6", source="Ours: samples are independent", since="0.2.0")
def elementwise(
    subject: Bottoms, operation: str, chosen: Sequence[int], *operands: Carrier
) -> None:
    """Operations commute with taking elements, in any order and repeatedly, and with joining them.

    They must do so bit for bit; root, exponential, logarithm and power only within 4 ε of the value
    and the smallest normal number, and except for overflow within a hundredth of the largest
    number.
    """
    alike = _close if operation in APPROXIMATE else _equal
    whole = subject.apply(operation, *operands)
    for joined in (False, True):
        found = subject.apply(operation, *(x.take(chosen, joined=joined) for x in operands))
        expected = whole.take(chosen, joined=joined)
        right = alike(found, expected)
        require(right, "{} at {}: {}, not {}", operation, chosen, found, expected)


@clause("BOT-7", source="Ours: training and inference must see one function", since="0.2.0")
def tracked(subject: Bottoms, operation: str, *operands: Carrier) -> None:
    """An operation on operands that are tracked for gradients returns the same bits as without."""
    plain = subject.apply(operation, *operands)
    ones = Array.full(1.0, like=plain.payload)
    found, _ = subject.gradients(operation, ones, *operands)
    require(_equal(found, plain), "{} tracked: {}, not {}", operation, found, plain)


@clause("BOT-8", source="Ours: 0.1 · x must not depend on who wrote 0.1", since="0.2.0")
def operands(subject: Bottoms, operation: str, x: Array, number: float) -> None:
    """A plain array or number is an operand as if it had entered, the number rounded to the dtype.

    It may be the first operand or the second.
    """
    array = subject.enter(x, (False,) * len(x.values))
    rounded = Array.full(nearest(x.dtype, number), like=x)
    single = subject.enter(rounded, (False,) * len(x.values))
    if ARITY[operation] == 1:
        pairs: list[tuple[Any, ...]] = [((x,), (array,))]
    else:
        pairs = [((x, array), (array, array)), ((array, x), (array, array))]
        pairs += [((array, number), (array, single)), ((number, x), (single, array))]
    alike = _close if operation in APPROXIMATE else _equal
    for given, entered in pairs:
        found, expected = subject.apply(operation, *given), subject.apply(operation, *entered)
        right = alike(found, expected)
        require(right, "{} of {}: {}, not {}", operation, given, found, expected)
