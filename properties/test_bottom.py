"""BOT: ⊥ on arrays of IEEE floats."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.formats import every, pairs
from properties.strategies import (
    FLAGS,
    TELLING,
    arrays,
    dtypes,
    masks,
    numbers,
    picks,
    rounded,
    several,
)
from spec import Array
from spec.bottom import ARITY, Bottoms, Carrier

BINARY = sorted(name for name, arity in ARITY.items() if arity == 2)
UNARY = sorted(name for name, arity in ARITY.items() if arity == 1)
HALVES = ("float16", "bfloat16")
NARROW = ("float8_e5m2", "float8_e4m3fn")
COMPUTED_IN = ("float16", "bfloat16", "float32")

poisons = st.sampled_from((math.nan, math.inf, -math.inf))
written = st.one_of(st.sampled_from([0.1, -3.0, 1e-9, 1e9, 7.0]), st.floats())


def plain(*payloads: Array) -> list[Carrier]:
    """Return arrays as carriers without a flag."""
    return [Carrier(x, (False,) * len(x.values)) for x in payloads]


# Whose roots some vector units round wrongly.
HALVES_OF_ONE = plain(Array.of([0.5] * 8, "float64"))[0]

# Each number with others, and all of them with what is flagged and what is not.
MANY = (Carrier(TELLING, FLAGS), Carrier(TELLING.with_values(TELLING.values[::-1]), FLAGS))


@st.composite
def operands(draw: st.DrawFn) -> tuple[Carrier, Carrier]:
    """Draw two operands of one dtype and shape, some of their elements flagged."""
    x, y = draw(several(2), label="payloads")
    return Carrier(x, draw(masks(x.shape))), Carrier(y, draw(masks(y.shape)))


@st.composite
def fitted(draw: st.DrawFn) -> tuple[Carrier, Carrier]:
    """Draw two operands of different shapes that fit each other."""
    x = draw(operands())[0]
    shape, dtype = x.payload.shape, x.payload.dtype
    start = draw(st.integers(0, len(shape)), label="missing axes")
    thin = draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)), label="thin")
    part = tuple(1 if one else size for one, size in zip(thin, shape, strict=True))[start:]
    size = math.prod(part)
    values = draw(st.lists(numbers(dtype), min_size=size, max_size=size))
    fitting = Carrier(Array(tuple(values), part, dtype), draw(masks(part)))
    return (x, fitting) if draw(st.booleans()) else (fitting, x)


@given(operands())
@example(MANY)
def test_BOT_1_absorption(subject: Bottoms, drawn: tuple[Carrier, Carrier]) -> None:
    for operation, arity in ARITY.items():
        assert_clause("BOT-1", subject, operation, *drawn[:arity])


@given(fitted())
def test_BOT_1_broadcasting(subject: Bottoms, drawn: tuple[Carrier, Carrier]) -> None:
    for operation in BINARY:
        assert_clause("BOT-1", subject, operation, *drawn)


@given(operands())
@example(MANY)
def test_BOT_2_total(subject: Bottoms, drawn: tuple[Carrier, Carrier]) -> None:
    for operation, arity in ARITY.items():
        assert_clause("BOT-2", subject, operation, *drawn[:arity])


@given(operands())
@example(MANY)
@example((HALVES_OF_ONE, HALVES_OF_ONE))
def test_BOT_3_exactly_when(subject: Bottoms, drawn: tuple[Carrier, Carrier]) -> None:
    for operation, arity in ARITY.items():
        assert_clause("BOT-3", subject, operation, *drawn[:arity])


@given(fitted())
def test_BOT_3_broadcasting(subject: Bottoms, drawn: tuple[Carrier, Carrier]) -> None:
    for operation in BINARY:
        assert_clause("BOT-3", subject, operation, *drawn)


@given(arrays(), st.data())
def test_BOT_4_boundary(subject: Bottoms, x: Array, data: st.DataObject) -> None:
    marked = data.draw(masks(x.shape) | st.just((False,) * len(x.values)), label="flags")
    assert_clause("BOT-4", subject, x, marked)


@given(operands(), poisons)
def test_BOT_5_isolation(subject: Bottoms, drawn: tuple[Carrier, Carrier], poison: float) -> None:
    for operation, arity in ARITY.items():
        assert_clause("BOT-5", subject, operation, poison, *drawn[:arity])


@given(operands(), st.data())
def test_BOT_6_elementwise(
    subject: Bottoms, drawn: tuple[Carrier, Carrier], data: st.DataObject
) -> None:
    chosen = data.draw(picks(drawn[0].payload), label="chosen")
    for operation, arity in ARITY.items():
        assert_clause("BOT-6", subject, operation, chosen, *drawn[:arity])


def test_BOT_6_one_of_many(subject: Bottoms) -> None:
    for operation, arity in ARITY.items():
        assert_clause("BOT-6", subject, operation, [2, 3], *MANY[:arity])


@given(operands())
@example(MANY)
def test_BOT_7_tracked(subject: Bottoms, drawn: tuple[Carrier, Carrier]) -> None:
    for operation, arity in ARITY.items():
        assert_clause("BOT-7", subject, operation, *drawn[:arity])


@given(fitted())
def test_BOT_7_broadcasting(subject: Bottoms, drawn: tuple[Carrier, Carrier]) -> None:
    for operation in BINARY:
        assert_clause("BOT-7", subject, operation, *drawn)


@given(dtypes, st.integers(0, 2**63 - 1))
@example("float32", 0)
def test_BOT_7_beyond_one_vector(subject: Bottoms, dtype: str, seed: int) -> None:
    """A column and a row of ordinary numbers, more of them than a kernel takes at once."""
    source = random.Random(seed)
    column, row = (
        Array(tuple(rounded(0.1 + 3 * source.random(), dtype) for _ in range(size)), shape, dtype)
        for size, shape in ((7, (7, 1)), (19, (1, 19)))
    )
    for operation in BINARY:
        assert_clause("BOT-7", subject, operation, *plain(column, row))


@given(arrays(), written)
@example(Array.of([3.0], "float16"), 0.1)
@example(Array.of([1e-5], "float16"), 1e9)
@example(Array.of([1.0, math.nan, math.inf, -math.inf, 0.0], "bfloat16"), math.nan)
def test_BOT_8_operands(subject: Bottoms, x: Array, number: float) -> None:
    for operation in ARITY:
        assert_clause("BOT-8", subject, operation, x, number)


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("operation", UNARY)
def test_BOT_2_and_3_of_every_half(subject: Bottoms, operation: str, dtype: str) -> None:
    """Over all values of the half-precision formats, under every operation of one operand."""
    for clause in ("BOT-2", "BOT-3"):
        assert_clause(clause, subject, operation, *plain(every(dtype)))


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", COMPUTED_IN)
@pytest.mark.parametrize("format", NARROW)
@pytest.mark.parametrize("operation", BINARY)
def test_BOT_3_of_every_pair(subject: Bottoms, operation: str, format: str, dtype: str) -> None:
    """Over all pairs of values of the 8-bit formats, under every operation of two operands.

    They are computed in wider formats, since torch, as most libraries, has no arithmetic in these.
    """
    assert_clause("BOT-3", subject, operation, *plain(*pairs(format, dtype)))
