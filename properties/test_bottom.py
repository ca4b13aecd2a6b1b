"""BOT: ⊥ on arrays of IEEE floats."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.formats import EIGHTHS, HALVES, WIDER, every, pairs
from properties.strategies import (
    DTYPES,
    FLAGS,
    TELLING,
    arrays,
    dtypes,
    lists,
    masks,
    numbers,
    picks,
    rounded,
    several,
    shapes,
    singular_numbers,
    with_drawn,
)
from spec import Array
from spec.bottom import OPERATORS
from spec.carriers import ARITY, Bottoms, Carrier, Indexes, Operand, Operates
from spec.formats import FORMATS

BINARY = sorted(name for name, arity in ARITY.items() if arity == 2)
UNARY = sorted(name for name, arity in ARITY.items() if arity == 1)
TOTAL = ("BOT-1", "BOT-2", "BOT-3")

written = st.one_of(
    st.sampled_from([0.1, -3.0, 1e-9, 1e9, 7.0]), st.floats(), st.integers(-(2**53), 2**53)
)


def plain(*payloads: Array) -> list[Carrier]:
    """Return arrays as carriers without a flag."""
    return [Carrier(x, (False,) * len(x.values)) for x in payloads]


# Whose roots some vector units round wrongly.
HALVES_OF_ONE = plain(Array.of([0.5] * 8, "float64"))[0]

# Each number with others, and all of them with what is flagged and what is not.
MANY = (Carrier(TELLING, FLAGS), Carrier(TELLING.with_values(TELLING.values[::-1]), FLAGS))


def crossed(dtype: str) -> list[Carrier]:
    """Return all pairs of the numbers where a format, or a power, has a rule of its own."""
    form = FORMATS[dtype]
    few = [0.0, 0.5, 1.0, 2.0, 3.0, *map(float, (form.smallest_normal, form.largest, form.epsilon))]
    signed = [*few, *(-x for x in few), math.nan, math.inf, -math.inf]
    columns = zip(*itertools.product(signed, repeat=2), strict=True)
    return plain(*(Array.of(column, dtype) for column in columns))


@st.composite
def operands(draw: st.DrawFn) -> tuple[Carrier, Carrier]:
    """Draw two operands of one dtype and shape, some of their elements flagged."""
    x, y = draw(several(2), label="payloads")
    return Carrier(x, draw(masks(x.shape))), Carrier(y, draw(masks(y.shape)))


@st.composite
def parts(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Draw a shape that broadcasts to another."""
    start = draw(st.integers(0, len(shape)), label="missing axes")
    thin = draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)), label="thin")
    return tuple(1 if one else size for one, size in zip(thin, shape, strict=True))[start:]


def filled(
    dtype: str, shape: tuple[int, ...], elements: st.SearchStrategy[float]
) -> st.SearchStrategy[Array]:
    """Arrays of some elements."""
    return lists(elements, shape).map(lambda values: Array(tuple(values), shape, dtype))


@st.composite
def fitted(draw: st.DrawFn) -> tuple[Carrier, Carrier]:
    """Draw two operands of different shapes that fit each other."""
    x = draw(operands())[0]
    part, dtype = draw(parts(x.payload.shape)), x.payload.dtype
    fitting = Carrier(draw(filled(dtype, part, numbers(dtype))), draw(masks(part)))
    return (x, fitting) if draw(st.booleans()) else (fitting, x)


@st.composite
def differentiable(draw: st.DrawFn) -> tuple[Array, tuple[Carrier, Carrier]]:
    """Draw an arriving gradient and operands, in which numbers are from 1/8 to 8 in size."""
    dtype, shape = draw(dtypes, label="dtype"), draw(shapes, label="shape")
    sizes = st.floats(0.125, 8.0, width=16).map(lambda x: rounded(x, dtype))
    signed = st.one_of(sizes, sizes, sizes.map(lambda x: -x))
    x, y = (
        Carrier(draw(filled(dtype, size, signed)), draw(masks(size)))
        for size in (shape, draw(parts(shape) | st.just(shape)))
    )
    return draw(filled(dtype, shape, signed)), (x, y)


def mixed(operation: str, x: Carrier, y: Carrier, number: float) -> list[tuple[Operand, ...]]:
    """Return operands: both carriers, or one of them a plain array or a number."""
    if ARITY[operation] == 1:
        return [(x,)]
    return [(x, y), (x, y.payload), (y.payload, x), (x, number), (number, x)]


@pytest.mark.parametrize("id", TOTAL)
@given(drawn=operands() | fitted())
@example(drawn=MANY)
@example(drawn=(HALVES_OF_ONE, HALVES_OF_ONE))
def test_BOT_1_to_3_of_two_arrays(
    subject: Bottoms, id: str, drawn: tuple[Carrier, Carrier]
) -> None:
    for operation, arity in ARITY.items():
        assert_clause(id, subject, operation, *drawn[:arity])


@pytest.mark.parametrize("id", TOTAL)
@pytest.mark.parametrize("dtype", DTYPES)
def test_BOT_1_to_3_at_the_edges(subject: Bottoms, dtype: str, id: str) -> None:
    for operation, arity in ARITY.items():
        assert_clause(id, subject, operation, *crossed(dtype)[:arity])


