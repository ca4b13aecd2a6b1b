"""ALG: the laws of common meadows, over ℚ ∪ {⊥} and over IEEE floats.

A law is a function that returns its two sides over any :class:`~spec.algebra.Meadow`. Subjects
compute them with their numbers, ``properties/proofs`` with symbols for all real ones.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import wraps
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar

from .algebra import Bottom, Element, Meadow, Number, Rationals
from .clause import clause, require
from .formats import FORMATS, Floats, from_ieee

Survival: TypeAlias = Literal["exact", "rounded"]
Equation: TypeAlias = Callable[..., tuple[Any, Any]]
Sides = TypeVar("Sides", bound=Equation)

ROUNDINGS: Final = 4
"""How many ε the sides of a law may differ by where floats only round; each rounds at most four
times on the way to a term, by ε/2 each time."""

ON_FLOATS: Final[dict[Survival, str]] = {
    "exact": "; on IEEE floats it is exact, up to the sign of zero.",
    "rounded": "; on IEEE floats, unless an intermediate result over- or underflows, both sides "
    f"must be ⊥ or neither, and differ by at most {ROUNDINGS} ε of their magnitude, which is the "
    "value that they have with every term made positive.",
}

CORE = "Paper: Bergstra & Ponse, arXiv 1406.6878; Ours: what survives rounding"
FRACTERMS = "Paper: Bergstra & Tucker, arXiv 2307.04270; Ours: what survives rounding"
SIGN = "Paper: Bergstra & Tucker, doi 10.36285/tm.97; Ours: what survives rounding"
ABSORPTION = "Ours: a law of fields that ⊥ contradicts; a checker that passes it sees no ⊥"


class Computes(Protocol):
    """A subject that computes with numbers and ⊥."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of numbers that it has: ``"rational"``, names of IEEE formats."""

    def meadow(self, kind: str) -> Meadow[Any]:
        """Return the meadow of a kind; its elements are Numbers, or floats with NaN for ⊥."""


@dataclass(frozen=True)
class Law:
    """An equation over any meadow, under a condition or none.

    ``floats`` tells what survives on IEEE floats, None of a law that ⊥ breaks.
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
    """What terms amount to where nothing cancels: the measure of rounding errors.

    An inverse takes the magnitude for the value, which is right as no law inverts a sum that may
    cancel.
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


def law(
    id: str, floats: Survival, *, source: str, given: Equation | None = None
) -> Callable[[Sides], Sides]:
    """Register sides as a law, and as a clause over subjects, a kind of number, and elements."""

    def register(sides: Sides) -> Sides:
        LAWS[id] = this = Law(sides, given, floats)

        @wraps(sides)
        def predicate(subject: Computes, kind: str, *elements: Any) -> None:
            meadow = subject.meadow(kind)
            if given is not None:
                first, second = map(number, given(meadow, *elements))
                if first != second:
                    return
            left, right = map(number, sides(meadow, *elements))
            right_so = _agree(this, kind, tuple(map(number, elements)), left, right)
            require(right_so, "{} of {}: {} is not {}", elements, kind, left, right)

        sentence, *why = (inspect.getdoc(sides) or "").split("\n\n")
        predicate.__doc__ = "\n\n".join([sentence.rstrip(".") + ON_FLOATS[floats], *why])
        clause(id, source=source, since="0.2.0")(predicate)
        return sides

    return register


def broken(id: str) -> Callable[[Sides], Sides]:
    """Register sides as a law that ⊥ breaks: it takes a subject, a kind, and tuples of elements."""

    def register(sides: Sides) -> Sides:
        LAWS[id] = Law(sides, None, None)

        @wraps(sides)
        def predicate(subject: Computes, kind: str, *assignments: tuple[Any, ...]) -> None:
            meadow = subject.meadow(kind)
            for elements in assignments:
                left, right = (isinstance(number(x), Bottom) for x in sides(meadow, *elements))
                if left != right:
                    return
            require(False, "nothing among {} of {} breaks the law", assignments, kind)

        clause(id, source=ABSORPTION, since="0.2.0", must_fail=True)(predicate)
        return sides

    return register


