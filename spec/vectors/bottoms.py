"""Cases of BOT: total operations on arrays, NaN for ⊥."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from random import Random
from typing import Any, Final

from ..algebra import Bottom
from ..arrays import Array
from ..bottom import NEAR_LARGEST
from ..carriers import ARITY, broadcast, in_real_domain, result, spread
from ..formats import FORMATS, from_ieee, nearest
from .cases import ANYTHING, ZERO, Case, Within, filled, operation
from .numbers import SINGULAR, edges, some, uniform

HOST: Final[dict[str, Callable[..., float]]] = {"exp": math.exp, "log": math.log, "power": math.pow}


def _zero(name: str, x: float, y: float) -> Any:
    """Return the zero that IEEE gives a zero result; that of a sign has either sign."""
    if name == "sign":
        return ZERO
    if name in ("add", "sub"):
        return x + y if name == "add" else x - y
    if name in ("neg", "absolute", "sqrt"):
        return {"neg": -x, "absolute": 0.0, "sqrt": x}[name]
    return math.copysign(0.0, x) * math.copysign(1.0, y)


def _approximate(name: str, dtype: str, row: Sequence[float]) -> float | None:
    """Return a host's result, ∞ for what overflows; None where last bits decide on that."""
    try:
        value = HOST[name](*row)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan
    largest = FORMATS[dtype].largest
    near = NEAR_LARGEST <= abs(Fraction(value)) / largest <= 2 - NEAR_LARGEST
    return None if near else nearest(dtype, value)


def element(name: str, dtype: str, row: Sequence[float]) -> Any:
    """Return what an operation makes of numbers, NaN for ⊥; open where libraries differ."""
    numbers = [from_ieee(x) for x in row]
    host = 0.0
    if name in HOST and all(map(math.isfinite, row)):
        known = [x for x in numbers if not isinstance(x, Bottom)]
        found = _approximate(name, dtype, row) if in_real_domain(name, *known) else math.nan
        if found is None:
            return ANYTHING
        host = found
    value = result(name, dtype, numbers, host)
    if isinstance(value, Bottom):
        return math.nan
    if name == "sqrt" and value:
        return Within.around(Fraction(value), FORMATS[dtype].epsilon * Fraction(value))
    if name in HOST:
        return ANYTHING
    return value if value else _zero(name, row[0], row[-1])


def _applied(name: str, *operands: Array) -> dict[str, Any]:
    shape, dtype = broadcast(*(x.shape for x in operands)), operands[0].dtype
    rows = zip(*(spread(x.values, x.shape, shape) for x in operands), strict=True)
    values = [element(name, dtype, row) for row in rows]
    return {"value": filled(Array((), shape, dtype), values)}


def _named(operands: Sequence[Any]) -> dict[str, Any]:
    return dict(zip("xy", operands, strict=False))


def _clauses(case: dict[str, Any], operands: Sequence[Array]) -> str:
    singular = any(not math.isfinite(x) for array in operands for x in array.values)
    bottom = any(isinstance(x, float) and math.isnan(x) for x in case["value"]["values"])
    return "BOT-1 BOT-2 BOT-3" if singular else "BOT-2 BOT-3" if bottom else "BOT-3"


def _rows(name: str, random: Random, dtype: str) -> Iterator[tuple[float, ...]]:
    """Walk the operands of one element: edges and others, of two also all pairs of a few."""
    several = edges(dtype)
    if ARITY[name] == 1:
        yield from ((x,) for x in (*several, *SINGULAR, *some(random, dtype, 6)))
        return
    few = [0.0, -0.0, 1.0, -3.0, several[2], several[-1], math.inf, math.nan]
    if dtype == "float32":
        yield from ((x, y) for x in few for y in few)
    many = [*several, *SINGULAR, *some(random, dtype, 12)]
    for _ in range(14):
        first, second = (many[uniform(random, 0, len(many) - 1)] for _ in range(2))
        yield first, second


@operation(*ARITY)
def applies(name: str, random: Random) -> Iterator[Case]:
    """Apply a total operation to ``x``, or ``x`` and ``y``, elementwise, and return ``value``. Of
    operands and value NaN is ⊥, and an operand's ±∞ too; a number is an operand like an array.
    """
    for dtype in FORMATS:
        for row in _rows(name, random, dtype):
            operands = [Array.of([x], dtype) for x in row]
            applied = _applied(name, *operands)
            yield Case(_clauses(applied, operands), _named(operands), applied)
    yield from _shaped(name, random)


