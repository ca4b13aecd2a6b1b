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
from ..loss_terms import composite
from ..losses import rejection_slopes
from ..training_loss import Batch, Options, _slack, lifted, number, used_weights
from .cases import Case, Within, filled
from .measures import USUAL, Measure, elements

WEIGHTS: Final = (None, {"margin": 2.0, "sign": 0.5, "rejection": 1.0})
GIVEN: Final[tuple[Mapping[str, float], ...]] = (
    {}, {"fit": 0.25}, {"margin": 0.0, "rejection": 8.0}, {"fit": 0.0, "sign": 3.0},
)  # fmt: skip
TOTAL_ROUNDINGS: Final = 4
"""How many ε the weighted sum may be off; LOSS-6."""
SLOPE_ROUNDINGS: Final = 8
"""How many ε of its terms' sizes the sum of gradients may be off; LOSS-6."""


def _measures(batch: Batch, options: Options) -> dict[str, Measure]:
    case, oriented = lifted(*batch)
    settings = USUAL | {"tau": number(options["tau"]), "goal": options["goal"]}
    losses = {"fit": options["fit"], "margin": "margin", "sign": "sign", "rejection": "rejection"}
    return {
        name: Measure(loss, case, oriented if loss == "sign" else None, settings)
        for name, loss in losses.items()
    }


def _total(terms: Mapping[str, Within], weights: dict[str, Fraction], dtype: str) -> Within:
    low = composite({name: term.least for name, term in terms.items()}, weights)
    high = composite({name: term.most for name, term in terms.items()}, weights)
    slack = TOTAL_ROUNDINGS * FORMATS[dtype].epsilon * high + FORMATS[dtype].smallest_normal
    return Within(low - slack, high + slack)


def _gradients(batch: Batch, options: Options) -> dict[str, Any]:
    """Return what the gradients of the total may be."""
    weights, form = used_weights(options), FORMATS[batch[0].dtype]
    measures = _measures(batch, options)
    case = measures.pop("rejection").case
    raising = rejection_slopes(case, number(options["tau"]), options["goal"])
    slopes = {name: measure.slopes() for name, measure in measures.items()}
    ranges: tuple[list[Within], list[Within]] = ([], [])
    for i in range(len(case[0].values)):
        slacks = _slack(batch, options, weights, i)
        for part, exact in enumerate((Fraction(0), raising.get(i, Fraction(0)))):
            low = high = weights["rejection"] * exact
            size = weights["rejection"]
            for name, bounds in slopes.items():
                least, most = bounds[i][part] or (-form.largest, form.largest)
                low, high = low + weights[name] * least, high + weights[name] * most
                size += weights[name] * max(abs(least), abs(most))
            slack = slacks[part] + SLOPE_ROUNDINGS * form.epsilon * size + form.smallest_normal
            ranges[part].append(Within(low - slack, high + slack))
    return {"in_P": filled(batch[0], ranges[0]), "in_Q": filled(batch[0], ranges[1])}


def _batch(random: Random, dtype: str, count: int) -> Batch:
    rows = elements(random, dtype, count, spread=3)
    poles = [n * math.inf if d == 0 else n for _, _, n, d in rows]
    y = [math.nan if random.random() < 0.15 else pole for pole in poles]
    P, Q = ([row[part] for row in rows] for part in (0, 1))
    return Array.of(P, dtype), Array.of(Q, dtype), Array.of(y, dtype)


def training_loss(name: str, random: Random) -> Iterator[Case]:
    """Return the ``total`` of the training loss of predicted tuples ``P``, ``Q`` and raw targets
    ``y``, its gradients ``in_P`` and ``in_Q``, and its unweighted ``terms``, with a ``fit``, a
    threshold ``tau`` and a ``goal`` of coverage; γ is 1e-9. Configured ``weights`` (null leaves the
    defaults) are replaced by those ``given`` by name.
    """
    for dtype, fit, weights, given in product(
        ("float32", "float64"), ("chordal", "implicit"), WEIGHTS, GIVEN
    ):
        batch = _batch(random, dtype, 4)
        options = Options(fit=fit, tau=0.5, goal=0.75, weights=weights, given=given)
        terms = {n: measure.value() for n, measure in _measures(batch, options).items()}
        total = _total(terms, used_weights(options), dtype)
        result = {"total": total, "terms": terms, **_gradients(batch, options)}
        yield Case("LOSS-6 LOSS-11", _written(batch, options), result)
    for unknown in ("", "Fit", "fits", "lambda_margin", "chordal"):
        batch = _batch(random, "float32", 2)
        options = Options(fit="chordal", tau=0.5, goal=0.5, weights=None, given={unknown: 1.0})
        yield Case("LOSS-16", _written(batch, options), refusal="ValueError")


def _written(batch: Batch, options: Options) -> dict[str, Any]:
    return {**dict(zip(("P", "Q", "y"), batch, strict=True)), **options}
