"""Cases of LOSS: values and gradients, within what rounding may cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import product
from random import Random
from typing import Any, Final

from ..arrays import Array
from ..formats import FORMATS, nearest
from ..loss_terms import mean, rejection, saturate, scale, term, tolerance
from ..losses import (
    COARSE,
    GAMMA,
    GOAL,
    LOSSES,
    TAU,
    _slopes,
    cast,
    counted,
    counted_samples,
    form_of,
    lacking,
    rejection_slopes,
    row,
)
from ..losses import Case as Problem
from .cases import ZERO, Case, Within, exactly, filled, operation
from .numbers import SINGULAR, some

Rows = Sequence[tuple[float, float, float, float]]

OWN: Final = {
    "implicit": "LOSS-1", "chordal": "LOSS-2", "margin": "LOSS-3", "sign": "LOSS-4",
    "rejection": "LOSS-5",
}  # fmt: skip
MOST: Final = {"chordal": Fraction(1), "sign": Fraction(2)}
TURN: Final = 64
"""How many ε the gradient may leave the circle by; LOSS-15."""

HARD: Final[dict[str, tuple[Rows, ...]]] = {}
HARD["float32"] = (
    ((1e-25, 1e-25, 1e30, 1.0),),
    ((-1.1746141910552979, -2.851872205734253, -0.9041687846183777, 0.37200161814689636),),
    ((-1.0, 0.0, 1.0, 0.0), (-1.0, 1e-4, 1.0, 0.0), (-1.0, 3e-4, 1.0, 0.0)),
    tuple((size, size, 2.0, 1.0) for size in (1e-30, 1e-6, 1.0, 1e30)),
    ((0.0, 1e15, 1.0, 0.0),),
    ((1e30, 0.0, 0.0, 1.0), (1e20, -1e20, 1e20, 1e20), (1e-20, 1e-20, 0.0, 1.0)),
    ((0.0, 1e-19, 1e33, 1e-10), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 1.0, 0.0)),
    ((1.0, 0.0, 1.0, 1.0), (1.0, -1.0, 1.0, 1.0), (1.0, 1.0, 1.0, 0.0)),
)
HARD["float64"] = (
    ((1e-160, 1e-160, 1e200, 1.0),),
    *HARD["float32"][1:3],
    ((0.0, 1e170, 1.0, 0.0),),
    ((1e250, 0.0, 0.0, 1.0), (1e160, -1e160, 1e160, 1e160), (1e-160, 1e-160, 0.0, 1.0)),
)
"""Elements at which careless arithmetic fails: by over- and underflow, cancellation, ceilings."""


def problem(rows: Rows, dtype: str, shape: tuple[int, ...] | None = None) -> Problem:
    """Return elements ``P, Q, Y_n, Y_d``, rounded to a format."""
    parts = [tuple(nearest(dtype, r[i]) for r in rows) for i in range(4)]
    P, Q, Y_n, Y_d = (Array(part, shape or (len(rows),), dtype) for part in parts)
    return P, Q, Y_n, Y_d


def elements(random: Random, dtype: str, count: int, spread: int = 8) -> Rows:
    """Return tuples with finite and oriented targets by turns."""
    parts = zip(*(some(random, dtype, count, spread) for _ in range(3)), strict=True)
    signs = [1.0 if random.random() < 0.5 else -1.0 for _ in range(count)]
    poles = [random.random() < 0.4 for _ in range(count)]
    kinds = zip(parts, signs, poles, strict=True)
    return [(P, Q, side if pole else y, float(not pole)) for (P, Q, y), side, pole in kinds]


def value_range(
    name: str, case: Problem, kept: Sequence[int], guard: Fraction, coarse: int
) -> Within:
    """Return what the value of a mean of terms may be; LOSS-11, LOSS-9."""
    form, size = form_of(case), len(case[0].values)
    rows = [row(case, i) for i in kept]
    terms = mean([saturate(term(name, *r, guard), form, size) for r in rows])
    scales = [saturate(scale(name, *r, guard), form, size) for r in rows]
    slack = coarse * tolerance(name, form, scales)
    high = min(terms + slack, MOST.get(name, terms + slack))
    return Within(max(terms - slack, Fraction(0)), high)


def _rounded(bounds: tuple[Fraction, Fraction] | None, dtype: str) -> Within | None:
    """Return the range of a gradient once it is rounded to the tuples' format; LOSS-8."""
    if bounds is None:
        return None
    if dtype in ("float32", "float64"):
        return Within(*bounds)
    low, high = (Fraction(cast(bound, dtype)) for bound in bounds)
    return Within(low, high)


def _mean_result(
    name: str, case: Problem, mask: Array | None, guard: Fraction, coarse: int
) -> dict[str, Any]:
    kept, form, size = counted(name, case[3], mask), form_of(case), len(case[0].values)
    slopes: dict[int, list[Within | None]] = {}
    for i in kept:
        bounds = _slopes(name, row(case, i), guard, form, (len(kept), size), coarse)
        slopes[i] = [_rounded(pair, case[0].dtype) for pair in bounds]
    in_P, in_Q = ([slopes[i][part] if i in kept else ZERO for i in range(size)] for part in (0, 1))
    value = value_range(name, case, kept, guard, coarse)
    return {"value": value, "in_P": filled(case[0], in_P), "in_Q": filled(case[0], in_Q)}


