"""Cases of COV and STOP: what is covered, and when training stops for what is not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import product
from random import Random
from typing import Any, Final

from ..arrays import Array
from ..coverage import (
    FORMS,
    Predicted,
    Timed,
    bottom_recall,
    counts_of,
    epoch_coverage,
    monitored_coverage,
)
from ..formats import FORMATS
from ..stopping import count_bad
from .cases import Case, Within, operation
from .numbers import SINGULAR, edges, neighbours, some, uniform

MEAN: Final = Fraction(1, 10**6)
"""How far the coverage of a micro-batch, in single precision, may be off; COV-2."""


def _written(batch: Predicted) -> dict[str, Any]:
    return {name: value for name, value in vars(batch).items() if name != "targets"}


def _outputs(random: Random, dtype: str, form: str, shape: tuple[int, ...]) -> Predicted:
    """Return outputs of a form, a part of them ⊥, and targets, a part of them singular."""
    size = math.prod(shape)
    first, second, targets = (some(random, dtype, size) for _ in range(3))
    for i in range(size):
        if random.random() < 0.3:
            first[i] = SINGULAR[uniform(random, 0, 2)]
        if random.random() < 0.3:
            targets[i] = SINGULAR[uniform(random, 0, 2)]
        if form != "tuple" or random.random() < 0.2:
            second[i] = float(random.random() < 0.3)
    parts = [Array(tuple(values), shape, dtype) for values in (first, second, targets)]
    return Predicted(form, *parts)


def _telling(dtype: str) -> Iterator[tuple[Predicted, float]]:
    """Walk outputs at the edges, and denominators right at the threshold."""
    first = Array.of([*edges(dtype)[:4], *SINGULAR] * 2, dtype)
    half = len(first.values) // 2
    flags = first.with_values([float(i >= half) for i in range(2 * half)])
    for form in ("value", "pair", "carrier"):
        yield Predicted(form, first, flags, first), 0.5
    for tau in (0.0, 1e-9, 1.3e-7, 1e-4, 0.5):
        sizes = neighbours(dtype, tau) if tau else [5e-324 if dtype == "float64" else 1.0]
        Q = [sign * size for size in (0.0, *sizes, math.inf) for sign in (1.0, -1.0)]
        Q += [math.nan, *edges(dtype)[-2:], 1.0]
        P = [1.0] * (len(Q) - 1) + [math.nan]
        yield Predicted("tuple", Array.of(P, dtype), Array.of(Q, dtype), Array.of(P, dtype)), tau
    steep = Array.of([0.5, 1.0, 2.0], dtype)
    yield Predicted("tuple", Array.full(edges(dtype)[-2], steep), steep, steep), 0.25


@operation("bottom_mask")
def masks(name: str, random: Random) -> Iterator[Case]:
    """Return the elements that are ``bottom`` of a model's outputs in a ``form``, at a threshold
    ``tau``. The form is ``value``, ``pair`` or ``carrier`` (``second`` is the flags of ⊥), or
    ``tuple`` (``second`` is the denominators).
    """
    for dtype in FORMATS:
        for batch, tau in _telling(dtype):
            yield Case("COV-1", _written(batch) | {"tau": tau}, {"bottom": batch.bottoms(tau)})
        for form, shape in product(FORMS, ((4,), (2, 3))):
            batch = _outputs(random, dtype, form, shape)
            yield Case("COV-1", _written(batch) | {"tau": 0.25}, {"bottom": batch.bottoms(0.25)})


@operation("coverage")
def coverages(name: str, random: Random) -> Iterator[Case]:
    """Return the ``coverage`` of one micro-batch of outputs, samples along the first dimension;
    form, parts and threshold are as for ``bottom_mask``.
    """
    for dtype, form, shape in product(FORMATS, FORMS, ((1,), (7,), (3, 2), (2, 2, 2))):
        batch = _outputs(random, dtype, form, shape)
        near = Within.around(epoch_coverage([batch.counts(0.25)]), MEAN)
        least, most = max(near.least or Fraction(0), Fraction(0)), near.most or Fraction(0)
        result = {"coverage": Within(least, min(most, Fraction(1)))}
        yield Case("COV-2 COV-4", _written(batch) | {"tau": 0.25}, result)
    ones = Array.of([1.0, 1.0])
    wrong = Predicted("pair", ones, Array((0.0, 0.0), (2, 1)), ones)
    yield Case("COV-2", _written(wrong) | {"tau": 0.25}, refusal="ValueError")
    for shape in ((0,), (0, 2)):
        none = Predicted("value", *[Array((), shape)] * 3)
        yield Case("COV-4", _written(none) | {"tau": 0.25}, refusal="ValueError")


def _epochs(random: Random) -> Iterator[tuple[str, list[Timed]]]:
    ones = Array.of([1.0] * 9, "float32")
    unequal = [(Predicted("tuple", ones, ones, ones), 0.25)]
    one = Array.of([0.0], "float32")
    yield "COV-3", [*unequal, (Predicted("tuple", one, one, one), 0.25)]
    none = Predicted("value", ones, ones, ones.with_values([math.inf] * 9))
    yield "COV-3 STOP-6", [(none, 0.25)]
    yield "COV-3 STOP-6", [(none, 0.25), *unequal]
    for taus in ((0.5, 2.0), (2.0, 0.5), (2.0, 0.5, 2.0)):  # of which one denominator each is below
        yield "COV-3 STOP-6", [(Predicted("tuple", ones, ones, ones), tau) for tau in taus]
    for dtype, form, _ in product(("float32", "float64"), FORMS, range(4)):
        outputs = () if random.random() < 0.5 else (2,)
        sizes = [uniform(random, 1, 5) for _ in range(uniform(random, 1, 4))]
        yield "COV-3 STOP-6", [(_outputs(random, dtype, form, (n, *outputs)), 0.25) for n in sizes]


@operation("epoch_coverage")
def epochs(name: str, random: Random) -> Iterator[Case]:
    """Return of an epoch's micro-batches ``epoch``, each as for ``bottom_mask`` with ``targets``
    and ``tau``, the ``coverage``, that over samples with ``finite`` targets only, and the
    ``recall``, the fraction of ⊥ among the others; NaN where there are no such samples.
    """
    for clauses, epoch in _epochs(random):
        counts = counts_of(epoch)
        known = epoch_coverage(counts), monitored_coverage(counts), bottom_recall(counts)
        values = [math.nan if x is None else float(x) for x in known]
        result = dict(zip(("coverage", "finite", "recall"), values, strict=True))
        given = {"epoch": [vars(batch) | {"tau": tau} for batch, tau in epoch]}
        yield Case(clauses, given, result)
    yield Case("COV-4", {"epoch": []}, refusal="ValueError")


def _watched(
    coverages: Sequence[float | None], threshold: float, patience: int
) -> dict[str, list[Any]]:
    counters, stops, bad = list[int](), list[bool](), 0
    for coverage in coverages:
        known = None if coverage is None else Fraction(coverage)
        bad = count_bad(bad, known, Fraction(threshold))
        counters.append(bad)
        stops.append(known is not None and bad >= patience)
        if stops[-1]:
            break
    return {"counters": counters, "stops": stops}


@operation("watch")
def watches(name: str, random: Random) -> Iterator[Case]:
    """Show the ``coverages`` of epochs (null for one without finite targets) to an early stop with
    a ``threshold`` and a ``patience``, and return its ``counters`` and whether it ``stops``
    training, after each epoch up to the one that stops it.
    """
    for threshold, patience in product((0.1, 1 / 3, 0.5, 1.0), (1, 2, 3)):
        below, equal, above = neighbours("float64", threshold)
        levels = [below, equal, min(above, 1.0), 0.0, None]
        sequences: list[list[float | None]] = [
            [levels[min(uniform(random, 0, 6), 4)] for _ in range(8)] for _ in range(3)
        ]
        bad: list[float | None] = [below] * (patience - 1)
        calm = [*bad, equal] * 3
        named = [("STOP-1", s) for s in sequences] + [("STOP-1 STOP-2", [*calm, *bad, below, 0.0])]
        named += [("STOP-1 STOP-6", [*bad, None, None, *bad, 0.0, None])]
        for clauses, sequence in named:
            given = {"coverages": sequence, "threshold": threshold, "patience": patience}
            yield Case(clauses, given, _watched(sequence, threshold, patience))
