"""ALG: the laws of common meadows, and the laws of fields that ⊥ breaks."""

from __future__ import annotations

from typing import Final

from .algebra import Meadow
from .laws import E, Sides, broken, law

CORE: Final = "Paper: Bergstra & Ponse, arXiv 1406.6878; Ours: what survives rounding"
FRACTERMS: Final = "Paper: Bergstra & Tucker, arXiv 2307.04270; Ours: what survives rounding"


@law("ALG-1", "exact", source=CORE)
def addition_commutes(m: Meadow[E], x: E, y: E) -> Sides[E]:
    """Addition is commutative, ``x + y = y + x``."""
    return m.add(x, y), m.add(y, x)


@law("ALG-2", "rounded", source=CORE)
def addition_associates(m: Meadow[E], x: E, y: E, z: E) -> Sides[E]:
    """Addition is associative, ``(x + y) + z = x + (y + z)``."""
    return m.add(m.add(x, y), z), m.add(x, m.add(y, z))


@law("ALG-3", "exact", source=CORE)
def multiplication_commutes(m: Meadow[E], x: E, y: E) -> Sides[E]:
    """Multiplication is commutative, ``x · y = y · x``."""
    return m.mul(x, y), m.mul(y, x)


@law("ALG-4", "rounded", source=CORE)
def multiplication_associates(m: Meadow[E], x: E, y: E, z: E) -> Sides[E]:
    """Multiplication is associative, ``(x · y) · z = x · (y · z)``."""
    return m.mul(m.mul(x, y), z), m.mul(x, m.mul(y, z))


@law("ALG-5", "exact", source=CORE)
def zero_is_neutral(m: Meadow[E], x: E) -> Sides[E]:
    """Zero is neutral, ``x + 0 = x``."""
    return m.add(x, m.zero), x


@law("ALG-6", "exact", source=CORE)
def opposites_cancel(m: Meadow[E], x: E) -> Sides[E]:
    """Opposites cancel to the zero of their kind, ``x + (−x) = 0 · x``."""
    return m.add(x, m.neg(x)), m.mul(m.zero, x)


@law("ALG-7", "exact", source=CORE)
def one_is_neutral(m: Meadow[E], x: E) -> Sides[E]:
    """One is neutral, ``1 · x = x``."""
    return m.mul(m.one, x), x


@law("ALG-8", "rounded", source=CORE)
def multiplication_distributes(m: Meadow[E], x: E, y: E, z: E) -> Sides[E]:
    """Multiplication distributes over addition, ``x · (y + z) = x · y + x · z``."""
    return m.mul(x, m.add(y, z)), m.add(m.mul(x, y), m.mul(x, z))


@law("ALG-9", "exact", source=CORE)
def negation_undoes_itself(m: Meadow[E], x: E) -> Sides[E]:
    """Negation undoes itself, ``−(−x) = x``."""
    return m.neg(m.neg(x)), x


@law("ALG-10", "rounded", source=CORE)
def zeros_agree(m: Meadow[E], x: E, y: E) -> Sides[E]:
    """The zeros of a sum and of a product agree, ``0 · (x + y) = 0 · (x · y)``."""
    return m.mul(m.zero, m.add(x, y)), m.mul(m.zero, m.mul(x, y))


@law("ALG-11", "exact", source=CORE)
def bottom_absorbs_sums(m: Meadow[E], x: E) -> Sides[E]:
    """Bottom absorbs in sums, ``x + ⊥ = ⊥``."""
    return m.add(x, m.bottom), m.bottom


@law("ALG-12", "rounded", source=CORE)
def inverses_cancel(m: Meadow[E], x: E) -> Sides[E]:
    """A number times its inverse is the one of the inverse's kind, ``x · x⁻¹ = 1 + 0 · x⁻¹``."""
    return m.mul(x, m.inv(x)), m.add(m.one, m.mul(m.zero, m.inv(x)))


@law("ALG-13", "rounded", source=CORE)
def inverse_of_product(m: Meadow[E], x: E, y: E) -> Sides[E]:
    """The inverse of a product is the product of the inverses, ``(x · y)⁻¹ = x⁻¹ · y⁻¹``."""
    return m.inv(m.mul(x, y)), m.mul(m.inv(x), m.inv(y))


@law("ALG-14", "exact", source=CORE)
def inverse_of_one(m: Meadow[E], x: E) -> Sides[E]:
    """The one of any kind is its own inverse, ``(1 + 0 · x)⁻¹ = 1 + 0 · x``."""
    return m.inv(m.add(m.one, m.mul(m.zero, x))), m.add(m.one, m.mul(m.zero, x))


@law("ALG-15", "exact", source=CORE)
def inverse_of_zero(m: Meadow[E]) -> Sides[E]:
    """The inverse of zero is bottom, ``0⁻¹ = ⊥``."""
    return m.inv(m.zero), m.bottom


@law("ALG-16", "rounded", source="Paper: Bergstra & Tucker, arXiv 2307.04270; Ours: that it is one")
def division_by_inverse(m: Meadow[E], x: E, y: E) -> Sides[E]:
    """Division is multiplication by the inverse, ``x / y = x · y⁻¹``.

    For numbers it is a definition; floats divide with one rounding.
    """
    return m.div(x, y), m.mul(x, m.inv(y))


@law("ALG-17", "exact", source=FRACTERMS)
def denominator_one(m: Meadow[E], x: E) -> Sides[E]:
    """A number is a fraction, ``x = x / 1``."""
    return x, m.div(x, m.one)


