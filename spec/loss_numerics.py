"""LOSS: what every loss owes to arithmetic, whatever it measures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from .arrays import Array, identical
from .clause import clause, refused, require
from .formats import FORMATS
from .loss_terms import rejection, slope, tolerance
from .losses import (
    COARSE,
    GAMMA,
    GOAL,
    Case,
    Losses,
    cast,
    counted,
    form_of,
    lacking,
    require_close,
    require_near,
    row,
    working,
)


@clause("LOSS-7", source="Ours: zero times NaN is NaN, so a mask must select", since="0.2.0")
def masks_select(subject: Losses, name: str, case: Case, mask: Array, poison: float) -> None:
    """A loss under a mask is the mean over the elements that it keeps; a masked NaN, ±∞ or huge
    number changes no bit of the value and of the others' gradients, and its own gradient is 0.
    """
    P, Q, Y_n, Y_d = (
        x.with_values(
            [v if kept else poison for v, kept in zip(x.values, mask.values, strict=True)]
        )
        for x in case
    )
    clean, dirty = (
        subject.loss(name, *case, mask=mask),
        subject.loss(name, P, Q, Y_n, Y_d, mask=mask),
    )
    complaint = "{} of {} under {} is {}, and {} with {} in the masked"
    right = identical(clean.value, dirty.value)
    require(right, complaint, name, case, mask, clean.value, dirty.value, poison)
    for before, after in ((clean.in_P, dirty.in_P), (clean.in_Q, dirty.in_Q)):
        for kept, one, other in zip(mask.values, before.values, after.values, strict=True):
            right = identical(one, other) if kept else one == other == 0
            require(right, "gradient of " + complaint, name, case, mask, before, after, poison)
    if name != "rejection":
        require_close(subject, name, case, mask, coarse=COARSE)


@clause(
    "LOSS-8",
    source="Ours: the square of 300 is no float16, and autocast is for the model",
    since="0.2.0",
)
def wide(subject: Losses, name: str, case: Case) -> None:
    """A loss is computed in float32 or wider: that of half-precision tuples is the loss of the
    same numbers in float32, their gradient that one rounded, and autocast changes neither.
    """
    dtype = working(case[0].dtype)
    P, Q, Y_n, Y_d = (Array(x.values, x.shape, dtype, x.layout) for x in case)
    reference = subject.loss(name, P, Q, Y_n, Y_d)
    with subject.reduced_precision():
        reduced = subject.loss(name, *case)
    for how, found in (("of", subject.loss(name, *case)), ("under autocast of", reduced)):
        right = identical(found.value, reference.value)
        require(right, "{} {} {} is {}, not {}", name, how, case, found.value, reference.value)
        pairs = ((found.in_P, reference.in_P), (found.in_Q, reference.in_Q))
        for gradient, precise in pairs:
            expected = [cast(value, gradient.dtype) for value in precise.values]
            right = gradient.dtype == case[0].dtype and list(gradient.values) == expected
            require(right, "gradient of {} {} {}: {}, not {}", name, how, case, gradient, expected)


@clause("LOSS-9", source="Ours: one overflow in a batch ends a training", since="0.2.0")
def finite(subject: Losses, name: str, case: Case, tau: float) -> None:
    """A loss of finite tuples of any magnitude is finite and ≥ 0, and its gradient is finite
    wherever the exact one is a number of the tuples' format.
    """
    found = subject.loss(name, *case, tau=tau)
    right = math.isfinite(found.value) and found.value >= 0
    require(right, "{} of {} at τ = {} is {}", name, case, tau, found.value)
    guard, kept = Fraction(GAMMA if name == "implicit" else tau), counted(name, case[3], None)
    largest = FORMATS[case[0].dtype].largest
    for i, pair in enumerate(zip(found.in_P.values, found.in_Q.values, strict=True)):
        exact = (Fraction(0), Fraction(0))
        if name != "rejection" and i in kept:
            exact = slope(name, *row(case, i), guard)
        for expected, value in zip(exact, pair, strict=True):
            right = math.isfinite(value) or abs(expected) > largest * len(kept)
            require(right, "{} of {} at τ = {}: gradient {} at {}", name, case, tau, value, i)


@clause(
    "LOSS-10",
    source="Ours: a network can return (0, 0), and no direction leads away from it",
    since="0.2.0",
)
def no_tuple(subject: Losses, name: str, case: Case) -> None:
    """Where prediction or target is ``(0, 0)``, which is no tuple, chordal and sign take their
    value at a right angle, 1, the implicit loss is 0, and the gradient is 0.
    """
    found = subject.loss(name, *case)
    expected = 1.0 if name != "implicit" and counted(name, case[3], None) else 0.0
    require(found.value == expected, "{} of {} is {}, not {}", name, case, found.value, expected)
    still = not any(found.in_P.values + found.in_Q.values)
    require(still, "{} of {} has gradients {} and {}", name, case, found.in_P, found.in_Q)


@clause(
    "LOSS-11",
    source="Ours: what careful IEEE arithmetic costs, operation by operation, and no more",
    since="0.2.0",
)
def precise(subject: Losses, name: str, case: Case, mask: Array | None, tau: float) -> None:
    """A loss of n terms lies within ``(c + n/2)·eps`` mean scales and the smallest normal number of
    the exact one, and a gradient within ``2c·eps`` of its scale, the smallest normal number and
    what underflow at unit size costs, with c = 8, 7, 4, 8 and 4 and the scales 1 for bounded terms
    and the square without cancellation for implicit and margin.
    """
    if name != "rejection":
        require_close(subject, name, case, mask, tau=tau)
        return
    found = subject.loss(name, *case, mask=mask, tau=tau).value
    expected = rejection(lacking(case, tau, mask)[0], Fraction(GOAL))
    slack = tolerance(name, form_of(case), [Fraction(1)])
    require_near(found, expected, slack, "rejection of {} under {} at τ = {}", case, mask, tau)


@clause(
    "LOSS-12",
    source="Ours: (B, 1) against (B,) broadcasts to every prediction against every target",
    since="0.2.0",
)
def shapes(subject: Losses, name: str, case: Case, shape: Sequence[int]) -> None:
    """Tuples, targets and masks whose shapes are not all the same are a ValueError, never a
    broadcast.
    """
    P, Q, Y_n, Y_d = case
    size = math.prod(shape)
    other = Array((1.0,) * size, tuple(shape), P.dtype)
    mask = Array((True,) * size, tuple(shape), "bool")
    calls = {
        "targets": lambda: subject.loss(name, P, Q, other, other),
        "tuples": lambda: subject.loss(name, other, other, Y_n, Y_d),
        "a mask": lambda: subject.loss(name, *case, mask=mask),
    }
    if name != "margin":
        calls["numerators"] = lambda: subject.loss(name, other, Q, Y_n, Y_d)
    for what, call in calls.items():
        right = refused(ValueError, call)
        require(right, "{} took {} of shape {} with {}", name, what, shape, case)


@clause("LOSS-13", source="Ours: a batch without poles has no sign to lose", since="0.2.0")
def nothing_counts(subject: Losses, name: str, case: Case) -> None:
    """A loss in which no element counts, be it that there are none, is 0 with a gradient of 0."""
    nothing = Array((False,) * len(case[0].values), case[0].shape, "bool")
    for mask in (nothing, None) if not case[0].values else (nothing,):
        found = subject.loss(name, *case, mask=mask)
        require(found.value == 0, "{} of {} under {} is {}", name, case, mask, found.value)
        still = not any(found.in_P.values + found.in_Q.values)
        require(still, "{} of {} under {} has a gradient: {}", name, case, mask, found)
