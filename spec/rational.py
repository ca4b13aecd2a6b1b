"""DEC-9: layers that decode two learned polynomials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from typing import Final, Protocol

from .arrays import Array, identical
from .bottom import FORMATS, Bottom, round_to
from .clause import clause, refused, require
from .policies import POLICIES

WIDTH: Final = {"float16": 0, "bfloat16": 0, "float32": 1, "float64": 2}


@dataclass(frozen=True)
class Ball:
    """A number that floats approximate: it lies within a radius of the value."""

    value: Fraction
    dtype: str
    radius: Fraction = Fraction(0)

    def _made(self, value: Fraction, radius: Fraction) -> Ball:
        """Return a result; an operation on exact numbers whose result is a float is exact."""
        form, rounded = FORMATS[self.dtype], round_to(self.dtype, value)
        if radius or isinstance(rounded, Bottom) or Fraction(rounded) != value:
            radius += form.epsilon * (abs(value) + radius) + form.smallest_normal
        return Ball(value, self.dtype, radius)

    def __add__(self, other: Ball) -> Ball:
        return self._made(self.value + other.value, self.radius + other.radius)

    def __mul__(self, other: Ball) -> Ball:
        x, y = abs(self.value), abs(other.value)
        radius = x * other.radius + y * self.radius + self.radius * other.radius
        return self._made(self.value * other.value, radius)

    def __truediv__(self, other: Ball) -> Ball:
        quotient = self.value / other.value
        off = self.radius + abs(quotient) * other.radius
        return self._made(quotient, off / (abs(other.value) - other.radius))

    def cast(self, dtype: str) -> Ball:
        """Return the number, rounded to another format."""
        return Ball(self.value, dtype)._made(self.value, self.radius)

    def contains(self, x: float) -> bool:
        """Tell whether a float is as near as four times the radius; anything is, near overflow."""
        if abs(self.value) + self.radius > FORMATS[self.dtype].largest / 4:
            return True
        return math.isfinite(x) and abs(Fraction(x) - self.value) <= 4 * self.radius


@dataclass(frozen=True)
class Rational:
    """A rational layer, its inputs, and the gradients ``g`` that come to its values.

    Coefficients stand lowest power first. The policy is that of the scope, if there is one.
    """

    numerator: Array
    denominator: Array
    tau: float
    x: Array
    g: Array
    policy: str | None = None

    @property
    def dtype(self) -> str:
        """The dtype of the result: the wider one of inputs and coefficients."""
        kinds = (self.x.dtype, self.numerator.dtype)
        if WIDTH[kinds[0]] == WIDTH[kinds[1]] == 0 and kinds[0] != kinds[1]:
            return "float32"
        return max(kinds, key=lambda kind: WIDTH[kind])

    def ball(self, x: float) -> Ball:
        """Return a float as an exact number."""
        return Ball(Fraction(x), self.dtype)

    def at(self, row: Array, x: float, slope: bool = False) -> Ball:
        """Return a polynomial, or its slope, by Horner's rule."""
        factors = [i * a for i, a in enumerate(row.values)][1:] if slope else row.values
        highest, *others = [self.ball(a) for a in reversed(factors or [0.0])]
        return reduce(lambda sum, a: sum * self.ball(x) + a, others, highest)


@dataclass(frozen=True)
class Evaluated:
    """What a rational layer returns, and the gradients in its inputs and coefficients."""

    value: Array
    bottom: tuple[bool, ...]
    in_x: Array
    in_numerator: Array
    in_denominator: Array


class Rationals(Protocol):
    """A subject that has rational layers."""

    def rational(self, case: Rational) -> Evaluated:
        """Evaluate a layer and run its backward."""

    def new_rational(self, degrees: tuple[int, int], tau: float) -> tuple[Array, Array]:
        """Return the coefficients of a new layer of these degrees; ValueError for wrong ones."""


@dataclass(frozen=True)
class Element:
    """What an element should be: ⊥, or a value; None for ⊥ where rounding decides."""

    bottom: bool | None
    value: Ball
    in_P: Ball
    in_Q: Ball
    in_x: Ball


def element(case: Rational, x: float, g: float) -> Element:
    """Return what a layer makes of an input and of the gradient that comes to its value; DEC-9."""
    zero, form = case.ball(0.0), FORMATS[case.dtype]
    nothing = Element(True, zero, zero, zero, zero)
    if not math.isfinite(x):
        return nothing
    P, Q = case.at(case.numerator, x), case.at(case.denominator, x)
    size, tau = abs(Q.value), Fraction(case.tau)
    if size + Q.radius < tau or size == Q.radius == 0:
        return nothing
    if size - Q.radius < tau or size <= 2 * Q.radius or max(abs(P.value), size) > form.largest / 4:
        return Element(None, zero, zero, zero, zero)
    value = P / Q
    if abs(value.value) - value.radius > form.largest * (1 + form.epsilon):
        return nothing
    in_P = case.ball(POLICIES[case.policy or "clamp"](g, False)) / Q
    in_Q = in_P * value * case.ball(-1.0)
    slopes = (case.at(row, x, slope=True) for row in (case.numerator, case.denominator))
    in_x = reduce(Ball.__add__, (a * b for a, b in zip((in_P, in_Q), slopes, strict=True)))
    near = abs(value.value) + value.radius > form.largest
    return Element(None if near else False, value, in_P, in_Q, in_x)