@law("ALG-1", "exact", source=CORE)
def addition_commutes(m: Meadow[Element], x: Element, y: Element) -> tuple[Element, Element]:
    """Addition is commutative, ``x + y = y + x``."""
    return m.add(x, y), m.add(y, x)


@law("ALG-2", "rounded", source=CORE)
def addition_associates(
    m: Meadow[Element], x: Element, y: Element, z: Element
) -> tuple[Element, Element]:
    """Addition is associative, ``(x + y) + z = x + (y + z)``."""
    return m.add(m.add(x, y), z), m.add(x, m.add(y, z))


@law("ALG-3", "exact", source=CORE)
def multiplication_commutes(m: Meadow[Element], x: Element, y: Element) -> tuple[Element, Element]:
    """Multiplication is commutative, ``x · y = y · x``."""
    return m.mul(x, y), m.mul(y, x)


@law("ALG-4", "rounded", source=CORE)
def multiplication_associates(
    m: Meadow[Element], x: Element, y: Element, z: Element
) -> tuple[Element, Element]:
    """Multiplication is associative, ``(x · y) · z = x · (y · z)``."""
    return m.mul(m.mul(x, y), z), m.mul(x, m.mul(y, z))


@law("ALG-5", "exact", source=CORE)
def zero_is_neutral(m: Meadow[Element], x: Element) -> tuple[Element, Element]:
    """Zero is neutral, ``x + 0 = x``."""
    return m.add(x, m.zero), x


@law("ALG-6", "exact", source=CORE)
def opposites_cancel(m: Meadow[Element], x: Element) -> tuple[Element, Element]:
    """Opposites cancel to the zero of their kind, ``x + (−x) = 0 · x``."""
    return m.add(x, m.neg(x)), m.mul(m.zero, x)


@law("ALG-7", "exact", source=CORE)
def one_is_neutral(m: Meadow[Element], x: Element) -> tuple[Element, Element]:
    """One is neutral, ``1 · x = x``."""
    return m.mul(m.one, x), x


@law("ALG-8", "rounded", source=CORE)
def multiplication_distributes(
    m: Meadow[Element], x: Element, y: Element, z: Element
) -> tuple[Element, Element]:
    """Multiplication distributes over addition, ``x · (y + z) = x · y + x · z``."""
    return m.mul(x, m.add(y, z)), m.add(m.mul(x, y), m.mul(x, z))


@law("ALG-9", "exact", source=CORE)
def negation_undoes_itself(m: Meadow[Element], x: Element) -> tuple[Element, Element]:
    """Negation undoes itself, ``−(−x) = x``."""
    return m.neg(m.neg(x)), x


@law("ALG-10", "rounded", source=CORE)
def zeros_agree(m: Meadow[Element], x: Element, y: Element) -> tuple[Element, Element]:
    """The zeros of a sum and of a product agree, ``0 · (x + y) = 0 · (x · y)``."""
    return m.mul(m.zero, m.add(x, y)), m.mul(m.zero, m.mul(x, y))


@law("ALG-11", "exact", source=CORE)
def bottom_absorbs_sums(m: Meadow[Element], x: Element) -> tuple[Element, Element]:
    """Bottom absorbs in sums, ``x + ⊥ = ⊥``."""
    return m.add(x, m.bottom), m.bottom


@law("ALG-12", "rounded", source=CORE)
def inverses_cancel(m: Meadow[Element], x: Element) -> tuple[Element, Element]:
    """A number times its inverse is the one of the inverse's kind, ``x · x⁻¹ = 1 + 0 · x⁻¹``."""
    return m.mul(x, m.inv(x)), m.add(m.one, m.mul(m.zero, m.inv(x)))


