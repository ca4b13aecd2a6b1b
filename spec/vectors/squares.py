"""Cases of LOSS-18: the fit of decoded values."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from random import Random
from typing import Any, Final

from ..arrays import Array
from ..losses import Case as Problem
from ..squares import counted, slopes_within, value_within
from .cases import ANYTHING, ZERO, Case, Within, around, filled
from .measures import elements, problem
from .numbers import SINGULAR

NOTHING: Final = [(1.0, 0.0, 1.0, 1.0), (1.0, 1e-3, 1.0, 1.0), (1.0, 1.0, 1.0, 0.0)]
"""Elements of which none counts: ⊥ by its denominator, by τ = 0.01, and a target at infinity."""


def _arguments(case: Problem, tau: float, mask: Array | None) -> dict[str, Any]:
    return {**dict(zip(("P", "Q", "Y_n", "Y_d"), case, strict=True)), "mask": mask, "tau": tau}


def _case(case: Problem, tau: float, mask: Array | None = None) -> Case:
    kept = counted(case, tau, mask)
    value, slack = value_within(case, kept)
    ranges: list[list[Within | None]] = [[ZERO] * len(case[0].values) for _ in "PQ"]
    for i in kept:
        found = slopes_within(case, kept, i)
        for part, own in enumerate(ranges):
            own[i] = around(found[0][part], found[1][part]) if found else ANYTHING
    result = {"value": Within(max(value - slack, Fraction(0)), value + slack)}
    gradients = dict(zip(("in_P", "in_Q"), (filled(case[0], r) for r in ranges), strict=True))
    return Case("LOSS-18", _arguments(case, tau, mask), result | gradients)


def squares(name: str, random: Random) -> Iterator[Case]:
    """Return the ``value`` of the squares loss of predicted tuples ``P``, ``Q`` with target tuples
    ``Y_n``, ``Y_d``, and its gradients ``in_P`` and ``in_Q``: a mean over the elements with
    ``Y_d ≠ 0`` whose tuple does not decode to ⊥ at ``tau``, of these over what ``mask`` keeps, if
    there is one.
    """
    for dtype, count, tau in product(("float32", "float64", "float16"), (1, 2, 4), (0.0, 0.5)):
        yield _case(problem(elements(random, dtype, count, 3), dtype), tau)
    for dtype in ("float32", "float64"):
        rows = [*elements(random, dtype, 4, 3), *NOTHING]
        mask = Array.of([random.random() < 0.6 for _ in rows], "bool")
        yield _case(problem(rows, dtype), 0.01, mask)
        yield _case(problem(NOTHING, dtype), 0.01)
        yield _case(problem(rows, dtype), 0.01, Array.of([False] * len(rows), "bool"))
        large = 1e20 if dtype == "float32" else 1e160
        yield _case(problem([(large, 1.0, 1.0, 1.0), (1.0, 1.0, -large, 1.0)], dtype), 0.0)
        yield _case(problem([(3.0, 1.0, 3.0, 1.0), (-0.0, 2.0, 0.0, 1.0)], dtype), 0.0)
    yield _case(problem([(65504.0, 0.0625, 1.0, 1.0), (1.0, 2.0, 3.0, 1.0)], "float16"), 0.0)
    for dtype in ("float32", "float64"):
        rows = [
            (1.0, 2.0, 3.0, 4.0),
            (-5.0, 0.5, 2.0, -0.25),
            (1.0, 3.0, 1.0, 0.0),
            (2.0, 1.0, 1.0, 8.0),
        ]
        mask = Array((True, True, True, False), (2, 2), "bool")
        yield _case(problem(rows, dtype, (2, 2)), 0.0)
        yield _case(problem(rows, dtype, (2, 2)), 0.0, mask)
    for poison in SINGULAR:
        rows = [(3.0, 2.0, 1.0, 1.0), (poison, poison, poison, 1.0), (poison, 0.0, 1.0, 1.0)]
        yield _case(problem(rows, "float32"), 0.0, Array.of([True, False, True], "bool"))
    P, Q, Y_n, Y_d = problem(elements(random, "float32", 3), "float32")
    for shape in ((3, 1), (1, 3), (1,)):
        size = shape[0] * shape[-1] if len(shape) == 2 else shape[0]
        other, mask = Array((1.0,) * size, shape, "float32"), Array((True,) * size, shape, "bool")
        for case, kept in (((P, Q, other, other), None), ((P, Q, Y_n, Y_d), mask)):
            yield Case("LOSS-18", _arguments(case, 0.0, kept), refusal="ValueError")
