"""Cases of ALG and BOT: both sides of every law, and total operations on arrays, NaN for ⊥."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import product
from random import Random
from types import SimpleNamespace
from typing import Any, Final

from ..algebra import Bottom, Number
from ..arrays import Array
from ..bottom import NEAR_LARGEST
from ..carriers import ARITY, PYTHON, RATIONAL, broadcast, ieee, result, spread
from ..formats import FORMATS, Floats, from_ieee, nearest
from ..laws import LAWS, Law, in_range, sides
from .cases import ANYTHING, ZERO, Case, around, filled
from .numbers import SINGULAR, edges, some, uniform

COUNT: Final = 3
"""How many cases a law has in each format."""

SAME: Final = {"float16": 0.0, "bfloat16": math.nan, "float32": 1.0, "float64": -3.0}
"""The number that stands for all variables in the first case of a format."""

HOST: Final = ("exp", "log", "power")
"""The operations whose last bits are the host library's own."""
SIGNED: Final = ("add", "sub", "mul", "div", "neg", "absolute", "sqrt")
"""The operations of which IEEE gives a zero result a sign."""


def _term(operation: str) -> Callable[..., Any]:
    return lambda *operands: [operation, *operands]


TERMS: Final[Any] = SimpleNamespace(
    zero="zero", one="one", bottom="bottom", **{name: _term(name) for name in RATIONAL}
)
"""A meadow of terms, written as a list of an operation and its operands."""


def _assignments(law: Law, random: Random, dtype: str) -> Iterator[tuple[float, ...]]:
    """Walk what the variables stand for: one number for all, then any, some of them edges."""
    count = len(law.variables)
    yield (SAME[dtype],) * count
    few = [x for x in edges(dtype) if abs(x) >= 2.0**-10 or x == 0]
    for _ in range(8 * COUNT if count else 0):
        row = some(random, dtype, count, spread=4)
        for place in range(count):
            if random.random() < 0.25:
                row[place] = math.nan if random.random() < 0.3 else few[int(random.random() * 8)]
        yield tuple(row)


def _shows(law: Law, dtype: str, row: tuple[float, ...]) -> bool:
    """Tell whether a law says something of these numbers on floats of the dtype."""
    elements = tuple(map(from_ieee, row))
    if law.given:
        first, second = sides(law.given, Floats(dtype), *elements)
        if first != second:
            return False
    return law.floats != "rounded" or in_range(law, dtype, elements)


def _number(x: Number) -> Any:
    return math.nan if isinstance(x, Bottom) else around(x)


def evaluate(name: str, random: Random) -> Iterator[Case]:
    """Return the numbers ``left`` and ``right`` that two terms stand for, NaN for ⊥, computed in a
    ``dtype`` with ``variables``. A term is a constant (``zero``, ``one``, ``bottom``), a variable,
    or a list of an operation and its operands.
    """
    for (id, law), dtype in product(LAWS.items(), FORMATS):
        terms = dict(
            zip(("left", "right"), sides(law.equation, TERMS, *law.variables), strict=True)
        )
        rows = [row for row in _assignments(law, random, dtype) if _shows(law, dtype, row)]
        for row in rows[:COUNT]:
            given = {
                "dtype": dtype,
                **terms,
                "variables": dict(zip(law.variables, row, strict=True)),
            }
            values = map(_number, sides(law.equation, Floats(dtype), *map(from_ieee, row)))
            yield Case(f"{id} BOT-3", given, dict(zip(terms, values, strict=True)))


def _approximate(name: str, dtype: str, row: Sequence[float]) -> float | None:
    """Return a host's result, ∞ for what overflows; None where last bits decide on that."""
    value = ieee(PYTHON[name], *row)
    size = abs(value) / FORMATS[dtype].largest
    return None if NEAR_LARGEST <= size <= 2 - NEAR_LARGEST else nearest(dtype, value)


def element(name: str, dtype: str, row: Sequence[float]) -> Any:
    """Return what an operation makes of numbers, NaN for ⊥; open where libraries differ."""
    host = _approximate(name, dtype, row) if name in HOST else 0.0
    if host is None:
        return ANYTHING
    value = result(name, dtype, [from_ieee(x) for x in row], host)
    if isinstance(value, Bottom):
        return math.nan
    if name in HOST:
        return ANYTHING
    if not value:
        return math.copysign(value, PYTHON[name](*row)) if name in SIGNED else ZERO
    slack = FORMATS[dtype].epsilon * Fraction(value)
    return around(value, slack) if name == "sqrt" else value


def _applied(name: str, *operands: Array | float) -> dict[str, Any]:
    dtype = next(x.dtype for x in operands if isinstance(x, Array))
    entered = [x if isinstance(x, Array) else Array((nearest(dtype, x),), (), dtype)
               for x in operands]  # fmt: skip
    shape = broadcast(*(x.shape for x in entered))
    rows = zip(*(spread(x.values, x.shape, shape) for x in entered), strict=True)
    return {"value": filled(Array((), shape, dtype), [element(name, dtype, row) for row in rows])}


def _case(clauses: str, name: str, *operands: Array | float) -> Case:
    given = dict(zip("xy", operands, strict=False))
    return Case(clauses, given, _applied(name, *operands))


