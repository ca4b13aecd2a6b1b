"""ALG: the laws of common meadows, over ℚ ∪ {⊥} and over IEEE floats.

A law is a function that returns its two sides over any :class:`~spec.algebra.Meadow`. Subjects
compute them with their numbers, ``properties/proofs`` with symbols for all real ones. The laws
are in ``meadows`` and ``signs``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import wraps
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar

from .algebra import Bottom, Meadow, Number, Rationals
from .clause import clause, require
from .formats import FORMATS, Floats, from_ieee

Survival: TypeAlias = Literal["exact", "rounded"]
Equation: TypeAlias = Callable[..., tuple[Any, Any]]
E = TypeVar("E")
Sides: TypeAlias = tuple[E, E]
Registered = TypeVar("Registered", bound=Equation)

ROUNDINGS: Final = 4
"""How many ε magnitudes the sides of a law may differ by where floats only round; each rounds at
most four times on the way to a term, by ε/2 each time."""

EQUATION: Final = re.compile(r"``(.+?)``")

ABSORPTION: Final = "Ours: a law of fields that ⊥ contradicts; a checker that passes it sees no ⊥"


class Computes(Protocol):
    """A subject that computes with numbers and ⊥."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of numbers that it has: ``"rational"``, names of IEEE formats."""

    def meadow(self, kind: str) -> Meadow[Any]:
        """Return the meadow of a kind; its elements are Numbers, or floats with NaN for ⊥."""


@dataclass(frozen=True)
class Law:
    """An equation over any meadow, which may have a condition.

    ``floats`` says what holds on IEEE floats; it is None for a law that ⊥ breaks.
    """

    sides: Equation
    given: Equation | None
    floats: Survival | None

    @property
    def arity(self) -> int:
        """The number of variables."""
        return len(inspect.signature(self.sides).parameters) - 1


LAWS: Final[dict[str, Law]] = {}


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
    law.sides(floats, *elements)
    return not floats.left_range


def allowance(law: Law, kind: str, elements: tuple[Number, ...]) -> Fraction:
    """Return how far the sides of a law may be apart on IEEE floats."""
    magnitudes = [m for m in law.sides(Magnitudes(), *elements) if not isinstance(m, Bottom)]
    return ROUNDINGS * FORMATS[kind].epsilon * max(map(abs, magnitudes), default=Fraction(0))


def _agree(law: Law, kind: str, elements: tuple[Number, ...], left: Number, right: Number) -> bool:
    if kind == "rational" or law.floats == "exact":
        return left == right
    if not in_range(law, kind, elements):
        return True
    if isinstance(left, Bottom) or isinstance(right, Bottom):
        return left == right
    return abs(left - right) <= allowance(law, kind, elements)


def claims_of(sentence: str, floats: Survival) -> str:
    """Return what a law says of rational numbers, and what of floats, as numbered sentences."""
    equation = EQUATION.findall(sentence)[0]
    sides, sign = (
        f"``{equation}``",
        "" if "⊥" in equation.split(" = ") else ", up to the sign of zero",
    )
    on_floats = {
        "exact": f"{sides} holds exactly{sign}.",
        "rounded": f"unless something over- or underflows, both sides of {sides} are ⊥ or neither "
        f"is, and they differ by at most {ROUNDINGS} ε magnitudes.",
    }
    of_numbers = f"Over rational numbers, {sentence[0].lower()}{sentence[1:]}"
    return f"1. {of_numbers}\n2. On IEEE floats, {on_floats[floats]}"


def law(
    id: str, floats: Survival, *, source: str, given: Equation | None = None
) -> Callable[[Registered], Registered]:
    """Register sides as a law, and as a clause over subjects, a kind of number, and elements."""

    def register(sides: Registered) -> Registered:
        LAWS[id] = this = Law(sides, given, floats)

        @wraps(sides)
        def predicate(subject: Computes, kind: str, *elements: Any) -> None:
            meadow = subject.meadow(kind)
            if given is not None:
                first, second = map(number, given(meadow, *elements))
                if first != second:
                    return
            left, right = map(number, sides(meadow, *elements))
            holds = _agree(this, kind, tuple(map(number, elements)), left, right)
            complaint = "at {} in {} the left side is {}, the right side {}"
            claim = 1 if kind == "rational" else 2
            require(holds, complaint, elements, kind, left, right, claim=claim)

        sentence, *why = (inspect.getdoc(sides) or "").split("\n\n")
        predicate.__doc__ = "\n\n".join([claims_of(" ".join(sentence.split()), floats), *why])
        predicate.__annotations__ = {"subject": Computes}
        clause(id, source=source, since="0.2.0")(predicate)
        return sides

    return register


def broken(id: str) -> Callable[[Registered], Registered]:
    """Register sides as a law that ⊥ breaks: it takes a subject, a kind, and tuples of elements."""

    def register(sides: Registered) -> Registered:
        LAWS[id] = Law(sides, None, None)

        @wraps(sides)
        def predicate(subject: Computes, kind: str, *assignments: tuple[Any, ...]) -> None:
            meadow = subject.meadow(kind)
            for elements in assignments:
                left, right = (isinstance(number(x), Bottom) for x in sides(meadow, *elements))
                if left != right:
                    return
            require(False, "in {}, both sides are ⊥ or neither is at each of {}", kind, assignments)

        predicate.__annotations__ = {"subject": Computes}
        clause(id, source=ABSORPTION, since="0.2.0", must_fail=True)(predicate)
        return sides

    return register
