"""Numbers that carry their derivative, so that a formula's own code differentiates it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Dual:
    """A number ``value + slope·ε`` with ``ε² = 0``, over symbols or fractions."""

    value: Any
    slope: Any

    @staticmethod
    def of(x: Any) -> Dual:
        """Return a constant as a dual number."""
        return x if isinstance(x, Dual) else Dual(x, 0)

    def __add__(self, other: Any) -> Dual:
        other = Dual.of(other)
        return Dual(self.value + other.value, self.slope + other.slope)

    def __mul__(self, other: Any) -> Dual:
        other = Dual.of(other)
        slope = self.slope * other.value + self.value * other.slope
        return Dual(self.value * other.value, slope)

    def __truediv__(self, other: Any) -> Dual:
        other = Dual.of(other)
        slope = self.slope * other.value - self.value * other.slope
        return Dual(self.value / other.value, slope / (other.value * other.value))

    def __neg__(self) -> Dual:
        return self * -1

    def __sub__(self, other: Any) -> Dual:
        return self + Dual.of(other) * -1

    def __rsub__(self, other: Any) -> Dual:
        return Dual.of(other) - self

    def __pow__(self, exponent: int) -> Dual:
        return self if exponent == 1 else self * self ** (exponent - 1)

    __radd__ = __add__
    __rmul__ = __mul__


def derivatives(formula: Any, P: Any, Q: Any, *others: Any) -> tuple[Any, Any]:
    """Return the derivatives of a formula in its first two arguments."""
    in_P = formula(Dual(P, 1), Dual(Q, 0), *others)
    in_Q = formula(Dual(P, 0), Dual(Q, 1), *others)
    return in_P.slope, in_Q.slope
