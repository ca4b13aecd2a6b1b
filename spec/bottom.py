"""BOT: ⊥ on arrays of IEEE floats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

from .algebra import BOTTOM, Bottom, Number
from .arrays import Array, identical, same
from .carriers import (
    ARITY,
    Bottoms,
    Carrier,
    Indexes,
    Operand,
    Operates,
    broadcast,
    in_real_domain,
    result,
)
from .clause import clause, refused, require
from .formats import FORMATS, nearest

APPROXIMATE: Final = ("sqrt", "exp", "log", "power")
"""The operations that libraries round as they can, and in a vector otherwise than alone."""

LAST_BITS: Final = 4
"""How many ε two roundings of one approximate result may be apart; BOT-6."""

NEAR_LARGEST: Final = Fraction(99, 100)
"""The part of a format's largest number beyond which last bits decide on overflow; BOT-6."""

OPERATORS: Final = ("add", "sub", "mul", "div", "power", "neg", "absolute")
"""The operations that have operators: ``+ - * / **``, the unary ``-`` and ``abs``."""


def _rows(operands: Sequence[Carrier]) -> tuple[tuple[int, ...], list[tuple[Number, ...]]]:
    """Return the shape of a result, and the operands of each of its elements."""
    shape = broadcast(*(operand.payload.shape for operand in operands))
    return shape, list(zip(*(operand.numbers(shape) for operand in operands), strict=True))


@clause("BOT-1", source="Ours: x + ⊥ = x · ⊥ = ⊥ of the algebra, element by element", since="0.2.0")
def absorption(subject: Bottoms, operation: str, *operands: Carrier) -> None:
    """An operation with ⊥ gives ⊥.

    1. A result has the shape to which its operands broadcast.
    2. An element of a result is ⊥ if an operand's element that reaches it is ⊥.
    """
    shape, rows = _rows(operands)
    found = subject.apply(operation, *operands)
    require(found.payload.shape == shape, "shape {}, not {}", found.payload.shape, shape)
    for row, flag in zip(rows, found.bottom, strict=True):
        require(flag or BOTTOM not in row, "{} of {} is not ⊥", operation, row, claim=2)


@clause("BOT-2", source="Ours: an operation that may fail has to be guarded", since="0.2.0")
def total(subject: Bottoms, operation: str, *operands: Carrier) -> None:
    """Every operation is total.

    1. No operation raises an error.
    2. No payload of a result holds NaN or ±∞.
    3. The payload of a ⊥ element of a result is 0.0.
    """
    found: list[Carrier] = []
    raises = refused(Exception, lambda: found.append(subject.apply(operation, *operands)))
    require(not raises, "{} raises", operation)
    for value, flag in zip(found[0].payload.values, found[0].bottom, strict=True):
        finite = math.isfinite(value)
        require(finite, "{} returns {}, ⊥: {}", operation, value, flag, claim=2)
        zero = not flag or identical(value, 0.0)
        require(zero, "{} has {} under ⊥", operation, value, claim=3)


def _exception(operation: str, row: Sequence[Fraction]) -> int:
    """Return the number of the claim of BOT-3 by which an element is ⊥."""
    if operation in ("div", "inv") and row[-1] == 0:
        return 1
    return 3 if in_real_domain(operation, *row) else 2


@clause(
    "BOT-3",
    source="Ours: these are the cases in which IEEE arithmetic has an exception; Paper: IEEE 754",
    since="0.2.0",
)
def exactly_when(subject: Bottoms, operation: str, *operands: Carrier) -> None:
    """An element whose operands are numbers is ⊥ in the following cases only.

    1. A number divided by 0, and the inverse of 0, are ⊥.
    2. The logarithm of ``x ≤ 0``, the root of ``x < 0``, a negative power of 0 and a non-integer
       power of a negative number are ⊥.
    3. A result that rounds beyond the largest finite number is ⊥.
    4. An element whose rounded result is finite is a number.
    5. An element that is a number is the host library's IEEE result, bit for bit.
    6. A sum, difference, product, quotient, inverse, negation, absolute value and sign is the
       exact result, correctly rounded; a root is within a relative ε of it.
    7. A result has the dtype of its operands.
    """
    _, rows = _rows(operands)
    found = subject.apply(operation, *operands)
    host = subject.ieee(operation, *(operand.payload for operand in operands))
    dtype = operands[0].payload.dtype
    require(found.payload.dtype == dtype, "{} is {}", operation, found.payload.dtype, claim=7)
    elements = zip(rows, found.payload.values, found.bottom, host.values, strict=True)
    for row, value, flag, theirs in elements:
        known = [x for x in row if not isinstance(x, Bottom)]
        if len(known) < len(row):
            continue
        right = result(operation, dtype, row, theirs)
        if isinstance(right, Bottom):
            claim = _exception(operation, known)
            require(flag, "{} of {} is {}, not ⊥", operation, row, value, claim=claim)
            continue
        require(not flag, "{} of {} is ⊥, not {}", operation, row, right, claim=4)
        right_bits = identical(value, theirs)
        require(right_bits, "{} of {} is {}, IEEE's {}", operation, row, value, theirs, claim=5)
        slack = FORMATS[dtype].epsilon * Fraction(right) if operation == "sqrt" else 0
        near = math.isfinite(value) and abs(Fraction(value) - Fraction(right)) <= slack
        require(near, "{} of {} is {}, not {}", operation, row, value, right, claim=6)


