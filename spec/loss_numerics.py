"""LOSS: what every loss owes to arithmetic, whatever it measures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from typing import Final, Protocol

from .arrays import Array, identical
from .clause import clause, refused, require
from .formats import FORMATS
from .loss_terms import ROUNDINGS, slope
from .losses import (
    COARSE,
    GAMMA,
    LOSSES,
    TAU,
    Case,
    Losses,
    Measured,
    cast,
    counted,
    form_of,
    lacking,
    near,
    require_close,
    require_rejection,
    row,
    working,
)

# The parts of the tuples, P, Q, Y_n and Y_d, that a loss is made of.
PARTS: Final = dict.fromkeys(LOSSES, (0, 1, 2, 3)) | {"margin": (1, 3), "rejection": (0, 1, 3)}


@clause("LOSS-7", source="Ours: zero times NaN is NaN, so a mask must select", since="0.2.0")
def masks_select(subject: Losses, name: str, case: Case, mask: Array, poison: float) -> None:
    """Let a mask leave out elements, whose numbers may be NaN, ±∞ or huge.

    1. A loss under a mask is the mean over the elements that it keeps. The rejection loss leaves
       out a sample, unless the mask keeps all of its elements.
    2. What a mask leaves out changes no bit of the loss or of the other elements' gradients.
    3. The gradient at what a mask leaves out is 0.
    """
    if name == "rejection":
        require_rejection(subject, case, mask, coarse=COARSE, claims=(1, 1, 1, 1))
    else:
        require_close(subject, name, case, mask, coarse=COARSE, claims=(1, 1))
    kept = mask.values
    poisoned = (
        x.with_values([v if keep else poison for v, keep in zip(x.values, kept, strict=True)])
        for x in case
    )
    clean = subject.loss(name, *case, mask=mask)
    dirty = subject.loss(name, *poisoned, mask=mask)
    complaint = "{} of {} under {} is {}, and {} with {} in the masked"
    right = identical(clean.value, dirty.value)
    require(right, complaint, name, case, mask, clean.value, dirty.value, poison, claim=2)
    for before, after in ((clean.in_P, dirty.in_P), (clean.in_Q, dirty.in_Q)):
        for keep, one, other in zip(kept, before.values, after.values, strict=True):
            right, claim = (identical(one, other), 2) if keep else (one == other == 0, 3)
            parts = name, case, mask, before, after, poison
            require(right, "gradient of " + complaint, *parts, claim=claim)


@clause("LOSS-8", source="Ours: 300² is no float16, and autocast is for the model", since="0.2.0")
def wide(subject: Losses, name: str, case: Case) -> None:
    """A loss is computed in float32 or wider.

    1. A half-precision loss equals that of the same numbers in float32, bit for bit, if the same
       tuples are ⊥: for the rejection loss that depends on the format (COV-1, DEC-1).
    2. The gradient of a half-precision loss is the float32 gradient, rounded to the tuples' format.
    3. Autocast changes neither a loss nor its gradient.
    """
    dtype = working(case[0].dtype)
    P, Q, Y_n, Y_d = (Array(x.values, x.shape, dtype, x.layout) for x in case)
    plain = precise = subject.loss(name, *case)
    if name != "rejection" or lacking((P, Q, Y_n, Y_d), TAU) == lacking(case, TAU):
        precise = subject.loss(name, P, Q, Y_n, Y_d)
    with subject.reduced_precision():
        reduced = subject.loss(name, *case)
    complaint = "{} {} {} is {}, not {}"
    for how, found, claims in (("of", plain, (1, 2)), ("under autocast of", reduced, (3, 3))):
        right, parts = identical(found.value, precise.value), (name, how, case)
        require(right, complaint, *parts, found.value, precise.value, claim=claims[0])
        for gradient, wanted in ((found.in_P, precise.in_P), (found.in_Q, precise.in_Q)):
            expected = [cast(value, case[0].dtype) for value in wanted.values]
            right = gradient.dtype == case[0].dtype and list(gradient.values) == expected
            require(right, "gradient of " + complaint, *parts, gradient, expected, claim=claims[1])


@clause("LOSS-9", source="Ours: one overflow in a batch ends a training", since="0.2.0")
def finite(subject: Losses, name: str, case: Case, tau: float) -> None:
    """A loss overflows only where its inputs do.

    1. The loss of finite tuples of any magnitude is finite and ≥ 0.
    2. The gradient of such a loss is finite wherever the exact gradient does not exceed the
       format's largest number.
    3. If a part of a predicted tuple that counts is NaN or ±∞, the implicit, chordal and sign
       losses are NaN; if its ``Q`` is NaN, the margin loss is.

    So a step is skipped where a prediction is not finite (STEP-3); for the rejection loss such a
    tuple is ⊥.
    """
    found, kept = subject.loss(name, *case, tau=tau), counted(name, case[3], None)
    parts, complaint = (name, case, tau, found.value), "{} of {} at τ = {} is {}"
    if not all(math.isfinite(v) for x in case for v in x.values):
        entering = [[x.values[i] for x in case[:2]] for i in kept]
        lost = any(not math.isfinite(P + Q) for P, Q in entering)
        lost = any(math.isnan(Q) for _, Q in entering) if name == "margin" else lost
        right = math.isnan(found.value) or not lost or name == "rejection"
        require(right, complaint, *parts, claim=3)
        return
    require(0 <= found.value < math.inf, complaint, *parts)
    guard, largest = Fraction(GAMMA if name == "implicit" else tau), FORMATS[case[0].dtype].largest
    for i, pair in enumerate(zip(found.in_P.values, found.in_Q.values, strict=True)):
        exact = (Fraction(0), Fraction(0))
        if name != "rejection" and i in kept:
            exact = slope(name, row(case, i), guard)
        for expected, value in zip(exact, pair, strict=True):
            right = math.isfinite(value) or abs(expected) > largest * len(kept)
            require(right, complaint + ", its gradient {} at {}", *parts, value, i, claim=2)


@clause("LOSS-10", source="Ours: networks return (0, 0), and no direction leads out", since="0.2.0")
def no_tuple(subject: Losses, name: str, case: Case) -> None:
    """Let prediction or target be ``(0, 0)``, which is no tuple.

    1. At ``(0, 0)`` the chordal and sign losses take their value at a right angle, 1.
    2. At ``(0, 0)`` the implicit loss is 0.
    3. At ``(0, 0)`` the gradients of the chordal, sign and implicit losses are 0.
    """
    found = subject.loss(name, *case)
    kept, claim = len(counted(name, case[3], None)), 1 + (name == "implicit")
    expected = 1.0 if name != "implicit" and kept else 0.0
    # Of a mean over some elements LOSS-4 speaks, of one over none LOSS-13.
    right = found.value == expected or kept < len(case[0].values)
    require(right, "{} of {} is {}, not {}", name, case, found.value, expected, claim=claim)
    still = not any(found.in_P.values + found.in_Q.values)
    require(still, "{} of {} has gradients {} and {}", name, case, found.in_P, found.in_Q, claim=3)


@clause("LOSS-11", source="Ours: what careful IEEE arithmetic costs, by operations", since="0.2.0")
def precise(subject: Losses, name: str, case: Case, mask: Array | None, tau: float) -> None:
    """Let the constant c be 8 for the implicit and sign losses, 7 for chordal, and 4 for margin and
    rejection. Let a term's scale be the square without cancellation for implicit, τ² for margin,
    and 1 for the others.

    1. The error of a loss of n terms is at most ``(c + n/2)·ε`` times the mean scale, plus the
       smallest normal number.
    2. The error of a gradient is at most ``2c·ε/n`` times its scale, plus the smallest normal
       number, and what underflow costs where a tuple's larger part is 1.

    Where another clause says “up to rounding”, a thousand times that is allowed for a loss's
    formula. The scale of a gradient is the gradient without cancellation for implicit, 2τ for
    margin, 2 for rejection, and ``1/max(|P|, |Q|)`` for the others.
    """
    if name == "rejection":
        require_rejection(subject, case, mask, tau=tau)
    else:
        require_close(subject, name, case, mask, tau=tau)


@clause("LOSS-12", source="Ours: (B, 1) and (B,) broadcast to all pairs of a batch", since="0.2.0")
def shapes(subject: Losses, name: str, case: Case, shape: Sequence[int]) -> None:
    """Tuples, targets and a mask of different shapes raise ValueError: nothing is broadcast."""
    size = math.prod(shape)
    other = Array((1.0,) * size, tuple(shape), case[0].dtype)
    mask = Array((True,) * size, tuple(shape), "bool")
    changes = [{i} for i in PARTS[name]] + [{0, 1}, {2, 3}]
    for change in changes:
        P, Q, Y_n, Y_d = (other if i in change else x for i, x in enumerate(case))
        right = refused(ValueError, lambda: subject.loss(name, P, Q, Y_n, Y_d))  # noqa: B023
        require(right, "{} took {} of shape {} with {}", name, sorted(change), shape, case)
    right = refused(ValueError, lambda: subject.loss(name, *case, mask=mask))
    require(right, "{} took a mask of shape {} with {}", name, shape, case)


@clause("LOSS-13", source="Ours: a batch without poles has no sign to lose", since="0.2.0")
def nothing_counts(subject: Losses, name: str, case: Case) -> None:
    """Elements that do not count cost nothing.

    1. If no element counts, or there are none, the loss is 0.
    2. If no element counts, the gradient is 0.
    """
    P, Q, Y_n, Y_d = case
    nothing = Array((False,) * len(P.values), P.shape, "bool")
    ways: list[tuple[Array, Array | None]] = [(Y_d, nothing)]
    if name in ("margin", "rejection", "sign") or not P.values:
        ways.append((Array.full(float(name == "sign"), Y_d), None))
    for targets, mask in ways:
        found = subject.loss(name, P, Q, Y_n, targets, mask=mask)
        parts, complaint = (name, case, targets, mask, found), "{} of {} with {} under {} is {}"
        require(found.value == 0, complaint, *parts)
        still = not any(found.in_P.values + found.in_Q.values)
        require(still, "gradient of " + complaint, *parts, claim=2)


@clause("LOSS-17", source="Ours: 0/0, or a goal beyond reach, trains something else", since="0.4.0")
def settings(subject: Losses, case: Case, gamma: float, goal: float) -> None:
    """A loss refuses a setting outside its range.

    1. A γ that is 0, negative or NaN raises ValueError.
    2. A goal of coverage outside [0, 1], or NaN, raises ValueError.
    """
    right = gamma > 0 or refused(ValueError, lambda: subject.loss("implicit", *case, gamma=gamma))
    require(right, "γ = {} was accepted", gamma)
    call = lambda: subject.loss("rejection", *case, goal=goal)  # noqa: E731
    right = 0 <= goal <= 1 or refused(ValueError, call, claim=2)
    require(right, "a goal of {} was accepted", goal, claim=2)


VARIABLE: Final = {
    "numerators": ("implicit", "chordal", "sign", "squares", "training"),
    "denominators": ("implicit", "chordal", "sign", "squares", "training"),
    "tau": ("margin", "rejection", "squares", "training"),
    "weights": ("training",),
}
"""What must not require a gradient, of which losses; LOSS-19."""


class Differentiates(Losses, Protocol):
    """A subject whose losses are differentiated further, and in something else."""

    def variable(self, part: str, name: str) -> None:
        """Measure a loss, a part of which, as in :data:`VARIABLE`, requires a gradient."""

    def growth(self, name: str, case: Case) -> Measured:
        """Return how fast a loss's gradients change as each tuple grows by its own length."""


@clause("LOSS-19", source="Ours: a gradient that is dropped in silence trains less", since="0.6.0")
def differentiable(subject: Differentiates, name: str, case: Case) -> None:
    """A loss can be differentiated in its predictions only, and there twice.

    1. Targets, a τ or weights that require a gradient raise ValueError.
    2. The derivative of a chordal or sign gradient along its tuple is minus the gradient, up to
       rounding.
    """
    for part, losses in VARIABLE.items():
        for loss in losses:
            raised = refused(ValueError, partial(subject.variable, part, loss))
            require(raised, "{} of {} require a gradient, and were taken", part, loss)
    found, gradients = subject.growth(name, case), subject.loss(name, *case)
    slack = COARSE * ROUNDINGS[name] * form_of(case).epsilon
    for now, then in (gradients.in_P, found.in_P), (gradients.in_Q, found.in_Q):
        for i, pair in enumerate(zip(now.values, then.values, strict=True)):
            size = max(abs(x.values[i]) for x in case[:2]) * len(now.values) or 1
            right = near(pair[1], -Fraction(pair[0]), slack / Fraction(size))
            require(right, "{} of {}: of {} the gradient grows by {}", name, case, *pair, claim=2)
