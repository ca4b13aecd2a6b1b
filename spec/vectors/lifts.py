"""Cases of LIFT."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from random import Random
from typing import Final

from ..arrays import Array
from ..coverage import FORMS, Predicted
from ..formats import FORMATS
from ..lifting import INTEGERS, UNLIFTABLE, as_tuples, lift, orientation, unlift
from .cases import Case, filled, operation
from .numbers import SINGULAR, edges, some

SHAPES: Final[tuple[tuple[int, ...], ...]] = ((), (0,), (3, 0), (2, 3), (4, 1), (1, 2, 2))


def _targets(random: Random, dtype: str) -> list[float]:
    return [*edges(dtype), *SINGULAR, *some(random, dtype, 6)]


def _arrays(random: Random, dtype: str) -> Iterator[Array]:
    """Walk arrays of several shapes, singular targets among their elements."""
    for shape in SHAPES:
        values = [*SINGULAR, *some(random, dtype, math.prod(shape))]
        order = sorted((random.random(), i) for i in range(len(values)))
        chosen = [values[i] for _, i in order[: math.prod(shape)]]
        yield Array(tuple(chosen), shape, dtype)


def _lifted(clauses: str, y: Array, *, dtype: str | None = "") -> Case:
    pairs = [lift(float(value)) for value in y.values]
    parts = {"Y_n": [n for n, _ in pairs], "Y_d": [d for _, d in pairs]}
    result = {name: filled(y, values, dtype=dtype) for name, values in parts.items()}
    return Case(clauses, {"y": y}, result)


def _kind(y: float) -> str:
    return "LIFT-1" if math.isfinite(y) else "LIFT-3" if math.isnan(y) else "LIFT-2"


@operation("lift")
def lifts(name: str, random: Random) -> Iterator[Case]:
    """Return the tuples that targets ``y`` lift to, as ``Y_n`` and ``Y_d``."""
    for dtype in FORMATS:
        for y in _targets(random, dtype):
            yield _lifted(f"{_kind(y)} LIFT-5", Array.of([y], dtype))
        for array in _arrays(random, dtype):
            yield _lifted("LIFT-6 LIFT-7", array)
    for dtype in INTEGERS:
        for values in ([0], [1], [100, 3, 0]):
            yield _lifted("LIFT-8", Array.of(values, dtype), dtype=None)
    yield _lifted("LIFT-8", Array.of([128, 200, 255], "uint8"), dtype=None)
    yield _lifted("LIFT-8", Array.of([-128, -1, 127], "int8"), dtype=None)
    for dtype in UNLIFTABLE:
        yield Case("LIFT-8", {"y": Array.of([1, 0], dtype)}, refusal="TypeError")


@operation("orientation")
def orientations(name: str, random: Random) -> Iterator[Case]:
    """Return −1, 0 or 1 for each target of ``y``, as ``orientation`` in an integer dtype."""
    for dtype in FORMATS:
        values = _targets(random, dtype) if dtype == "float64" else [*SINGULAR, *edges(dtype)[-2:]]
        for y in (*(Array.of([y], dtype) for y in values), *_arrays(random, dtype)):
            sides = [orientation(value) for value in y.values]
            yield Case("LIFT-3", {"y": y}, {"orientation": filled(y, sides, dtype=None)})
    for dtype in UNLIFTABLE:
        yield Case("LIFT-8", {"y": Array.of([1, 0], dtype)}, refusal="TypeError")


@operation("round_trip")
def round_trips(name: str, random: Random) -> Iterator[Case]:
    """Return as ``y`` what the lifts of targets ``y`` decode to, NaN for ⊥."""
    for dtype in FORMATS:
        singles = [Array.of([y], dtype) for y in _targets(random, dtype)]
        for y in (*singles, *_arrays(random, dtype)):
            back = [unlift(*lift(value)) for value in y.values]
            yield Case("LIFT-4", {"y": y}, {"y": y.with_values(back)})


@operation("as_tuples")
def tuples(name: str, random: Random) -> Iterator[Case]:
    """Return the tuples ``P``, ``Q`` as which a model's outputs, as for ``bottom_mask``, enter a
    loss.
    """
    for dtype, form in product(FORMATS, FORMS):
        first = Array.of([*SINGULAR, *edges(dtype)[:4]], dtype)
        second = Array.of([0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0], dtype)
        P, Q = as_tuples(Predicted(form, first, second, first))
        yield Case("LIFT-11", {"form": form, "first": first, "second": second}, {"P": P, "Q": Q})
