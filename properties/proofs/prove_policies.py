"""POL for every gradient: any real number, NaN, +∞ and −∞.

A gradient is a real number with a tag; −0 and +0 are one number here, which the properties of POL
tell apart bit by bit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Final

import pytest
import z3

from properties.proofs.solver import ProofError, prove
from spec.policies import POLICIES

pytestmark = pytest.mark.proved

_declared = z3.Datatype("Gradient")
_declared.declare("finite", ("size", z3.RealSort()))
for _name in ("nan", "plus_infinity", "minus_infinity"):
    _declared.declare(_name)
Gradient = _declared.create()

ZERO, ONE, MINUS_ONE = (Gradient.finite(z3.RealVal(k)) for k in (0, 1, -1))
g, b = z3.Const("g", Gradient), z3.Bool("b")


def above(x: z3.DatatypeRef, bound: int) -> z3.BoolRef:
    """Say ``x > bound``, which is false of NaN."""
    finite = z3.And(Gradient.is_finite(x), Gradient.size(x) > bound)
    return z3.Or(x == Gradient.plus_infinity, finite)


def below(x: z3.DatatypeRef, bound: int) -> z3.BoolRef:
    """Say ``x < bound``, which is false of NaN."""
    finite = z3.And(Gradient.is_finite(x), Gradient.size(x) < bound)
    return z3.Or(x == Gradient.minus_infinity, finite)


def clamp(g: z3.DatatypeRef, b: z3.BoolRef) -> z3.DatatypeRef:
    clamped = z3.If(above(g, 1), ONE, z3.If(below(g, -1), MINUS_ONE, g))
    return z3.If(z3.Or(b, g == Gradient.nan), ZERO, clamped)


SYMBOLIC: Final[dict[str, Callable[[z3.DatatypeRef, z3.BoolRef], z3.DatatypeRef]]] = {
    "clamp": clamp,
    "project": lambda g, b: z3.If(b, ZERO, g),
    "reject": lambda g, b: ZERO,
    "passthrough": lambda g, b: g,
}


def test_POL_1_clamp() -> None:
    """CLAMP gives a number in [−1, 1]: 0 at ⊥ and for NaN, else the nearest one to the gradient."""
    out = clamp(g, b)
    size = Gradient.size(out)
    prove("POL-1", z3.And(Gradient.is_finite(out), size <= 1, size >= -1))
    prove("POL-1", out == ZERO, given=z3.Or(b, g == Gradient.nan))
    number = z3.And(z3.Not(b), g != Gradient.nan)
    prove("POL-1", out == ONE, given=z3.And(number, above(g, 1)))
    prove("POL-1", out == MINUS_ONE, given=z3.And(number, below(g, -1)))
    within = z3.Not(z3.Or(above(g, 1), below(g, -1)))
    prove("POL-1", out == g, given=z3.And(number, within))


def test_POL_2_project() -> None:
    """PROJECT gives 0 at ⊥, else the gradient itself, NaN and ±∞ included."""
    out = SYMBOLIC["project"](g, b)
    prove("POL-2", out == ZERO, given=b)
    prove("POL-2", out == g, given=z3.Not(b))


def test_POL_3_reject() -> None:
    prove("POL-3", SYMBOLIC["reject"](g, b) == ZERO)


@pytest.mark.parametrize("policy", ["clamp", "project", "reject"])
def test_POL_5_select(policy: str) -> None:
    """At ⊥ every gradient becomes 0, NaN and ±∞ included."""
    prove("POL-5", SYMBOLIC[policy](g, z3.BoolVal(True)) == ZERO)


def test_a_product_is_refused() -> None:
    """The same claim about a product with the mask is refused, so it does say something."""
    finite = Gradient.finite(z3.If(b, 0.0, Gradient.size(g)))
    product = z3.If(Gradient.is_finite(g), finite, z3.If(b, Gradient.nan, g))
    with pytest.raises(ProofError, match="is false"):
        prove("POL-5", product == ZERO, given=b)


@pytest.mark.parametrize("policy", SYMBOLIC)
def test_POL_6_idempotent(policy: str) -> None:
    rule = SYMBOLIC[policy]
    prove("POL-6", rule(rule(g, b), b) == rule(g, b))


def _symbol(x: float) -> z3.DatatypeRef:
    if math.isnan(x):
        return Gradient.nan
    if math.isinf(x):
        return Gradient.plus_infinity if x > 0 else Gradient.minus_infinity
    exact = Fraction(x)
    return Gradient.finite(z3.Q(exact.numerator, exact.denominator))


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_symbols_pass_what_the_specification_does(policy: str) -> None:
    assert SYMBOLIC.keys() == POLICIES.keys(), "these are all the policies"
    sizes = (0.0, 5e-324, 0.1, 1.0, 1.0000000000000002, 7.5, 1e308, math.inf)
    for size, flag in itertools.product((math.nan, *sizes, *(-s for s in sizes)), (False, True)):
        found = z3.simplify(SYMBOLIC[policy](_symbol(size), z3.BoolVal(flag)))
        expected = z3.simplify(_symbol(POLICIES[policy](size, flag)))
        assert found.eq(expected), f"{policy} of {size}, ⊥: {flag}"
