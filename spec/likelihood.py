"""LIK: what the length of a tuple says, the certainty of its value.

With ``ρ² = P² + Q²``, a tuple stands for the wrapped Cauchy distribution of lines that is centred
at its own line and has concentration ``ρ²/(1 + ρ²)``; ``(0, 0)`` stands for the uniform one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Protocol

from .arrays import Array, identical
from .clause import clause, refused, require
from .lifting import lift
from .likelihood_terms import MP, Arcs, Lines, Real, judge, real, shortened
from .losses import COARSE, Measured, cast


class Likelihoods(Protocol):
    """A subject that takes tuples for distributions of lines."""

    def likelihood(
        self, P: Array, Q: Array, Y_n: Array, Y_d: Array, *, resolution: float = 0.0,
        mask: Array | None = None,
    ) -> Measured:  # fmt: skip
        """Return the mean loss of target lines over all elements, or those under a bool mask; 0 for
        none. ValueError for shapes that differ, and for a resolution < 0 or not finite.
        """

    def interval_likelihood(
        self, P: Array, Q: Array, lower: Lines, upper: Lines, *, resolution: float = 0.0,
        mask: Array | None = None,
    ) -> Measured:  # fmt: skip
        """Return the same of target arcs, each from a line up to another."""

    def probability(self, P: Array, Q: Array, lower: Lines, upper: Lines) -> Array:
        """Return the probability of each arc, in float32 or wider."""

    def central_interval(self, P: Array, Q: Array, level: float) -> tuple[Array, Array]:
        """Return the ends of central intervals, numbers or ±∞, in float32 or wider.

        ValueError for a level outside [0, 1).
        """


def loss(
    subject: Likelihoods, arcs: Arcs, resolution: float = 0.0, mask: Array | None = None
) -> Measured:
    """Return the loss of arcs, or of lines."""
    P, Q, lower, upper = arcs.P, arcs.Q, arcs.lower, arcs.upper
    if upper is None:
        return subject.likelihood(P, Q, *lower, resolution=resolution, mask=mask)
    return subject.interval_likelihood(P, Q, lower, upper, resolution=resolution, mask=mask)


def probabilities(
    subject: Likelihoods, arcs: Arcs, coarse: int = 1
) -> list[tuple[float, Real, Real]]:
    """Return the subject's probabilities of arcs, the exact ones, and their tolerances."""
    found = subject.probability(arcs.P, arcs.Q, arcs.lower, arcs.upper or arcs.lower)
    judged = judge(arcs, coarse=coarse)["m"]
    return [(m, *right) for m, right in zip(found.values, judged, strict=True)]


def near(found: float, right: Real, slack: Real) -> bool:
    """Tell whether a number is finite, and within a distance of the right one."""
    return math.isfinite(found) and bool(abs(found - right) <= slack)


def require_close(
    subject: Likelihoods, arcs: Arcs, resolution: float = 0.0, mask: Array | None = None, *,
    coarse: int = 1, claims: tuple[int, int] = (1, 2),
) -> Measured:  # fmt: skip
    """Require loss and gradient within so many tolerances of the exact ones."""
    found, judged = loss(subject, arcs, resolution, mask), judge(arcs, resolution, coarse, mask)
    sides = ("loss", (found.value,)), ("in_P", found.in_P.values), ("in_Q", found.in_Q.values)
    for name, values in sides:
        for i, (value, (right, slack)) in enumerate(zip(values, judged[name], strict=True)):
            complaint = "{} {} of {} at resolution {} under {} is {}, not {}"
            parts, claim = (arcs, resolution, mask, value, float(right)), claims[name != "loss"]
            require(near(value, right, slack), complaint, name, i, *parts, claim=claim)
    return found