def _clauses(value: Any, row: Sequence[float]) -> str:
    if not all(map(math.isfinite, row)):
        return "BOT-1 BOT-2 BOT-3"
    return "BOT-2 BOT-3" if isinstance(value, float) and math.isnan(value) else "BOT-3"


def _rows(name: str, random: Random, dtype: str) -> list[tuple[float, ...]]:
    """Return operands of one element: edges and others, of two also all pairs of a few."""
    several = edges(dtype)
    if ARITY[name] == 1:
        return [(x,) for x in (*several, *SINGULAR, *some(random, dtype, 6))]
    few = [0.0, -0.0, 1.0, -3.0, several[2], several[-1], math.inf, math.nan]
    pairs = list(product(few, repeat=2)) if dtype == "float32" else []
    many = [*several, *SINGULAR, *some(random, dtype, 12)]
    drawn = [many[uniform(random, 0, len(many) - 1)] for _ in range(28)]
    return [*pairs, *zip(drawn[::2], drawn[1::2], strict=True)]


def apply(name: str, random: Random) -> Iterator[Case]:
    """Apply a total operation to ``x``, or ``x`` and ``y``, elementwise, and return ``value``. Of
    operands and value NaN is ⊥, and an operand's ±∞ too; a number is an operand like an array.
    """
    for dtype in FORMATS:
        for row in _rows(name, random, dtype):
            clauses = _clauses(element(name, dtype, row), row)
            yield _case(clauses, name, *(Array.of([x], dtype) for x in row))
    yield from _shaped(name, random)


def _shaped(name: str, random: Random) -> Iterator[Case]:
    """Walk operands of several elements, that broadcast, and numbers as operands."""
    for dtype in ("float32", "float64"):
        x = Array((*some(random, dtype, 5), math.nan), (2, 3), dtype)
        if ARITY[name] == 1:
            yield _case("BOT-6", name, x)
            continue
        y = Array((0.0, math.inf, *some(random, dtype, 1)), (3,), dtype)
        column = Array((2.0, math.nan), (2, 1), dtype)
        yield _case("BOT-6", name, x, x)
        for pair in ((x, y), (y, x), (column, y), (x, column)):
            yield _case("BOT-1 BOT-6", name, *pair)
    for dtype in FORMATS if ARITY[name] == 2 else ():
        x = Array.of([1.0, 0.0, *some(random, dtype, 1), math.nan], dtype)
        for number in (0.1, -0.0, 1e300, math.nan):
            yield _case("BOT-8", name, x, number)
            yield _case("BOT-8", name, number, x)


def _flagged(random: Random, dtype: str) -> Iterator[tuple[Array, list[bool], list[bool]]]:
    """Walk arrays with flags, and whether an element is ⊥."""
    for x in (*edges(dtype)[:12], *SINGULAR):
        for flag in (False, True):
            yield Array.of([x], dtype), [flag], [flag or not math.isfinite(x)]
    x4 = Array((*some(random, dtype, 3), math.inf), (2, 2), dtype)
    yield x4, [False, True, False, False], [False, True, False, True]


def _with(hole: float | None, x: Array, bottom: list[bool]) -> dict[str, Any]:
    return filled(x, [hole if b else v for v, b in zip(x.values, bottom, strict=True)])


def enter(name: str, random: Random) -> Iterator[Case]:
    """Take an array ``x``, whose elements flagged in ``bottom`` are ⊥ whatever they are, as NaN and
    ±∞ are, and return ``payload`` and ``bottom``.
    """
    for dtype in FORMATS:
        for x, flags, bottom in _flagged(random, dtype):
            result = {"payload": _with(ANYTHING, x, bottom), "bottom": bottom}
            yield Case("BOT-4", {"x": x, "bottom": flags}, result)


def leave(name: str, random: Random) -> Iterator[Case]:
    """Return as ``x`` the plain array of a carrier with ``payload`` and ``bottom``, NaN for ⊥."""
    for dtype in FORMATS:
        for x, _, bottom in _flagged(random, dtype):
            given = {"payload": _with(0.0, x, bottom), "bottom": bottom}
            yield Case("BOT-4", given, {"x": _with(math.nan, x, bottom)})


def backward(name: str, random: Random) -> Iterator[Case]:
    """Apply the operation named ``of`` to ``operands`` that are tracked for gradients, let the
    gradient ``incoming`` arrive at the result, and return ``value`` and ``gradients``, one for each
    operand.
    """
    values = [4.0, 0.0, -0.0, -1.0, math.nan, math.inf, 0.25]
    for (of, arity), dtype in product(ARITY.items(), ("float32", "float64")):
        x = Array.of(values, dtype)
        operands = (x, x.with_values([*values[3:], *values[:3]]))[:arity]
        value = _applied(of, *operands)
        bottom = [isinstance(v, float) and math.isnan(v) for v in value["value"]["values"]]
        gradients = [filled(x, [ZERO if b else ANYTHING for b in bottom])] * arity
        for poison in (1.0, math.nan, -math.inf):
            arriving = [poison if b else 1.0 for b in bottom]
            given = {"of": of, "operands": operands, "incoming": x.with_values(arriving)}
            yield Case("BOT-3 BOT-5 BOT-7", given, {**value, "gradients": gradients})