@law("ALG-13", "rounded", source=CORE)
def inverse_of_product(m: Meadow[Element], x: Element, y: Element) -> tuple[Element, Element]:
    """The inverse of a product is the product of the inverses, ``(x · y)⁻¹ = x⁻¹ · y⁻¹``."""
    return m.inv(m.mul(x, y)), m.mul(m.inv(x), m.inv(y))


@law("ALG-14", "exact", source=CORE)
def inverse_of_one(m: Meadow[Element], x: Element) -> tuple[Element, Element]:
    """The one of any kind is its own inverse, ``(1 + 0 · x)⁻¹ = 1 + 0 · x``."""
    return m.inv(m.add(m.one, m.mul(m.zero, x))), m.add(m.one, m.mul(m.zero, x))


@law("ALG-15", "exact", source=CORE)
def inverse_of_zero(m: Meadow[Element]) -> tuple[Element, Element]:
    """The inverse of zero is bottom, ``0⁻¹ = ⊥``."""
    return m.inv(m.zero), m.bottom


@law("ALG-16", "rounded", source="Paper: Bergstra & Tucker, arXiv 2307.04270; Ours: that it is one")
def division_by_inverse(m: Meadow[Element], x: Element, y: Element) -> tuple[Element, Element]:
    """Division is multiplication by the inverse, ``x / y = x · y⁻¹``.

    For numbers it is a definition; floats divide by themselves, with one rounding.
    """
    return m.div(x, y), m.mul(x, m.inv(y))


@law("ALG-17", "exact", source=FRACTERMS)
def denominator_one(m: Meadow[Element], x: Element) -> tuple[Element, Element]:
    """A number is a fraction, ``x = x / 1``."""
    return x, m.div(x, m.one)


@law("ALG-18", "exact", source=FRACTERMS)
def negated_fraction(m: Meadow[Element], x: Element, y: Element) -> tuple[Element, Element]:
    """A fraction is negated in its numerator, ``−(x / y) = (−x) / y``."""
    return m.neg(m.div(x, y)), m.div(m.neg(x), y)


@law("ALG-19", "rounded", source=FRACTERMS)
def product_of_fractions(
    m: Meadow[Element], x: Element, y: Element, u: Element, v: Element
) -> tuple[Element, Element]:
    """Fractions multiply part by part, ``(x / y) · (u / v) = (x · u) / (y · v)``."""
    return m.mul(m.div(x, y), m.div(u, v)), m.div(m.mul(x, u), m.mul(y, v))


@law("ALG-20", "rounded", source=FRACTERMS)
def sum_of_fractions(
    m: Meadow[Element], x: Element, y: Element, u: Element, v: Element
) -> tuple[Element, Element]:
    """Fractions add over the product, ``x / y + u / v = (x · v + y · u) / (y · v)``."""
    crossed = m.add(m.mul(x, v), m.mul(y, u))
    return m.add(m.div(x, y), m.div(u, v)), m.div(crossed, m.mul(y, v))


@law("ALG-21", "rounded", source=FRACTERMS)
def fraction_of_fraction(
    m: Meadow[Element], x: Element, u: Element, v: Element
) -> tuple[Element, Element]:
    """Division by a fraction keeps its denominator, ``x / (u / v) = (x · v · v) / (u · v)``."""
    return m.div(x, m.div(u, v)), m.div(m.mul(m.mul(x, v), v), m.mul(u, v))


@law("ALG-22", "exact", source=FRACTERMS)
def zero_moves_up(
    m: Meadow[Element], x: Element, y: Element, z: Element
) -> tuple[Element, Element]:
    """A zero moves from denominator to numerator, ``x / (y + 0 · z) = (x + 0 · z) / y``."""
    zero = m.mul(m.zero, z)
    return m.div(x, m.add(y, zero)), m.div(m.add(x, zero), y)


