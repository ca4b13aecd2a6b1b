"""LOSS: how far predicted tuples are from lifted targets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Protocol, TypeAlias

from .algebra import Bottom
from .arrays import Array, identical
from .clause import clause, require
from .coverage import tuple_is_bottom
from .formats import FORMATS, Format, round_to
from .loss_terms import (
    Row,
    at_ceiling,
    mean,
    rejection,
    saturate,
    scale,
    slope,
    slope_tolerances,
    term,
    tolerance,
)

LOSSES: Final = ("implicit", "chordal", "margin", "sign", "rejection")
GAMMA: Final = 1e-9
TAU: Final = 0.5
GOAL: Final = 1.0

# A clause about what is computed is not about how well, which is LOSS-11.
COARSE: Final = 1000

Case: TypeAlias = tuple[Array, Array, Array, Array]
"""``P, Q, Y_n, Y_d``, alike in shape and dtype; samples lie along the first dimension."""


@dataclass(frozen=True)
class Measured:
    """A loss's value, and its gradients in ``P`` and in ``Q``, of their shape and dtype."""

    value: float
    in_P: Array
    in_Q: Array


class Losses(Protocol):
    """A subject that measures losses."""

    def loss(
        self,
        name: str,
        P: Array,
        Q: Array,
        Y_n: Array,
        Y_d: Array,
        *,
        mask: Array | None = None,
        tau: float = TAU,
        gamma: float = GAMMA,
        goal: float = GOAL,
    ) -> Measured:
        """Return the mean of a loss (one of ``LOSSES``) over the elements that count.

        Those are all for the two fits, the finite targets (``Y_d ≠ 0``) for margin and rejection,
        the others for sign; of these only what the bool ``mask`` keeps, if there is one. For sign
        it leaves out the unoriented targets. ValueError for shapes that differ.
        """

    def reduced_precision(self) -> AbstractContextManager[object]:
        """Return a context in which the library computes in half precision where it may."""


def working(dtype: str) -> str:
    """Return the format in which a loss of this dtype is computed; LOSS-8."""
    return "float64" if dtype == "float64" else "float32"


def cast(x: Fraction | float, dtype: str) -> float:
    """Return the nearest number of a format, ±∞ for what is too large."""
    if isinstance(x, float) and not math.isfinite(x):
        return x
    nearest = round_to(dtype, Fraction(x))
    if isinstance(nearest, Bottom):
        return math.inf if x > 0 else -math.inf
    return nearest


def counted(name: str, Y_d: Array, mask: Array | None) -> list[int]:
    """Return the positions of the elements that count for a loss."""
    kept = [i for i in range(len(Y_d.values)) if mask is None or mask.values[i]]
    if name in ("margin", "rejection"):
        return [i for i in kept if Y_d.values[i] != 0]
    return [i for i in kept if Y_d.values[i] == 0] if name == "sign" else kept


def row(case: Case, index: int) -> Row:
    """Return the element at a position, exactly."""
    P, Q, Y_n, Y_d = (Fraction(x.values[index]) for x in case)
    return P, Q, Y_n, Y_d


def samples(shape: Sequence[int]) -> list[range]:
    """Return the positions of each sample's outputs."""
    size = math.prod(shape[1:])
    return [range(i * size, (i + 1) * size) for i in range(shape[0] if shape else 1)]


def lacking(case: Case, tau: float, mask: Array | None = None) -> tuple[Fraction | None, set[int]]:
    """Return the coverage of the samples that count for the rejection, and their ⊥ elements.

    LOSS-5: a sample counts if all of its targets are finite, and is covered if no output is ⊥.
    """
    P, Q, _, Y_d = case
    kept = set(counted("rejection", Y_d, mask))
    chosen = [sample for sample in samples(P.shape) if kept.issuperset(sample)]
    bottoms = {i for s in chosen for i in s if tuple_is_bottom(P.values[i], Q.values[i], tau)}
    covered = sum(bottoms.isdisjoint(sample) for sample in chosen)
    return (Fraction(covered, len(chosen)) if chosen else None), bottoms


def form_of(case: Case) -> Format:
    """Return the format in which a loss of the tuples is computed."""
    return FORMATS[working(case[0].dtype)]


def require_near(found: float, exact: Fraction, slack: Fraction, what: str, *parts: object) -> None:
    """Require a finite number within a distance of an exact one."""
    right = math.isfinite(found) and abs(Fraction(found) - exact) <= slack
    require(right, what + " is {}, not {}", *parts, found, exact)


