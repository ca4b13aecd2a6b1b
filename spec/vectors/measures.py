"""Cases of LOSS: values and gradients, within what rounding may cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from .cases import ZERO, Case, Within, around, filled
from .numbers import SINGULAR, some

Rows = Sequence[tuple[float, float, float, float]]
Bounds = tuple[Fraction, Fraction] | None

OWN: Final = dict(zip(LOSSES, ("LOSS-1", "LOSS-2", "LOSS-3", "LOSS-4", "LOSS-5"), strict=True))
TAKES: Final = {"implicit": ["gamma"], "margin": ["tau"], "rejection": ["tau", "goal"]}
USUAL: Final = {"tau": TAU, "gamma": GAMMA, "goal": GOAL}
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


@dataclass(frozen=True)
class Measure:
    """A loss of a problem, and in how many tolerances its ranges lie around what is exact."""

    name: str
    case: Problem
    mask: Array | None
    options: Mapping[str, float]
    coarse: int = 1

    @property
    def guard(self) -> Fraction:
        """The γ of the implicit loss, the τ of others."""
        return Fraction(self.options["gamma" if self.name == "implicit" else "tau"])

    def value(self) -> Within:
        """Return what the value may be; LOSS-11, LOSS-9."""
        form, size = form_of(self.case), len(self.case[0].values)
        if self.name == "rejection":
            coverage, _ = lacking(self.case, self.options["tau"], self.mask)
            exact, scales = rejection(coverage, Fraction(self.options["goal"])), [Fraction(1)]
        else:
            rows = [row(self.case, i) for i in counted(self.name, self.case[3], self.mask)]
            exact = mean([saturate(term(self.name, r, self.guard), form, size) for r in rows])
            scales = [saturate(scale(self.name, r, self.guard), form, size) for r in rows]
        slack = self.coarse * tolerance(self.name, form, scales)
        high = min(exact + slack, MOST.get(self.name, exact + slack))
        return Within(max(exact - slack, Fraction(0)), high)

    def slopes(self) -> list[Sequence[Bounds]]:
        """Return the ranges of the gradients in ``P`` and ``Q`` of each element."""
        name, case, form = self.name, self.case, form_of(self.case)
        size, nothing = len(case[0].values), (Fraction(0), Fraction(0))
        found: dict[int, Sequence[Bounds]] = {}
        if name == "rejection":
            exact = rejection_slopes(case, self.options["tau"], self.options["goal"], self.mask)
            outputs = max(sum(map(len, counted_samples(case, self.mask))), 1)
            slack = 2 * self.coarse * tolerance(name, form, [Fraction(1)]) / outputs
            found = {i: (nothing, (g - slack, g + slack)) for i, g in exact.items()}
        else:
            kept = counted(name, case[3], self.mask)
            how = self.guard, form, (len(kept), size), self.coarse
            found = {i: tuple(_slopes(name, row(case, i), *how)) for i in kept}
        return [found.get(i, (nothing, nothing)) for i in range(size)]


def _rounded(bounds: Bounds, dtype: str) -> Within | None:
    """Return the range of a gradient once it is rounded to the tuples' format; LOSS-8."""
    if bounds is None or dtype in ("float32", "float64"):
        return bounds and Within(*bounds)
    low, high = (Fraction(cast(bound, dtype)) for bound in bounds)
    return Within(low, high)


def _arguments(
    name: str, case: Problem, mask: Array | None = None, **options: float
) -> dict[str, Any]:
    given = dict(zip(("P", "Q", "Y_n", "Y_d"), case, strict=True)) | {"mask": mask}
    return given | {option: (USUAL | options)[option] for option in TAKES.get(name, [])}


def _measured(case: Problem, value: Within, in_P: Sequence[Any], in_Q: Sequence[Any]) -> Any:
    return {"value": value, "in_P": filled(case[0], in_P), "in_Q": filled(case[0], in_Q)}


def _everywhere(case: Problem, value: Within, gradient: Within) -> Any:
    gradients = [gradient] * len(case[0].values)
    return _measured(case, value, gradients, gradients)


def _case(
    clauses: str, name: str, case: Problem, mask: Array | None = None, **options: float
) -> Case:
    """Return a case, of elements under a mask those that the mask keeps."""
    measure = Measure(name, case, mask, USUAL | options, 1 if "LOSS-11" in clauses else COARSE)
    slopes = measure.slopes()
    in_P, in_Q = ([_rounded(pair[part], case[0].dtype) for pair in slopes] for part in (0, 1))
    result = _measured(case, measure.value(), in_P, in_Q)
    return Case(clauses, _arguments(name, case, mask, **options), result)


def _ordinary(name: str, random: Random) -> Iterator[Case]:
    """Walk what the loss is: of single elements, of several, with its options."""
    for dtype in ("float32", "float64"):
        for count, shape in ((1, (1,)), (1, (1,)), (4, (2, 2)), (3, (3, 1)), (5, (5,))):
            case = problem(elements(random, dtype, count), dtype, shape)
            masked = name == "sign" and count > 2
            flags = tuple(random.random() < 0.6 for _ in range(count if masked else 0))
            mask = Array(flags, shape, "bool") if masked else None
            yield _case(OWN[name], name, case, mask)
            yield _case("LOSS-11", name, case, mask)
        for rows in HARD[dtype]:
            yield _case("LOSS-11", name, problem(rows, dtype))
            if dtype == "float32":
                yield _case(OWN[name], name, problem(rows, dtype))
        for option in (1e-50, 0.25, 1.0, 2.0, 1e300 if name == "margin" else 1e18):
            case = problem(elements(random, dtype, 3), dtype)
            options = {n: min(option, 1.0) if n == "goal" else option for n in TAKES.get(name, [])}
            if options:
                yield _case(OWN[name], name, case, None, **options)
    if name == "rejection":
        for Q, tau in (((0.0, -0.0, 1.0), 0.0), ((0.5, 0.25, -0.25), 0.5), ((1.0, 2.0, 3.0), 0.5)):
            case = problem([(1.0, q, 1.0, 1.0) for q in Q], "float32")
            yield _case("LOSS-5", name, case, tau=tau)
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
        case = problem([(size, 0.0, 2.0, 1.0), (0.0, size, 2.0, 1.0)], dtype)
        slack, twice = TURN * FORMATS[dtype].epsilon, abs(2 * Fraction(case[0].values[0]))
        along, across = around(0, slack / twice), around(0, (1 + slack) / twice)
        in_P, in_Q = filled(case[0], [along, across]), filled(case[0], [across, along])
        yield Case("LOSS-15", _arguments("chordal", case), {"in_P": in_P, "in_Q": in_Q})


