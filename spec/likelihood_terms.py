"""LIK, the rules: the likelihood of a line or an arc under a tuple, and what rounding may change.

What is rational is computed exactly; roots, logarithms and angles have 256 bits.
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

Lines: TypeAlias = tuple[Array, Array]
Real: TypeAlias = Any
"""A number of 256 bits; mpmath has no types."""

MP: Final = MPContext()
MP.prec = 256
LONGEST: Final = Fraction(2) ** 120

# How many ε rounding costs in a cross product, and in all that follows; LIK-7.
CROSSED: Final = 4
ROUNDINGS: Final = 8


class Element(NamedTuple):
    """A tuple, and the arc from a line L up to a line U, through infinity if L is the larger one.

    If L and U are the same number it is a line; from −∞ to ∞ it is the whole projective line.
    """

    P: Fraction
    Q: Fraction
    l_n: Fraction
    l_d: Fraction
    u_n: Fraction
    u_d: Fraction


class Place(NamedTuple):
    """An arc that turns by δ, with S = sin δ and C = cos δ, and where the tuple lies to it.

    The tuple is shortened by a factor. L and U are unit tuples; U changes its sign where δ would
    not lie in [0, π].
    """

    P: Real
    Q: Real
    l_n: Real
    l_d: Real
    u_n: Real
    u_d: Real
    S: Real
    C: Real
    c_L: Real
    c_U: Real
    factor: Real


class Outcome(NamedTuple):
    """A loss with its gradient, a probability, and the scales of errors of loss and gradient."""

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
        return [Element(*row) for row in zip(*exact, strict=True)]

    def of(self, parts: Sequence[Array]) -> Arcs:
        """Return arcs of other arrays."""
        P, Q, n, d, *upper = parts
        return Arcs(P, Q, (n, d), (upper[0], upper[1]) if upper else None)


def real(x: Fraction | float) -> Real:
    """Return a number with many bits."""
    exact = Fraction(x)
    return MP.mpf(exact.numerator) / exact.denominator


def rational(x: Real) -> Fraction:
    """Return the exact value of a finite number."""
    return Fraction(*map(int, to_rational(MP.mpf(x)._mpf_)))


def shortened(P: Fraction, Q: Fraction) -> tuple[Fraction, Fraction, Fraction]:
    """LIK-7: return what a tuple counts as, and the factor that shortens it."""
    factor = LONGEST / max(abs(P), abs(Q), LONGEST)
    return P * factor, Q * factor, factor


def place(e: Element) -> Place:
    """Return the arc of an element, and where its tuple lies."""
    P, Q, factor = shortened(e.P, e.Q)
    S, C = e.u_n * e.l_d - e.l_n * e.u_d, e.l_n * e.u_n + e.l_d * e.u_d
    side = -1 if S < 0 or (not S and C < 0 < e.l_n) else 1  # From +∞ up to −∞ lies one line.
    low, high = (MP.sqrt(real(n * n + d * d)) for n, d in ((e.l_n, e.l_d), (e.u_n, e.u_d)))
    crosses = real(P * e.l_d - Q * e.l_n) / low, side * real(P * e.u_d - Q * e.u_n) / high
    L, U = (real(e.l_n) / low, real(e.l_d) / low), (real(e.u_n) / high, real(e.u_d) / high)
    S, C = side * real(S), side * real(C)
    turn = S / (low * high), C / (low * high) if S else MP.sign(C)
    return Place(real(P), real(Q), *L, side * U[0], side * U[1], *turn, *crosses, real(factor))


def _loss(at: Place, rest: Real, twice: Real, A: Real) -> tuple[Real, Real]:
    """Return ``−log(A/δ)``, or what it tends to for an arc of no width, and its scale."""
    x = at.C + rest
    if at.S:
        logs = MP.log(MP.atan2(at.S, at.C)), MP.log(A)
        return logs[0] - logs[1], 1 + abs(logs[0]) + abs(logs[1])
    if at.C < 0 or x <= 0:
        return (MP.zero if x < 0 else MP.inf) if at.C < 0 else -MP.inf, MP.zero
    logs = MP.log1p(rest / at.C), MP.log1p(twice)
    return logs[0] - logs[1], logs[0] + logs[1]


def outcome(at: Place, resolution: Real, sway: Real = 0) -> Outcome:
    """LIK-1, LIK-2, LIK-8: return loss, gradient and probability.

    The gradient of ``−log A``, with ``A = π·m``, is written with ``sin A / A``, which has a limit
    where A tends to 0. ``sway`` is a relative error of x.
    """
    square, crossed = at.P**2 + at.Q**2, at.c_L * at.c_U
    doubled = at.S**2 / (1 - at.C) if at.C < 0 else 1 + at.C  # 2·cos²(δ/2)
    b, K, blur = 1 + 2 * square, 4 * (1 + square), resolution**2 * doubled / 2
    w, size = crossed + square * blur, abs(crossed) + square * blur
    rest = K * w + sway * (1 + K * size)
    x, y = at.C + rest, b * at.S
    A, R = MP.atan2(y, x), MP.hypot(x, y)
    loss, scale = _loss(at, rest, 2 * square, A)
    sinc = y / (R * A) if A else MP.one
    radial = sinc * (8 * (w + (1 + square) * blur) / R - 4 * x / (R * b))
    turn, f = sinc * K / R, at.factor
    in_P = at.P * radial + turn * (at.c_L * at.u_d + at.c_U * at.l_d)
    in_Q = at.Q * radial - turn * (at.c_L * at.u_n + at.c_U * at.l_n)
    steep = sinc * max(abs(at.P), abs(at.Q)) * (8 * (size + (1 + square) * blur) / R + 4 / b)
    steep += turn * (abs(at.c_L) + abs(at.c_U))
    return Outcome(loss, f * in_P, f * in_Q, A / MP.pi, scale, f * steep)


def exact(element: Element, resolution: float = 0.0) -> Outcome:
    """Return what is right of an element; LIK-7: (0, 0) is no line."""
    is_line = element.l_n or element.l_d
    return outcome(place(element), real(resolution)) if is_line else NOTHING


def _swayed(at: Place, error: Real, tiny: Real, blurred: bool) -> Iterator[tuple[Place, Real]]:
    """Walk the corners of what rounding makes of a place, and where a slope is steepest between.

    A cross product has the error ``error·(|P·d| + |Q·n|)``, S likewise. Parts of unit tuples may
    underflow, which costs ``tiny`` times the tuple's size. The relative error of x is harmless
    (``x² + y² ≥ (1 + 4(1 + ρ²)|c_L·c_U|)²``) unless a resolution adds to it.
    """
    peak, spans = 1 / MP.sqrt(4 * (1 + at.P**2 + at.Q**2)), []
    for c, n, d in ((at.c_L, at.l_n, at.l_d), (at.c_U, at.u_n, at.u_d)):
        off = error * (abs(at.P * d) + abs(at.Q * n)) + tiny * (abs(at.P) + abs(at.Q) + 1)
        spans.append([c - off, c + off, *(p for p in (0, peak, -peak) if abs(p - c) < off)])
    off = error * (abs(at.u_n * at.l_d) + abs(at.l_n * at.u_d)) + tiny
    pairs = list(product(*spans) if at.S else zip(*spans, strict=True))
    sines = (max(at.S - off, MP.zero), at.S + off) if at.S else (at.S,)
    for (c_L, c_U), S, sway in product(pairs, sines, (-error, error) if blurred else (MP.zero,)):
        yield at._replace(c_L=c_L, c_U=c_U, S=S), sway


def tolerances(
    element: Element, resolution: float, form: Format, coarse: int
) -> tuple[Outcome, Outcome]:
    """Return what is right of an element, and how far rounding may take each part; LIK-7."""
    right = exact(element, resolution)
    at = place(element) if right is not NOTHING else None
    if not at or (not at.S and at.C < 0):  # no line, or the whole one
        return right, NOTHING
    error, tiny = (real(CROSSED * coarse * form.epsilon * x) for x in (1, form.smallest_normal))
    around = _swayed(at, error, tiny, resolution > 0)
    found = [outcome(near, real(resolution), sway) for near, sway in around]
    spans = [max(abs(v - own) for v in values) for own, *values in zip(right, *found, strict=True)]
    scales = right.scale, 2 * right.steep, 2 * right.steep, right.m, 0, 0
    cost = ROUNDINGS * coarse * real(form.epsilon)
    return right, Outcome(*(span + cost * x for span, x in zip(spans, scales, strict=True)))


def judge(
    arcs: Arcs, resolution: float = 0.0, coarse: int = 1, mask: Array | None = None
) -> dict[str, list[tuple[Real, Real]]]:
    """Return the mean loss, and by element its gradients and the probability, with tolerances."""
    form, kept = FORMATS[working(arcs.P.dtype)], mask.values if mask else [True] * len(arcs.rows)
    rows = [tolerances(row, resolution, form, coarse) if keep else (NOTHING, NOTHING)
            for row, keep in zip(arcs.rows, kept, strict=True)]  # fmt: skip
    n, floor = max(sum(kept), 1), real(form.smallest_normal)
    right, off = (sum(row[part].loss for row in rows) / n for part in (0, 1))
    off += real(form.epsilon) / 2 * sum(row.scale for row, _ in rows)
    judged = {"loss": [(right, off + floor)], "m": [(row.m, off.m + floor) for row, off in rows]}
    for name in ("in_P", "in_Q"):
        slopes = ([getattr(part, name) / n for part in row] for row in rows)
        judged[name] = [(slope, off + floor) for slope, off in slopes]
    return judged


def central(
    P: Fraction, Q: Fraction, level: float, form: Format
) -> list[tuple[Real, Real, Real, Real]]:
    """LIK-6: return both ends of a central interval as lines ``(n, d)``, and their tolerances."""
    p, q, angle = *map(real, shortened(P, Q)[:2]), MP.pi * real(level)
    tangent, cost = MP.tan(angle / 2) / (1 + 2 * (p * p + q * q)), ROUNDINGS * real(form.epsilon)
    leaning = tangent * (angle / MP.sin(angle) if level else 1)
    lost = cost * real(form.smallest_normal) * max(abs(p), abs(q))
    off_n, off_d = (cost * (abs(x) + abs(y) * leaning) + lost for x, y in ((p, q), (q, p)))
    return [(p + t * q, q - t * p, off_n, off_d) for t in (-tangent, tangent)]
