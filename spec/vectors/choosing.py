"""Cases of THR: thresholds from held-out rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product
from random import Random
from typing import Any, Final

from ..arrays import Array
from ..certifying import allowed
from ..choosing import BAND, HeldOut, cost, intervals, usual_unit
from ..formats import nearest
from .cases import Case, Within, around

INF: Final = math.inf
ROWS: Final[tuple[tuple[list[float], ...], ...]] = (
    ([4, 3, 0, 2, 1], [1, 4, 1, 1, 0], [4, 0.75, 0, INF, math.nan]),
    ([0, 1, 2, 3, 6, 1], [1, 1, 1, 1, 1, 0], [0, 1, 2, 3, 4, INF]),
    ([1, 1, 2.5, 3], [1, 1, 1, 4], [1, 1, 1, -INF]),
    ([9, 1, 0], [1, 1, 1], [10, 1, INF]),
    ([3, 4, 0], [4, 3, 0], [INF, math.nan, -INF]),
    ([0, 3, 4], [1, 4, 3], [5, 5, 5]),
)
"""Numerators, denominators and targets."""


def _held(columns: Sequence[Sequence[float]], dtype: str) -> HeldOut:
    return HeldOut(*(Array.of([nearest(dtype, float(x)) for x in c], dtype) for c in columns))


def _near(tau: float) -> Within:
    return around(tau, Fraction(tau) * Fraction(BAND))


def _unfit(held: HeldOut, options: dict[str, float]) -> Iterator[Case]:
    flat = replace(held.Q, shape=(1, *held.Q.shape))
    empty = {name: Array.of([], x.dtype) for name, x in vars(held).items()}
    for wrong in ({**vars(held), "Q": flat}, empty):
        yield Case("THR-4", wrong | options, refusal="ValueError")
    for name, x in product(options, (0.0, -0.5, math.nan, INF)):
        yield Case("THR-4", vars(held) | options | {name: x}, refusal="ValueError")


def least_cost(name: str, random: Random) -> Iterator[Case]:
    """Return the threshold ``tau`` of the unit gauge that costs least for tuples ``P``, ``Q`` and
    their ``targets``, at a ``unit``; at the usual one if that is left out.
    """
    kinds = ("float32", None), ("float64", None), ("float64", 0.25), ("float64", 2.0)
    for columns, (dtype, unit) in product(ROWS, kinds):
        held = _held(columns, dtype)
        rows, given = held.rows, vars(held) | ({} if unit is None else {"unit": unit})
        scale = usual_unit(rows) if unit is None else Fraction(unit)
        tau = min(row.size for row in rows) / 2
        if not all(math.isfinite(row.target) for row in rows):
            costs = {pair: cost(rows, pair[1], scale) for pair in intervals(rows)}
            best = [pair for pair in costs if costs[pair] == min(costs.values())]
            low, high = max(best, key=lambda pair: pair[1] - pair[0])
            tau = (low + high) / 2
        yield Case("THR-1", given, {"tau": _near(tau)})
    yield from _unfit(_held(ROWS[0], "float32"), {"unit": 1.0})


def certificate(name: str, random: Random) -> Iterator[Case]:
    """Return a threshold ``tau`` that is certified by the same rows to decode at most the share
    ``rate`` of singular rows to numbers, at a ``confidence``; at the usual one if that is left
    out. With it come both, the number of singular ``rows``, how many of these are ``errors``, and
    the share of finite rows that become ⊥, ``false_bottom``.
    """
    tuples = [n / 8 for n in range(16)], [1.0] * 16
    columns = *tuples, [INF] * 12 + [1.0] * 4
    settings = product((columns, (*tuples, [INF] * 16)), (0.2, 0.5), (None, 0.5, 0.99))
    for rows, rate, confidence in settings:
        held, level = _held(rows, "float32"), confidence or 0.95
        given: dict[str, Any] = {**vars(held), "rate": rate}
        given |= {} if confidence is None else {"confidence": confidence}
        singular = sorted(row.size for row in held.rows if math.isinf(row.target))
        k = allowed(len(singular), rate, level)
        if k < 0:
            yield Case("THR-2", given, refusal="ValueError")
            continue
        tau, finite = singular[-1 - k], [r.size for r in held.rows if math.isfinite(r.target)]
        lost = sum(size <= tau for size in finite) / len(finite) if finite else math.nan
        found = {"rate": rate, "confidence": level, "rows": len(singular), "errors": k}
        yield Case("THR-2", given, {"tau": _near(tau), **found, "false_bottom": lost})
    yield from _unfit(_held(ROWS[0], "float32"), {"rate": 0.5, "confidence": 0.5})
