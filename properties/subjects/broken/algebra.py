"""Meadows that go wrong."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from properties.subjects.broken.register import breaks
from properties.subjects.exact import Exact
from spec.algebra import BOTTOM, Meadow, Number, Rationals
from spec.bottom import Carrier, Operand


class _Rational(Exact):
    """Rational numbers only, by a class that is wrong about them."""

    kinds = ("rational",)
    numbers: type[Rationals]

    def meadow(self, kind: str) -> Meadow[Any]:
        """Return the wrong meadow."""
        return self.numbers()


@breaks("ALG-24")
@breaks("ALG-41")
class ZeroAnnihilates(_Rational):
    """A shortcut returns 0 for zero times anything, so that 0 · ⊥ = 0."""

    class numbers(Rationals):
        """Multiply with the shortcut."""

        def mul(self, x: Number, y: Number) -> Number:
            """Return 0 early."""
            return Fraction(0) if self.zero in (x, y) else super().mul(x, y)


@breaks("ALG-15")
@breaks("ALG-23")
@breaks("ALG-43")
@breaks("ALG-45")
@breaks("ALG-46")
class InvolutiveInverse(_Rational):
    """The inverse of zero is zero, as in the meadows without ⊥ and in proof assistants."""

    class numbers(Rationals):
        """Invert zero to zero."""

        def inv(self, x: Number) -> Number:
            """Return 0 for 0."""
            return x if x == 0 else super().inv(x)


@breaks("ALG-40")
@breaks("ALG-44")
class ReplacedByZero(_Rational):
    """Every ⊥ is replaced by 0 before it is used, so that sums over a batch stay numbers."""

    class numbers(Rationals):
        """Multiply and invert without ⊥."""

        def mul(self, x: Number, y: Number) -> Number:
            """Return a number."""
            return super().mul(*(self.zero if z is BOTTOM else z for z in (x, y)))

        def inv(self, x: Number) -> Number:
            """Return a number."""
            return self.mul(super().inv(x), self.one)


@breaks("ALG-42")
@breaks("ALG-6")
class SameOperands(Exact):
    """A difference of equal operands is 0 without a look at them, ⊥ − ⊥ included."""

    def apply(self, operation: str, *operands: Operand) -> Carrier:
        """Simplify differences."""
        found = super().apply(operation, *operands)
        x, *others = self.carriers(operands)
        opposite = super().apply("neg", *others) if operation == "add" else others[:1]
        if operation in ("sub", "add") and x in (opposite, *others[: operation == "sub"]):
            return Carrier(found.payload.with_values([0.0] * len(found.bottom)), (False,))
        return found


@breaks("ALG-31")
class SignOfBottom(_Rational):
    """What has no sign, ⊥ included, has sign 0."""

    class numbers(Rationals):
        """Return 0 for ⊥."""

        def sign(self, x: Number) -> Number:
            """Return −1, 0 or 1."""
            return self.zero if x is BOTTOM else super().sign(x)


@breaks("ALG-30")
class SignOfZero(_Rational):
    """Zero counts as positive, as a sign bit has it."""

    class numbers(Rationals):
        """Return 1 for 0."""

        def sign(self, x: Number) -> Number:
            """Return −1 or 1."""
            return self.one if x == 0 else super().sign(x)


@breaks("ALG-28")
class ReciprocalDivision(Exact):
    """Floats divide by multiplying with a rounded reciprocal, so that 49/49 is not 1."""

    def apply(self, operation: str, *operands: Operand) -> Carrier:
        """Divide in two steps."""
        if operation == "div":
            return super().apply("mul", operands[0], super().apply("inv", operands[1]))
        return super().apply(operation, *operands)


@breaks("ALG-2")
class LostHalf(Exact):
    """Sums are cut to half the digits, as in an accumulator that is too narrow."""

    def apply(self, operation: str, *operands: Operand) -> Carrier:
        """Cut the mantissa of sums."""
        found = super().apply(operation, *operands)
        if operation != "add":
            return found
        pairs = map(math.frexp, found.payload.values)
        cut = [math.ldexp(int(m * 16) / 16, e) for m, e in pairs]
        return self.enter(found.payload.with_values(cut), found.bottom)