@clause(
    "LIK-1",
    source="Ours: a fit that knows how sure it is; the line of (N, D) ~ N(0, I + 4(1 + ρ²)XXᵀ) has "
    "this distribution (Tyler, Biometrika 74, 1987)",
    since="0.5.0",
)
def density(subject: Likelihoods, arcs: Arcs, mask: Array, poison: float) -> None:
    """Let c be ``(P·Y_d − Q·Y_n) / ‖(Y_n, Y_d)‖`` for a target line ``(Y_n, Y_d)``.

    1. The loss of a line is ``−log f``, up to rounding, with ``f = (1 + 2ρ²) / (1 + 4(1 + ρ²)c²)``,
       its density relative to the uniform one.
    2. The gradient of the loss of a line is the derivative, up to rounding.
    3. The loss of lines or arcs is a mean over the elements that count, 0 for none.
    4. Elements that do not count, whatever numbers they hold, change nothing and have gradient 0.
    5. Tuples, lines and a mask of different shapes raise ValueError.
    """
    if arcs.upper is None:
        require_close(subject, arcs, coarse=COARSE)
    require_close(subject, arcs, mask=mask, coarse=COARSE, claims=(3, 3))
    columns = ([v if m else poison for v, m in zip(x.values, mask.values, strict=True)]
               for x in arcs.parts)  # fmt: skip
    dirty = arcs.of([arcs.P.with_values(column) for column in columns])
    before, after = (loss(subject, x, mask=mask) for x in (arcs, dirty))
    gradients = zip(mask.values * 2, before.in_P.values + before.in_Q.values, strict=True)
    right = before == after and not any(g for keep, g in gradients if not keep)
    require(right, "{} and {} under {} give {} and {}", arcs, dirty, mask, before, after, claim=4)
    for i in range(len(arcs.parts) + 1):
        parts = [*arcs.parts, mask]
        parts[i] = replace(parts[i], shape=(1, *mask.shape))
        call = lambda of=parts: loss(subject, arcs.of(of[:-1]), mask=of[-1])  # noqa: E731
        require(refused(ValueError, call, claim=5), "{} were taken", parts, claim=5)


@clause("LIK-2", source="Ours: “more than 99.5” is an arc up to ∞, no point", since="0.5.0")
def arc(subject: Likelihoods, arcs: Arcs) -> None:
    """Let an arc turn by δ in [0, π] from a line L up to a line U, through infinity where L is the
    larger number; let c_L and c_U be LIK-1's c, ``S = sin δ`` and ``C = cos δ``.

    1. The probability of an arc is ``m = atan2((1 + 2ρ²)S, C + 4(1 + ρ²)c_L·c_U) / π``, up to
       rounding. From −∞ to ∞ lies the whole line, with ``δ = π``.
    2. The loss of an arc is ``−log(m·π/δ)``, up to rounding; if its ends are equal it is LIK-1's.
    3. The gradient of the loss of an arc is the derivative, up to rounding.
    """
    for m, right, slack in probabilities(subject, arcs, COARSE):
        require(near(m, right, slack), "probability of {} is {}, not {}", arcs, m, float(right))
    require_close(subject, arcs, coarse=COARSE, claims=(2, 3))


@clause("LIK-3", source="Ours: what is called a probability must add up", since="0.5.0")
def partition(subject: Likelihoods, P: Array, Q: Array, cuts: Sequence[float]) -> None:
    """Let ascending numbers cut the line from −∞ to ∞ into arcs.

    1. The probabilities of the arcs add up to 1, up to rounding.
    2. A larger arc has no smaller probability, up to rounding.
    3. Probabilities lie in [0, 1]; that of the whole line is 1, that of a single line 0.
    """
    pairs = [lift(y) for y in (-math.inf, *cuts, math.inf)]
    ends = [(Array.full(n, P), Array.full(d, P)) for n, d in pairs]
    pieces = zip(*(probabilities(subject, Arcs(P, Q, *arc)) for arc in pairwise(ends)), strict=True)
    growing = zip(*(probabilities(subject, Arcs(P, Q, ends[0], U)) for U in ends), strict=True)
    for apart, nested in zip(pieces, growing, strict=True):
        ms, total = [m for m, *_ in (*apart, *nested)], math.fsum(m for m, *_ in apart)
        found, complaint = (P, Q, cuts, ms), "{} {} cut at {} have the probabilities {}"
        require(near(total, 1, sum(slack for *_, slack in apart)), complaint, *found)
        grows = all(a <= b + s + t for (a, _, s), (b, _, t) in pairwise(nested))
        require(grows, complaint, *found, claim=2)
        right = all(0 <= m <= 1 for m in ms) and (nested[0][0], nested[-1][0]) == (0, 1)
        require(right, complaint, *found, claim=3)