@law("ALG-23", "exact", source=FRACTERMS)
def bottom_is_a_fraction(m: Meadow[Element]) -> tuple[Element, Element]:
    """Bottom is the fraction ``⊥ = 1 / 0``."""
    return m.bottom, m.div(m.one, m.zero)


@law("ALG-24", "exact", source=CORE)
def bottom_absorbs_products(m: Meadow[Element], x: Element) -> tuple[Element, Element]:
    """Bottom absorbs in products, ``x · ⊥ = ⊥``, zero times it included."""
    return m.mul(x, m.bottom), m.bottom


@law("ALG-25", "exact", source=CORE)
def negated_bottom(m: Meadow[Element]) -> tuple[Element, Element]:
    """Bottom has no sign to change, ``−⊥ = ⊥``."""
    return m.neg(m.bottom), m.bottom


@law("ALG-26", "exact", source=CORE)
def inverse_of_bottom(m: Meadow[Element]) -> tuple[Element, Element]:
    """The inverse of bottom is bottom, ``⊥⁻¹ = ⊥``."""
    return m.inv(m.bottom), m.bottom


@law("ALG-27", "rounded", source=CORE)
def inverse_of_inverse(m: Meadow[Element], x: Element) -> tuple[Element, Element]:
    """Inversion undoes itself except at zero, ``(x⁻¹)⁻¹ = x + 0 · x⁻¹``."""
    return m.inv(m.inv(x)), m.add(x, m.mul(m.zero, m.inv(x)))


@law("ALG-28", "exact", source=CORE)
def fraction_of_equals(m: Meadow[Element], x: Element) -> tuple[Element, Element]:
    """A number over itself is one except at zero, ``x / x = 1 + 0 / x``."""
    return m.div(x, x), m.add(m.one, m.div(m.zero, x))


@law("ALG-29", "exact", source=SIGN)
def sign_by_absolute(m: Meadow[Element], x: Element) -> tuple[Element, Element]:
    """The sign is a number over its absolute value, except at zero: ``x / |x| = s(x) + 0 / x``.

    The summand ``0 / x`` makes the definition of the sign, which is for ``x ≠ 0``, an equation.
    """
    return m.div(x, m.absolute(x)), m.add(m.sign(x), m.div(m.zero, x))


@law("ALG-30", "exact", source=SIGN)
def sign_of_zero(m: Meadow[Element]) -> tuple[Element, Element]:
    """Zero is its own sign, ``s(0) = 0``."""
    return m.sign(m.zero), m.zero


@law("ALG-31", "exact", source=SIGN)
def sign_of_bottom(m: Meadow[Element]) -> tuple[Element, Element]:
    """Bottom is its own sign, ``s(⊥) = ⊥``."""
    return m.sign(m.bottom), m.bottom


@law("ALG-32", "exact", source=SIGN)
def sign_of_one(m: Meadow[Element], x: Element) -> tuple[Element, Element]:
    """The one of any kind is its own sign, ``s(x / x) = x / x``."""
    return m.sign(m.div(x, x)), m.div(x, x)


@law("ALG-33", "exact", source=SIGN)
def sign_of_difference_from_one(m: Meadow[Element], x: Element) -> tuple[Element, Element]:
    """The zero of any kind is its own sign, ``s(1 − x / x) = 1 − x / x``."""
    return m.sign(m.sub(m.one, m.div(x, x))), m.sub(m.one, m.div(x, x))


@law("ALG-34", "exact", source=SIGN)
def sign_of_minus_one(m: Meadow[Element]) -> tuple[Element, Element]:
    """Minus one is its own sign, ``s(−1) = −1``."""
    return m.sign(m.neg(m.one)), m.neg(m.one)


@law("ALG-35", "rounded", source=SIGN)
def sign_of_product(m: Meadow[Element], x: Element, y: Element) -> tuple[Element, Element]:
    """The sign of a product is the product of the signs, ``s(x · y) = s(x) · s(y)``."""
    return m.sign(m.mul(x, y)), m.mul(m.sign(x), m.sign(y))


