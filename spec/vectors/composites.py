"""Cases of LOSS-6 and LOSS-16: the training loss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import product
from random import Random
from typing import Any, Final

from ..arrays import Array
from ..formats import FORMATS
from ..losses import GAMMA, _slopes, counted, rejection_slopes, row
from ..training_loss import Batch, Options, _slack, given_weights, lifted, number, used_weights
from .cases import Case, Within, filled, operation
from .measures import elements, rejection_range, value_range

WEIGHTS: Final[tuple[Mapping[str, float] | None, ...]] = (
    None,
    {"margin": 2.0, "sign": 0.5, "rejection": 1.0},
)
GIVEN: Final[tuple[Mapping[str, float], ...]] = (
    {}, {"fit": 0.25}, {"margin": 0.0, "rejection": 8.0}, {"fit": 0.0, "sign": 3.0},
)  # fmt: skip
TOTAL_ROUNDINGS: Final = 4
"""How many ε the weighted sum may be off; LOSS-6."""
SLOPE_ROUNDINGS: Final = 8
"""How many ε of its terms' sizes the sum of gradients may be off; LOSS-6."""


def _terms(batch: Batch, options: Options) -> dict[str, Within]:
    """Return what the terms may be."""
    case, oriented = lifted(*batch)
    found: dict[str, Within] = {}
    for name, loss in {"fit": options["fit"], "margin": "margin", "sign": "sign"}.items():
        kept = counted(loss, case[3], oriented if loss == "sign" else None)
        guard = Fraction(GAMMA if loss == "implicit" else number(options["tau"]))
        found[name] = value_range(loss, case, kept, guard, 1)
    return found | {
        "rejection": rejection_range(case, None, number(options["tau"]), options["goal"], 1)
    }


def _total(terms: Mapping[str, Within], options: Options, dtype: str) -> Within:
    weights, form = used_weights(options) | given_weights(options), FORMATS[dtype]
    low = sum(weights[name] * (term.least or 0) for name, term in terms.items())
    high = sum(weights[name] * (term.most or 0) for name, term in terms.items())
    slack = TOTAL_ROUNDINGS * form.epsilon * high + form.smallest_normal
    return Within(Fraction(low) - slack, Fraction(high) + slack)


def _gradients(batch: Batch, options: Options) -> dict[str, Any]:
    """Return what the gradients of the total may be."""
    case, oriented = lifted(*batch)
    weights, tau = used_weights(options) | given_weights(options), number(options["tau"])
    form, size = FORMATS[batch[0].dtype], len(batch[0].values)
    raising = rejection_slopes(case, tau, options["goal"])
    ranges: list[list[Any]] = [[], []]
    for i in range(size):
        pushed = [Fraction(0), weights["rejection"] * raising.get(i, 0)]
        lows, highs, sizes = list(pushed), list(pushed), [weights["rejection"]] * 2
        for name, loss in {"fit": options["fit"], "margin": "margin", "sign": "sign"}.items():
            kept = counted(loss, case[3], oriented if loss == "sign" else None)
            guard = Fraction(GAMMA if loss == "implicit" else number(options["tau"]))
            bounds = _slopes(loss, row(case, i), guard, form, (len(kept), size), 1)
            for part, pair in enumerate(bounds if i in kept else ()):
                low, high = pair or (-form.largest, form.largest)
                lows[part] += weights[name] * low
                highs[part] += weights[name] * high
                sizes[part] += weights[name] * max(abs(low), abs(high))
        slacks = _slack(batch, options, weights, i)
        for part in (0, 1):
            relative = SLOPE_ROUNDINGS * form.epsilon * sizes[part]
            slack = slacks[part] + relative + form.smallest_normal
            ranges[part].append(Within(lows[part] - slack, highs[part] + slack))
    return {"in_P": filled(batch[0], ranges[0]), "in_Q": filled(batch[0], ranges[1])}


def _batch(random: Random, dtype: str, count: int) -> Batch:
    rows = elements(random, dtype, count, spread=3)
    poles = [n * math.inf if d == 0 else n for _, _, n, d in rows]
    targets = [math.nan if random.random() < 0.15 else y for y in poles]
    P, Q, y = ([r[0] for r in rows], [r[1] for r in rows], targets)
    return Array.of(P, dtype), Array.of(Q, dtype), Array.of(y, dtype)


@operation("training_loss")
def training_losses(name: str, random: Random) -> Iterator[Case]:
    """Return the ``total`` of the training loss of predicted tuples ``P``, ``Q`` and raw targets
    ``y``, its gradients ``in_P`` and ``in_Q``, and its unweighted ``terms``, with a ``fit``, a
    threshold ``tau`` and a ``goal`` of coverage. Configured ``weights`` (null leaves the defaults)
    are replaced by those ``given`` by name.
    """
    for dtype, fit, weights, given in product(
        ("float32", "float64"), ("chordal", "implicit"), WEIGHTS, GIVEN
    ):
        batch = _batch(random, dtype, 4)
        options: Options = {
            "fit": fit, "tau": 0.5, "goal": 0.75, "weights": weights, "given": given,
        }  # fmt: skip
        terms = _terms(batch, options)
        result: dict[str, Any] = {"total": _total(terms, options, dtype), "terms": terms}
        result |= _gradients(batch, options)
        yield Case("LOSS-6 LOSS-11", _written(batch, options), result)
    for unknown in ("", "Fit", "fits", "lambda_margin", "chordal"):
        batch = _batch(random, "float32", 2)
        options = {
            "fit": "chordal", "tau": 0.5, "goal": 0.5, "weights": None, "given": {unknown: 1.0},
        }  # fmt: skip
        yield Case("LOSS-16", _written(batch, options), refusal="ValueError")


def _written(batch: Batch, options: Options) -> dict[str, Any]:
    return {**dict(zip(("P", "Q", "y"), batch, strict=True)), **options}
