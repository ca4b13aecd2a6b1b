"""COV: coverage, of a micro-batch and of an epoch; and STOP-6, what the stop watches."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.formats import EIGHTHS, HALVES, WIDER, every, pairs
from properties.strategies import (
    DTYPES,
    FLAGS,
    TELLING,
    batch_shapes,
    intervals,
    labels,
    masks,
    several,
    taus,
    with_drawn,
)
from spec import Array
from spec.coverage import FORMS, Covers, Monitors, Predicted, Timed
from spec.formats import FORMATS, nearest


@st.composite
def batches(draw: st.DrawFn, *, own_shape: bool = False) -> Predicted:
    """Draw a micro-batch with outputs of any form, NaN and ±∞ everywhere.

    Its targets may have a shape of their own.
    """
    first, second = draw(several(2, shapes=batch_shapes))
    form = draw(st.sampled_from(FORMS), label="form")
    if form != "tuple":
        second = first.with_values([float(flag) for flag in draw(masks(first.shape))])
    shapes = [first.shape, *[(first.shape[0], *rest) for rest in ((), (1,), (3,)) if own_shape]]
    y = draw(labels(st.just(first.dtype), st.sampled_from(shapes)), label="targets")
    return Predicted(form, first, second, y)


def tuples(Q: list[float], dtype: str = "float32", y: float = 1.0) -> Predicted:
    """Return tuples with these denominators, and targets that are all alike."""
    ones = Array.of([1.0] * len(Q), dtype)
    return Predicted("tuple", ones, Array.of(Q, dtype), Array.full(y, like=ones))


# In float16, 1.3e-7 rounds down to this very denominator.
STEP = tuples([2.0**-23], "float16")
UNEQUAL = [(tuples([1.0] * 9), 1e-4), (tuples([0.0]), 1e-4)]
OWN_TAU = [(tuples([0.375] * 2), 0.25), (tuples([0.375] * 2), 0.5), (tuples([0.375] * 2), 0.25)]
SINGULAR_ONLY = [(tuples([1.0], y=math.inf), 1e-4)]
SINGULAR = [(tuples([1.0] * 3), 1e-4), (tuples([0.0, 1.0], y=math.inf), 1e-4)]
NONE_BOTTOM = [(tuples([1.0]), 1e-4), (tuples([1.0], y=math.nan), 1e-4)]
LARGE = Array.of([2.0**126, -(2.0**126)], "float32")
STEEP = Predicted("tuple", LARGE, Array.of([2.0**-10, 1.0], "float32"), LARGE)  # ⊥ and a value
NOTHING = Array((), (3, 0), "float32")
ROWS = Array((1.0, math.nan, 1.0, 1.0), (2, 2), "float32")
CUBE = Array((1.0, 1.0, 1.0, math.nan, 1.0, 1.0, 1.0, 1.0), (2, 2, 2), "float32")
NO_OUTPUTS = Predicted("tuple", NOTHING, NOTHING, NOTHING)
TARGETS = Array((1.0, math.inf, 1.0, 1.0), (2, 2), "float32")
MORE_TARGETS = [(replace(tuples([1.0, 0.0]), targets=TARGETS), 1e-4)]
WIDE_TARGETS = [(replace(STEEP, targets=Array.of([1.0, 1.0], "float64")), 1e-4)] * 2
FLAGGED = TELLING.with_values([float(flag) for flag in FLAGS])
MASKED = Predicted("pair", TELLING, FLAGGED, TELLING)
epochs = st.lists(st.tuples(batches(own_shape=True), taus()), min_size=1, max_size=4)


@given(batches(), taus())
@example(STEP, 1.3e-7)
@example(STEEP, 1e-4)
@example(MASKED, 1e-4)
@example(Predicted("value", TELLING, TELLING, TELLING), 1e-4)
@example(Predicted("tuple", TELLING, Array.full(1.0, like=TELLING), TELLING), 1e-4)
def test_COV_1_what_is_bottom(subject: Covers, batch: Predicted, tau: float) -> None:
    assert_clause("COV-1", subject, batch, tau)


@given(st.sampled_from(DTYPES), st.integers(-3, 3), st.integers(-4, 1), st.sampled_from([1, -1]))
def test_COV_1_about_overflow(
    subject: Covers, dtype: str, units: int, exponent: int, sign: int
) -> None:
    """Quotients a few units around the largest number."""
    form = FORMATS[dtype]
    Q = 2.0**exponent * (1 + float(form.epsilon) * units)
    P = nearest(dtype, min(float(form.largest), float(form.largest) * 2.0**exponent))
    tops = Array.of([sign * P, float(form.largest)], dtype)
    bottoms = Array.of([nearest(dtype, Q), nearest(dtype, 2.0**exponent)], dtype)
    assert_clause("COV-1", subject, Predicted("tuple", tops, bottoms, tops), 1e-4)


@given(batches(), taus())
@example(NO_OUTPUTS, 1e-4)
@example(Predicted("value", ROWS, ROWS, ROWS), 1e-4)
@example(Predicted("value", CUBE, CUBE, CUBE), 1e-4)
def test_COV_2_by_sample(subject: Covers, batch: Predicted, tau: float) -> None:
    assert_clause("COV-2", subject, batch, tau)


@pytest.mark.parametrize("id", ["COV-3", "COV-4"])
@given(epoch=epochs)
@example(epoch=UNEQUAL)
@example(epoch=OWN_TAU)
@example(epoch=WIDE_TARGETS)
@example(epoch=[*UNEQUAL, (NO_OUTPUTS, 1e-4)])
def test_COV_3_and_4_of_epochs(subject: Covers, id: str, epoch: list[Timed]) -> None:
    assert_clause(id, subject, epoch)


LOWER = [-math.inf, -math.inf, -math.inf, 1.0, 2.0, math.inf]
ALL = replace(tuples([0.0, 1.0, 1.0, 0.0, 1.0, 1.0]), targets=Array.of(LOWER, "float32"))
ALL_UP = Array.of([-math.inf, 1.0, math.inf, math.inf, 2.0, math.inf], "float32")
OPEN = (replace(tuples([1.0, 0.0]), targets=TARGETS.full(1.0, TARGETS)), TARGETS)


@given(
    with_drawn(
        batches(own_shape=True),
        lambda batch: intervals(st.just(batch.targets.dtype), st.just(batch.targets.shape)),
    ),
    taus(),
)
@example((ALL, (ALL.targets, ALL_UP)), 1e-4)
@example((OPEN[0], (OPEN[0].targets, OPEN[1])), 1e-4)
@example((NO_OUTPUTS, (NOTHING, NOTHING)), 1e-4)
def test_COV_5_of_intervals(
    subject: Covers, drawn: tuple[Predicted, tuple[Array, Array]], tau: float
) -> None:
    batch, (lower, upper) = drawn
    assert_clause("COV-5", subject, replace(batch, targets=lower), upper, tau)


@given(epochs)
@example(UNEQUAL)
@example(OWN_TAU)
@example(SINGULAR)
@example(SINGULAR_ONLY)
@example(NONE_BOTTOM)
@example(MORE_TARGETS)
@example([*SINGULAR, (NO_OUTPUTS, 1e-4)])
def test_STOP_6_monitored(subject: Monitors, epoch: list[Timed]) -> None:
    assert_clause("STOP-6", subject, epoch)


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("form", FORMS)
def test_COV_1_everywhere(subject: Covers, form: str, dtype: str) -> None:
    x = every(dtype)
    flags = x.with_values([float(index % 3 == 0) for index in range(len(x.values))])
    parts = [(x, flags)]
    if form == "tuple":
        constant = Array.full(2.0**-24, like=x)
        parts = [(constant, x), (x, constant)]
    for tau in (0.0, 2.0**-24, 6e-8, 0.1, 1.0):
        for first, second in parts:
            assert_clause("COV-1", subject, Predicted(form, first, second, x), tau)


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", WIDER)
@pytest.mark.parametrize("format", EIGHTHS)
def test_COV_1_at_every_pair(subject: Covers, format: str, dtype: str) -> None:
    P, Q = pairs(format, dtype)
    assert_clause("COV-1", subject, Predicted("tuple", P, Q, Q), 0.0625)
