"""DEC: strict decode."""

from __future__ import annotations

import math
from typing import get_args

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from properties.formats import every, pairs
from properties.hold import hold
from properties.strategies import several, taus
from spec import Array
from spec.decoding import Decodes, Gauge, Tuples

HALVES = ("float16", "bfloat16")
EIGHTHS = ("float8_e5m2", "float8_e4m3fn")
ELEMENTWISE = ("DEC-1", "DEC-2", "DEC-3")
gauges = st.sampled_from(get_args(Gauge))


@st.composite
def cases(draw: st.DrawFn, gauges: st.SearchStrategy[Gauge] = gauges) -> Tuples:
    """Draw tuples, and thresholds of which some equal a drawn denominator."""
    P, Q = draw(several(2), label="P, Q")
    own = [abs(q) for q in Q.values if math.isfinite(q)]
    choices = st.one_of(taus(Q.dtype), st.sampled_from(own)) if own else taus(Q.dtype)
    low, high = sorted((draw(choices, label="tau"), draw(choices, label="tau")))
    return Tuples(P, Q, low, high, draw(gauges, label="gauge"))


def half(P: list[float], Q: list[float], low: float, high: float) -> Tuples:
    """Return float16 tuples in the raw gauge."""
    return Tuples(Array.of(P, "float16"), Array.of(Q, "float16"), low, high)


TINY = 2.0**-24
AT = half([TINY] * 3, [0.0, TINY, -1.0], 1e-9, 1e-9)
BELOW = half([TINY], [TINY], TINY, 1.0)
ROUNDS_DOWN = half([TINY] * 2, [TINY, 2 * TINY], 1.3 * TINY, 2.0)


@given(cases())
@example(AT)
@example(BELOW)
@example(ROUNDS_DOWN)
def test_DEC_1_value_or_bottom(subject: Decodes, case: Tuples) -> None:
    hold("DEC-1", subject, case)


@given(cases())
@example(Tuples(Array.of([1.0] * 2, "float32"), Array.of([0.5, 0.75], "float32"), 0.5, 0.75))
def test_DEC_2_gap(subject: Decodes, case: Tuples) -> None:
    hold("DEC-2", subject, case)


@given(cases())
def test_DEC_3_antipodal(subject: Decodes, case: Tuples) -> None:
    hold("DEC-3", subject, case)


def _scalable(case: Tuples, factor: float) -> bool:
    """Tell whether a multiplication is exact in the tuples' dtype, and undone by a division."""
    subject_dtype = "float64"
    return case.P.dtype == subject_dtype and all(
        not math.isfinite(x) or (math.isfinite(x * factor) and x * factor / factor == x)
        for row in case.rows
        for x in row
    )


@given(cases(), st.integers(-6, 6).map(lambda k: 2.0**k), st.sampled_from([1.0, -1.0]))
def test_DEC_4_by_powers_of_two(subject: Decodes, case: Tuples, power: float, sign: float) -> None:
    wide = _double(case)
    assume(_scalable(wide, power * sign))
    hold("DEC-4", subject, wide, power * sign)


@given(cases(), st.integers(-40, 40).filter(bool))
def test_DEC_4_by_any_number(subject: Decodes, case: Tuples, factor: int) -> None:
    wide = _double(case)
    assume(_scalable(wide, float(factor)))
    hold("DEC-4", subject, wide, float(factor))


def _double(case: Tuples) -> Tuples:
    P, Q = (Array(part.values, part.shape, "float64", part.layout) for part in (case.P, case.Q))
    return Tuples(P, Q, case.tau_infer, case.tau_train, case.gauge)


@given(cases(), taus())
def test_DEC_5_monotone(subject: Decodes, case: Tuples, other: float) -> None:
    low, high = sorted((case.tau_infer, other))
    hold("DEC-5", subject, Tuples(case.P, case.Q, low, max(high, case.tau_train), case.gauge), high)


@given(cases())
def test_DEC_6_shapes(subject: Decodes, case: Tuples) -> None:
    hold("DEC-6", subject, case)


@given(cases())
def test_POL_10_bounded(subject: Decodes, case: Tuples) -> None:
    hold("POL-10", subject, case)


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("clause", ELEMENTWISE)
def test_DEC_1_to_3_at_every_denominator(subject: Decodes, clause: str, dtype: str) -> None:
    """All values of the half-precision formats as denominators, at three thresholds."""
    Q = every(dtype)
    for low, high in ((0.0, 1e-9), (TINY, 0.1), (1.0, 3e4)):
        hold(clause, subject, Tuples(Array.full(-3.0, like=Q), Q, low, high))


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("format", EIGHTHS)
def test_DEC_1_at_every_pair(subject: Decodes, format: str, dtype: str) -> None:
    """All pairs of 8-bit numbers, held in wider dtypes: no library computes with 8 bits."""
    P, Q = pairs(format, dtype)
    hold("DEC-1", subject, Tuples(P, Q, 0.0625, 0.5))