def _shaped(name: str, random: Random) -> Iterator[Case]:
    """Walk operands of several elements, that broadcast, and numbers as operands."""
    for dtype in ("float32", "float64"):
        x = Array((*some(random, dtype, 5), math.nan), (2, 3), dtype)
        if ARITY[name] == 1:
            yield Case("BOT-6", {"x": x}, _applied(name, x))
            continue
        y = Array((0.0, math.inf, *some(random, dtype, 1)), (3,), dtype)
        column = Array((2.0, math.nan), (2, 1), dtype)
        yield Case("BOT-6", {"x": x, "y": x}, _applied(name, x, x))
        for pair in ((x, y), (y, x), (column, y), (x, column)):
            yield Case("BOT-1 BOT-6", _named(pair), _applied(name, *pair))
    for dtype in FORMATS if ARITY[name] == 2 else ():
        x = Array.of([1.0, 0.0, *some(random, dtype, 1), math.nan], dtype)
        for number in (0.1, -0.0, 1e300, math.nan):
            entered = Array((nearest(dtype, number),), (), dtype)
            yield Case("BOT-8", {"x": x, "y": number}, _applied(name, x, entered))
            yield Case("BOT-8", {"x": number, "y": x}, _applied(name, entered, x))


def _flagged(random: Random, dtype: str) -> Iterator[tuple[Array, list[bool], list[bool]]]:
    """Walk arrays with flags, and whether an element is ⊥."""
    for x in (*edges(dtype)[:12], *SINGULAR):
        for flag in (False, True):
            yield Array.of([x], dtype), [flag], [flag or not math.isfinite(x)]
    x4 = Array((*some(random, dtype, 3), math.inf), (2, 2), dtype)
    yield x4, [False, True, False, False], [False, True, False, True]


@operation("enter")
def enters(name: str, random: Random) -> Iterator[Case]:
    """Take an array ``x``, whose elements flagged in ``bottom`` are ⊥ whatever they are, as NaN and
    ±∞ are, and return ``payload`` and ``bottom``.
    """
    for dtype in FORMATS:
        for x, flags, bottom in _flagged(random, dtype):
            kept = [ANYTHING if b else v for v, b in zip(x.values, bottom, strict=True)]
            result = {"payload": filled(x, kept), "bottom": bottom}
            yield Case("BOT-4", {"x": x, "bottom": flags}, result)


@operation("leave")
def leaves(name: str, random: Random) -> Iterator[Case]:
    """Return as ``x`` the plain array of a carrier with ``payload`` and ``bottom``, NaN for ⊥."""
    for dtype in FORMATS:
        for x, _, bottom in _flagged(random, dtype):
            left, held = (
                x.with_values([hole if b else v for v, b in zip(x.values, bottom, strict=True)])
                for hole in (math.nan, 0.0)
            )
            yield Case("BOT-4", {"payload": held, "bottom": bottom}, {"x": left})


@operation("backward")
def backwards(name: str, random: Random) -> Iterator[Case]:
    """Apply the operation named ``of`` to ``operands`` that are tracked for gradients, let the
    gradient ``incoming`` arrive at the result, and return ``value`` and ``gradients``, one for each
    operand.
    """
    for of, arity in ARITY.items():
        for dtype in ("float32", "float64"):
            values = [4.0, 0.0, -0.0, -1.0, math.nan, math.inf, 0.25]
            x = Array.of(values, dtype)
            operands = (x, x.with_values([*values[3:], *values[:3]]))[:arity]
            value = _applied(of, *operands)
            bottom = [isinstance(v, float) and math.isnan(v) for v in value["value"]["values"]]
            gradients = [filled(x, [ZERO if b else ANYTHING for b in bottom])] * arity
            for poison in (1.0, math.nan, -math.inf):
                arriving = [poison if b else 1.0 for b in bottom]
                given = {"of": of, "operands": operands, "incoming": x.with_values(arriving)}
                yield Case("BOT-3 BOT-5 BOT-7", given, {**value, "gradients": gradients})
