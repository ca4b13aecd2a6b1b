"""LOSS: the fit of decoded values."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Protocol

from .arrays import Array
from .clause import clause, refused, require
from .coverage import tuple_is_bottom
from .formats import FORMATS
from .loss_terms import Row, Slope, mean
from .losses import Case, Measured, form_of, near, row
from .training_loss import Options, TrainingLosses


class Squares(TrainingLosses, Protocol):
    """A subject that compares decoded values, too; a fit of its training loss is ``squares``."""

    def squares(
        self, P: Array, Q: Array, Y_n: Array, Y_d: Array, *, tau: float, mask: Array | None = None
    ) -> Measured:
        """Return the squares loss at a threshold; ValueError for shapes that differ."""


def counted(case: Case, tau: float, mask: Array | None) -> list[int]:
    """Return the positions of the elements that count for the squares loss."""
    (P, Q, _, Y_d), dtype = (x.values for x in case), case[0].dtype
    kept = [i for i in range(len(P)) if mask is None or mask.values[i]]
    return [i for i in kept if Y_d[i] != 0 and not tuple_is_bottom(P[i], Q[i], tau, dtype)]


def squared_error(element: Row) -> tuple[Fraction, Slope]:
    """LOSS-18: a term without a cap, and its slope."""
    P, Q, Y_n, Y_d = element
    error = P / Q - Y_n / Y_d
    return error**2, (2 * error / Q, -2 * error * P / Q**2)


def cap(case: Case) -> Fraction:
    """Return the most that a term counts for; LOSS-18.2."""
    return form_of(case).largest / (4 * max(len(case[0].values), 1))


def value_within(case: Case, kept: list[int]) -> tuple[Fraction, Fraction]:
    """Return the squares loss of the elements that count, and how far off it may be; LOSS-18.1."""
    form, most, rows = form_of(case), cap(case), [row(case, i) for i in kept]
    sizes = [min(_size(element) ** 2, most) for element in rows]
    slack = (8 + Fraction(len(kept), 2)) * form.epsilon * mean(sizes) + form.smallest_normal
    return mean([min(squared_error(element)[0], most) for element in rows]), slack


def _size(element: Row) -> Fraction:
    P, Q, Y_n, Y_d = element
    return abs(P / Q) + abs(Y_n / Y_d)


def slopes_within(case: Case, kept: list[int], i: int) -> tuple[Slope, Slope] | None:
    """Return an element's gradient, and how far off it may be; None if a factor may overflow."""
    form, own, element = form_of(case), FORMATS[case[0].dtype], row(case, i)
    term, slope = squared_error(element)
    P, Q, size = abs(element[0]), abs(element[1]), _size(element)
    if term and 4 * (1 + size) * (1 + 1 / Q) * (1 + P / Q) > own.largest:
        return None
    slacks = []
    for exact, factor in zip(slope, (Fraction(1), P / Q), strict=True):
        slack = 32 * form.epsilon * size * factor / Q + own.epsilon * abs(exact)
        slacks.append(slack / len(kept) + own.smallest_normal * (1 + (1 + factor) / Q))
    return (slope[0] / len(kept), slope[1] / len(kept)), (slacks[0], slacks[1])


def _require_close(
    subject: Squares, case: Case, tau: float, mask: Array | None, kept: list[int]
) -> Measured:
    found, most = subject.squares(*case, tau=tau, mask=mask), cap(case)
    above = [squared_error(row(case, i))[0] > most for i in kept]
    expected, slack = value_within(case, kept)
    parts, complaint = (case, tau, mask), " of {} at τ = {} under {}, not {}"
    claim = 2 if any(above) else 1 if kept else 5
    right = near(found.value, expected, slack)
    require(right, "squares {}" + complaint, found.value, *parts, expected, claim=claim)
    for i, capped in zip(kept, above, strict=True):
        for g, exact, slack in zip(
            (found.in_P, found.in_Q), *slopes_within(case, kept, i) or ((), ()), strict=False
        ):
            right, claim = near(g.values[i], exact, slack), 2 if capped else 3
            there = g, i, *parts, exact
            require(right, "gradient {} at {} of squares" + complaint, *there, claim=claim)
    return found