def _awkward(name: str, random: Random) -> Iterator[Case]:
    """Walk what must not matter: masked numbers, formats, sizes, and that nothing counts."""
    for poison in (*SINGULAR, 1e38):
        rows = list(elements(random, "float32", 4))
        mask = Array.of([True, False, True, False], "bool")
        kept = [r if k else (poison,) * 4 for r, k in zip(rows, mask.values, strict=True)]
        clean = _case(f"{OWN[name]} LOSS-7", name, problem(rows, "float32"), mask)
        yield replace(clean, arguments=_arguments(name, problem(kept, "float32"), mask))
    for dtype, _ in product(("float16", "bfloat16"), range(3)):
        case = problem(elements(random, dtype, 3, spread=3), dtype)
        yield _case(f"{OWN[name]} LOSS-8", name, case)
    for dtype, largest in (("float32", 3e38), ("float64", 1.7e308)):
        case = problem([(largest, -largest, largest, 1.0), (-largest, 1e-38, 1.0, 0.0)], dtype)
        most = FORMATS[dtype].largest
        finite = _everywhere(case, Within(Fraction(0), most), around(0, most))
        yield Case("LOSS-9", _arguments(name, case), finite)
    for dtype, shape in (("float32", (3,)), ("float64", (2, 2)), ("float32", (0,))):
        case = problem(elements(random, dtype, math.prod(shape)), dtype, shape)
        nothing = Array((False,) * math.prod(shape), shape, "bool")
        for chosen in (nothing,) if case[0].values else (nothing, None):
            yield Case("LOSS-13", _arguments(name, case, chosen), _everywhere(case, ZERO, ZERO))


def _parts_of_samples(name: str) -> Iterator[Case]:
    """Walk masks that keep a part of a sample."""
    rows = [(1.0, 0.0, 1.0, 1.0), (1.0, 1.0, 1.0, 1.0), (2.0, 1.0, 1.0, 1.0), (1.0, -2.0, 1.0, 0.0)]
    for dtype, kept in product(("float32", "float64"), ((0, 2), (1, 2, 3), (0, 1, 2))):
        mask = Array(tuple(i in kept for i in range(4)), (2, 2), "bool")
        yield _case(f"{OWN[name]} LOSS-7", name, problem(rows, dtype, (2, 2)), mask)
    if name == "rejection":
        yield _case("LOSS-5", name, problem([(65504.0, 0.0625, 1.0, 1.0)], "float16"), tau=0.05)


def _without_tuples(name: str) -> Iterator[Case]:
    value = around(0 if name == "implicit" else 1)
    for dtype, zero in product(("float32", "float64"), (0.0, -0.0)):
        rows = (zero, 0.0, 1.0, 0.0), (0.0, zero, -1.0, 0.0), (1.0, 2.0, zero, 0.0)
        for each in ([rows[0]], [rows[1]] * 2, [rows[2]]):
            case = problem(each, dtype)
            yield Case("LOSS-10", _arguments(name, case), _everywhere(case, value, ZERO))


def _misshapen(name: str, random: Random) -> Iterator[Case]:
    P, Q, Y_n, Y_d = problem(elements(random, "float32", 3), "float32")
    for shape in ((3, 1), (1, 3), (1,), (2,)):
        other = Array((1.0,) * math.prod(shape), shape, "float32")
        mask = Array((True,) * math.prod(shape), shape, "bool")
        for case, kept in (((P, Q, other, other), None), ((other, other, Y_n, Y_d), None),
                           ((P, Q, Y_n, Y_d), mask)):  # fmt: skip
            yield Case("LOSS-12", _arguments(name, case, kept), refusal="ValueError")
    wrong = {"implicit": [{"gamma": 0.0}, {"gamma": -1e-9}], "rejection": [{"goal": 1.5}]}
    for options in wrong.get(name, []):
        arguments = _arguments(name, (P, Q, Y_n, Y_d), None, **options)
        yield Case("LOSS-17", arguments, refusal="ValueError")


def loss(name: str, random: Random) -> Iterator[Case]:
    """Return the ``value`` of a loss of predicted tuples ``P``, ``Q`` with target tuples ``Y_n``,
    ``Y_d``, and its gradients ``in_P`` and ``in_Q``: a mean over the elements that count, which are
    all for the fits ``implicit`` and ``chordal``, those with ``Y_d ≠ 0`` for ``margin`` and
    ``rejection``, the others for ``sign``, and of these what ``mask`` keeps, if there is one.
    """
    loss = name.removesuffix("_loss")
    yield from _ordinary(loss, random)
    yield from _awkward(loss, random)
    yield from _misshapen(loss, random)
    yield from _parts_of_samples(loss)
    if loss in ("implicit", "chordal", "sign"):
        yield from _without_tuples(loss)
