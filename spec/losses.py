"""LOSS: what measures how far predicted tuples are from lifted targets, and how it is held."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Protocol, TypeAlias

from .algebra import Bottom
from .arrays import Array, identical
from .clause import require
from .coverage import tuple_is_bottom
from .formats import FORMATS, Format, round_to
from .loss_terms import (
    ROUNDINGS,
    Row,
    mean,
    rejection,
    saturate,
    scale,
    slope,
    slope_tolerances,
    squared_sizes,
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
        self, name: str, P: Array, Q: Array, Y_n: Array, Y_d: Array, *, mask: Array | None = None,
        tau: float = TAU, gamma: float = GAMMA, goal: float = GOAL,
    ) -> Measured:  # fmt: skip
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


def counted_samples(case: Case, mask: Array | None = None) -> list[range]:
    """Return the samples that count for the rejection: all of their targets are finite; LOSS-5."""
    kept = set(counted("rejection", case[3], mask))
    return [sample for sample in samples(case[0].shape) if kept.issuperset(sample)]


def lacking(case: Case, tau: float, mask: Array | None = None) -> tuple[Fraction | None, set[int]]:
    """Return the coverage of the samples that count for the rejection, and their ⊥ elements.

    LOSS-5: a sample is covered if no output is ⊥ at τ, in the format of the tuples (COV-1).
    """
    (P, Q, _, _), chosen, dtype = case, counted_samples(case, mask), case[0].dtype
    bottoms = {
        i for s in chosen for i in s if tuple_is_bottom(P.values[i], Q.values[i], tau, dtype)
    }
    covered = sum(bottoms.isdisjoint(sample) for sample in chosen)
    return (Fraction(covered, len(chosen)) if chosen else None), bottoms


def rejection_slopes(
    case: Case, tau: float, goal: float, mask: Array | None = None
) -> dict[int, Fraction]:
    """Return the gradients in ``Q`` of the rejection, at ⊥ tuples of finite parts; LOSS-5."""
    coverage, bottoms = lacking(case, tau, mask)
    shortfall = max(Fraction(0), Fraction(goal) - (coverage or 0))
    size = sum(map(len, counted_samples(case, mask)))
    finite = [i for i in bottoms if all(math.isfinite(x.values[i]) for x in case[:2])]
    sides = {i: Fraction(math.copysign(1.0, case[1].values[i])) for i in finite}
    return {i: -2 * shortfall / size * side for i, side in sides.items()}


def form_of(case: Case) -> Format:
    """Return the format in which a loss of the tuples is computed."""
    return FORMATS[working(case[0].dtype)]


def near(found: float, exact: Fraction, slack: Fraction) -> bool:
    """Tell whether a number is finite, and within a distance of an exact one."""
    return math.isfinite(found) and abs(Fraction(found) - exact) <= slack


def _slopes(
    name: str, element: Row, guard: Fraction, form: Format, counts: tuple[int, int], coarse: int
) -> Iterator[tuple[Fraction, Fraction] | None]:
    """Walk the ranges of the right gradients of a mean in an element's ``P`` and ``Q``.

    ``counts`` are the elements that count and all elements. None stands for a gradient that the
    format cannot hold; where rounding may take an implicit term to its ceiling, it keeps the
    direction, and of the larger of the two a size.
    """
    (kept, size), exact = counts, slope(name, element, guard)
    slacks = slope_tolerances(name, form, element, guard, kept)
    error = ROUNDINGS[name] * form.epsilon * scale(name, element, guard)
    capped = name == "implicit" and term(name, element, guard) + error >= form.largest / (4 * size)
    for part, tolerated in zip(exact, slacks, strict=True):
        expected = part / kept
        if abs(expected) > form.largest:
            yield None
        elif capped and not part:
            yield -form.smallest_normal, form.smallest_normal
        elif capped:
            leading = abs(part) == max(map(abs, exact))
            least = form.smallest_normal * form.epsilon if leading else Fraction(0)
            yield (least, form.largest) if expected > 0 else (-form.largest, -least)
        else:
            slack = coarse * tolerated
            yield expected - slack, expected + slack


def same_direction(
    found: tuple[float, float], exact: tuple[Fraction, Fraction], form: Format, coarse: int
) -> bool:
    """Tell whether a capped gradient leads where the exact one does; LOSS-1.4."""
    if max(map(abs, exact)) > form.largest:
        return True  # the format holds no such gradient
    size, (g_P, g_Q) = max(map(abs, exact)) or 1, map(Fraction, found)
    slack = 2 * coarse * ROUNDINGS["implicit"] * form.epsilon * max(abs(g_P), abs(g_Q))
    return abs(g_P * exact[1] - g_Q * exact[0]) / size <= slack + form.smallest_normal


def require_close(
    subject: Losses, name: str, case: Case, mask: Array | None = None, *, tau: float = TAU,
    gamma: float = GAMMA, coarse: int = 1, claims: tuple[int, int] = (1, 2),
    capped: tuple[int, int] | None = None,
) -> Measured:  # fmt: skip
    """Require value and gradient within so many tolerances of the exact ones.

    These are the two claims; where a term is at its ceiling they are ``capped``.
    """
    found, capped = subject.loss(name, *case, mask=mask, tau=tau, gamma=gamma), capped or claims
    guard = Fraction(gamma if name == "implicit" else tau)
    form, size, parts = form_of(case), len(case[0].values), (name, case, mask)
    rows = {i: row(case, i) for i in counted(name, case[3], mask)}
    terms = {i: term(name, r, guard) for i, r in rows.items()}
    high = {i for i, exact in terms.items() if exact > saturate(exact, form, size)}
    expected = mean([saturate(exact, form, size) for exact in terms.values()])
    scales = [saturate(scale(name, r, guard), form, size) for r in rows.values()]
    right = near(found.value, expected, coarse * tolerance(name, form, scales))
    claim = (capped if high else claims)[0]
    require(right, "{} of {} under {} is {}, not {}", *parts, found.value, expected, claim=claim)
    still = ((Fraction(0), Fraction(0)),) * 2
    for i, pair in enumerate(zip(found.in_P.values, found.in_Q.values, strict=True)):
        if i in rows and name != "margin" and not squared_sizes(*rows[i]):
            continue  # LOSS-10 speaks of that
        claim, counts = (capped if i in high else claims)[1], (len(rows), size)
        ranges = _slopes(name, rows[i], guard, form, counts, coarse) if i in rows else still
        for part, value, bounds in zip("PQ", pair, ranges, strict=True):
            right = bounds is None or bounds[0] <= value <= bounds[1]
            complaint = "gradient in {} at {} of {} of {} under {} is {}, not within {}"
            require(right, complaint, part, i, *parts, value, bounds, claim=claim)
        if name == "implicit" and i in high:
            right = same_direction(pair, slope(name, rows[i], guard), form, coarse)
            complaint = "gradient {} at {} of {} of {} under {} has another direction"
            require(right, complaint, pair, i, *parts, claim=claim)
    return found


def require_rejection(
    subject: Losses, case: Case, mask: Array | None = None, *, tau: float = TAU,
    goal: float = GOAL, coarse: int = 1, claims: tuple[int, int, int, int] = (1, 2, 2, 2),
) -> None:  # fmt: skip
    """Require the rejection loss within so many tolerances of the exact one.

    The claims are its value, and the gradients at ⊥ elements with finite parts, at those with
    another, and everywhere else.
    """
    found = subject.loss("rejection", *case, mask=mask, tau=tau, goal=goal)
    coverage, bottoms = lacking(case, tau, mask)
    if coverage is None:
        return  # LOSS-13 speaks of that
    slopes, form = rejection_slopes(case, tau, goal, mask), form_of(case)
    own = FORMATS[case[1].dtype]
    slack = coarse * tolerance("rejection", form, [Fraction(1)])
    parts = case, mask, tau, goal
    what = "rejection of {} under {} at τ = {}, goal {} is {}, not {}"
    expected = rejection(coverage, Fraction(goal))
    right = near(found.value, expected, slack)
    require(right, what, *parts, found.value, expected, claim=claims[0])
    slack = 2 * slack / max(sum(map(len, counted_samples(case, mask))), 1) + form.smallest_normal
    for i, (q, g) in enumerate(zip(case[1].values, found.in_Q.values, strict=True)):
        claim = claims[1 if i in slopes else 2 if i in bottoms else 3]
        size = abs(slopes.get(i, Fraction(0))) + own.smallest_normal
        rounded = slack if own is form else slack + own.epsilon * size
        right = near(g, slopes[i], rounded) if i in slopes else g == 0
        right = right and g * math.copysign(1.0, q) <= 0
        found_at = i, *parts, g, slopes.get(i, 0)
        require(right, "gradient in Q at {} of " + what, *found_at, claim=claim)
    still = not any(found.in_P.values)
    require(still, "gradient in P of " + what, *parts, found.in_P, 0, claim=claims[3])


def require_only(
    subject: Losses, name: str, case: Case, mask: Array | None, claim: int, tau: float = TAU
) -> None:
    """Require that elements that do not count change neither value nor gradient."""
    kept, parts = counted(name, case[3], mask), (name, case, mask)
    P, Q = (
        x.with_values([v if i in kept else other for i, v in enumerate(x.values)])
        for x, other in zip(case[:2], (-1.0, 0.0), strict=True)
    )
    before = subject.loss(name, *case, mask=mask, tau=tau)
    after = subject.loss(name, P, Q, *case[2:], mask=mask, tau=tau)
    complaint = "{} of {} under {} is {}, and {} with other tuples where it does not count"
    right = identical(before.value, after.value)
    require(right, complaint, *parts, before.value, after.value, claim=claim)
    for g in (before.in_P, before.in_Q):
        still = not any(value for i, value in enumerate(g.values) if i not in kept)
        complaint = "{} of {} under {} has the gradient {} where it does not count"
        require(still, complaint, *parts, g, claim=claim)