def agree(one: Measured, other: Measured) -> bool:
    """Tell whether a loss and its gradient are those of another; every NaN is the same."""
    pairs = zip(*((m.value, *m.in_P.values, *m.in_Q.values) for m in (one, other)), strict=True)
    return all(a == b or (a != a and b != b) for a, b in pairs)


def _selected(case: Case, mask: Array | None, kept: list[int], poison: float) -> Case:
    """Return tuples and targets with other numbers where they do not count."""
    P, Q, Y_n, Y_d = ([*x.values] for x in case)
    for i in {*range(len(P))}.difference(kept):
        P[i] = Y_n[i] = poison
        Q[i] = 0.0 if mask is None or mask.values[i] else poison
    p, q, y_n, y_d = (x.with_values(v) for x, v in zip(case, (P, Q, Y_n, Y_d), strict=True))
    return p, q, y_n, y_d


@clause(
    "LOSS-18",
    source="Ours: certified fits are least squares, and so are models that return values",
    since="0.6.0",
)
def squares_fit(
    subject: Squares, case: Case, tau: float, mask: Array | None, poison: float
) -> None:
    """The squares loss compares decoded values. Let v be ``P/Q``, y be ``Y_n/Y_d``, n the number of
    elements that count, and N that of all; ε is that of float32 for half precision.

    1. The squares loss is the mean of ``(v − y)²`` over the elements whose target is finite and
       whose tuple does not decode to ⊥ at τ. Its error is at most ``(8 + n/2)·ε`` times the mean of
       ``(|v| + |y|)²``, plus the smallest normal number.
    2. Each term is capped at ``largest/(4N)``, and keeps its gradient.
    3. The gradient is the derivative, up to rounding, unless a factor of it overflows; where
       ``v = y`` it is 0 even then.
    4. Elements that do not count change nothing and have gradient 0.
    5. If no element counts, loss and gradient are 0.
    6. Tuples, targets and a mask of different shapes raise ValueError.
    7. A training loss whose fit is ``squares`` is the squares loss at its τ, bit for bit, if the
       other terms or their weights are 0, and so is its gradient if it is finite.

    So ±∞ has no fit but the sign loss, and ⊥ none but the rejection loss and the margin. For an
    interval, which has no value to compare, there is the likelihood (LIK-2).
    """
    kept = counted(case, tau, mask)
    found = _require_close(subject, case, tau, mask, kept)
    other = subject.squares(*_selected(case, mask, kept, poison), tau=tau, mask=mask)
    gradients = [g.values[i] for i in range(len(case[0].values)) for g in (found.in_P, found.in_Q)
                 if i not in kept]  # fmt: skip
    right, parts = agree(found, other) and not any(gradients), (case, tau, mask, found)
    claim, complaint = 4 if kept else 5, "squares of {} at τ = {} under {} are {}, and {}"
    require(right, complaint, *parts, other, claim=claim)
    pieces = [*case, mask or Array.full(True, replace(case[0], dtype="bool"))]
    for i, piece in enumerate(pieces):
        changed = [*pieces[:i], replace(piece, shape=(1, *piece.shape)), *pieces[i + 1 :]]
        call = lambda of=changed: subject.squares(*of[:4], tau=tau, mask=of[4])  # noqa: E731
        require(refused(ValueError, call, claim=6), "{} were taken", changed, claim=6)
    if mask is None and {*case[3].values} <= {0.0, 1.0}:
        pairs = zip(case[2].values, case[3].values, strict=True)
        y = case[2].with_values([n if d else math.copysign(math.inf, n) for n, d in pairs])
        given = {"margin": 0.0, "rejection": 0.0, "sign": float(0.0 not in case[3].values)}
        options = Options(fit="squares", tau=tau, goal=0.5, weights=None, given=given)
        total, _ = subject.training_loss(case[0], case[1], y, options)
        size = sum(map(abs, found.in_P.values + found.in_Q.values))
        right = agree(total, found) or (total.value == found.value and not math.isfinite(size))
        require(right, complaint, *parts, total, claim=7)
