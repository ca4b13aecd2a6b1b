"""Cases of LIFT, TAU and DEC: targets become tuples, and tuples decode at thresholds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from random import Random
from typing import Final

from ..algebra import Bottom
from ..arrays import Array
from ..coverage import FORMS, Predicted
from ..decoding import Tuples
from ..formats import FORMATS
from ..lifting import INTEGERS, UNLIFTABLE, as_tuples, lift, orientation, unlift
from ..quotients import decode, gradient, near_unit_threshold, rounded_quotient
from ..thresholds import midpoint
from .cases import ANYTHING, ZERO, Case, Within, around, filled
from .numbers import SINGULAR, edges, neighbours, some

SHAPES: Final[tuple[tuple[int, ...], ...]] = ((), (0,), (3, 0), (2, 3), (4, 1), (1, 2, 2))
ENDS: Final = ((0.0, 1.0), (1e-6, 1e-4), (0.25, 0.75), (0.0, 5e-324), (1e300, 1.5e300))
BAD_ENDS: Final = (
    (0.5, 0.25), (-0.5, 0.5), (-1.0, -0.5), (math.nan, 1.0), (0.0, math.nan), (0.0, math.inf),
    (math.inf, math.inf), (-math.inf, 0.0), (5e-324, 0.0),
)  # fmt: skip
TAUS: Final = (0.0, 1e-9, 1e-4, 0.5, 2.0)


def _singles(random: Random, dtype: str) -> list[Array]:
    targets = [*edges(dtype), *SINGULAR, *some(random, dtype, 6)]
    return [Array.of([y], dtype) for y in targets]


def _arrays(random: Random, dtype: str) -> Iterator[Array]:
    """Walk arrays of several shapes, singular targets among their elements."""
    for shape in SHAPES:
        values = [*SINGULAR, *some(random, dtype, math.prod(shape))]
        order = sorted((random.random(), i) for i in range(len(values)))
        chosen = [values[i] for _, i in order[: math.prod(shape)]]
        yield Array(tuple(chosen), shape, dtype)


def _lifted(clauses: str, y: Array) -> Case:
    """Return a case; integers lift to any float dtype."""
    pairs = [lift(float(value)) for value in y.values]
    result = {part: filled(y, [pair[i] for pair in pairs]) for i, part in enumerate(("Y_n", "Y_d"))}
    for part in result.values() if y.dtype in INTEGERS else ():
        del part["dtype"]
    return Case(clauses, {"y": y}, result)


def lifting(name: str, random: Random) -> Iterator[Case]:
    """Return the tuples that targets ``y`` lift to, as ``Y_n`` and ``Y_d``. Those of integers may
    be of any float dtype.
    """
    for dtype in FORMATS:
        for y in _singles(random, dtype):
            own = "LIFT-2" if math.isinf(y.values[0]) else "LIFT-1"
            own = "LIFT-3" if math.isnan(y.values[0]) else own
            yield _lifted(f"{own} LIFT-5", y)
        for y in _arrays(random, dtype):
            yield _lifted("LIFT-6 LIFT-7", y)
    integers = [(values, dtype) for dtype in INTEGERS for values in ([0], [1], [100, 3, 0])]
    for values, dtype in (*integers, ([128, 200, 255], "uint8"), ([-128, -1, 127], "int8")):
        yield _lifted("LIFT-8", Array.of(values, dtype))
    for dtype in UNLIFTABLE:
        yield Case("LIFT-8", {"y": Array.of([1, 0], dtype)}, refusal="TypeError")


def interval_lifting(name: str, random: Random) -> Iterator[Case]:
    """Return the tuples that the ends of intervals from ``lower`` to ``upper`` lift to, as
    ``lower_n``, ``lower_d``, ``upper_n`` and ``upper_d``.
    """
    for dtype in FORMATS:
        bounds = -math.inf, edges(dtype)[-2], 0.5, math.inf
        pairs = [pair for pair in product(bounds, bounds) if pair[0] <= pair[1]]
        lower, upper = (Array.of(side, dtype) for side in zip(*pairs, strict=True))
        parts = (zip(*map(lift, end.values), strict=True) for end in (lower, upper))
        lifted = [filled(lower, list(values)) for part in parts for values in part]
        result = dict(zip(("lower_n", "lower_d", "upper_n", "upper_d"), lifted, strict=True))
        yield Case("LIFT-9", {"lower": lower, "upper": upper}, result)
    wrong = ([2.0], [1.0]), ([math.nan], [1.0]), ([1.0], [math.nan]), ([1.0], [2.0, 2.0])
    for low, high in wrong:
        given = {"lower": Array.of(low), "upper": Array.of(high)}
        yield Case("LIFT-9", given, refusal="ValueError")


def orientations(name: str, random: Random) -> Iterator[Case]:
    """Return −1, 0 or 1 for each target of ``y``, as ``orientation`` in an integer dtype."""
    for dtype in FORMATS:
        few = [Array.of([y], dtype) for y in (*SINGULAR, *edges(dtype)[-2:])]
        singles = _singles(random, dtype) if dtype == "float64" else few
        for y in (*singles, *_arrays(random, dtype)):
            sides = {"shape": y.shape, "values": [orientation(value) for value in y.values]}
            yield Case("LIFT-3", {"y": y}, {"orientation": sides})
    for dtype in UNLIFTABLE:
        yield Case("LIFT-8", {"y": Array.of([1, 0], dtype)}, refusal="TypeError")


def round_trip(name: str, random: Random) -> Iterator[Case]:
    """Return as ``y`` what the lifts of targets ``y`` decode to, NaN for ⊥."""
    for dtype in FORMATS:
        for y in (*_singles(random, dtype), *_arrays(random, dtype)):
            back = [unlift(*lift(value)) for value in y.values]
            yield Case("LIFT-4", {"y": y}, {"y": y.with_values(back)})


def tuples(name: str, random: Random) -> Iterator[Case]:
    """Return the tuples ``P``, ``Q`` as which a model's outputs, as for ``bottom_mask``, enter a
    loss.
    """
    for dtype, form in product(FORMATS, FORMS):
        first = Array.of([*SINGULAR, *edges(dtype)[:4]], dtype)
        second = Array.of([0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0], dtype)
        P, Q = as_tuples(Predicted(form, first, second, first))
        yield Case("LIFT-11", {"form": form, "first": first, "second": second}, {"P": P, "Q": Q})


def draw(name: str, random: Random) -> Iterator[Case]:
    """Draw ``count`` thresholds between ``tau_min`` and ``tau_max`` from a generator that starts
    from ``seed``, and return them as ``draws``.
    """
    for tau_min, tau_max in ENDS:
        ends = Within(Fraction(tau_min), Fraction(tau_max))
        for seed in (0, 1, 2**32 - 1):
            given = {"tau_min": tau_min, "tau_max": tau_max, "seed": seed, "count": 5}
            yield Case("TAU-1 TAU-3", given, {"draws": [ends] * 5})
        for end in (tau_min, tau_max):
            given = {"tau_min": end, "tau_max": end, "seed": 7, "count": 2}
            yield Case("TAU-2 TAU-3", given, {"draws": [end] * 2})
    for tau_min, tau_max in BAD_ENDS:
        given = {"tau_min": tau_min, "tau_max": tau_max, "seed": 0, "count": 1}
        yield Case("TAU-3", given, refusal="ValueError")


def midpoints(name: str, random: Random) -> Iterator[Case]:
    """Return the threshold of validation, ``tau``, between ``tau_min`` and ``tau_max``."""
    for tau_min, tau_max in (*ENDS, (0.1, 0.1), (1e-9, 1e-3)):
        given = {"tau_min": tau_min, "tau_max": tau_max}
        yield Case("TAU-8", given, {"tau": near_midpoint(tau_min, tau_max)})


def near_midpoint(tau_min: float, tau_max: float) -> Within:
    """Return the numbers that TAU-8 takes for a midpoint."""
    tau = midpoint(tau_min, tau_max)
    return around(tau, tau / 2**52 + Fraction(1, 2**1074))


def decoded(clauses: str, case: Tuples) -> Iterator[Case]:
    """Walk a case, unless rounding decides on a flag of the unit gauge."""
    taus, dtype, rows = (case.tau_infer, case.tau_train), case.P.dtype, case.rows
    near = any(near_unit_threshold(*row, tau) for row, tau in product(rows, taus))
    if case.gauge == "unit" and near:
        return
    found = [decode(*row, *taus, case.gauge, dtype) for row in rows]
    bottom = [isinstance(decoded.value, Bottom) for decoded in found]
    pairs = zip(rows, bottom, strict=True)
    values = [math.nan if b else rounded_quotient(*row, dtype) for row, b in pairs]
    result = {"value": case.P.with_values(values), "bottom": bottom}
    yield Case(clauses, vars(case), result | {"gap": [decoded.gap for decoded in found]})


def _denominators(dtype: str, tau: float) -> list[float]:
    near = neighbours(dtype, tau) if tau else [0.0, neighbours(dtype, 0.0)[-1]]
    return [*near, 4.0, float(FORMATS[dtype].largest)]


def _cases(random: Random, dtype: str) -> Iterator[tuple[str, Tuples]]:
    """Walk tuples around thresholds, with their opposites, then at edges and at rising ones,
    and tuples of several sizes in both gauges.
    """
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
    ratios = (3.0, 4.0), (-4.0, 3.0), (0.0, 1.0), (100.0, 1.0), (0.0, 0.0)
    sized = product(ratios, (2.0**-10, 2.0**8))
    for P, Q in dict.fromkeys((P * size, Q * size) for (P, Q), size in sized):
        parts = Array.of([P], dtype), Array.of([Q], dtype)
        for infer, train in ((0.5, 0.75), (0.79, 0.81), (0.01, 1.0)):
            yield "DEC-1 DEC-2 DEC-4", Tuples(*parts, infer, train, "unit")
        yield "DEC-1 DEC-2 DEC-4", Tuples(*parts, 0.5, 0.75)


def decoding(name: str, random: Random) -> Iterator[Case]:
    """Decode tuples ``P``, ``Q`` strictly at the thresholds ``tau_infer`` and ``tau_train`` in a
    ``gauge``, and return ``value`` (NaN for ⊥) and, for every element, ``bottom`` and ``gap``.
    """
    for dtype in FORMATS:
        for clauses, tuples in _cases(random, dtype):
            yield from decoded(clauses, tuples)
    for ours, theirs in (((2,), (1, 2)), ((2, 1), (2,)), ((), (1,)), ((2,), (3,)), ((0,), ())):
        P, Q = (Array((1.0,) * math.prod(shape), shape) for shape in (ours, theirs))
        yield Case("DEC-6", vars(Tuples(P, Q, 1e-6, 1e-4)), refusal="ValueError")
    P, Q = Array.of([1.0]), Array.of([2.0])
    for infer, train in BAD_ENDS:
        yield Case("DEC-6", vars(Tuples(P, Q, infer, train)), refusal="ValueError")
    yield Case("DEC-6", vars(Tuples(P, Q, 0.5, 0.5)) | {"gauge": "both"}, refusal="ValueError")
    P, Q = Array.of([1.8790727837741419]), Array.of([1.0649363383519754])
    yield from decoded("DEC-1", Tuples(P, Q, 0.0, 0.0))  # which must not be rounded twice


def _slopes(P: float, Q: float, tau: float, dtype: str) -> list[Within | None]:
    """Return what the gradient of a quotient may be; POL-10."""
    if isinstance(decode(P, Q, tau, tau, "raw", dtype).value, Bottom):
        return [ZERO, ZERO]
    form, found = FORMATS[dtype], list[Within | None]()
    # On the way to −P/Q² a library may lose the digits of a subnormal quotient.
    losses = (False, 0 < abs(Fraction(P) / Fraction(Q)) < form.smallest_normal)
    for exact, lost in zip(gradient(P, Q), losses, strict=True):
        near = around(exact, 4 * form.epsilon * abs(exact) + form.smallest_normal)
        found.append(ANYTHING if lost or abs(exact) > form.largest / 2 else near)
    return found


def decode_backward(name: str, random: Random) -> Iterator[Case]:
    """Decode as ``decode`` does, and return the gradients of the sum of all values in ``P`` and
    ``Q``, as ``in_P`` and ``in_Q``.
    """
    for dtype, tau in product(("float32", "float64"), (0.0, 0.5)):
        pairs = [*product((0.0, -3.0, 1e-30, math.inf), _denominators(dtype, tau))]
        pairs += [(1e-300, 1e-170)] if dtype == "float64" else []  # a square that underflows
        for P, size in pairs:
            case = Tuples(Array.of([P, P], dtype), Array.of([size, -size], dtype), tau, tau)
            slopes = zip(*(_slopes(*row, tau, dtype) for row in case.rows), strict=True)
            in_P, in_Q = (filled(case.P, slope) for slope in slopes)
            yield Case("POL-10", vars(case), {"in_P": in_P, "in_Q": in_Q})
