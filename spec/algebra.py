"""ALG: rational numbers with ⊥, and the structure that its laws are written over."""

from __future__ import annotations

from enum import Enum
from fractions import Fraction
from typing import Final, Protocol, TypeAlias, TypeVar


class Bottom(Enum):
    """The absorptive element of the common meadow."""

    BOTTOM = "⊥"

    def __repr__(self) -> str:
        return self.name


BOTTOM: Final = Bottom.BOTTOM
Number: TypeAlias = Fraction | Bottom
Element = TypeVar("Element")


class Meadow(Protocol[Element]):
    """A common meadow with a sign, over elements of any type.

    Whoever derives from it gets subtraction and division by their definitions, or replaces them.
    """

    @property
    def zero(self) -> Element:
        """The element 0."""

    @property
    def one(self) -> Element:
        """The element 1."""

    @property
    def bottom(self) -> Element:
        """The element ⊥."""

    def add(self, x: Element, y: Element) -> Element:
        """Return ``x + y``."""

    def neg(self, x: Element) -> Element:
        """Return ``−x``."""

    def mul(self, x: Element, y: Element) -> Element:
        """Return ``x · y``."""

    def inv(self, x: Element) -> Element:
        """Return ``x⁻¹``."""

    def absolute(self, x: Element) -> Element:
        """Return ``|x|``."""

    def sign(self, x: Element) -> Element:
        """Return ``s(x)``."""

    def sub(self, x: Element, y: Element) -> Element:
        """Return ``x − y``."""
        return self.add(x, self.neg(y))

    def div(self, x: Element, y: Element) -> Element:
        """Return ``x / y``."""
        return self.mul(x, self.inv(y))


class Rationals(Meadow[Number]):
    """ℚ ∪ {⊥}: an operation on ⊥ gives ⊥, so that ``0 · ⊥ = ⊥``, and 0 has the inverse ⊥.

    Example:
        >>> Q = Rationals()
        >>> Q.add(Q.one, Q.div(Q.one, Q.zero))
        BOTTOM
    """

    zero = Fraction(0)
    one = Fraction(1)
    bottom = BOTTOM

    def add(self, x: Number, y: Number) -> Number:
        """Return ``x + y``."""
        return BOTTOM if isinstance(x, Bottom) or isinstance(y, Bottom) else x + y

    def neg(self, x: Number) -> Number:
        """Return ``−x``."""
        return BOTTOM if isinstance(x, Bottom) else -x

    def mul(self, x: Number, y: Number) -> Number:
        """Return ``x · y``."""
        return BOTTOM if isinstance(x, Bottom) or isinstance(y, Bottom) else x * y

    def inv(self, x: Number) -> Number:
        """Return ``x⁻¹``."""
        return BOTTOM if isinstance(x, Bottom) or not x else x**-1

    def absolute(self, x: Number) -> Number:
        """Return ``|x|``."""
        return BOTTOM if isinstance(x, Bottom) else abs(x)

    def sign(self, x: Number) -> Number:
        """Return −1, 0 or 1."""
        return BOTTOM if isinstance(x, Bottom) else Fraction((x > 0) - (x < 0))
