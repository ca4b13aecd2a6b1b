"""Thresholds on the unit denominator, from held-out rows: the one that serves best, or a bound.

``P, Q`` are the tuples predicted there, of any shape, and ``targets`` what was measured: ±∞ and NaN
are singular. Shapes that differ, and no rows, raise ValueError. Meets: THR-4.
"""

from __future__ import annotations

import math
from decimal import MIN_EMIN, ROUND_CEILING, Context, Decimal, localcontext
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from zeroproof.inference.strict import unit_denominator
from zeroproof.scm.outputs import tuple_bottom
from zeroproof.utils.checks import check_floats, check_number, check_same_shape

Rows: TypeAlias = Float[Tensor, "*rows"]
"""A number for each row."""


class Certificate(NamedTuple):
    """A threshold, the bound that it keeps, and its price."""

    tau: float
    """The threshold ``tau_infer`` of the unit gauge."""
    rate: float
    """Of singular rows at most this share decodes to a number …"""
    confidence: float
    """… with this probability over the draw of the held-out rows."""
    rows: int
    """Singular rows that were held out."""
    errors: int
    """How many of them decode to a number."""
    false_bottom: float
    """Share of the finite held-out rows that decode to ⊥; NaN if there are none."""


def choose_threshold(P: Rows, Q: Rows, targets: Rows, *, unit: float | None = None) -> float:
    """Return the threshold on the unit denominator that serves the targets best.

    A finite target costs its absolute error over ``unit``, or 1 where it decodes to ⊥; a singular
    one costs 1 where it decodes to a number. The sum of the two mean costs is minimised, in the
    middle of the widest best interval; without singular targets, below every denominator.

    ``unit`` is the error that is as bad as a ⊥; None takes the interquartile range of the finite
    targets over 1.349, a normal distribution's standard deviation. Meets: THR-1.

    Example:
        >>> P, Q = torch.ones(4), torch.tensor([1.0, 0.5, 0.1, 0.0])
        >>> choose_threshold(P, Q, torch.tensor([1.0, 2.0, torch.inf, torch.inf]))
        0.2733...
    """
    denominator, finite = _checked(P, Q, targets)
    unit = None if unit is None else check_number("unit", unit, "(0, ∞)")
    if finite.all():
        return denominator.min().item() / 2
    error = (P.double() / Q.double() - targets).abs().flatten()
    error /= unit or _deviation(targets.flatten()[finite])
    denominator, order = denominator.sort()
    error, finite = error[order], finite[order]
    as_bottom = finite.double() / finite.sum().clamp(min=1)
    as_number = torch.where(finite, error / finite.sum(), 1.0 / (~finite).sum().double())
    zero, one = denominator.new_tensor([[0.0], [1.0]])
    # Summed from either end, so that huge errors below a threshold take no digits from its cost.
    cost = torch.cat([zero, as_bottom.cumsum(0)])
    cost += torch.cat([as_number.flip(0).cumsum(0).flip(0), zero])
    edges = torch.cat([zero, denominator, one])
    width = edges.diff()
    cost = cost.masked_fill(width <= 0, torch.inf)  # equal denominators cannot be told apart
    best = torch.where(cost <= cost.min() + 1e-12 * (1 + cost.min()), width, -1.0).argmax()
    return ((edges[best] + edges[best + 1]) / 2).item()


def certify_threshold(
    P: Rows, Q: Rows, targets: Rows, *, rate: float, confidence: float = 0.95
) -> Certificate:
    """Return the least threshold that bounds how often a singular row decodes to a number.

    The bound holds for rows drawn as the held-out ones were, which neither the fit nor another
    choice has seen. It is that of Clopper and Pearson (Biometrika 26, 1934): at most k of the n
    singular rows may decode to a number, k being the largest with
    P(Binomial(n, rate) ≤ k) ≤ 1 − confidence.

    Args:
        P, Q, targets: held-out rows.
        rate: the largest share of singular rows that may decode to a number, in (0, 1).
        confidence: the probability with which the bound holds, in (0, 1).

    Raises:
        ValueError: numbers outside their range, or too few singular rows.

    Meets: THR-2, THR-3.

    Example:
        >>> P, Q = torch.ones(200), torch.arange(200.0) / 2000
        >>> found = certify_threshold(P, Q, torch.full((200,), torch.inf), rate=0.05)
        >>> found.errors, round(found.tau, 4)
        (4, 0.097)
    """
    rate = check_number("rate", rate, "(0, 1)")
    confidence = check_number("confidence", confidence, "(0, 1)")
    denominator, finite = _checked(P, Q, targets)
    singular = denominator[~finite].sort().values
    # The largest denominator that has to decode to ⊥; 0 does so at any threshold.
    largest = singular[-1 - _allowed(len(singular), rate, confidence)].item()
    tau = math.nextafter(largest, math.inf) if largest else 0.0
    errors = int((singular > largest).sum())
    lost = (denominator[finite] <= largest).double().mean().item()
    return Certificate(tau, rate, confidence, len(singular), errors, lost)


def _checked(P: Tensor, Q: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return unit denominators, 0 for what is always ⊥, and which targets are finite, flattened."""
    check_floats(P=P, Q=Q, targets=targets)
    check_same_shape(P=P, Q=Q, targets=targets)
    if not targets.numel():
        raise ValueError("there are no rows to choose a threshold from")
    denominator = unit_denominator(P, Q).masked_fill(tuple_bottom(P, Q), 0.0)
    return denominator.flatten(), targets.isfinite().flatten()


def _deviation(finite: Tensor) -> float:
    """Return a robust deviation; 1 where it would be 0."""
    if not finite.numel():
        return 1.0
    ordered, last = finite.double().sort().values, len(finite) - 1
    # The quartiles; torch.quantile takes 2²⁴ numbers at most.
    low, high = (
        ordered[math.floor(place)].lerp(ordered[math.ceil(place)], place % 1.0).item()
        for place in (0.25 * last, 0.75 * last)
    )
    return (high - low) / 1.349 or 1.0


def _allowed(rows: int, rate: float, confidence: float) -> int:
    """Return the largest k with P(Binomial(rows, rate) ≤ k) ≤ 1 − confidence.

    Raises ValueError if even 0 of them have more.
    """
    allowed = -1
    # Digits to spare, and rounding upwards makes k no larger.
    with localcontext(Context(prec=60, rounding=ROUND_CEILING, Emin=MIN_EMIN)):
        odds, left = Decimal(rate) / (1 - Decimal(rate)), 1 - Decimal(rate)
        chance = term = left**rows
        while chance + Decimal(confidence) <= 1 and allowed < rows - 1:
            allowed += 1
            term *= odds * (rows - allowed) / (allowed + 1)
            chance += term
        # A quotient of decimals does not overflow; it may be one off.
        takes = math.ceil(Decimal(math.log1p(-confidence)) / Decimal(math.log1p(-rate)))
        near = (n for n in (takes - 1, takes) if left**n + Decimal(confidence) <= 1)
        takes = next(near, takes + 1)
    if allowed < 0:
        raise ValueError(
            f"{rows} held-out singular rows cannot certify a rate of {rate} at confidence "
            f"{confidence}, which takes at least {takes}; hold out more, or "
            "ask for less"
        )
    return allowed