@clause("BOT-4", source="Ours: NaN and ±∞ are how others write what is no number", since="0.2.0")
def boundary(subject: Bottoms, x: Array, marked: tuple[bool, ...]) -> None:
    """⊥ enters and leaves by NaN.

    1. NaN, ±∞ and every flagged element enter as ⊥, and no other element does.
    2. A number enters as that number, bit for bit.
    3. ⊥ leaves as NaN.
    4. A number leaves as that number, bit for bit.
    5. An array enters and leaves with its shape and dtype.
    6. An array that enters with fewer or more flags than elements raises ValueError.
    """
    entered = subject.enter(x, marked)
    left = subject.leave(entered)
    for y in (entered.payload, left):
        kept = (y.shape, y.dtype) == (x.shape, x.dtype)
        require(kept, "{} has become {}", x, y, claim=5)
    elements = zip(
        x.values, marked, entered.payload.values, entered.bottom, left.values, strict=True
    )
    for value, mark, payload, flag, out in elements:
        bottom = mark or not math.isfinite(value)
        require(flag == bottom, "{}, flagged: {}, enters as ⊥: {}", value, mark, flag)
        right = bottom or identical(payload, value)
        require(right, "{} enters as {}", value, payload, claim=2)
        wanted, claim = (math.nan, 3) if bottom else (value, 4)
        require(identical(out, wanted), "{} leaves as {}", wanted, out, claim=claim)
    # These flags would broadcast.
    flags = (False,) * (2 if len(x.values) == 1 else 1)
    enters = not refused(ValueError, lambda: subject.enter(x, flags), claim=6)
    require(not enters, "{} enters with {} flags", x, len(flags), claim=6)


def _equal(x: Carrier, y: Carrier) -> bool:
    return x.bottom == y.bottom and same(x.payload, y.payload)


