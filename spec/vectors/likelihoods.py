"""Cases of LIK, and of decodes with a range or a shared denominator."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, product
from random import Random
from typing import Any, Final

from ..arrays import Array
from ..decoding import Tuples
from ..formats import FORMATS, nearest
from ..joint_likelihood import Samples, alone
from ..joint_likelihood import judge as judge_jointly
from ..lifting import lift
from ..likelihood_terms import Arcs, Element, Real, central, judge, rational, tolerances
from ..losses import COARSE
from ..quotients import rounded_quotient
from ..ranges import repeated
from .cases import Case, Within, filled
from .numbers import some
from .tuples import decoded

INF: Final = math.inf
ENDS: Final = ("lower_n", "lower_d", "upper_n", "upper_d")
RIGHT: Final = ((3.0, 4.0), (30.0, -0.5), (-1.0, -2.0), (0.25, 0.125))
"""Tuples that no arithmetic is hard for."""


def _array(values: Sequence[float], dtype: str, shape: tuple[int, ...] | None = None) -> Array:
    return Array(tuple(nearest(dtype, v) for v in values), shape or (len(values),), dtype)


def _ranges(pairs: Sequence[tuple[Real, Real]]) -> list[Within]:
    return [Within(rational(x - slack), rational(x + slack)) for x, slack in pairs]


def _lines(targets: Sequence[float], dtype: str, shape: tuple[int, ...] | None = None) -> Any:
    lifted = [lift(nearest(dtype, y) if math.isfinite(y) else y) for y in targets]
    return [_array(part, dtype, shape) for part in zip(*lifted, strict=True)]


def _measured(P: Array, Q: Array, judged: dict[str, list[tuple[Real, Real]]]) -> dict[str, Any]:
    (value,) = _ranges(judged["loss"])
    slopes = {
        "in_P": filled(P, _ranges(judged["in_P"])),
        "in_Q": filled(Q, _ranges(judged["in_Q"])),
    }
    return {"value": value, **slopes}


def _problems(random: Random, dtype: str) -> Iterator[tuple[str, list[float], list[float], float]]:
    """Walk clauses, numbers P and Q, and targets with a resolution."""
    for p, q in RIGHT:
        for clauses, y in (
            ("LIK-1", 0.5),
            ("LIK-1 LIK-4", INF),
            ("LIK-5", p / q),
            ("LIK-5", -q / p),
        ):
            yield clauses, [p], [q], y
            if clauses == "LIK-1":
                yield "LIK-4", [-p], [-q], y
    size = float(FORMATS[dtype].largest)
    for p, q, y in ((0.0, 0.0, 3.0), (size, -size, 1.0), (1e-30, 1e20, -INF), (1e3, 1.0, 1000.0)):
        yield "LIK-7", [p], [q], y


def likelihood(name: str, random: Random) -> Iterator[Case]:
    """Return the mean loss ``value`` of target lines under the distributions that tuples ``P``,
    ``Q`` stand for, at a ``resolution``, and its gradients ``in_P`` and ``in_Q``.
    """
    for dtype in ("float32", "float64"):
        for clauses, p, q, y in _problems(random, dtype):
            for epsilon in (0.0, 0.25) if clauses == "LIK-1" else (0.0,):
                arcs = Arcs(_array(p, dtype), _array(q, dtype), tuple(_lines([y], dtype)))
                yield _loss("LIK-8" if epsilon else clauses, arcs, epsilon)
        P, Q = (_array(some(random, dtype, 4, 4), dtype) for _ in range(2))
        arcs = Arcs(P, Q, tuple(_lines([*some(random, dtype, 3, 4), -INF], dtype)))
        yield _loss("LIK-1", arcs, 0.0)
        yield _loss("LIK-7", arcs, 0.0)


def interval_likelihood(name: str, random: Random) -> Iterator[Case]:
    """Return the same of target arcs, from lines ``lower`` up to lines ``upper``."""
    for dtype, (p, q) in product(("float32", "float64"), RIGHT):
        for low, high in ((0.5, INF), (-INF, -2.0), (0.5, 0.75), (1.0, 1.0), (-INF, INF)):
            ends = (tuple(_lines([y], dtype)) for y in (low, high))
            arcs = Arcs(_array([p], dtype), _array([q], dtype), *ends)
            yield _loss("LIK-2", arcs, 0.0)
            if high == INF:
                yield _loss("LIK-8", arcs, 0.25)


def _loss(clauses: str, arcs: Arcs, resolution: float) -> Case:
    judged = judge(arcs, resolution, 1 if "LIK-7" in clauses else COARSE)
    names = ("P", "Q", "Y_n", "Y_d") if arcs.upper is None else ("P", "Q", *ENDS)
    given = dict(zip(names, arcs.parts, strict=True)) | {"resolution": resolution}
    return Case(clauses, given, _measured(arcs.P, arcs.Q, judged))


def probability(name: str, random: Random) -> Iterator[Case]:
    """Return the probability ``m`` of arcs from lines ``lower`` up to lines ``upper``."""
    cuts = -INF, -1.0, 0.25, 3.0, INF
    for dtype, (p, q) in product(("float32", "float64"), ((0.0, 0.0), *RIGHT)):
        pairs = [*pairwise(cuts), (-INF, INF), (1.0, 1.0), (3.0, -1.0)]
        n = len(pairs)
        ends = [_lines([pair[i] for pair in pairs], dtype) for i in (0, 1)]
        arcs = Arcs(_array([p] * n, dtype), _array([q] * n, dtype), tuple(ends[0]), tuple(ends[1]))
        found = [0.0 if low == high else 1.0 if (low, high) == (-INF, INF) else near
                 for (low, high), near in zip(pairs, _ranges(judge(arcs, 0.0, COARSE)["m"]),
                                              strict=True)]  # fmt: skip
        given = dict(zip(("P", "Q", *ENDS), arcs.parts, strict=True))
        yield Case("LIK-2 LIK-3", given, {"m": filled(arcs.P, found)})


def central_interval(name: str, random: Random) -> Iterator[Case]:
    """Return the ends ``lower`` and ``upper`` of the central intervals of a ``level``."""
    for dtype, (p, q), level in product(("float32", "float64"), RIGHT, (0.0, 0.5, 0.75, 1.0)):
        P, Q, ends = _array([p], dtype), _array([q], dtype), list[Within]()
        if level == 1.0:
            yield Case("LIK-6", {"P": P, "Q": Q, "level": level}, refusal="ValueError")
            continue
        for n, d, off_n, off_d in central(Fraction(p), Fraction(q), level, FORMATS[dtype]):
            ends += _ranges([(n / d, (off_n + abs(n / d) * off_d) / abs(d))])
        result = {"lower": filled(P, ends[:1]), "upper": filled(P, ends[1:])}
        yield Case("LIK-6", {"P": P, "Q": Q, "level": level}, result)
    zero = _array([0.0], "float32")
    result = {name: filled(zero, [y]) for name, y in (("lower", -INF), ("upper", INF))}
    yield Case("LIK-6", {"P": zero, "Q": zero, "level": 0.5}, result)


def _samples(dtype: str) -> Iterator[Samples]:
    for targets in ([0.5, 1.0, 3.0, -2.0], [INF, 1.0, 0.0, -2.0]):
        P = _array([1.0, 2.0, 30.0, -20.5], dtype, (2, 2))
        yield Samples(P, _array([2.0, 10.0], dtype, (2, 1)), *_lines(targets, dtype, (2, 2)))


def joint_likelihood(name: str, random: Random) -> Iterator[Case]:
    """Return the mean joint loss of samples whose outputs share ``Q``, as ``likelihood`` does."""
    for dtype, epsilon in product(("float32", "float64"), (0.0, 0.25)):
        for samples in _samples(dtype):
            judged = judge_jointly(samples, epsilon, COARSE)
            given = {**vars(samples), "resolution": epsilon}
            yield Case("LIK-9", given, _measured(samples.P, samples.Q, judged))
        flat = replace(samples.Q, shape=(2,))
        yield Case("LIK-9", {**given, "Q": flat}, refusal="ValueError")


def joint_probability(name: str, random: Random) -> Iterator[Case]:
    """Return the probabilities ``m`` of arcs for outputs that share ``Q``."""
    for dtype, (low, high) in product(
        ("float32", "float64"), ((0.5, INF), (-1.0, 1.0), (2.0, -2.0))
    ):
        samples = next(_samples(dtype))
        edges = [Fraction(x) for y in (low, high) for x in lift(y)]
        rows = [row for sample in samples.rows for row in alone(sample)]
        judged = [tolerances(Element(*row, *edges), 0.0, FORMATS[dtype], COARSE) for row in rows]
        found = _ranges([(right.m, off.m) for right, off in judged])
        lines = [x for y in (low, high) for x in _lines([y] * 4, dtype, (2, 2))]
        given = {"P": samples.P, "Q": samples.Q} | dict(zip(ENDS, lines, strict=True))
        yield Case("LIK-10", given, {"m": filled(samples.P, found)})


def decoding_within(name: str, random: Random) -> Iterator[Case]:
    """Decode as ``decode`` does, with a range from ``lower`` to ``upper``; ±∞ left it."""
    for dtype, (low, high) in product(FORMATS, ((-1.0, 0.1), (0.5, 0.5), (-INF, 2.0), (1.0, 0.0))):
        P, Q = _array([0.1, 0.5, -3.0, 1e3, 1.0], dtype), _array([1.0, 1.0, 2.0, -1.0, 0.0], dtype)
        case = Tuples(P, Q, 0.5, 1.5)
        given = {**vars(case), "lower": low, "upper": high}
        if low > high:
            yield Case("DEC-7", given, refusal="ValueError")
            continue
        values = [rounded_quotient(*row, dtype) for row in case.rows]
        sides = [(y > high) - (y < low) for y in values]
        value = P.with_values(
            [side * INF if side else y for y, side in zip(values, sides, strict=True)]
        )
        bottom = [bool(side) or y != y for y, side in zip(values, sides, strict=True)]
        gap = [not b and abs(q) < 1.5 for b, q in zip(bottom, Q.values, strict=True)]
        yield Case("DEC-7", given, {"value": value, "bottom": bottom, "gap": gap})


def decoding_shared(name: str, random: Random) -> Iterator[Case]:
    """Decode as ``decode`` does, with one denominator for all outputs of a sample."""
    for dtype, gauge in product(FORMATS, ("raw", "unit")):
        P = _array(some(random, dtype, 6, 3), dtype, (2, 3))
        case = Tuples(P, _array([0.75, -0.25], dtype, (2, 1)), 0.5, 1.0, gauge)  # type: ignore[arg-type]
        for whole in decoded("DEC-9", repeated(case)):
            yield replace(whole, arguments=vars(case))