def _between(found: float, low: Fraction, high: Fraction) -> bool:
    return math.isfinite(found) and low <= Fraction(found) <= high


def _slopes(
    name: str, element: Row, guard: Fraction, form: Format, counts: tuple[int, int], coarse: int
) -> Iterator[tuple[Fraction, Fraction] | None]:
    """Walk the ranges of the right gradients of a mean in an element's ``P`` and ``Q``.

    ``counts`` are the elements that count and all elements. None stands for a gradient that the
    format cannot hold; at its ceiling an implicit term keeps the direction, and of the larger of
    the two a size.
    """
    kept, size = counts
    exact = slope(name, *element, guard)
    slacks = slope_tolerances(name, form, *element, guard, kept)
    for part, tolerated in zip(exact, slacks, strict=True):
        expected = part / kept
        if abs(expected) > form.largest:
            yield None
        elif name == "implicit" and at_ceiling(element, guard, form, size):
            leading = abs(part) == max(map(abs, exact))
            least = form.smallest_normal * form.epsilon if leading else Fraction(0)
            yield (least, form.largest) if expected > 0 else (-form.largest, -least)
        else:
            slack = coarse * tolerated
            yield expected - slack, expected + slack


def require_close(
    subject: Losses,
    name: str,
    case: Case,
    mask: Array | None = None,
    *,
    tau: float = TAU,
    gamma: float = GAMMA,
    coarse: int = 1,
) -> Measured:
    """Require value and gradient within so many tolerances of the exact ones."""
    found = subject.loss(name, *case, mask=mask, tau=tau, gamma=gamma)
    guard = Fraction(gamma if name == "implicit" else tau)
    form, size = form_of(case), len(case[0].values)
    rows = {i: row(case, i) for i in counted(name, case[3], mask)}
    terms = [saturate(term(name, *r, guard), form, size) for r in rows.values()]
    scales = [saturate(scale(name, *r, guard), form, size) for r in rows.values()]
    slack = coarse * tolerance(name, form, scales)
    require_near(found.value, mean(terms), slack, "{} of {} under {}", name, case, mask)
    nothing = [(Fraction(0), Fraction(0))] * 2
    for i, pair in enumerate(zip(found.in_P.values, found.in_Q.values, strict=True)):
        right = (
            _slopes(name, rows[i], guard, form, (len(rows), size), coarse) if i in rows else nothing
        )
        for part, value, bounds in zip("PQ", pair, right, strict=True):
            holds = bounds is None or _between(value, *bounds)
            complaint = "gradient in {} of {} at {} of {} under {} is {}, not within {}"
            require(holds, complaint, part, name, i, case, mask, value, bounds)
    return found


@clause(
    "LOSS-1",
    source="Guide: the implicit loss; Ours: it has no bound of its own and its sum must be finite, "
    "so a term has a ceiling, from where the gradient must still lead down",
    since="0.2.0",
)
def implicit_fit(subject: Losses, case: Case, gamma: float) -> None:
    """The implicit loss is the mean of ``E / (Q²Y_d² + P²Y_n² + γ)``, ``E = (P·Y_d − Q·Y_n)²``, up
    to rounding; no term counts for more than a quarter of the format's largest number over the
    number of elements; the gradient holds the denominator constant, and keeps its direction where
    a term is at that ceiling.

    γ is 1e-9 in the guide. This is no distance on the projective line: for ``P = Q`` and target 2
    the squared sine is 0.1 at every size, and γ rewards shrinking.
    """
    require_close(subject, "implicit", case, gamma=gamma, coarse=COARSE)


@clause(
    "LOSS-2",
    source="Ours: a fit should be a distance of lines; the same network came much closer across "
    "poles with this one than with the implicit loss",
    since="0.2.0",
)
def chordal_fit(subject: Losses, case: Case) -> None:
    """The chordal loss is the mean of ``(P·Y_d − Q·Y_n)² / ((P² + Q²)(Y_n² + Y_d²))``, the squared
    sine of the angle between the lines, up to rounding and never outside [0, 1]; its gradient is
    the derivative.
    """
    found = require_close(subject, "chordal", case, coarse=COARSE)
    require(0 <= found.value <= 1, "chordal of {} is {}", case, found.value)