@clause("BOT-5", source="Ours: one bad sample must not spoil its batch", since="0.2.0")
def isolation(subject: Bottoms, operation: str, poison: float, *operands: Carrier) -> None:
    """A ⊥ element of a result affects nothing else.

    1. At a ⊥ element every operand's gradient is 0, even if NaN or ±∞ arrives there.
    2. Every other gradient is bitwise what it would be without the ⊥ elements.
    3. Every other value is bitwise what it would be without the ⊥ elements.
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
            complaint = "{}: gradient {}, {} without ⊥, {} under {}"
            require(right, complaint, operation, x, y, z, poison, claim=1 if flag else 2)
    for flag, x, y in zip(at, found.payload.values, clean.payload.values, strict=True):
        right = flag or identical(x, y)
        require(right, "{}: {}, but {} without ⊥", operation, x, y, claim=3)


def _close(x: Carrier, y: Carrier) -> bool:
    """Tell whether carriers are equal up to the last bits of approximate results."""
    if (x.payload.shape, x.payload.dtype) != (y.payload.shape, y.payload.dtype):
        return False
    form = FORMATS[x.payload.dtype]
    for a, b in zip(x.numbers(x.payload.shape), y.numbers(x.payload.shape), strict=True):
        if isinstance(a, Bottom) or isinstance(b, Bottom):
            value = b if isinstance(a, Bottom) else a
            if not isinstance(value, Bottom) and abs(value) <= NEAR_LARGEST * form.largest:
                return False
        elif abs(a - b) > LAST_BITS * form.epsilon * abs(b) + form.smallest_normal:
            return False
    return True


def _same(operation: str, x: Carrier, y: Carrier) -> bool:
    return _close(x, y) if operation in APPROXIMATE else _equal(x, y)


@clause("BOT-6", source="Ours: samples are independent", since="0.2.0")
def elementwise(
    subject: Bottoms, operation: str, chosen: Sequence[int], *operands: Carrier
) -> None:
    """Elements are independent, bit for bit. A root, exponential, logarithm or power may differ by
    4 ε of its value plus the smallest normal number, and overflow from 0.99 times the largest one.

    1. An operation commutes with taking elements, in any order and repeatedly.
    2. An operation commutes with joining arrays.
    """
    whole = subject.apply(operation, *operands)
    for joined in (False, True):
        found = subject.apply(operation, *(x.take(chosen, joined=joined) for x in operands))
        expected = whole.take(chosen, joined=joined)
        right = _same(operation, found, expected)
        complaint = "{} at {}: {}, not {}"
        require(right, complaint, operation, chosen, found, expected, claim=1 + joined)


@clause("BOT-7", source="Ours: training and inference must see one function", since="0.2.0")
def tracked(subject: Bottoms, operation: str, *operands: Carrier) -> None:
    """An operation on operands that are tracked for gradients returns the same bits as without."""
    plain = subject.apply(operation, *operands)
    ones = Array.full(1.0, like=plain.payload)
    found, _ = subject.gradients(operation, ones, *operands)
    require(_equal(found, plain), "{} tracked: {}, not {}", operation, found, plain)


def _entered(subject: Bottoms, x: Array) -> Carrier:
    return subject.enter(x, (False,) * len(x.values))


@clause("BOT-8", source="Ours: 0.1 · x must not depend on who wrote 0.1", since="0.2.0")
def operands(subject: Bottoms, operation: str, x: Array, y: Array, number: float) -> None:
    """An operand may be a plain array or a number.

    1. A plain array, as either operand or both, is first converted to a carrier.
    2. A number, as either operand, is first rounded to the array's dtype; to float16 and bfloat16
       it may be rounded by way of float32.
    """
    a, b = _entered(subject, x), _entered(subject, y)
    given = [(x, b), (a, y), (x, y)] if ARITY[operation] == 2 else [(x,)]
    expected = subject.apply(operation, *(a, b)[: ARITY[operation]])
    for pair in given:
        found = subject.apply(operation, *pair)
        right = _same(operation, found, expected)
        require(right, "{} of {}: {}, not {}", operation, pair, found, expected)
    ways = {nearest(x.dtype, by) for by in (number, nearest("float32", number))}
    scalars = [_entered(subject, Array((way,), (), x.dtype)) for way in ways]
    mixed: list[Any] = [
        ((a, number), [(a, s) for s in scalars]), ((number, x), [(s, a) for s in scalars])
    ]  # fmt: skip
    for pair, others in mixed if ARITY[operation] == 2 else ():
        found = subject.apply(operation, *pair)
        right = any(_same(operation, found, subject.apply(operation, *other)) for other in others)
        require(right, "{} of {} is {}", operation, pair, found, claim=2)


@clause("BOT-9", source="Ours: 1 - x must not be x - 1", since="0.4.0")
def operators(subject: Operates, operation: str, *operands: Operand) -> None:
    """The operators ``+ - * / **``, unary ``-`` and ``abs`` stand for the operations add, sub, mul,
    div, power, neg and absolute.

    1. An operator on carriers returns what its operation returns.
    2. An operator between a carrier and, on its right, a plain array or a number returns what its
       operation returns.
    3. An operator between a plain array or a number and, on its right, a carrier returns what its
       operation returns.
    """
    found, expected = (f(operation, *operands) for f in (subject.operate, subject.apply))
    mixed = [isinstance(x, Carrier) for x in operands]
    claim = 1 if all(mixed) else 2 if mixed[0] else 3
    right = _same(operation, found, expected)
    complaint = "the operator of {} on {}: {}, not {}"
    require(right, complaint, operation, operands, found, expected, claim=claim)


@clause("BOT-10", source="Ours: x[i] of a batch is a sample, and ⊥ if it is", since="0.4.0")
def indexing(subject: Indexes, x: Array, marked: tuple[bool, ...], chosen: Sequence[int]) -> None:
    """Indexing a carrier takes elements, in any order and repeatedly, bit for bit and each with
    whether it is ⊥.
    """
    carrier = subject.enter(x, marked)
    found, expected = subject.select(carrier, chosen), carrier.take(chosen)
    require(_equal(found, expected), "{} at {}: {}, not {}", carrier, chosen, found, expected)
