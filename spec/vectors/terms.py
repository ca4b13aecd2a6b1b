"""Cases of ALG: both sides of every law, as terms and as numbers."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from random import Random
from typing import Any, Final

from ..algebra import Bottom, Meadow, Number
from ..formats import FORMATS, Floats, from_ieee
from ..laws import LAWS, Law, in_range
from .cases import Case, exactly, operation
from .numbers import edges, some

COUNT: Final = 3
"""How many cases a law has in each format."""

SAME: Final = {"float16": 0.0, "bfloat16": math.nan, "float32": 1.0, "float64": -3.0}


class Terms(Meadow[Any]):
    """Terms, written as a list of an operation and its operands."""

    zero = "zero"
    one = "one"
    bottom = "bottom"

    def add(self, x: Any, y: Any) -> Any:
        """Return ``x + y``."""
        return ["add", x, y]

    def neg(self, x: Any) -> Any:
        """Return ``−x``."""
        return ["neg", x]

    def mul(self, x: Any, y: Any) -> Any:
        """Return ``x · y``."""
        return ["mul", x, y]

    def inv(self, x: Any) -> Any:
        """Return ``x⁻¹``."""
        return ["inv", x]

    def absolute(self, x: Any) -> Any:
        """Return ``|x|``."""
        return ["absolute", x]

    def sign(self, x: Any) -> Any:
        """Return ``s(x)``."""
        return ["sign", x]

    def sub(self, x: Any, y: Any) -> Any:
        """Return ``x − y``."""
        return ["sub", x, y]

    def div(self, x: Any, y: Any) -> Any:
        """Return ``x / y``."""
        return ["div", x, y]


def _assignments(law: Law, random: Random, dtype: str) -> Iterator[tuple[float, ...]]:
    """Walk what the variables stand for: one number for all, then any numbers, some of them edges.

    The one is 0, ⊥ and others, by the format.
    """
    yield (SAME[dtype],) * law.arity
    few = [x for x in edges(dtype) if abs(x) >= 2.0**-10 or x == 0]
    for _ in range(8 * COUNT if law.arity else 0):
        row = some(random, dtype, law.arity, spread=4)
        for place in range(law.arity):
            if random.random() < 0.25:
                row[place] = math.nan if random.random() < 0.3 else few[int(random.random() * 8)]
        yield tuple(row)


def _shows(law: Law, dtype: str, elements: tuple[Number, ...]) -> bool:
    """Tell whether a law says something of these elements on floats of the dtype."""
    if law.given is not None:
        first, second = law.given(Floats(dtype), *elements)
        if first != second:
            return False
    return law.floats != "rounded" or in_range(law, dtype, elements)


def _number(x: Number) -> Any:
    return math.nan if isinstance(x, Bottom) else exactly(x)


@operation("evaluate")
def evaluates(name: str, random: Random) -> Iterator[Case]:
    """Return the numbers ``left`` and ``right`` that two terms stand for, NaN for ⊥, computed in a
    ``dtype`` with ``variables``. A term is a constant (``zero``, ``one``, ``bottom``), a variable,
    or a list of an operation and its operands.
    """
    for id in sorted(LAWS, key=lambda id: int(id.removeprefix("ALG-"))):
        law = LAWS[id]
        names = list(inspect.signature(law.sides).parameters)[1:]
        left, right = law.sides(Terms(), *names)
        for dtype in FORMATS:
            done = 0
            for row in _assignments(law, random, dtype):
                elements = tuple(map(from_ieee, row))
                if done == COUNT or not _shows(law, dtype, elements):
                    continue
                done += 1
                sides = law.sides(Floats(dtype), *elements)
                variables = dict(zip(names, row, strict=True))
                given = {"dtype": dtype, "left": left, "right": right, "variables": variables}
                values = dict(zip(("left", "right"), map(_number, sides), strict=True))
                yield Case(f"{id} BOT-3", given, values)