@law("ALG-36", "rounded", source=SIGN)
def sign_of_fraction(m: Meadow[Element], x: Element, y: Element) -> tuple[Element, Element]:
    """The sign of a fraction is the fraction of the signs, ``s(x / y) = s(x) / s(y)``."""
    return m.sign(m.div(x, y)), m.div(m.sign(x), m.sign(y))


@law("ALG-37", "exact", source=SIGN)
def sign_of_sign(m: Meadow[Element], x: Element) -> tuple[Element, Element]:
    """A sign is its own sign, ``s(s(x)) = s(x)``."""
    return m.sign(m.sign(x)), m.sign(x)


def signs_agree(m: Meadow[Element], x: Element, y: Element) -> tuple[Element, Element]:
    """Return the signs of both."""
    return m.sign(x), m.sign(y)


@law("ALG-38", "rounded", source=SIGN, given=signs_agree)
def sign_of_sum(m: Meadow[Element], x: Element, y: Element) -> tuple[Element, Element]:
    """The sum of numbers of one sign has that sign, ``s(x) = s(y) ⇒ s(x + y) = s(x)``."""
    return m.sign(m.add(x, y)), m.sign(x)


@law("ALG-39", "exact", source=SIGN)
def cube_of_sign(m: Meadow[Element], x: Element) -> tuple[Element, Element]:
    """A sign is its own cube, ``s(x)³ = s(x)``, as the field is ordered."""
    return m.mul(m.mul(m.sign(x), m.sign(x)), m.sign(x)), m.sign(x)


@broken("ALG-40")
def every_inverse_cancels(m: Meadow[Element], x: Element) -> tuple[Element, Element]:
    """The field law ``x · x⁻¹ = 1`` must fail: somewhere, as at 0, just one of its sides is ⊥."""
    return m.mul(x, m.inv(x)), m.one


@broken("ALG-41")
def zero_annihilates(m: Meadow[Element], x: Element) -> tuple[Element, Element]:
    """The field law ``0 · x = 0`` must fail: somewhere, as at ⊥, just one of its sides is ⊥."""
    return m.mul(m.zero, x), m.zero


@broken("ALG-42")
def difference_of_equals(m: Meadow[Element], x: Element) -> tuple[Element, Element]:
    """The field law ``x − x = 0`` must fail: somewhere, as at ⊥, just one of its sides is ⊥."""
    return m.sub(x, x), m.zero


@broken("ALG-43")
def inversion_undoes_itself(m: Meadow[Element], x: Element) -> tuple[Element, Element]:
    """The field law ``(x⁻¹)⁻¹ = x`` must fail: somewhere, as at 0, just one of its sides is ⊥."""
    return m.inv(m.inv(x)), x


@broken("ALG-44")
def fractions_cancel(
    m: Meadow[Element], x: Element, y: Element, z: Element
) -> tuple[Element, Element]:
    """The field law ``x·z / (y·z) = x / y`` must fail: somewhere, as at z = 0, one side is ⊥."""
    return m.div(m.mul(x, z), m.mul(y, z)), m.div(x, y)


@broken("ALG-45")
def fraction_turns_over(
    m: Meadow[Element], x: Element, u: Element, v: Element
) -> tuple[Element, Element]:
    """The field law ``x / (u/v) = x·v / u`` must fail: somewhere, as at v = 0, one side is ⊥."""
    return m.div(x, m.div(u, v)), m.div(m.mul(x, v), u)


@broken("ALG-46")
def sign_of_inverse(m: Meadow[Element], x: Element) -> tuple[Element, Element]:
    """The law ``s(1 / x) = s(x)`` must fail: somewhere, as at 0, just one of its sides is ⊥."""
    return m.sign(m.div(m.one, x)), m.sign(x)
