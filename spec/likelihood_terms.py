"""LIK, the rules: the likelihood of a line or an arc under a tuple, and what rounding may change.

A line is a tuple ``(n, d)``; an arc runs from a line L up to a line U, and a single line is an arc
of no width. What is rational is computed exactly, and roots, logarithms and angles with 256 bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any, Final, NamedTuple, TypeAlias

from mpmath import MPContext
from mpmath.libmp import to_rational

from .arrays import Array
from .formats import FORMATS, Format
from .losses import working

Line: TypeAlias = tuple[Fraction, Fraction]
Lines: TypeAlias = tuple[Array, Array]
Real: TypeAlias = Any
"""A number of 256 bits; mpmath has no types."""

MP: Final = MPContext()
MP.prec = 256

# How many ε rounding costs in a cross product, and in all that follows; LIK-7.
CROSSED: Final = 4
ROUNDINGS: Final = 8
LONGEST: Final = Fraction(2) ** 120


def real(x: Fraction | float) -> Real:
    """Return a number with many bits."""
    exact = Fraction(x)
    return MP.mpf(exact.numerator) / exact.denominator


def rational(x: Real) -> Fraction:
    """Return the exact value of a finite number."""
    return Fraction(*map(int, to_rational(MP.mpf(x)._mpf_)))


class Element(NamedTuple):
    """A tuple, and the arc from L up to U, through infinity where L is the larger number.

    If L and U are the same number it is a line; from −∞ to ∞ it is the whole projective line.
    """

    P: Fraction
    Q: Fraction
    L: Line
    U: Line


class Place(NamedTuple):
    """An arc that turns by δ, with S = sin δ and C = cos δ, and where the tuple X lies to it.

    L and U are unit tuples; one has changed its sign where δ would not lie in [0, π]. X is
    shortened by a factor.
    """

    X: tuple[Real, Real]
    L: tuple[Real, Real]
    U: tuple[Real, Real]
    S: Real
    C: Real
    c_L: Real
    c_U: Real
    factor: Real


class Outcome(NamedTuple):
    """A loss with its gradient, a probability, and the scales of the loss and of the gradient."""

    loss: Real
    in_P: Real
    in_Q: Real
    m: Real
    scale: Real
    steep: Real


NOTHING: Final = Outcome(*[MP.zero] * 6)


@dataclass(frozen=True)
class Arcs:
    """Tuples, each with the arc from a line up to another; without ``upper``, with a line.

    The arrays are alike in shape and dtype. A line is ``(n, d)``, ±∞ is ``(±1, 0)``; the ends of
    arcs have ``d ≥ 0``.
    """

    P: Array
    Q: Array
    lower: Lines
    upper: Lines | None = None

    @property
    def parts(self) -> tuple[Array, ...]:
        """The arrays."""
        return self.P, self.Q, *self.lower, *(self.upper or ())

    @property
    def rows(self) -> list[Element]:
        """The elements; what is not finite is 0."""
        parts = self.parts if self.upper else (*self.parts, *self.lower)
        exact = ([Fraction(v if math.isfinite(v) else 0) for v in x.values] for x in parts)
        return [Element(*r[:2], (r[2], r[3]), (r[4], r[5])) for r in zip(*exact, strict=True)]

    def of(self, parts: Sequence[Array]) -> Arcs:
        """Return arcs of other arrays."""
        P, Q, n, d, *upper = parts
        return Arcs(P, Q, (n, d), (upper[0], upper[1]) if upper else None)


def shortened(P: Fraction, Q: Fraction) -> tuple[Fraction, Fraction, Fraction]:
    """LIK-7: return what a tuple counts as, and by which factor it is shortened."""
    factor = LONGEST / max(abs(P), abs(Q), LONGEST)
    return P * factor, Q * factor, factor


def place(element: Element) -> Place:
    """Return the arc of an element, and where its tuple lies."""
    P, Q, factor = shortened(element.P, element.Q)
    (l_n, l_d), (u_n, u_d) = element.L, element.U
    S, C = u_n * l_d - l_n * u_d, l_n * u_n + l_d * u_d
    if S < 0 or (not S and C < 0 < l_n):  # From +∞ up to −∞ lies one line.
        u_n, u_d, S, C = -u_n, -u_d, -S, -C
    low, high = (MP.sqrt(real(n * n + d * d)) for n, d in ((l_n, l_d), (u_n, u_d)))
    return Place(
        (real(P), real(Q)),
        (real(l_n) / low, real(l_d) / low),
        (real(u_n) / high, real(u_d) / high),
        real(S) / (low * high),
        real(C) / (low * high) if S else MP.sign(real(C)),
        real(P * l_d - Q * l_n) / low,
        real(P * u_d - Q * u_n) / high,
        real(factor),
    )


def _loss(at: Place, rest: Real, b: Real, A: Real) -> tuple[Real, Real]:
    """Return ``−log(A/δ)``, or what it tends to for an arc of no width, and its scale."""
    x = at.C + rest
    if at.S:
        logs = MP.log(MP.atan2(at.S, at.C)), MP.log(A)
        return logs[0] - logs[1], 1 + abs(logs[0]) + abs(logs[1])
    if at.C < 0 or x <= 0:
        return (MP.zero if x < 0 else MP.inf) if at.C < 0 else -MP.inf, MP.zero
    logs = MP.log1p(rest / at.C), MP.log1p(b - 1)
    return logs[0] - logs[1], logs[0] + logs[1]


def outcome(at: Place, resolution: Real, sway: Real = 0) -> Outcome:
    """LIK-1, LIK-2, LIK-8: return loss, gradient and probability.

    The gradient of ``−log A``, with ``A = π·m``, is written with ``sin A / A``, which has a limit
    where A tends to 0. ``sway`` is a relative error of x.
    """
    (P, Q), (l_n, l_d), (u_n, u_d) = at.X, at.L, at.U
    square = P * P + Q * Q
    b, K = 1 + 2 * square, 4 * (1 + square)
    doubled = at.S**2 / (1 - at.C) if at.C < 0 else 1 + at.C  # 2·cos²(δ/2)
    blur = resolution**2 * doubled / 2
    w, crossed = at.c_L * at.c_U + square * blur, abs(at.c_L * at.c_U) + square * blur
    rest = K * w + sway * (1 + K * crossed)
    x, y = at.C + rest, b * at.S
    A, R = MP.atan2(y, x), MP.hypot(x, y)
    loss, scale = _loss(at, rest, b, A)
    sinc = y / (R * A) if A else MP.one
    radial = sinc * (8 * (w + (1 + square) * blur) / R - 4 * x / (R * b))
    turn = sinc * K / R
    steep = sinc * max(abs(P), abs(Q)) * (8 * (crossed + (1 + square) * blur) / R + 4 / b)
    return Outcome(
        loss,
        at.factor * (P * radial + turn * (at.c_L * u_d + at.c_U * l_d)),
        at.factor * (Q * radial - turn * (at.c_L * u_n + at.c_U * l_n)),
        A / MP.pi,
        scale,
        at.factor * (steep + turn * (abs(at.c_L) + abs(at.c_U))),
    )


def exact(element: Element, resolution: float = 0.0) -> Outcome:
    """Return what is right of an element."""
    return outcome(place(element), real(resolution)) if any(element.L) else NOTHING


def _swayed(at: Place, error: Real, tiny: Real, blurred: bool) -> Iterator[tuple[Place, Real]]:
    """Walk the corners of what rounding makes of a place, and where a slope is steepest between.

    A cross product has the error ``error·(|P·d| + |Q·n|)``, S likewise. Parts of unit tuples may
    underflow, which costs ``tiny`` times the tuple's size. The relative error of x is harmless
    (``x² + y² ≥ (1 + 4(1 + ρ²)|c_L·c_U|)²``) unless a resolution adds to it.
    """
    (P, Q), (l_n, l_d), (u_n, u_d) = at.X, at.L, at.U
    peak, spans = 1 / MP.sqrt(4 * (1 + P * P + Q * Q)), []
    for c, n, d in ((at.c_L, l_n, l_d), (at.c_U, u_n, u_d)):
        off = error * (abs(P * d) + abs(Q * n)) + tiny * (abs(P) + abs(Q) + 1)
        spans.append([c - off, c + off, *(p for p in (0, peak, -peak) if abs(p - c) < off)])
    off = error * (abs(u_n * l_d) + abs(l_n * u_d)) + tiny
    pairs = list(product(*spans) if at.S else zip(*spans, strict=True))
    sines = (max(at.S - off, MP.zero), at.S + off) if at.S else (at.S,)
    for (c_L, c_U), S, sway in product(pairs, sines, (-error, error) if blurred else (MP.zero,)):
        yield at._replace(c_L=c_L, c_U=c_U, S=S), sway


def tolerances(
    element: Element, resolution: float, form: Format, coarse: int
) -> tuple[Outcome, Outcome]:
    """Return what is right of an element, and how far rounding may take each part; LIK-7."""
    right = exact(element, resolution)
    at = place(element) if any(element.L) else None
    if not at or (not at.S and at.C < 0):  # no line, or the whole one
        return right, NOTHING
    error, tiny = (real(CROSSED * coarse * form.epsilon * x) for x in (1, form.smallest_normal))
    around = _swayed(at, error, tiny, resolution > 0)
    found = [outcome(near, real(resolution), sway) for near, sway in around]
    spans = [max(abs(v - own) for v in values) for own, *values in zip(right, *found, strict=True)]
    scales = right.scale, 2 * right.steep, 2 * right.steep, right.m, 0, 0
    cost = ROUNDINGS * coarse * real(form.epsilon)
    return right, Outcome(*(span + cost * x for span, x in zip(spans, scales, strict=True)))


Judged: TypeAlias = dict[str, list[tuple[Real, Real]]]
"""By the names of an outcome's parts: what is right, and its tolerance."""