@clause("LOSS-3", source="Ours: denominators of finite targets stay clear of 0", since="0.2.0")
def margin_term(subject: Losses, case: Case, tau: float) -> None:
    """The margin is the mean of ``max(0, τ − |Q|)²`` over the elements with a finite target, 0 if
    there are none, up to rounding and for every finite τ; no term counts for more than a quarter
    of the format's largest number over the number of elements; the gradient is the derivative, at
    that ceiling too.
    """
    require_close(subject, "margin", case, tau=tau, coarse=COARSE)


@clause(
    "LOSS-4",
    source="Ours: (P, Q) and (−P, −Q) are the same finite value, and NaN tells no side",
    since="0.2.0",
)
def sign_term(subject: Losses, case: Case, oriented: Array) -> None:
    """The sign loss is the mean of ``1 − cos∠((P, Q), (Y_n, Y_d))`` over the oriented targets, 0 if
    there are none, up to rounding and never outside [0, 2]; its gradient is the derivative; finite
    and unoriented targets contribute nothing to either.
    """
    for mask in (oriented, None):
        found = require_close(subject, "sign", case, mask, coarse=COARSE)
        require(0 <= found.value <= 2, "sign of {} under {} is {}", case, mask, found.value)


@clause(
    "LOSS-5",
    source="Guide: coverage below its target is charged; Ours: the hard coverage has no gradient, "
    "and a term without gradient trains nothing",
    since="0.2.0",
)
def rejection_term(subject: Losses, case: Case, tau: float, goal: float) -> None:
    """The rejection loss is ``max(0, goal − coverage)²`` of the hard coverage of the samples whose
    targets are all finite, 0 if there are none, up to rounding; where it is not 0, a step against
    its gradient raises ``|Q|`` of each ⊥ element of these samples, ``Q = ±0`` too, and moves
    nothing else.
    """
    found = subject.loss("rejection", *case, tau=tau, goal=goal)
    coverage, bottoms = lacking(case, tau)
    expected = rejection(coverage, Fraction(goal))
    slack = COARSE * tolerance("rejection", form_of(case), [Fraction(1)])
    require_near(
        found.value, expected, slack, "rejection of {} at τ = {}, goal {}", case, tau, goal
    )
    for i, (q, g) in enumerate(zip(case[1].values, found.in_Q.values, strict=True)):
        raised = -g * math.copysign(1.0, q)
        right = raised > 0 if expected and i in bottoms else raised == 0
        complaint = "rejection of {} at τ = {}, goal {} moves |Q| of element {} by {}"
        require(right, complaint, case, tau, goal, i, raised)
    require(not any(found.in_P.values), "rejection of {} moves P by {}", case, found.in_P)


@clause("LOSS-14", source="Ours: a distance of lines knows no sizes", since="0.2.0")
def invariant(subject: Losses, case: Case, ours: float, theirs: float) -> None:
    """Scaling all predicted or all target tuples by a power of two of either sign changes no bit of
    the chordal loss, and by any λ ≠ 0 nothing but rounding.
    """
    P, Q, Y_n, Y_d = (
        x.with_values([factor * value for value in x.values])
        for x, factor in zip(case, (ours, ours, theirs, theirs), strict=True)
    )
    before, after = (subject.loss("chordal", *c).value for c in (case, (P, Q, Y_n, Y_d)))
    complaint = "chordal of {} is {}, and {} scaled by {} and {}"
    require(identical(before, after), complaint, case, before, after, ours, theirs)


@clause(
    "LOSS-15",
    source="Ours: a step must turn a tuple, not stretch it, and small tuples bound its length",
    since="0.2.0",
)
def turns(subject: Losses, case: Case) -> None:
    """The chordal loss's gradient at each tuple is orthogonal to it and at most ``1/‖(P, Q)‖`` long
    over the number of elements, up to rounding.
    """
    found = subject.loss("chordal", *case)
    count, slack = len(case[0].values), 64 * form_of(case).epsilon
    for i, pair in enumerate(zip(found.in_P.values, found.in_Q.values, strict=True)):
        require(all(map(math.isfinite, pair)), "gradient {} at {} of {}", pair, i, case)
        P, Q, _, _ = row(case, i)
        g_P, g_Q = (count * Fraction(g) for g in pair)
        long = (g_P * g_P + g_Q * g_Q) * (P * P + Q * Q) > (1 + slack) ** 2
        require(not long, "gradient {} at {} of {} is too long", pair, i, case)
        right = abs(P * g_P + Q * g_Q) <= slack
        require(right, "gradient {} at {} of {} leaves the circle", pair, i, case)
