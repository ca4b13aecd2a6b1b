"""Cases of COV and STOP: what is covered, and when training stops for what is not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product
from random import Random
from typing import Any, Final

from .. import stopping
from ..arrays import Array
from ..coverage import (
    FORMS,
    Counts,
    EpochCoverage,
    Predicted,
    Timed,
    bottom_recall,
    counts_of,
    epoch_coverage,
    interval_counts,
    monitored_coverage,
)
from ..formats import FORMATS
from .cases import Case, Within
from .numbers import SINGULAR, edges, neighbours, some, uniform

ENDS: Final = (
    *[(0.5, 2.0), (1.0, 1.0)] * 3, (1.0, math.inf), (-math.inf, 1.0), (-math.inf, math.inf),
    (math.inf, math.inf), (-math.inf, -math.inf),
)  # fmt: skip
"""Intervals, half of them with finite ends."""
MEAN: Final = Fraction(1, 10**6)
"""How far the coverage of a micro-batch, in single precision, may be off; COV-2."""


def _written(batch: Predicted, tau: float) -> dict[str, Any]:
    return {"form": batch.form, "first": batch.first, "second": batch.second, "tau": tau}


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
    flags = first.with_values([0.0] * 7 + [1.0] * 7)
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


def bottom_mask(name: str, random: Random) -> Iterator[Case]:
    """Return the elements that are ``bottom`` of a model's outputs in a ``form``, at a threshold
    ``tau``. The form is ``value``, ``pair`` or ``carrier`` (``second`` is the flags of ⊥), or
    ``tuple`` (``second`` is the denominators).
    """
    for dtype in FORMATS:
        kinds = product(FORMS, ((4,), (2, 3)))
        several = ((_outputs(random, dtype, *kind), 0.25) for kind in kinds)
        for batch, tau in (*_telling(dtype), *several):
            yield Case("COV-1", _written(batch, tau), {"bottom": batch.bottoms(tau)})


def coverage(name: str, random: Random) -> Iterator[Case]:
    """Return the ``coverage`` of one micro-batch of outputs, samples along the first dimension;
    form, parts and threshold are as for ``bottom_mask``.
    """
    for dtype, form, shape in product(FORMATS, FORMS, ((1,), (7,), (3, 2), (2, 2, 2))):
        batch = _outputs(random, dtype, form, shape)
        exact = epoch_coverage([batch.counts(0.25)])
        near = Within(max(exact - MEAN, Fraction(0)), min(exact + MEAN, Fraction(1)))
        yield Case("COV-2 COV-4", _written(batch, 0.25), {"coverage": near})
    ones = Array.of([1.0, 1.0])
    wrong = Predicted("pair", ones, Array((0.0, 0.0), (2, 1)), ones)
    yield Case("COV-2", _written(wrong, 0.25), refusal="ValueError")
    for shape in ((0,), (0, 2)):
        none = Predicted("value", *[Array((), shape)] * 3)
        yield Case("COV-4", _written(none, 0.25), refusal="ValueError")


def _epochs(random: Random) -> Iterator[tuple[str, list[Timed]]]:
    one, nine = (Array.of([1.0] * size, "float32") for size in (1, 9))
    covered = [(Predicted("tuple", nine, nine, nine), 0.25)]
    zero = one.with_values([0.0])
    yield "COV-3", [*covered, (Predicted("tuple", zero, zero, zero), 0.25)]
    singular = [(Predicted("value", nine, nine, Array.full(math.inf, nine)), 0.25)]
    yield "COV-3 STOP-6", singular
    yield "COV-3 STOP-6", singular + covered
    for taus in ((0.5, 2.0), (2.0, 0.5), (2.0, 0.5, 2.0)):  # of which one denominator each is below
        yield "COV-3 STOP-6", [(covered[0][0], tau) for tau in taus]
    for dtype, form, _ in product(("float32", "float64"), FORMS, range(4)):
        outputs = () if random.random() < 0.5 else (2,)
        sizes = [uniform(random, 1, 5) for _ in range(uniform(random, 1, 4))]
        yield "COV-3 STOP-6", [(_outputs(random, dtype, form, (n, *outputs)), 0.25) for n in sizes]


def reported(finite: Sequence[Counts], regular: Sequence[Counts]) -> EpochCoverage:
    """Report an epoch's counts, and its recall by counts in which all but singular targets are
    finite.
    """
    exact = epoch_coverage(finite), monitored_coverage(finite), bottom_recall(regular)
    return EpochCoverage(*(math.nan if x is None else float(x) for x in exact))


def epoch(name: str, random: Random) -> Iterator[Case]:
    """Return of an epoch's micro-batches ``epoch``, each as for ``bottom_mask`` with ``targets``
    and ``tau``, the ``coverage``, that over samples with ``finite`` targets only, and the
    ``recall``, the fraction of ⊥ among the others; NaN where there are no such samples.
    """
    for clauses, batches in _epochs(random):
        found = vars(reported(*[counts_of(batches)] * 2))
        yield Case(clauses, {"epoch": [vars(b) | {"tau": tau} for b, tau in batches]}, found)
    yield Case("COV-4", {"epoch": []}, refusal="ValueError")


def intervals(name: str, random: Random) -> Iterator[Case]:
    """Return what ``epoch_coverage`` does, of one micro-batch whose targets are intervals from
    ``lower`` to ``upper``.
    """
    for form, shape, _ in product(FORMS, ((6,), (5, 2)), range(2)):
        batch = _outputs(random, "float32", form, shape)
        pairs = [ENDS[uniform(random, 0, len(ENDS) - 1)] for _ in batch.targets.values]
        lower, upper = (batch.targets.with_values(side) for side in zip(*pairs, strict=True))
        kinds = interval_counts(replace(batch, targets=lower), upper, 0.25)
        given = _written(batch, 0.25) | {"lower": lower, "upper": upper}
        yield Case("COV-5", given, vars(reported(*([counts] for counts in kinds))))


def watch(name: str, random: Random) -> Iterator[Case]:
    """Show the ``coverages`` of epochs (null for one without finite targets) to an early stop with
    a ``threshold`` and a ``patience``, and return its ``counters`` and whether it ``stops``
    training, after each epoch up to the one that stops it.
    """
    for threshold, patience in product((0.1, 1 / 3, 0.5, 1.0), (1, 2, 3)):
        below, equal, above = neighbours("float64", threshold)
        levels = [below, equal, min(above, 1.0), 0.0, None, None, None]
        named = [("STOP-1", [levels[uniform(random, 0, 6)] for _ in range(8)]) for _ in range(3)]
        bad = [below] * (patience - 1)
        named += [("STOP-1 STOP-2", [*[*bad, equal] * 3, *bad, below, 0.0])]
        named += [("STOP-1 STOP-6", [*bad, None, None, *bad, 0.0, None])]
        for clauses, coverages in named:
            given = {"coverages": coverages, "threshold": threshold, "patience": patience}
            counters, stops = zip(*stopping.watch(coverages, threshold, patience), strict=True)
            yield Case(clauses, given, {"counters": counters, "stops": stops})
