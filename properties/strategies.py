"""Inputs, valid by construction, with the edges of every format always in scope."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TypeVar

from hypothesis import strategies as st

from spec import Array
from spec.algebra import Bottom
from spec.formats import FORMATS, round_to

T = TypeVar("T")
U = TypeVar("U")
DTYPES = ("float16", "bfloat16", "float32", "float64")
SHAPES: tuple[tuple[int, ...], ...] = (
    (0,), (), (1,), (2,), (5,), (9,), (3, 0), (1, 1), (3, 2), (2, 5), (2, 1, 3),
)  # fmt: skip
BATCH_SHAPES: tuple[tuple[int, ...], ...] = ((1,), (2,), (7,), (3, 2), (4, 1), (2, 1, 3))

# Zeros, ordinary, subnormal, huge and singular numbers, each once flagged and once not.
TELLING = Array.of(
    [0.0, -0.0, 0.5, 1.0, -3.0, 2.0**-149, 2.0**127, -(2.0**127), math.nan, math.inf, -math.inf]
    * 2,
    "float32",
)
FLAGS = (False,) * 11 + (True,) * 11

dtypes = st.sampled_from(DTYPES)
wide_dtypes = st.sampled_from(("float32", "float64"))
shapes = st.sampled_from(SHAPES)
batch_shapes = st.sampled_from(BATCH_SHAPES)
layouts = st.sampled_from(("contiguous", "transposed", "strided"))
singular_numbers = st.sampled_from((math.nan, math.inf, -math.inf))


def rounded(x: float, dtype: str) -> float:
    """Return the number of a format nearest to ``x``, the largest finite one for larger ``x``."""
    if x == 0 or not math.isfinite(x):
        return x
    nearest = round_to(dtype, Fraction(x))
    largest = float(FORMATS[dtype].largest)
    size = largest if isinstance(nearest, Bottom) else abs(nearest)
    return math.copysign(size, x)


def _edges(dtype: str) -> list[float]:
    form = FORMATS[dtype]
    eps, smallest = form.epsilon, form.smallest_normal
    sizes = [Fraction(0), smallest, form.largest, eps, Fraction(1), 1 + eps, Fraction(2)]
    sizes += [Fraction(1, 2), Fraction(3), smallest * eps, smallest * (1 - eps)]
    return [math.copysign(float(size), sign) for size in sizes for sign in (1.0, -1.0)]


def numbers(dtype: str, *, singular: bool = True) -> st.SearchStrategy[float]:
    """Elements of a format: ordinary ones, any ones, its edges; NaN and ±∞ only if ``singular``."""
    largest = float(FORMATS[dtype].largest)
    ordinary = st.floats(-8.0, 8.0, width=16)
    anything = st.floats(-largest, largest)
    choices = [ordinary, anything, st.sampled_from(_edges(dtype))]
    finite = st.one_of(choices).map(lambda x: rounded(x, dtype))
    return st.one_of(finite, singular_numbers) if singular else finite


def arrays(shapes: st.SearchStrategy[tuple[int, ...]] = shapes) -> st.SearchStrategy[Array]:
    """Arrays of any dtype, shape and layout."""
    return several(1, shapes=shapes).map(lambda drawn: drawn[0])


@st.composite
def several(
    draw: st.DrawFn,
    count: int,
    dtypes: st.SearchStrategy[str] = dtypes,
    shapes: st.SearchStrategy[tuple[int, ...]] = shapes,
    *,
    singular: bool = True,
) -> list[Array]:
    """Draw arrays of one dtype and one shape."""
    dtype, shape = draw(dtypes, label="dtype"), draw(shapes, label="shape")
    elements = numbers(dtype, singular=singular)
    return [
        Array(tuple(draw(lists(elements, shape))), shape, dtype, draw(layouts))
        for _ in range(count)
    ]


def lists(elements: st.SearchStrategy[T], shape: Sequence[int]) -> st.SearchStrategy[list[T]]:
    size = math.prod(shape)
    return st.lists(elements, min_size=size, max_size=size)


@st.composite
def labels(
    draw: st.DrawFn,
    dtypes: st.SearchStrategy[str] = dtypes,
    shapes: st.SearchStrategy[tuple[int, ...]] = shapes,
) -> Array:
    """Draw targets, a good part of them singular."""
    dtype, shape = draw(dtypes, label="dtype"), draw(shapes, label="shape")
    one = st.one_of(numbers(dtype), singular_numbers, st.just(1.0))
    return Array(tuple(draw(lists(one, shape))), shape, dtype, draw(layouts))


@st.composite
def intervals(
    draw: st.DrawFn,
    dtypes: st.SearchStrategy[str] = dtypes,
    shapes: st.SearchStrategy[tuple[int, ...]] = shapes,
) -> tuple[Array, Array]:
    """Draw lower and upper ends, a good part of them equal or infinite."""
    y, pairs = draw(labels(dtypes, shapes)), list[list[float]]()
    for value in y.values:
        end = -math.inf if math.isnan(value) else value
        other = st.one_of(numbers(y.dtype, singular=False), st.sampled_from([end, math.inf]))
        pairs.append(sorted([end, draw(other)]))
    return y.with_values([low for low, _ in pairs]), y.with_values([high for _, high in pairs])


def masks(shape: Sequence[int]) -> st.SearchStrategy[tuple[bool, ...]]:
    """Flags for each element of a shape."""
    return lists(st.booleans(), shape).map(tuple)


def with_drawn(
    values: st.SearchStrategy[T], strategy: Callable[[T], st.SearchStrategy[U]]
) -> st.SearchStrategy[tuple[T, U]]:
    """Values, each with what is drawn from the strategy made for it."""
    return values.flatmap(lambda value: st.tuples(st.just(value), strategy(value)))


def picks(x: Array) -> st.SearchStrategy[list[int]]:
    """Positions of elements, in any order and with repetition."""
    size = len(x.values)
    return st.lists(st.integers(0, max(size - 1, 0)), max_size=6 if size else 0)


def taus(dtype: str = "float64") -> st.SearchStrategy[float]:
    """Valid thresholds; some round to 0 in the dtype, some are one of its numbers."""
    return st.one_of(
        st.sampled_from([0.0, 1e-9, 1e-6, 1e-4, 0.1, 0.5, 1.0, 5e-324]),
        st.floats(0.0, 4.0),
        numbers(dtype, singular=False).map(abs),
    )


@st.composite
def magnitudes(draw: st.DrawFn, dtype: str, low: int = -38, high: int = 38) -> float:
    """Draw 0 or a normal number of either sign whose size lies between two powers of ten."""
    if draw(st.integers(0, 7)) == 0:
        return draw(st.sampled_from([0.0, -0.0]))
    size = draw(st.floats(1.0, 9.0)) * 10.0 ** draw(st.integers(low, high - 1))
    size = max(size, float(FORMATS[dtype].smallest_normal))
    return rounded(draw(st.sampled_from([1.0, -1.0])) * size, dtype)