def rejection_range(
    case: Problem, mask: Array | None, tau: float, goal: float, coarse: int
) -> Within:
    """Return what the value of the rejection loss may be; LOSS-5, LOSS-11."""
    exact = rejection(lacking(case, tau, mask)[0], Fraction(goal))
    slack = coarse * tolerance("rejection", form_of(case), [Fraction(1)])
    return Within(max(exact - slack, Fraction(0)), exact + slack)


def _rejection_result(
    case: Problem, mask: Array | None, tau: float, goal: float, coarse: int
) -> dict[str, Any]:
    slopes = rejection_slopes(case, tau, goal, mask)
    size = max(sum(map(len, counted_samples(case, mask))), 1)
    slack = 2 * coarse * tolerance("rejection", form_of(case), [Fraction(1)]) / size
    ranges = {i: _rounded((g - slack, g + slack), case[0].dtype) for i, g in slopes.items()}
    raising = [ranges.get(i, ZERO) for i in range(len(case[1].values))]
    still = filled(case[0], [ZERO] * len(case[0].values))
    value = rejection_range(case, mask, tau, goal, coarse)
    return {"value": value, "in_P": still, "in_Q": filled(case[0], raising)}


def _arguments(
    name: str, case: Problem, mask: Array | None, options: Mapping[str, float]
) -> dict[str, Any]:
    given = dict(zip(("P", "Q", "Y_n", "Y_d"), case, strict=True)) | {"mask": mask}
    takes = {"implicit": ["gamma"], "margin": ["tau"], "rejection": ["tau", "goal"]}
    values = {"tau": TAU, "gamma": GAMMA, "goal": GOAL, **options}
    return given | {option: values[option] for option in takes.get(name, [])}


def _case(
    clauses: str, name: str, case: Problem, mask: Array | None = None, **options: float
) -> Case:
    """Return a case, of elements under a mask those that the mask keeps."""
    coarse = 1 if "LOSS-11" in clauses else COARSE
    given = _arguments(name, case, mask, options)
    if name == "rejection":
        result = _rejection_result(case, mask, given["tau"], given["goal"], coarse)
    else:
        guard = Fraction(given.get("gamma", given.get("tau", TAU)))
        result = _mean_result(name, case, mask, guard, coarse)
    return Case(clauses, given, result)


def _flags(random: Random, shape: tuple[int, ...]) -> Array:
    return Array(tuple(random.random() < 0.6 for _ in range(math.prod(shape))), shape, "bool")


def _ordinary(name: str, random: Random) -> Iterator[Case]:
    """Walk what the loss is: of single elements, of several, with its options."""
    for dtype in ("float32", "float64"):
        for count, shape in ((1, (1,)), (1, (1,)), (4, (2, 2)), (3, (3, 1)), (5, (5,))):
            case = problem(elements(random, dtype, count), dtype, shape)
            mask = _flags(random, shape) if name == "sign" and count > 2 else None
            yield _case(OWN[name], name, case, mask)
            yield _case("LOSS-11", name, case, mask)
        for rows in HARD[dtype]:
            yield _case("LOSS-11", name, problem(rows, dtype))
            if dtype == "float32":
                yield _case(OWN[name], name, problem(rows, dtype))
        for option in (1e-50, 0.25, 1.0, 2.0, 1e300 if name == "margin" else 1e18):
            case = problem(elements(random, dtype, 3), dtype)
            if name in ("implicit", "margin"):
                guard = {"gamma" if name == "implicit" else "tau": option}
                yield _case(OWN[name], name, case, None, **guard)
            if name == "rejection":
                yield _case("LOSS-5", name, case, tau=option, goal=min(option, 1.0))
    if name == "rejection":
        for Q, tau in (((0.0, -0.0, 1.0), 0.0), ((0.5, 0.25, -0.25), 0.5), ((1.0, 2.0, 3.0), 0.5)):
            yield _case(
                "LOSS-5", name, problem([(1.0, q, 1.0, 1.0) for q in Q], "float32"), tau=tau
            )
    if name == "chordal":
        yield from _turned(random)


def _turned(random: Random) -> Iterator[Case]:
    """Walk scaled tuples, and tuples on the axes, whose gradient is across them."""
    for dtype, k in product(("float32", "float64"), (-3, -1, 2)):
        rows = elements(random, dtype, 3, spread=6)
        scaled = [(-(2.0**k) * P, -(2.0**k) * Q, n, d) for P, Q, n, d in rows]
        turned = [(P, Q, -2.0 * n, -2.0 * d) for P, Q, n, d in scaled]
        for same in (rows, scaled, turned):
            yield _case("LOSS-2 LOSS-14", "chordal", problem(same, dtype))
    for dtype, size in product(("float32", "float64"), (0.001, -1.0, 3.0, 1e6)):
        case, slack = problem([(size, 0.0, 2.0, 1.0), (0.0, size, 2.0, 1.0)], dtype), Fraction(0)
        slack = TURN * FORMATS[dtype].epsilon
        bounds = [(slack, 1 + slack), (1 + slack, slack)]
        ranges = [
            [Within(-b / (2 * abs(Fraction(x))), b / (2 * abs(Fraction(x)))) for b in pair]
            for pair, x in zip(bounds, (case[0].values[0], case[1].values[1]), strict=True)
        ]
        in_P, in_Q = (filled(case[0], [pair[part] for pair in ranges]) for part in (0, 1))
        yield Case("LOSS-15", _arguments("chordal", case, None, {}), {"in_P": in_P, "in_Q": in_Q})


