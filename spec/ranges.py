"""DEC: decodes with a range, as instruments have one, and with a shared denominator."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

from .arrays import Array, identical, same
from .clause import clause, refused, require
from .decoding import Decodes, Strict, Tuples


@dataclass(frozen=True)
class Graded:
    """A strict decode, with the gradients in P and in Q of the sum of all its values; and that of
    an inference wrapper (DEC-8) with the same range.
    """

    strict: Strict
    in_P: Array
    in_Q: Array
    wrapped: Strict


class RangedDecodes(Decodes, Protocol):
    """A subject that decodes tuples to the values that an instrument can report."""

    def decode_within(self, case: Tuples, lower: float, upper: float) -> Graded:
        """Return values in the range, or ⊥; ValueError for ends that make no range."""


class SharedDecodes(Decodes, Protocol):
    """A subject whose outputs of a sample may share one denominator."""

    def decode_shared(self, case: Tuples) -> Strict:
        """Return values or ⊥ of ``P`` of shape ``(…, k)`` over ``Q`` of shape ``(…, 1)``."""


@clause("DEC-7", source="Ours: an instrument reports “more than c”, not c + 1", since="0.6.0")
def within(subject: RangedDecodes, case: Tuples, lower: float, upper: float) -> None:
    """A decode may have a range, from a lower end up to an upper one, either of which may be ±∞.

    1. A value outside the range decodes to ⊥. The comparison is exact, and ends lie inside.
    2. Such a ⊥ becomes +∞ where the value lies above the range, and −∞ where it lies below.
    3. Everything else decodes as it does without a range.
    4. The gradient of such a ⊥ is 0; the gradient of everything else is that without a range.
    5. A lower end above the upper one, or an end that is NaN, raises ValueError.
    6. An inference wrapper with a range decodes in eval mode as this.
    """
    if not lower <= upper:
        right = refused(ValueError, lambda: subject.decode_within(case, lower, upper), claim=5)
        require(right, "the range {} to {} was taken", lower, upper, claim=5)
        return
    found, plain = subject.decode_within(case, lower, upper), subject.decode(case)
    strict, slopes = found.strict, subject.decode_gradients(case)
    kind = (strict.value.shape, strict.value.dtype)
    require(kind == (case.P.shape, case.P.dtype), "{} became {}", case, kind, claim=3)
    for i, value in enumerate(plain.value.values):
        now = strict.value.values[i], strict.bottom[i], strict.gap[i]
        gradients = found.in_P.values[i], found.in_Q.values[i]
        parts, complaint = (value, case, lower, upper), "{} of {} within {} to {} became {}"
        if plain.bottom[i] or lower <= value <= upper:
            right = identical(now[0], value) and now[1:] == (plain.bottom[i], plain.gap[i])
            claim = 1 if value in (lower, upper) else 3
            require(right, complaint, *parts, now, claim=claim)
            expected = tuple(slope.values[i] for slope in slopes)
        else:
            require(now[1:] == (True, False), complaint, *parts, now)
            side = math.inf if value > upper else -math.inf
            require(now[0] == side, complaint, *parts, now, claim=2)
            expected = (0.0, 0.0)
        require(gradients == expected, "gradient at " + complaint, *parts, gradients, claim=4)
    wrapped = found.wrapped
    right = (wrapped.bottom, wrapped.gap) == (strict.bottom, strict.gap)
    right = right and same(wrapped.value, strict.value)
    require(right, "{} within {} to {}: a wrapper's is {}", case, lower, upper, wrapped, claim=6)


def repeated(case: Tuples) -> Tuples:
    """Return tuples with the shared denominator written out for each output."""
    k = case.P.shape[-1]
    values = tuple(q for q in case.Q.values for _ in range(k))
    return replace(case, Q=replace(case.P, values=values))


@clause("DEC-9", source="Ours: the parts of J⁻¹dx have their poles together", since="0.6.0")
def shared(subject: SharedDecodes, case: Tuples) -> None:
    """The k outputs of a sample may share one denominator, with P of shape (…, k) and Q of shape
    (…, 1): they decode as if Q were repeated for each output, bit for bit.
    """
    found, expected = subject.decode_shared(case), subject.decode(repeated(case))
    right = (found.bottom, found.gap) == (expected.bottom, expected.gap)
    right = right and same(found.value, expected.value)
    require(right, "{} decodes to {}, not {}", case, found, expected)