def judge(
    arcs: Arcs, resolution: float = 0.0, coarse: int = 1, mask: Array | None = None
) -> Judged:
    """Return the mean loss, and each element's gradients of it and probability."""
    form, none = FORMATS[working(arcs.P.dtype)], (NOTHING, NOTHING)
    kept = mask.values if mask else (True,) * len(arcs.P.values)
    rows = [tolerances(row, resolution, form, coarse) if keep else none
            for row, keep in zip(arcs.rows, kept, strict=True)]  # fmt: skip
    n, floor = max(sum(kept), 1), real(form.smallest_normal)
    right, slack = (sum(row[part].loss for row in rows) / n for part in (0, 1))
    slack += n / 2 * real(form.epsilon) * sum(row[0].scale for row in rows) / n + floor
    judged: Judged = {"loss": [(right, slack)], "m": [(row.m, off.m + floor) for row, off in rows]}
    for name in ("in_P", "in_Q"):
        slopes = ([getattr(part, name) / n for part in row] for row in rows)
        judged[name] = [(g, off + floor) for g, off in slopes]
    return judged


def central(P: Fraction, Q: Fraction, level: float, form: Format) -> list[tuple[Real, ...]]:
    """LIK-6: return both ends of a central interval as lines ``(n, d)``, and their tolerances."""
    p, q, angle = *map(real, shortened(P, Q)[:2]), MP.pi * real(level)
    tangent = MP.tan(angle / 2) / (1 + 2 * (p * p + q * q))
    condition = angle / MP.sin(angle) if level else MP.one  # of the tangent
    cost, leaning = ROUNDINGS * real(form.epsilon), tangent * condition
    lost = cost * real(form.smallest_normal) * max(abs(p), abs(q))
    off_n, off_d = (cost * (abs(x) + abs(y) * leaning) + lost for x, y in ((p, q), (q, p)))
    return [(p + t * q, q - t * p, off_n, off_d) for t in (-tangent, tangent)]
