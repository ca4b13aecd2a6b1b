"""Cases of TAU and DEC: thresholds, and what tuples decode to at them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from random import Random
from typing import Any, Final

from ..algebra import Bottom
from ..arrays import Array
from ..decoding import Tuples
from ..formats import FORMATS
from ..quotients import decode, gradient, near_unit_threshold, rounded_quotient
from ..thresholds import midpoint, threshold
from .cases import ANYTHING, ZERO, Case, Within, filled, operation
from .numbers import edges, neighbours, some

ENDS: Final = ((0.0, 1.0), (1e-6, 1e-4), (0.25, 0.75), (0.0, 5e-324), (1e300, 1.5e300))
BAD_ENDS: Final = (
    (0.5, 0.25), (-0.5, 0.5), (-1.0, -0.5), (math.nan, 1.0), (0.0, math.nan), (0.0, math.inf),
    (math.inf, math.inf), (-math.inf, 0.0), (5e-324, 0.0),
)  # fmt: skip
TAUS: Final = (0.0, 1e-9, 1e-4, 0.5, 2.0)


@operation("draw")
def draws(name: str, random: Random) -> Iterator[Case]:
    """Draw ``count`` thresholds between ``tau_min`` and ``tau_max`` from a generator that starts
    from ``seed``, and return them as ``draws``.
    """
    for tau_min, tau_max in ENDS:
        low, high = (threshold(tau_min, tau_max, Fraction(u)) for u in (0, 1))
        for seed in (0, 1, 2**32 - 1):
            given = {"tau_min": tau_min, "tau_max": tau_max, "seed": seed, "count": 5}
            yield Case("TAU-1 TAU-3", given, {"draws": [Within(low, high)] * 5})
        for end in (tau_min, tau_max):
            given = {"tau_min": end, "tau_max": end, "seed": 7, "count": 2}
            yield Case("TAU-2 TAU-3", given, {"draws": [end] * 2})
    for tau_min, tau_max in BAD_ENDS:
        given = {"tau_min": tau_min, "tau_max": tau_max, "seed": 0, "count": 1}
        yield Case("TAU-3", given, refusal="ValueError")


@operation("midpoint")
def midpoints(name: str, random: Random) -> Iterator[Case]:
    """Return the threshold of validation, ``tau``, between ``tau_min`` and ``tau_max``."""
    for tau_min, tau_max in (*ENDS, (0.1, 0.1), (1e-9, 1e-3)):
        tau = near_midpoint(midpoint(tau_min, tau_max))
        yield Case("TAU-8", {"tau_min": tau_min, "tau_max": tau_max}, {"tau": tau})


def near_midpoint(tau: Fraction) -> Within:
    """Return the numbers that TAU-8 takes for a midpoint."""
    return Within.around(tau, tau / 2**52 + Fraction(1, 2**1074))


def _decoded(clauses: str, case: Tuples) -> Case | None:
    """Return a case, unless rounding decides on a flag of the unit gauge."""
    values, bottoms, gaps = list[float](), list[bool](), list[bool]()
    dtype, taus = case.P.dtype, (case.tau_infer, case.tau_train)
    for P, Q in case.rows:
        finite = math.isfinite(P) and math.isfinite(Q)
        near = finite and any(near_unit_threshold(P, Q, tau) for tau in taus)
        if case.gauge == "unit" and near:
            return None
        found = decode(P, Q, *taus, case.gauge, dtype)
        bottoms.append(isinstance(found.value, Bottom))
        values.append(math.nan if bottoms[-1] else rounded_quotient(P, Q, dtype))
        gaps.append(found.gap)
    result = {"value": case.P.with_values(values), "bottom": bottoms, "gap": gaps}
    return Case(clauses, vars(case), result)


def _denominators(dtype: str, tau: float) -> list[float]:
    near = neighbours(dtype, tau) if tau else [0.0, neighbours(dtype, 0.0)[-1]]
    return [*near, 4.0, float(FORMATS[dtype].largest)]


def _cases(random: Random, dtype: str) -> Iterator[tuple[str, Tuples]]:
    """Walk tuples around thresholds, with their opposites, then at edges, and at rising ones."""
    for infer, train in zip(TAUS, (*TAUS[1:], 8.0), strict=True):
        sizes = [*_denominators(dtype, infer), *_denominators(dtype, train)]
        for size in dict.fromkeys(sizes):
            P = some(random, dtype, 1, spread=3)[0]
            signs = Array.of([P, -P], dtype), Array.of([size, -size], dtype)
            yield "DEC-1 DEC-2 DEC-3", Tuples(*signs, infer, train)
    awkward = [0.0, -0.0, -3.0, edges(dtype)[2], edges(dtype)[-1], math.inf, math.nan]
    for P, Q in product(awkward, repeat=2):
        yield "DEC-1 DEC-2", Tuples(Array.of([P], dtype), Array.of([Q], dtype), 0.0, 1e-3)
    top, low = (Array(tuple(some(random, dtype, 6, 4)), (2, 3), dtype) for _ in range(2))
    for tau in sorted((*TAUS, *map(abs, low.values))):
        yield "DEC-1 DEC-5", Tuples(top, low, tau, max(tau, 1.0))


def _gauged(random: Random, dtype: str) -> Iterator[Tuples]:
    """Walk tuples of several sizes in both gauges."""
    for P, Q in ((3.0, 4.0), (-4.0, 3.0), (0.0, 1.0), (100.0, 1.0), (0.0, 0.0)):
        for exponent in (-10, 8):
            parts = [Array.of([math.ldexp(x, exponent)], dtype) for x in (P, Q)]
            for infer, train in ((0.5, 0.75), (0.79, 0.81), (0.01, 1.0)):
                yield Tuples(parts[0], parts[1], infer, train, "unit")
            yield Tuples(parts[0], parts[1], 0.5, 0.75, "raw")


@operation("decode")
def decodes(name: str, random: Random) -> Iterator[Case]:
    """Decode tuples ``P``, ``Q`` strictly at the thresholds ``tau_infer`` and ``tau_train`` in a
    ``gauge``, and return ``value`` (NaN for ⊥) and, for every element, ``bottom`` and ``gap``.
    """
    for dtype in FORMATS:
        for clauses, tuples in _cases(random, dtype):
            if case := _decoded(clauses, tuples):
                yield case
        for tuples in _gauged(random, dtype):
            if case := _decoded("DEC-1 DEC-2 DEC-4", tuples):
                yield case
    for ours, theirs in (((2,), (1, 2)), ((2, 1), (2,)), ((), (1,)), ((2,), (3,)), ((0,), ())):
        P, Q = (Array((1.0,) * math.prod(shape), shape) for shape in (ours, theirs))
        yield Case("DEC-6", vars(Tuples(P, Q, 1e-6, 1e-4)), refusal="ValueError")
    P, Q = Array.of([1.0]), Array.of([2.0])
    for infer, train in BAD_ENDS:
        yield Case("DEC-6", vars(Tuples(P, Q, infer, train)), refusal="ValueError")
    yield Case("DEC-6", vars(Tuples(P, Q, 0.5, 0.5)) | {"gauge": "both"}, refusal="ValueError")


def _slopes(P: float, Q: float, tau: float, dtype: str) -> tuple[Any, Any]:
    """Return what the gradient of a quotient may be; POL-10."""
    form, p, q = FORMATS[dtype], abs(Fraction(P)), abs(Fraction(Q))
    bounds = (1 / Fraction(tau), p / Fraction(tau) ** 2) if 0 < tau <= q else (None, None)
    found: list[Within | None] = []
    lost = (False, 0 < p / q < form.smallest_normal)
    for exact, bound, open_ in zip(gradient(P, Q), bounds, lost, strict=True):
        slack = 4 * form.epsilon * abs(exact) + form.smallest_normal
        least, most = exact - slack, exact + slack
        if bound is not None:
            least, most = max(least, -bound - slack), min(most, bound + slack)
        known = not open_ and abs(exact) <= form.largest / 2
        found.append(Within(least, most) if known else ANYTHING)
    return found[0], found[1]


@operation("decode_backward")
def decode_backwards(name: str, random: Random) -> Iterator[Case]:
    """Decode as ``decode`` does, and return the gradients of the sum of all values in ``P`` and
    ``Q``, as ``in_P`` and ``in_Q``.
    """
    for dtype in ("float32", "float64"):
        for tau in (0.0, 0.5):
            for P, size in product((0.0, -3.0, 1e-30, math.inf), _denominators(dtype, tau)):
                parts = Array.of([P, P], dtype), Array.of([size, -size], dtype)
                case, slopes = Tuples(*parts, tau, tau), list[tuple[Any, Any]]()
                for row in case.rows:
                    found = decode(*row, tau, tau, "raw", dtype).value
                    bottom = isinstance(found, Bottom)
                    slopes.append((ZERO, ZERO) if bottom else _slopes(*row, tau, dtype))
                in_P, in_Q = (filled(case.P, [slope[i] for slope in slopes]) for i in (0, 1))
                yield Case("POL-10", vars(case), {"in_P": in_P, "in_Q": in_Q})