@given(arrays(), st.data())
def test_BOT_4_boundary(subject: Bottoms, x: Array, data: st.DataObject) -> None:
    marked = data.draw(masks(x.shape) | st.just((False,) * len(x.values)), label="flags")
    assert_clause("BOT-4", subject, x, marked)


@given(operands(), singular_numbers)
def test_BOT_5_isolation(subject: Bottoms, drawn: tuple[Carrier, Carrier], poison: float) -> None:
    for operation, arity in ARITY.items():
        assert_clause("BOT-5", subject, operation, poison, *drawn[:arity])


@given(with_drawn(operands(), lambda carriers: picks(carriers[0].payload)))
@example((MANY, [2, 3]))
def test_BOT_6_elementwise(
    subject: Bottoms, drawn: tuple[tuple[Carrier, Carrier], list[int]]
) -> None:
    carriers, chosen = drawn
    for operation, arity in ARITY.items():
        assert_clause("BOT-6", subject, operation, chosen, *carriers[:arity])


@given(operands() | fitted())
@example(MANY)
def test_BOT_7_tracked(subject: Bottoms, drawn: tuple[Carrier, Carrier]) -> None:
    for operation, arity in ARITY.items():
        assert_clause("BOT-7", subject, operation, *drawn[:arity])


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


@given(fitted(), written)
@example(plain(*[Array.of([3.0], "float16")] * 2), 0.1)
@example(plain(*[Array.of([1e-5], "float16")] * 2), 1e9)
@example(plain(Array.of([2.0, -3.0, 0.5]), Array.of([0.5, 3.0, -2.0])), 3)
@example(plain(Array.of([1 / 3], "float32"), Array.of([0.1], "float64")), 3)
@example(plain(Array.of([0.1], "float64"), Array.of([1 / 3], "float32")), 3)
@example(MANY, math.nan)
def test_BOT_8_operands(subject: Bottoms, drawn: tuple[Carrier, Carrier], number: float) -> None:
    for operation in ARITY:
        assert_clause("BOT-8", subject, operation, *(x.payload for x in drawn), number)


@given(fitted(), written)
@example(plain(Array.of([2.0, -3.0, 0.5]), Array.of([0.5, 3.0, -2.0])), 3)
@example(MANY, 2)
def test_BOT_9_operators(subject: Operates, drawn: tuple[Carrier, Carrier], number: float) -> None:
    for operation in OPERATORS:
        for pair in mixed(operation, *drawn, number):
            assert_clause("BOT-9", subject, operation, *pair)


vectors = arrays(st.sampled_from([(0,), (1,), (9,)]))


@given(vectors.flatmap(lambda x: st.tuples(st.just(x), masks(x.shape), picks(x))))
@example((TELLING, FLAGS, [*range(0, 22, 3), 21, 0]))
def test_BOT_10_indexing(
    subject: Indexes, drawn: tuple[Array, tuple[bool, ...], list[int]]
) -> None:
    assert_clause("BOT-10", subject, *drawn)


@given(differentiable(), st.sampled_from([0.5, -2.0, 3]), st.integers(0, 4))
@example((Array.of([1.0, 1.0]), (plain(Array.of([0.0, 2.0]))[0], plain(Array.of([-1.0]))[0])), 3, 0)
def test_BOT_11_derivatives(
    subject: Bottoms, drawn: tuple[Array, tuple[Carrier, Carrier]], number: float, way: int
) -> None:
    incoming, carriers = drawn
    for operation in ARITY:
        for pair in mixed(operation, *carriers, number)[: way + 1 : max(way, 1)]:
            assert_clause("BOT-11", subject, operation, incoming, *pair)


ends = st.sampled_from([0.0, -0.0, 5e-324, 1e-300, 0.5, 1.0, -1.0, -2.0, 1e160])


@given(st.lists(st.tuples(st.sampled_from([0.0, math.inf, 1.0]), ends, ends), min_size=1))
@example([(0.0, 0.0, 0.5), (0.0, -2.0, 1.0), (0.0, 1e160, 1e-300), (math.inf, 0.0, 0.0)])
@example([(math.inf, 3.0, 0.0), (-math.inf, 1.0, 3.0)])
def test_BOT_11_at_the_ends(subject: Bottoms, rows: list[tuple[float, float, float]]) -> None:
    """Of sizes at which derivatives are infinite, undefined or 0."""
    incoming, *operands = (Array.of(list(column), "float64") for column in zip(*rows, strict=True))
    for operation, arity in ARITY.items():
        assert_clause("BOT-11", subject, operation, incoming, *plain(*operands)[:arity])


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("operation", UNARY)
def test_BOT_2_and_3_of_every_half(subject: Bottoms, operation: str, dtype: str) -> None:
    for id in ("BOT-2", "BOT-3"):
        assert_clause(id, subject, operation, *plain(every(dtype)))


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", WIDER)
@pytest.mark.parametrize("format", EIGHTHS)
@pytest.mark.parametrize("operation", BINARY)
def test_BOT_3_of_every_pair(subject: Bottoms, operation: str, format: str, dtype: str) -> None:
    assert_clause("BOT-3", subject, operation, *plain(*pairs(format, dtype)))