@law("ALG-18", "exact", source=FRACTERMS)
def negated_fraction(m: Meadow[E], x: E, y: E) -> Sides[E]:
    """A fraction is negated in its numerator, ``−(x / y) = (−x) / y``."""
    return m.neg(m.div(x, y)), m.div(m.neg(x), y)


@law("ALG-19", "rounded", source=FRACTERMS)
def product_of_fractions(m: Meadow[E], x: E, y: E, u: E, v: E) -> Sides[E]:
    """Fractions multiply part by part, ``(x / y) · (u / v) = (x · u) / (y · v)``."""
    return m.mul(m.div(x, y), m.div(u, v)), m.div(m.mul(x, u), m.mul(y, v))


@law("ALG-20", "rounded", source=FRACTERMS)
def sum_of_fractions(m: Meadow[E], x: E, y: E, u: E, v: E) -> Sides[E]:
    """Fractions add over the product, ``x / y + u / v = (x · v + y · u) / (y · v)``."""
    crossed = m.add(m.mul(x, v), m.mul(y, u))
    return m.add(m.div(x, y), m.div(u, v)), m.div(crossed, m.mul(y, v))


@law("ALG-21", "rounded", source=FRACTERMS)
def fraction_of_fraction(m: Meadow[E], x: E, u: E, v: E) -> Sides[E]:
    """Division by a fraction keeps its denominator, ``x / (u / v) = (x · v · v) / (u · v)``."""
    return m.div(x, m.div(u, v)), m.div(m.mul(m.mul(x, v), v), m.mul(u, v))


@law("ALG-22", "exact", source=FRACTERMS)
def zero_moves_up(m: Meadow[E], x: E, y: E, z: E) -> Sides[E]:
    """A zero moves from denominator to numerator, ``x / (y + 0 · z) = (x + 0 · z) / y``."""
    zero = m.mul(m.zero, z)
    return m.div(x, m.add(y, zero)), m.div(m.add(x, zero), y)


@law("ALG-23", "exact", source=FRACTERMS)
def bottom_is_a_fraction(m: Meadow[E]) -> Sides[E]:
    """Bottom is the fraction ``⊥ = 1 / 0``."""
    return m.bottom, m.div(m.one, m.zero)


@law("ALG-24", "exact", source=CORE)
def bottom_absorbs_products(m: Meadow[E], x: E) -> Sides[E]:
    """Bottom absorbs in products, ``x · ⊥ = ⊥``, also where x is 0."""
    return m.mul(x, m.bottom), m.bottom


@law("ALG-25", "exact", source=CORE)
def negated_bottom(m: Meadow[E]) -> Sides[E]:
    """The opposite of bottom is bottom, ``−⊥ = ⊥``."""
    return m.neg(m.bottom), m.bottom


@law("ALG-26", "exact", source=CORE)
def inverse_of_bottom(m: Meadow[E]) -> Sides[E]:
    """The inverse of bottom is bottom, ``⊥⁻¹ = ⊥``."""
    return m.inv(m.bottom), m.bottom


@law("ALG-27", "rounded", source=CORE)
def inverse_of_inverse(m: Meadow[E], x: E) -> Sides[E]:
    """Inversion undoes itself except at zero, ``(x⁻¹)⁻¹ = x + 0 · x⁻¹``."""
    return m.inv(m.inv(x)), m.add(x, m.mul(m.zero, m.inv(x)))


@law("ALG-28", "exact", source=CORE)
def fraction_of_equals(m: Meadow[E], x: E) -> Sides[E]:
    """A number over itself is one except at zero, ``x / x = 1 + 0 / x``."""
    return m.div(x, x), m.add(m.one, m.div(m.zero, x))


@broken("ALG-40")
def every_inverse_cancels(m: Meadow[E], x: E) -> Sides[E]:
    """The field law ``x · x⁻¹ = 1`` fails: somewhere, as at x = 0, only one side is ⊥."""
    return m.mul(x, m.inv(x)), m.one


@broken("ALG-41")
def zero_annihilates(m: Meadow[E], x: E) -> Sides[E]:
    """The field law ``0 · x = 0`` fails: somewhere, as at x = ⊥, only one side is ⊥."""
    return m.mul(m.zero, x), m.zero


@broken("ALG-42")
def difference_of_equals(m: Meadow[E], x: E) -> Sides[E]:
    """The field law ``x − x = 0`` fails: somewhere, as at x = ⊥, only one side is ⊥."""
    return m.sub(x, x), m.zero


@broken("ALG-43")
def inversion_undoes_itself(m: Meadow[E], x: E) -> Sides[E]:
    """The field law ``(x⁻¹)⁻¹ = x`` fails: somewhere, as at x = 0, only one side is ⊥."""
    return m.inv(m.inv(x)), x


@broken("ALG-44")
def fractions_cancel(m: Meadow[E], x: E, y: E, z: E) -> Sides[E]:
    """The field law ``x·z / (y·z) = x / y`` fails: somewhere, as at z = 0, only one side is ⊥."""
    return m.div(m.mul(x, z), m.mul(y, z)), m.div(x, y)


@broken("ALG-45")
def fraction_turns_over(m: Meadow[E], x: E, u: E, v: E) -> Sides[E]:
    """The field law ``x / (u/v) = x·v / u`` fails: somewhere, as at v = 0, only one side is ⊥."""
    return m.div(x, m.div(u, v)), m.div(m.mul(x, v), u)
