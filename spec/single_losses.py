"""LOSS: each loss by itself."""

from __future__ import annotations

import math
from fractions import Fraction

from .arrays import Array, identical
from .clause import clause, require
from .loss_terms import tolerance
from .losses import (
    COARSE,
    Case,
    Losses,
    cast,
    form_of,
    near,
    require_close,
    require_only,
    require_rejection,
    row,
)


@clause(
    "LOSS-1",
    source="Guide: the implicit loss; Ours: it has no bound of its own and its sum must be finite, "
    "so a term has a cap, at which the gradient must still lead down",
    since="0.2.0",
)
def implicit_fit(subject: Losses, case: Case, gamma: float) -> None:
    """The implicit loss is a mean over all elements.

    1. A term of the implicit loss is ``(P·Y_d − Q·Y_n)² / (Q²Y_d² + P²Y_n² + γ)``, up to rounding.
    2. The gradient of the implicit loss holds the denominator constant.
    3. Each implicit term is capped at ``largest/(4N)``, N being the number of all elements.
    4. A capped implicit term keeps the direction of its gradient.

    γ is 1e-9 in the guide. This is no distance on the projective line: for ``P = Q`` and target 2
    the squared sine is 0.1 at every size, and γ rewards shrinking.
    """
    require_close(subject, "implicit", case, gamma=gamma, coarse=COARSE, capped=(3, 4))


@clause(
    "LOSS-2",
    source="Ours: a fit should be a distance of lines; the same network came much closer across "
    "poles with this one than with the implicit loss",
    since="0.2.0",
)
def chordal_fit(subject: Losses, case: Case) -> None:
    """The chordal loss is a mean over all elements.

    1. A term of the chordal loss is ``(P·Y_d − Q·Y_n)² / ((P² + Q²)(Y_n² + Y_d²))``, the squared
       sine of the angle between the lines, up to rounding.
    2. The gradient of the chordal loss is the derivative, up to rounding.
    3. The chordal loss lies in [0, 1], also after rounding.
    """
    found = require_close(subject, "chordal", case, coarse=COARSE)
    require(0 <= found.value <= 1, "chordal of {} is {}", case, found.value, claim=3)


@clause("LOSS-3", source="Ours: denominators of finite targets stay clear of 0", since="0.2.0")
def margin_term(subject: Losses, case: Case, tau: float) -> None:
    """The margin loss is a mean over the elements with a finite target, for every finite τ.

    1. A term of the margin loss is ``max(0, τ − |Q|)²``, up to rounding.
    2. The gradient of the margin loss is the derivative, up to rounding, and 0 at ``Q = 0``.
    3. Each margin term is capped at ``largest/(4N)``, N being the number of all elements, counted
       or not.
    4. A capped margin term keeps its gradient.
    5. Elements with a singular target change neither the margin loss nor its gradient.
    """
    require_only(subject, "margin", case, None, 5, tau=tau)
    require_close(subject, "margin", case, tau=tau, coarse=COARSE, capped=(3, 4))


@clause("LOSS-4", source="Ours: (P, Q) and (−P, −Q) are one value; NaN has no side", since="0.2.0")
def sign_term(subject: Losses, case: Case, oriented: Array) -> None:
    """The sign loss is a mean over the elements whose target is ±∞.

    1. A term of the sign loss is ``1 − cos∠((P, Q), (Y_n, Y_d))``, up to rounding.
    2. The gradient of the sign loss is the derivative, up to rounding.
    3. The sign loss lies in [0, 2], also after rounding.
    4. Elements with a finite or unoriented target change neither the sign loss nor its gradient.
    """
    for mask in (oriented, None):
        require_only(subject, "sign", case, mask, 4)
        found = require_close(subject, "sign", case, mask, coarse=COARSE)
        right = 0 <= found.value <= 2
        require(right, "sign of {} under {} is {}", case, mask, found.value, claim=3)


@clause(
    "LOSS-5",
    source="Guide: coverage below its target is charged; Ours: the hard coverage has no gradient, "
    "a term without gradient trains nothing, and the mean of |Q| rises with coverage",
    since="0.2.0",
)
def rejection_term(subject: Losses, case: Case, tau: float, goal: float) -> None:
    """The rejection loss charges a coverage below a goal.

    1. The rejection loss is ``max(0, goal − coverage)²``, up to rounding, with the coverage (COV-2)
       of the samples whose targets are all finite.
    2. At a ⊥ tuple of these samples, m tuples in all, its gradient in ``Q`` is
       ``−2·s·max(0, goal − coverage)/m``, up to rounding; s is the sign of ``Q``, also of ±0.
    3. At a tuple with a part that is not finite, its gradient is 0.
    4. At tuples that are not ⊥, at other samples, and in ``P``, its gradient is 0.

    The gradient is that of a soft coverage, the mean of ``|Q|``: a step against it raises ``|Q|``
    of each tuple that is ⊥.
    """
    require_rejection(subject, case, tau=tau, goal=goal, claims=(1, 2, 3, 4))


@clause("LOSS-14", source="Ours: a distance of lines knows no sizes", since="0.2.0")
def invariant(subject: Losses, case: Case, ours: float, theirs: float) -> None:
    """Let all predicted tuples be scaled by one λ ≠ 0, and all targets by another, where no number
    over- or underflows.

    1. Scaling tuples by powers of two, of either sign, changes no bit of the chordal loss.
    2. Scaling tuples by any other λ changes the chordal loss by no more than rounding.
    """
    scaled = [
        x.with_values([cast(Fraction(factor) * Fraction(value), x.dtype) for value in x.values])
        for x, factor in zip(case, (ours, ours, theirs, theirs), strict=True)
    ]
    before = subject.loss("chordal", *case).value
    after = subject.loss("chordal", *scaled).value
    exact = all(abs(math.frexp(factor)[0]) == 0.5 for factor in (ours, theirs))
    # That of two losses, and of the scaled numbers.
    slack = 3 * tolerance("chordal", form_of(case), [Fraction(1)] * len(case[0].values))
    right = identical(before, after) if exact else near(after, Fraction(before), slack)
    complaint = "chordal of {} is {}, and {} scaled by {} and {}"
    require(right, complaint, case, before, after, ours, theirs, claim=1 if exact else 2)


@clause(
    "LOSS-15",
    source="Ours: a step must turn a tuple, not stretch it, and small tuples bound its length",
    since="0.2.0",
)
def turns(subject: Losses, case: Case) -> None:
    """Let the gradient of a chordal loss of n elements be that at any one tuple.

    1. The gradient of a chordal loss is orthogonal to the tuple, up to rounding.
    2. The gradient of a chordal loss is at most ``1/(n·‖(P, Q)‖)`` long, up to rounding.
    """
    found = subject.loss("chordal", *case)
    count, slack = len(case[0].values), 64 * form_of(case).epsilon
    for i, pair in enumerate(zip(found.in_P.values, found.in_Q.values, strict=True)):
        require(all(map(math.isfinite, pair)), "gradient {} at {} of {}", pair, i, case, claim=2)
        P, Q, _, _ = row(case, i)
        g_P, g_Q = (count * Fraction(g) for g in pair)
        long = (g_P * g_P + g_Q * g_Q) * (P * P + Q * Q) > (1 + slack) ** 2
        right = abs(P * g_P + Q * g_Q) <= slack
        require(right, "gradient {} at {} of {} is not orthogonal", pair, i, case)
        require(not long, "gradient {} at {} of {} is too long", pair, i, case, claim=2)