def in_coefficients(case: Rational, parts: Sequence[Ball], count: int) -> list[Ball]:
    """Return the gradients in the coefficients of a polynomial, given those in its values."""
    sums = [case.ball(0.0)] * count
    for x, part in zip(case.x.values, parts, strict=True):
        for power in range(count if part.value or part.radius else 0):
            sums[power] += part
            part *= case.ball(x)
    return sums


@clause(
    "DEC-9",
    source="Ours: a layer that divides inside a network is decoded as its outputs are",
    since="0.4.0",
)
def rational(subject: Rationals, case: Rational) -> None:
    """A rational layer ``P(x) / Q(x)`` decodes two learned polynomials, element by element.

    1. An element is ⊥ iff ``x`` is not finite, or ``(P(x), Q(x))`` decodes to ⊥ at the layer's τ.
    2. The value of a ⊥ element is 0, the placeholder of a carrier.
    3. Elsewhere the value, and the gradients in ``x`` and in the coefficients, are those of
       ``P(x) / Q(x)``, up to four times the rounding errors of Horner's rule.
    4. A ⊥ element has a gradient of 0, and adds 0 to those of the coefficients.
    5. Incoming gradients are put under the policy in force; the layer's default is CLAMP.
    6. The result has the shape of ``x``, and the wider dtype of ``x`` and the coefficients.
    """
    found, given = subject.rational(case), case.x
    kind = (found.value.shape, found.value.dtype, found.in_x.shape, found.in_x.dtype)
    right = kind == (given.shape, case.dtype, given.shape, given.dtype)
    require(right, "{}: value and gradient are {}", case, kind, claim=6)
    elements = [element(case, *row) for row in zip(given.values, case.g.values, strict=True)]
    _require_elements(case, found, elements)
    if any(e.bottom is None for e in elements):
        return
    for name in ("numerator", "denominator"):
        parts = [e.in_P if name == "numerator" else e.in_Q for e in elements]
        sums = in_coefficients(case, parts, len(getattr(case, name).values))
        claim = 4 if any(e.bottom for e in elements) else _of_gradients(case, case.g.values)
        gradients = getattr(found, f"in_{name}").values
        require(len(gradients) == len(sums), "{}: {}", case, gradients, claim=claim)
        for power, (got, sum) in enumerate(zip(gradients, sums, strict=True)):
            near, told = sum.cast(case.numerator.dtype).contains(got), (case, name, power, got, sum)
            require(near, "{}: in {} {}: {}, not {}", *told, claim=claim)


def _of_gradients(case: Rational, gradients: Sequence[float]) -> int:
    """Return the claim about gradients that a policy lets pass, or about those that it changes."""
    rule = POLICIES[case.policy or "clamp"]
    return 3 if all(identical(rule(g, False), g) for g in gradients) else 5


def _require_elements(case: Rational, found: Evaluated, elements: Sequence[Element]) -> None:
    for i, wanted in enumerate(elements):
        x, bottom, value = case.x.values[i], found.bottom[i], found.value.values[i]
        right = wanted.bottom in (None, bottom)
        require(right, "{} at {}: ⊥ is {}", case, x, bottom, claim=1)
        if wanted.bottom:
            slope = found.in_x.values[i]
            require(value == 0, "{} at {}: {} under ⊥", case, x, value, claim=2)
            require(slope == 0, "{} at {}: gradient {} at ⊥", case, x, slope, claim=4)
        elif wanted.bottom is False:
            near, claim = wanted.value.contains(value), _of_gradients(case, (case.g.values[i],))
            require(near, "{} at {}: {}, not {}", case, x, value, wanted.value, claim=3)
            slope = found.in_x.values[i]
            near = wanted.in_x.cast(case.x.dtype).contains(slope)
            require(near, "{} at {}: gradient {}, not {}", case, x, slope, wanted.in_x, claim=claim)


@clause(
    "DEC-10",
    source="Ours: a layer should begin as something harmless, here the identity",
    since="0.4.0",
)
def new_rational(subject: Rationals, degrees: tuple[int, int], tau: float) -> None:
    """A new rational layer has the degrees and the threshold that it is asked for.

    1. A new layer is ``x / 1``, or ``0 / 1`` for numerator degree 0.
    2. A negative degree raises ValueError.
    3. A negative, NaN or infinite τ raises ValueError.
    """
    wrong = 2 if min(degrees) < 0 else 3 if not 0 <= tau < math.inf else 0
    if wrong:
        raises = refused(ValueError, lambda: subject.new_rational(degrees, tau), claim=wrong)
        require(raises, "degrees {} at τ = {} were accepted", degrees, tau, claim=wrong)
        return
    found = [row.values for row in subject.new_rational(degrees, tau)]
    wanted = [(0.0, 1.0, *[0.0] * (degrees[0] - 1))[: degrees[0] + 1], (1.0, *[0.0] * degrees[1])]
    require(found == wanted, "degrees {}: a new layer has {}", degrees, found)
