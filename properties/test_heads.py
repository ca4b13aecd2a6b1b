"""DEC-10 and POL-13: domains of rational heads, and shared denominators under a policy."""

from __future__ import annotations

import math
from fractions import Fraction

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.strategies import dtypes, lists, magnitudes, numbers, wide_dtypes
from spec import Array
from spec.heads import Mapped
from spec.losses import cast
from spec.policies import POLICIES, TrainsGated

rows = st.lists(st.integers(-6, 6).map(lambda k: k / 2), min_size=1, max_size=4)
HUGE = 3.0 * 2.0**126


@given(rows, rows, st.tuples(*[magnitudes("float32", -30)] * 2).map(sorted), wide_dtypes,
       st.lists(st.fractions(0, 1), min_size=1, max_size=4))  # fmt: skip
@example([0.0, 1.0], [1.0, 0.0, -2.0], [-1.0, 3.0], "float32", [Fraction(0), Fraction(1)])
@example([0.5, 1.0, 1.0], [1.0], [-HUGE, HUGE], "float32", [Fraction(0), Fraction(1)])
@example([0.5, 1.0, 1.0], [1.0], [HUGE / 4, HUGE], "float32", [Fraction(1, 3), Fraction(1)])
@example([0.5, 1.0, 1.0], [1.0], [HUGE * 2 / 3, HUGE], "float32", [Fraction(1, 3), Fraction(1)])
def test_DEC_10_domains(
    subject: Mapped, P: list[float], Q: list[float], ends: list[float], dtype: str,
    at: list[Fraction],
) -> None:  # fmt: skip
    low, high = ends
    assume(low < high)
    inside = [cast(Fraction(low) + u * (Fraction(high) - Fraction(low)), dtype) for u in at]
    assert_clause("DEC-10", subject, P, Q, (low, high), Array.of([*inside, low, high], dtype))


@st.composite
def shared(draw: st.DrawFn) -> tuple[Array, Array, Array]:
    """Draw samples of several outputs, some of which are all 0, and incoming gradients."""
    dtype, n, k = draw(dtypes), draw(st.integers(1, 3)), draw(st.integers(2, 3))
    part = st.just(0.0) | numbers(dtype)
    P, Q, g = (
        Array(tuple(draw(lists(of, shape))), shape, dtype)
        for of, shape in ((part, (n, k)), (part, (n, 1)), (numbers(dtype), (n, k)))
    )
    return P, Q, g


def samples(P: list[float], Q: list[float]) -> tuple[Array, Array, Array]:
    """Return samples of two outputs, and incoming gradients."""
    g, n = [2.0, -0.5] * len(Q), len(Q)
    return Array(tuple(P), (n, 2)), Array(tuple(Q), (n, 1)), Array(tuple(g), (n, 2))


LOST = samples([0.0, -0.0, math.inf, 1.0, 1.0, 1.0], [0.0, 1.0, math.nan])
TUPLES = samples([2.0, -0.25, 0.0, 3.0, 0.0, 0.0], [1.0, -0.0, 1.0])


@given(st.none() | st.sampled_from(sorted(POLICIES)), shared())
@example("clamp", LOST)
@example("project", TUPLES)
@example(None, LOST)
@settings(max_examples=40)
def test_POL_13_one_tuple(
    subject: TrainsGated, policy: str | None, case: tuple[Array, Array, Array]
) -> None:
    assert_clause("POL-13", subject, policy, *case)
