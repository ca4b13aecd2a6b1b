"""ALG: the laws of the sign in common meadows."""

from __future__ import annotations

from typing import Final

from .algebra import Meadow
from .laws import E, Sides, broken, law

SIGN: Final = "Paper: Bergstra & Tucker, doi 10.36285/tm.97; Ours: what survives rounding"


@law("ALG-29", "exact", source=SIGN)
def sign_by_absolute(m: Meadow[E], x: E) -> Sides[E]:
    """The sign is a number over its absolute value, except at zero: ``x / |x| = s(x) + 0 / x``.

    The summand ``0 / x`` makes the definition of the sign, which is for ``x ≠ 0``, an equation.
    """
    return m.div(x, m.absolute(x)), m.add(m.sign(x), m.div(m.zero, x))


@law("ALG-30", "exact", source=SIGN)
def sign_of_zero(m: Meadow[E]) -> Sides[E]:
    """Zero is its own sign, ``s(0) = 0``."""
    return m.sign(m.zero), m.zero


@law("ALG-31", "exact", source=SIGN)
def sign_of_bottom(m: Meadow[E]) -> Sides[E]:
    """Bottom is its own sign, ``s(⊥) = ⊥``."""
    return m.sign(m.bottom), m.bottom


@law("ALG-32", "exact", source=SIGN)
def sign_of_one(m: Meadow[E], x: E) -> Sides[E]:
    """The one of any kind is its own sign, ``s(x / x) = x / x``."""
    return m.sign(m.div(x, x)), m.div(x, x)


@law("ALG-33", "exact", source=SIGN)
def sign_of_difference_from_one(m: Meadow[E], x: E) -> Sides[E]:
    """The zero of any kind is its own sign, ``s(1 − x / x) = 1 − x / x``."""
    return m.sign(m.sub(m.one, m.div(x, x))), m.sub(m.one, m.div(x, x))


@law("ALG-34", "exact", source=SIGN)
def sign_of_minus_one(m: Meadow[E]) -> Sides[E]:
    """Minus one is its own sign, ``s(−1) = −1``."""
    return m.sign(m.neg(m.one)), m.neg(m.one)


@law("ALG-35", "rounded", source=SIGN)
def sign_of_product(m: Meadow[E], x: E, y: E) -> Sides[E]:
    """The sign of a product is the product of the signs, ``s(x · y) = s(x) · s(y)``."""
    return m.sign(m.mul(x, y)), m.mul(m.sign(x), m.sign(y))


@law("ALG-36", "rounded", source=SIGN)
def sign_of_fraction(m: Meadow[E], x: E, y: E) -> Sides[E]:
    """The sign of a fraction is the fraction of the signs, ``s(x / y) = s(x) / s(y)``."""
    return m.sign(m.div(x, y)), m.div(m.sign(x), m.sign(y))


@law("ALG-37", "exact", source=SIGN)
def sign_of_sign(m: Meadow[E], x: E) -> Sides[E]:
    """A sign is its own sign, ``s(s(x)) = s(x)``."""
    return m.sign(m.sign(x)), m.sign(x)


def signs_agree(m: Meadow[E], x: E, y: E) -> Sides[E]:
    """Return the signs of both."""
    return m.sign(x), m.sign(y)


@law("ALG-38", "rounded", source=SIGN, given=signs_agree)
def sign_of_sum(m: Meadow[E], x: E, y: E) -> Sides[E]:
    """The sum of numbers of one sign has that sign, ``s(x) = s(y) ⇒ s(x + y) = s(x)``."""
    return m.sign(m.add(x, y)), m.sign(x)


@law("ALG-39", "exact", source=SIGN)
def cube_of_sign(m: Meadow[E], x: E) -> Sides[E]:
    """A sign is its own cube, ``s(x)³ = s(x)``, as numbers are ordered."""
    return m.mul(m.mul(m.sign(x), m.sign(x)), m.sign(x)), m.sign(x)


@broken("ALG-46")
def sign_of_inverse(m: Meadow[E], x: E) -> Sides[E]:
    """The field law ``s(1 / x) = s(x)`` fails: somewhere, as at x = 0, only one side is ⊥."""
    return m.sign(m.div(m.one, x)), m.sign(x)
