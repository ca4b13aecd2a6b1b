"""ALG: what a law of common meadows is, over ℚ ∪ {⊥} and over IEEE floats.

A law is an equation, read from the sentence that states it, which any
:class:`~spec.algebra.Meadow` computes: subjects with their numbers, ``properties/proofs`` with
symbols for all real ones. The laws are in ``meadows``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, wraps
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar

from .algebra import Bottom, Meadow, Number, Rationals
from .clause import clause, require
from .formats import FORMATS, Floats, from_ieee

Survival: TypeAlias = Literal["exact", "rounded"]
E = TypeVar("E")

ROUNDINGS: Final = 4
"""How many ε magnitudes the sides of a law may differ by where floats only round; each rounds at
most four times on the way to a term, by ε/2 each time."""

EQUATION: Final = re.compile(r"``(.+?)``")

PYTHON: Final = (
    ("·", "*"), ("−", "-"), ("⁻¹", "**-1"), ("|x|", "absolute(x)"), ("s(", "sign("), ("⊥", "bottom")
)  # fmt: skip
"""How Python writes what an equation writes."""

OPERATIONS: Final = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}


class Computes(Protocol):
    """A subject that computes with numbers and ⊥."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of numbers that it has: ``"rational"``, names of IEEE formats."""

    def meadow(self, kind: str) -> Meadow[Any]:
        """Return the meadow of a kind; its elements are Numbers, or floats, of which NaN
        and ±∞ are ⊥.
        """


@dataclass(frozen=True)
class Law:
    """An equation over any meadow, and the equation that is its condition, empty for none.

    ``floats`` says what holds on IEEE floats; it is None for a law that ⊥ breaks.
    """

    name: str
    equation: str
    given: str
    floats: Survival | None

    @property
    def variables(self) -> list[str]:
        """The names of the variables."""
        return variables(self.equation)


LAWS: Final[dict[str, Law]] = {}


def variables(equation: str) -> list[str]:
    """Return the names of an equation's variables."""
    return [name for name in "xyzuv" if name in equation]


@cache
def parsed(equation: str) -> tuple[ast.expr, ast.expr]:
    """Return both sides of an equation as Python parses them."""
    for written, python in PYTHON:
        equation = equation.replace(written, python)
    left, right = (ast.parse(side, mode="eval").body for side in equation.split(" = "))
    return left, right


def compute(term: ast.expr, meadow: Meadow[E], values: Mapping[str, E]) -> E:
    """Return what a parsed term stands for in a meadow, given what its names stand for."""
    match term:
        case ast.Name(id=name):
            return values[name]
        case ast.Constant(value=value):
            return meadow.one if value else meadow.zero
        case ast.BinOp(left=left, op=ast.Pow()):
            operation, operands = "inv", [left]
        case ast.BinOp(left=left, op=op, right=right):
            operation, operands = OPERATIONS[type(op)], [left, right]
        case ast.UnaryOp(operand=operand):
            operation, operands = "neg", [operand]
        case ast.Call(func=ast.Name(id=operation), args=operands):
            pass
    found: E = getattr(meadow, operation)(*(compute(x, meadow, values) for x in operands))
    return found


def sides(equation: str, meadow: Meadow[E], *elements: E) -> tuple[E, E]:
    """Return both sides of an equation at some elements, which its variables stand for."""
    values = dict(zip(variables(equation), elements, strict=True), bottom=meadow.bottom)
    left, right = (compute(side, meadow, values) for side in parsed(equation))
    return left, right


class Magnitudes(Rationals):
    """Values with every term replaced by its absolute value, so that nothing cancels.

    An inverse takes the magnitude for the value: no law inverts a sum that may cancel.
    """

    def add(self, x: Number, y: Number) -> Number:
        """Return ``|x| + |y|``."""
        return super().add(self.absolute(x), self.absolute(y))


def number(x: Number | float) -> Number:
    """Return what an element stands for."""
    return from_ieee(x) if isinstance(x, float) else x


def in_range(law: Law, kind: str, elements: tuple[Number, ...]) -> bool:
    """Tell whether a law's sides are computed without over- and underflow."""
    floats = Floats(kind)
    sides(law.equation, floats, *elements)
    return not floats.left_range


def _agree(law: Law, kind: str, elements: tuple[Number, ...], left: Number, right: Number) -> bool:
    if kind == "rational" or law.floats == "exact":
        return left == right
    if not in_range(law, kind, elements):
        return True
    if isinstance(left, Bottom) or isinstance(right, Bottom):
        return left == right
    found = sides(law.equation, Magnitudes(), *elements)
    magnitude = max((abs(m) for m in found if not isinstance(m, Bottom)), default=Fraction(0))
    return abs(left - right) <= ROUNDINGS * FORMATS[kind].epsilon * magnitude


def holds(subject: Computes, law: Law, kind: str, *elements: Any) -> None:
    """Hold a subject to a law at some elements of a kind."""
    meadow = subject.meadow(kind)
    if law.given:
        first, second = map(number, sides(law.given, meadow, *elements))
        if first != second:
            return
    left, right = map(number, sides(law.equation, meadow, *elements))
    agree = _agree(law, kind, tuple(map(number, elements)), left, right)
    complaint = "at {} in {} the left side is {}, the right side {}"
    claim = 1 if kind == "rational" else 2
    require(agree, complaint, elements, kind, left, right, claim=claim)


def breaks(subject: Computes, law: Law, kind: str, *assignments: tuple[Any, ...]) -> None:
    """Hold a subject to breaking a law: at some of these elements only one side is ⊥."""
    meadow = subject.meadow(kind)
    for elements in assignments:
        found = sides(law.equation, meadow, *elements)
        left, right = (isinstance(number(x), Bottom) for x in found)
        if left != right:
            return
    require(False, "in {}, both sides are ⊥ or neither is at each of {}", kind, assignments)


def _claims(sentence: str, equation: str, floats: Survival) -> str:
    """Return what a law says of rational numbers, and what of floats, as numbered sentences."""
    sign = "" if "⊥" in equation.split(" = ") else ", up to the sign of zero"
    on_floats = {
        "exact": f"``{equation}`` holds exactly{sign}.",
        "rounded": f"unless something over- or underflows, both sides of ``{equation}`` are ⊥ or "
        f"neither is, and they differ by at most {ROUNDINGS} ε magnitudes.",
    }
    of_numbers = f"Over rational numbers, {sentence[0].lower()}{sentence[1:]}"
    return f"1. {of_numbers}\n2. On IEEE floats, {on_floats[floats]}"


def law(id: str, floats: Survival | None, source: str, name: str, text: str) -> None:
    """Register the law whose equation a sentence quotes, and a clause; what follows says why."""
    sentence, *why = text.split("\n\n")
    equation = EQUATION.findall(sentence)[0]
    given, _, unconditional = equation.rpartition(" ⇒ ")
    LAWS[id] = this = Law(name, unconditional, given, floats)
    rule = holds if floats else breaks

    @wraps(rule)
    def predicate(subject: Computes, *inputs: Any) -> None:
        rule(subject, this, *inputs)

    said = _claims(sentence, equation, floats) if floats else sentence
    predicate.__name__, predicate.__doc__ = name, "\n\n".join([said, *why])
    clause(id, source=source, since="0.2.0", must_fail=not floats)(predicate)