def turned(arcs: Arcs, turn: tuple[int, int], mirrored: bool) -> Arcs:
    """Return arcs, reflected or not, turned by twice the angle of an integer pair, and rounded."""
    (a, b), side, found = turn, -1 if mirrored else 1, list[Array]()
    cos, sin = Fraction(a * a - b * b, a * a + b * b), Fraction(2 * a * b, a * a + b * b)
    for n, d in ((arcs.P, arcs.Q), arcs.lower, arcs.upper or arcs.lower):
        rows = [(side * Fraction(x), Fraction(y)) for x, y in zip(n.values, d.values, strict=True)]
        rows = [(x * cos + y * sin, y * cos - x * sin) for x, y in rows]
        rows = [(-x, -y) if found and y < 0 else (x, y) for x, y in rows]
        found += [n.with_values([cast(row[part], n.dtype) for row in rows]) for part in (0, 1)]
    order = [0, 1, 4, 5, 2, 3] if mirrored else range(6)
    return arcs.of([found[i] for i in order][: len(arcs.parts)])


@clause("LIK-4", source="Ours: no line is special, infinity included", since="0.5.0")
def invariant(subject: Likelihoods, arcs: Arcs, turn: tuple[int, int], mirrored: bool) -> None:
    """Let nothing over- or underflow, and let no arc be the whole line.

    1. To rotate or reflect tuples and lines together changes a loss by no more than rounding.
    2. To rotate or reflect them changes a probability by no more than rounding.
    3. ``X → −X`` changes no bit of a loss or probability, and reverses the gradient.
    """
    minus = [x.with_values([-v for v in x.values]) for x in (arcs.P, arcs.Q)]
    cases = arcs, turned(arcs, turn, mirrored), arcs.of([*minus, *arcs.parts[2:]])
    one, other, opposite = (loss(subject, case) for case in cases)
    ms = [probabilities(subject, case, 2) for case in cases]
    slack = sum(judge(case, coarse=2)["loss"][0][1] for case in cases[:2])
    complaint = "{}, turned to {}, has {} and {}"
    right = near(other.value, MP.mpf(one.value), slack)
    require(right, complaint, *cases[:2], one.value, other.value)
    for (m, _, slack), (n, _, more) in zip(*ms[:2], strict=True):
        right = near(n, MP.mpf(m), slack + more)
        require(right, complaint, *cases[:2], m, n, claim=2)
    right = identical(one.value, opposite.value) and all(
        [-g for g in x.values] == [*y.values]
        for x, y in ((one.in_P, opposite.in_P), (one.in_Q, opposite.in_Q))
    )
    right = right and [m for m, *_ in ms[0]] == [m for m, *_ in ms[2]]
    require(right, complaint, arcs, cases[2], one, opposite, claim=3)


@clause("LIK-5", source="Ours: the decoded value is the likeliest one", since="0.5.0")
def extremes(subject: Likelihoods, lines: Arcs) -> None:
    """Of all lines, the density of a tuple is largest at its own, up to rounding.

    1. At the tuple's own line the loss is ``−log(1 + 2ρ²)``.
    2. At a right angle to it the loss is ``log(1 + 2ρ²)``.
    3. Every loss of a line lies between these two.
    """
    tuples = [shortened(row.P, row.Q) for row in lines.rows]
    logs = [MP.log1p(2 * real(P * P + Q * Q)) for P, Q, _ in tuples]
    bound = sum(logs) / max(len(logs), 1)
    across = lines.Q.with_values([-Q for Q in lines.Q.values]), lines.P
    for line, expected, free, claim in (
        ((lines.P, lines.Q), -bound, 0, 1), (across, bound, 0, 2), (lines.lower, 0, bound, 3),
    ):  # fmt: skip
        case = replace(lines, lower=line)
        value, slack = loss(subject, case).value, judge(case)["loss"][0][1]
        right = near(value, expected, slack + free)
        require(right, "loss of {} is {}, of ±{}", case, value, float(bound), claim=claim)