def _awkward(name: str, random: Random) -> Iterator[Case]:
    """Walk what must not matter: masked numbers, formats, sizes, and that nothing counts."""
    for poison in (*SINGULAR, 1e38):
        rows = list(elements(random, "float32", 4))
        mask = Array.of([True, False, True, False], "bool")
        kept = [r if k else (poison,) * 4 for r, k in zip(rows, mask.values, strict=True)]
        clean = _case(f"{OWN[name]} LOSS-7", name, problem(rows, "float32"), mask)
        given = dict(zip(("P", "Q", "Y_n", "Y_d"), problem(kept, "float32"), strict=True))
        yield Case(clean.clauses, {**clean.arguments, **given}, clean.result)
    for dtype, _ in product(("float16", "bfloat16"), range(3)):
        case = problem(elements(random, dtype, 3, spread=3), dtype)
        yield _case(f"{OWN[name]} LOSS-8", name, case)
    for dtype, largest in (("float32", 3e38), ("float64", 1.7e308)):
        signs = [(largest, -largest, largest, 1.0), (-largest, 1e-38, 1.0, 0.0)]
        case = problem(signs, dtype)
        most = FORMATS[dtype].largest
        finite = filled(case[0], [Within(-most, most)] * 2)
        result = {"value": Within(Fraction(0), most), "in_P": finite, "in_Q": finite}
        yield Case("LOSS-9", _arguments(name, case, None, {}), result)
    for dtype, shape in (("float32", (3,)), ("float64", (2, 2)), ("float32", (0,))):
        case = problem(elements(random, dtype, math.prod(shape)), dtype, shape)
        nothing = Array((False,) * math.prod(shape), shape, "bool")
        still = filled(case[0], [ZERO] * math.prod(shape))
        masks: tuple[Array | None, ...] = (nothing,) if case[0].values else (nothing, None)
        for chosen in masks:
            result = {"value": ZERO, "in_P": still, "in_Q": still}
            yield Case("LOSS-13", _arguments(name, case, chosen, {}), result)


def _without_tuples(name: str) -> Iterator[Case]:
    for dtype, zero in product(("float32", "float64"), (0.0, -0.0)):
        for rows in (
            [(zero, 0.0, 1.0, 0.0)],
            [(0.0, zero, -1.0, 0.0)] * 2,
            [(1.0, 2.0, zero, 0.0)],
        ):
            case = problem(rows, dtype)
            still = filled(case[0], [ZERO] * len(rows))
            value = exactly(0 if name == "implicit" else 1)
            result = {"value": value, "in_P": still, "in_Q": still}
            yield Case("LOSS-10", _arguments(name, case, None, {}), result)


def _misshapen(name: str, random: Random) -> Iterator[Case]:
    P, Q, Y_n, Y_d = problem(elements(random, "float32", 3), "float32")
    for shape in ((3, 1), (1, 3), (1,), (2,)):
        other = Array((1.0,) * math.prod(shape), shape, "float32")
        mask = Array((True,) * math.prod(shape), shape, "bool")
        for case, kept in (((P, Q, other, other), None), ((other, other, Y_n, Y_d), None),
                           ((P, Q, Y_n, Y_d), mask)):  # fmt: skip
            yield Case("LOSS-12", _arguments(name, case, kept, {}), refusal="ValueError")
    wrong = {"implicit": [{"gamma": 0.0}, {"gamma": -1e-9}], "rejection": [{"goal": 1.5}]}
    for options in wrong.get(name, []):
        arguments = _arguments(name, (P, Q, Y_n, Y_d), None, options)
        yield Case("LOSS-17", arguments, refusal="ValueError")


@operation(*(f"{name}_loss" for name in LOSSES))
def losses(name: str, random: Random) -> Iterator[Case]:
    """Return the ``value`` of a loss of predicted tuples ``P``, ``Q`` with target tuples ``Y_n``,
    ``Y_d``, and its gradients ``in_P`` and ``in_Q``: a mean over the elements that count, which are
    all for the fits ``implicit`` and ``chordal``, those with ``Y_d ≠ 0`` for ``margin`` and
    ``rejection``, the others for ``sign``, and of these what ``mask`` keeps, if there is one.
    """
    loss = name.removesuffix("_loss")
    yield from _ordinary(loss, random)
    yield from _awkward(loss, random)
    yield from _misshapen(loss, random)
    if loss in ("implicit", "chordal", "sign"):
        yield from _without_tuples(loss)
