"""Inputs, valid by construction, with the edges of every format always in scope."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from hypothesis import strategies as st
from torch import Tensor

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
WIDE = (torch.float32, torch.float64)
SHAPES: tuple[tuple[int, ...], ...] = (
    (0,), (), (1,), (2,), (5,), (9,), (3, 0), (1, 1), (3, 2), (2, 5), (2, 1, 3),
)  # fmt: skip
LAYOUTS = ("contiguous", "transposed", "strided")

dtypes = st.sampled_from(DTYPES)
wide_dtypes = st.sampled_from(WIDE)
shapes = st.sampled_from(SHAPES)
batch_shapes = st.sampled_from(((1,), (2,), (7,), (3, 2), (4, 1), (2, 1, 3)))


def _edges(dtype: torch.dtype) -> list[float]:
    info = torch.finfo(dtype)
    sizes = [0.0, info.smallest_normal, info.max, info.eps, 1.0, 1.0 + info.eps, 2.0, 0.5, 3.0]
    sizes += [info.smallest_normal * info.eps, info.smallest_normal * (1 - info.eps)]
    return [sign * size for size in sizes for sign in (1.0, -1.0)]


def numbers(dtype: torch.dtype, *, singular: bool = True) -> st.SearchStrategy[float]:
    """Elements of a format: ordinary ones, and its edges; NaN and ±∞ only if ``singular``.

    Floats are drawn in the width of the dtype, bfloat16 ones as float32 to be rounded later.
    """
    width = 32 if dtype == torch.bfloat16 else torch.finfo(dtype).bits
    finite = st.floats(
        max_value=float(torch.finfo(dtype).max),
        min_value=-float(torch.finfo(dtype).max),
        width=width,  # type: ignore[arg-type]
        allow_nan=False,
    )
    ordinary = st.floats(-8.0, 8.0, width=16)
    choices = [ordinary, finite, st.sampled_from(_edges(dtype))]
    if singular:
        choices.append(st.sampled_from([math.nan, math.inf, -math.inf]))
    return st.one_of(choices)


def laid_out(values: Sequence[float], dtype: torch.dtype, shape: Sequence[int], how: str) -> Tensor:
    """Return the values as a tensor whose memory is laid out in one of :data:`LAYOUTS`."""
    x = torch.tensor(values, dtype=torch.float64).to(dtype).reshape(tuple(shape))
    if how == "transposed":
        order = list(reversed(range(x.dim())))
        return x.permute(order).contiguous().permute(order)
    if how == "strided" and x.dim():
        return torch.stack([x, torch.full_like(x, math.nan)], dim=-1)[..., 0]
    return x


def tensors(
    dtype: torch.dtype, shape: Sequence[int], *, singular: bool = True
) -> st.SearchStrategy[Tensor]:
    """Tensors of a dtype and shape, in any layout."""
    return st.builds(
        lambda values, how: laid_out(values, dtype, shape, how),
        st.lists(
            numbers(dtype, singular=singular),
            min_size=math.prod(shape),
            max_size=math.prod(shape),
        ),
        st.sampled_from(LAYOUTS),
    )


def masks(shape: Sequence[int]) -> st.SearchStrategy[Tensor]:
    """Boolean tensors of a shape."""
    size = math.prod(shape)
    return st.lists(st.booleans(), min_size=size, max_size=size).map(
        lambda values: torch.tensor(values, dtype=torch.bool).reshape(tuple(shape))
    )


@st.composite
def several(
    draw: st.DrawFn,
    count: int,
    *,
    singular: bool = True,
    dtypes: st.SearchStrategy[torch.dtype] = dtypes,
    shapes: st.SearchStrategy[tuple[int, ...]] = shapes,
) -> list[Tensor]:
    """Draw tensors of one dtype and one shape."""
    dtype, shape = draw(dtypes, label="dtype"), draw(shapes, label="shape")
    return [draw(tensors(dtype, shape, singular=singular)) for _ in range(count)]


@st.composite
def magnitudes(draw: st.DrawFn, dtype: torch.dtype, low: int = -38, high: int = 38) -> float:
    """Draw 0 or a normal number of either sign whose size lies between two powers of ten."""
    if draw(st.integers(0, 7)) == 0:
        return draw(st.sampled_from([0.0, -0.0]))
    size = draw(st.floats(1.0, 9.0)) * 10.0 ** draw(st.integers(low, high - 1))
    size = max(size, float(torch.finfo(dtype).smallest_normal))
    return draw(st.sampled_from([1.0, -1.0])) * size


def taus(dtype: torch.dtype = torch.float64) -> st.SearchStrategy[float]:
    """Valid thresholds; some round to 0 in the dtype, some are one of its numbers."""
    representable = numbers(dtype, singular=False).map(
        lambda x: abs(torch.tensor(x, dtype=torch.float64).to(dtype).item())
    )
    return st.one_of(
        st.sampled_from([0.0, 1e-9, 1e-6, 1e-4, 0.1, 0.5, 1.0, 5e-324]),
        st.floats(0.0, 4.0),
        representable.filter(math.isfinite),
    )


def targets(dtype: torch.dtype, shape: Sequence[int]) -> st.SearchStrategy[Tensor]:
    """Targets, a good part of them singular."""
    size = math.prod(shape)
    one = st.one_of(numbers(dtype), st.sampled_from([math.nan, math.inf, -math.inf, 1.0]))
    return st.builds(
        lambda values, how: laid_out(values, dtype, shape, how),
        st.lists(one, min_size=size, max_size=size),
        st.sampled_from(LAYOUTS),
    )


@st.composite
def tuples(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Draw tensors ``(P, Q)`` of one dtype and shape, (0, 0) and non-finite parts included."""
    P, Q = draw(several(2))
    return P, Q
