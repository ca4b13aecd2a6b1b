"""Losses that go wrong, each by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

from properties.faults.register import fault, zeroproof_fault
from spec.loss_terms import Row, cross, implicit_weight, squared_sizes, term
from spec.losses import Measured, lacking, samples

NONE = Fraction(0), Fraction(0)


def of(loss: str, change: Callable[[Any, Row, Fraction], Any]) -> Any:
    """Return an override of a term or slope of one loss, given the right one and the element."""

    def override(real: Any, name: str, element: Any, guard: Any, *rest: Any) -> Any:
        right = real(name, element, guard, *rest)
        return change(right, element, guard) if name == loss else right

    return override


def counts(loss: str, like: str) -> Any:
    """Return an override by which elements count for one loss as they do for another."""
    return lambda real, name, *rest: real(like if name == loss else name, *rest)


def nudged(loss: str, factor: float) -> Any:
    """Return an override that multiplies the value of one loss."""

    def override(real: Any, name: str, *case: Any, **options: Any) -> Measured:
        found: Measured = real(name, *case, **options)
        return replace(found, value=found.value * factor) if name == loss else found

    return override


fault(
    "LOSS-1.1",
    "γ guards the root of the denominator, and counts as its square.",
    term=of(
        "implicit",
        lambda right, e, gamma: min(
            right, cross(*e) ** 2 / implicit_weight(*e, max(gamma**2, Fraction(1, 10**60)))
        ),
    ),
)


def _moving(right: Any, e: Row, gamma: Fraction) -> Any:
    shrink = 2 * (cross(*e) / implicit_weight(*e, gamma)) ** 2
    return right[0] - shrink * e[0] * e[2] ** 2, right[1] - shrink * e[1] * e[3] ** 2


fault("LOSS-1.2", "The gradient is that of the whole quotient.", slope=of("implicit", _moving))
fault(
    "LOSS-1.3",
    "A term has no cap, and the sum overflows.",
    term=of("implicit", lambda right, e, gamma: term("implicit", *e, gamma)),
)
fault(
    "LOSS-1.3",
    "A term is capped at a quarter of the largest number, however many there are.",
    term=of("implicit", lambda right, e, g: min(term("implicit", *e, g), Fraction(2) ** 125)),
)
fault(
    "LOSS-1.4",
    "A capped term is clamped, and has no gradient to come down by.",
    slope=of(
        "implicit",
        lambda right, e, g: NONE if term("implicit", *e, g) > Fraction(2) ** 126 else right,
    ),
)
fault(
    "LOSS-2.1",
    "The chordal loss divides by the size of the prediction only.",
    term=of(
        "chordal",
        lambda right, e, _: cross(*e) ** 2 / (e[0] ** 2 + e[1] ** 2) if e[0] or e[1] else right,
    ),
)
fault(
    "LOSS-2.1",
    "An ε in the denominator keeps the chordal loss defined, and lets it shrink tuples.",
    term=of(
        "chordal", lambda right, e, _: cross(*e) ** 2 / (squared_sizes(*e) + Fraction(1, 10**9))
    ),
)
fault(
    "LOSS-2.2",
    "The gradient is half the derivative.",
    slope=of("chordal", lambda right, *_: (right[0] / 2, right[1] / 2)),
)
fault("LOSS-2.3", "A right angle is rounded to more than 1.", loss=nudged("chordal", 1 + 2.0**-20))
fault(
    "LOSS-3.1",
    "The margin is the shortfall, not its square.",
    term=of("margin", lambda right, e, tau: min(right, max(Fraction(0), tau - abs(e[1])))),
)
fault(
    "LOSS-3.2",
    "The margin raises Q, also where it is negative.",
    slope=of("margin", lambda right, *_: (right[0], -abs(right[1]))),
)
fault(
    "LOSS-3.3",
    "A term has no cap, and the sum overflows.",
    term=of("margin", lambda right, e, tau: term("margin", *e, tau)),
)
fault(
    "LOSS-3.4",
    "The shortfall is clamped so that its square is finite, and the gradient with it.",
    slope=of("margin", lambda right, e, tau: NONE if tau - abs(e[1]) > 10**19 else right),
)
fault(
    "LOSS-3.5",
    "The margin pushes the denominators of infinite targets away from 0, too.",
    counted=counts("margin", "chordal"),
)
fault(
    "LOSS-4.1",
    "The sign loss is the squared sine, to which both orientations are alike.",
    term=lambda real, name, *rest: real("chordal" if name == "sign" else name, *rest),
)
fault(
    "LOSS-4.2",
    "The sign loss turns tuples the other way.",
    slope=of("sign", lambda right, *_: (-right[0], -right[1])),
)
fault("LOSS-4.3", "Opposite tuples are rounded to more than 2.", loss=nudged("sign", 1 + 2.0**-20))
fault(
    "LOSS-4.4",
    "Finite targets are charged for the sign of their tuple, which means nothing.",
    counted=counts("sign", "chordal"),
)
fault(
    "LOSS-4.4",
    "Every singular target is charged, also where a mask says that it is NaN.",
    counted=lambda real, name, Y_d, mask: real(name, Y_d, None if name == "sign" else mask),
)


def _of_elements(real: Any, case: Any, *rest: Any) -> Measured:
    flat = [replace(x, shape=(len(x.values),)) for x in case]
    found: Measured = real(case, *rest)
    return replace(found, value=real(flat, *rest).value)


fault(
    "LOSS-5.1",
    "Coverage is over all samples, so that the network must answer where there is no value.",
    rejection=lambda real, case, *a: real((*case[:3], case[3].full(1.0, case[3])), *a),
)
fault("LOSS-5.1", "Coverage is over outputs, not samples.", rejection=_of_elements)
fault(
    "LOSS-5.1",
    "Coverage beyond the goal is charged, too.",
    rejection=lambda real, case, mask, tau, goal: replace(
        real(case, mask, tau, goal),
        value=float((Fraction(goal) - (lacking(case, tau, mask)[0] or Fraction(goal))) ** 2),
    ),
)
zeroproof_fault(
    "LOSS-5.1",
    "A tuple whose quotient overflows is covered.",
    "zeroproof.losses.coverage.tuple_bottom",
    lambda real, P, Q, tau: ~((Q.abs().double() >= tau) & (Q != 0) & P.isfinite() & Q.isfinite()),
)
fault(
    "LOSS-5.2",
    "The loss counts samples, and a count has no gradient.",
    rejection_slopes=lambda real, *a: {},
)
fault(
    "LOSS-5.2",
    "The gradient is that of |Q|, which is 0 at the very zero that it should leave.",
    rejection_slopes=lambda real, case, *a: {
        i: g for i, g in real(case, *a).items() if case[1].values[i]
    },
)
fault(
    "LOSS-5.2",
    "The gradient is that of 1e-9 times the soft coverage.",
    rejection_slopes=lambda real, *a: {i: g / 10**9 for i, g in real(*a).items()},
)
fault(
    "LOSS-5.2",
    "Each ⊥ tuple is pushed as if its sample had one output.",
    rejection_slopes=lambda real, case, *a: {
        i: g * len(samples(case[0].shape)[0]) for i, g in real(case, *a).items()
    },
)
fault(
    "LOSS-5.3",
    "A tuple of parts that are not finite is pushed, too.",
    rejection_slopes=lambda real, case, *a: {
        **dict.fromkeys((i for i, P in enumerate(case[0].values) if P != P), Fraction(-1, 2)),
        **real(case, *a),
    },
)
fault(
    "LOSS-5.4",
    "Every denominator is pushed, of covered samples too.",
    rejection_slopes=lambda real, case, *a: {
        **{i: Fraction(-1, 2) for i, Q in enumerate(case[1].values) if math.isfinite(Q)},
        **real(case, *a),
    },
)
fault(
    "LOSS-5.4",
    "Numerators are pulled to 0.",
    rejection=lambda real, *a: replace(real(*a), in_P=(found := real(*a)).in_Q, in_Q=found.in_Q),
)
fault(
    "LOSS-14.1",
    "An ε of 2⁻²⁰ is added to the denominator, relative to the prediction's squares only.",
    term=of(
        "chordal",
        lambda right, e, _: right * squared_sizes(*e) / (squared_sizes(*e) + Fraction(1, 2**20)),
    ),
)
fault(
    "LOSS-14.2",
    "Tuples are first rounded to powers of two.",
    term=of(
        "chordal",
        lambda right, e, _: right * (1 + Fraction(math.frexp(float(e[0]))[0]) / 2**10),
    ),
)
fault(
    "LOSS-15.1",
    "The gradient holds the denominator constant, as the implicit loss's does.",
    slope=of(
        "chordal",
        lambda right, e, _: (
            (
                (s := 2 * cross(*e) / squared_sizes(*e)) * e[3],
                -s * e[2],
            )
            if squared_sizes(*e)
            else right
        ),
    ),
)
fault(
    "LOSS-15.2",
    "The gradient is that of the sum, not of the mean.",
    shared=lambda real, slopes: slopes,
)
