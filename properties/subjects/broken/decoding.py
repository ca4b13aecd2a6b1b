"""Decodes that go wrong."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

from properties.subjects.broken.register import breaks
from properties.subjects.exact import Exact
from spec import Array
from spec.bottom import Bottom, round_to
from spec.decoding import Decoded, Strict, Tuples


@breaks("DEC-1")
class EqualityIsBelow(Exact):
    """A denominator at the threshold is taken to lie below it."""

    def _one(self, case: Tuples, P: float, Q: float) -> Decoded:
        at = math.isfinite(Q) and abs(Q) == case.tau_infer
        return super()._one(case, math.nan if at else P, Q)


@breaks("DEC-1")
class RoundedThreshold(Exact):
    """τ is rounded to the tensors' dtype before it is compared."""

    def decode(self, case: Tuples) -> Strict:
        """Round τ."""
        taus = [round_to(case.P.dtype, Fraction(tau)) for tau in (case.tau_infer, case.tau_train)]
        low, high = (math.inf if isinstance(tau, Bottom) else tau for tau in taus)
        return super().decode(replace(case, tau_infer=low, tau_train=high))


@breaks("DEC-1")
class GuardedDivision(Exact):
    """An ε keeps the denominator from 0."""

    def _value(self, case: Tuples, row: tuple[float, float], decoded: Decoded) -> float:
        value = super()._value(case, row, decoded)
        return value / (1 + 1e-3) if math.isfinite(value) else value


@breaks("DEC-1")
class NaNNumerator(Exact):
    """Only the denominator is looked at, so that NaN / 1 is a value."""

    def decode(self, case: Tuples) -> Strict:
        """Forget the flags of bad numerators."""
        strict = super().decode(case)
        bad = [math.isfinite(Q) and abs(Q) >= case.tau_infer and Q != 0 for _, Q in case.rows]
        pairs = zip(strict.bottom, bad, strict=True)
        return replace(strict, bottom=tuple(b and not free for b, free in pairs))


@breaks("DEC-1")
class UnsignedZero(Exact):
    """What vanishes loses its sign."""

    def _value(self, case: Tuples, row: tuple[float, float], decoded: Decoded) -> float:
        return super()._value(case, row, decoded) + 0.0  # −0.0 + 0.0 is 0.0


@breaks("DEC-1")
class NoTupleIsZero(Exact):
    """(0, 0) has no direction, and is taken for the value 0 in the unit gauge."""

    def decode(self, case: Tuples) -> Strict:
        """Free (0, 0)."""
        strict = super().decode(case)
        none = [case.gauge == "unit" and row == (0.0, 0.0) for row in case.rows]
        pairs = zip(strict.value.values, none, strict=True)
        value = strict.value.with_values([0.0 if no else x for x, no in pairs])
        bottom = tuple(b and not no for b, no in zip(strict.bottom, none, strict=True))
        return replace(strict, value=value, bottom=bottom)


@breaks("DEC-2")
class GapHoldsBottom(Exact):
    """Everything below τ_train is in the gap, ⊥ included."""

    def decode(self, case: Tuples) -> Strict:
        """Compare with τ_train alone."""
        gap = tuple(math.isfinite(Q) and abs(Q) < case.tau_train for _, Q in case.rows)
        return replace(super().decode(case), gap=gap)


@breaks("DEC-3")
class SignedThreshold(Exact):
    """Q itself is compared with τ, not |Q|."""

    def _one(self, case: Tuples, P: float, Q: float) -> Decoded:
        return super()._one(case, P, 0.0 if case.tau_infer > Q else Q)


@breaks("DEC-4")
class UnitAlways(Exact):
    """The gauge is taken to be the unit one."""

    def decode(self, case: Tuples) -> Strict:
        """Compare the direction."""
        return super().decode(replace(case, gauge="unit"))


@breaks("DEC-4")
class RawAlways(Exact):
    """The gauge is ignored."""

    def decode(self, case: Tuples) -> Strict:
        """Compare |Q|."""
        return super().decode(replace(case, gauge="raw"))


@breaks("DEC-5")
class WrappedThreshold(Exact):
    """A τ above 1 is taken for a percentage."""

    def decode(self, case: Tuples) -> Strict:
        """Divide what is above 1 by 100."""
        low = case.tau_infer / 100 if case.tau_infer > 1 else case.tau_infer
        return super().decode(replace(case, tau_infer=low))


@breaks("DEC-6")
class Broadcasting(Exact):
    """Shapes are broadcast."""

    def decode(self, case: Tuples) -> Strict:
        """Forget Q's shape."""
        Q = Array(case.Q.values, case.P.shape, case.Q.dtype)
        return super().decode(replace(case, Q=Q))


@breaks("POL-10")
class DetachedDenominator(Exact):
    """The denominator is a constant to the gradient."""

    def decode_gradients(self, case: Tuples) -> tuple[Array, Array]:
        """Give Q none."""
        P, Q = super().decode_gradients(case)
        return P, Array.full(0.0, like=Q)


@breaks("POL-10")
class GradientAtBottom(Exact):
    """A ⊥ element passes a gradient on."""

    def decode_gradients(self, case: Tuples) -> tuple[Array, Array]:
        """Return 1 where there should be 0."""
        P, Q = super().decode_gradients(case)
        return P.with_values([x or 1.0 for x in P.values]), Q
