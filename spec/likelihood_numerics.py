"""LIK: intervals, and what the likelihoods owe to arithmetic."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

from .arrays import Array, identical
from .clause import clause, refused, require
from .formats import FORMATS, Format
from .likelihood import Likelihoods, loss, near, probabilities, require_close
from .likelihood_terms import LONGEST, MP, Arcs, Real, central, judge, real
from .losses import COARSE, Measured, cast, working


def is_near(y: float, n: Real, d: Real, off_n: Real, off_d: Real, form: Format) -> bool:
    """Tell whether a number or ±∞ is that of a line, up to tolerances and one rounding."""
    if math.isinf(y):
        return bool(abs(d) <= off_d + abs(n) / real(form.largest))
    rounding = real(form.epsilon) * abs(n) + real(form.smallest_normal) * abs(d)
    return near(0.0, y * d - n, off_n + abs(y) * off_d + rounding)


@clause("LIK-6", source="Ours: an interval around a pole runs through infinity", since="0.5.0")
def interval(subject: Likelihoods, P: Array, Q: Array, level: float) -> None:
    """A central interval of level p runs from its first end up to its second.

    1. Its ends are the tuple's line, turned by ``∓ atan(tan(πp/2) / (1 + 2ρ²))``, up to rounding.
    2. Its probability is p, up to rounding, if its ends are finite and differ.
    3. Its first end is the larger number iff it runs through infinity.
    4. At level 0 both ends are ``P / Q``, ±∞ for ``Q = 0``.
    5. For ``(0, 0)`` it is the whole line, from −∞ to ∞; for a tuple that is not finite, NaN.
    6. A level outside [0, 1), or NaN, raises ValueError.
    """
    if not 0 <= level < 1:
        right = refused(ValueError, lambda: subject.central_interval(P, Q, level), claim=6)
        require(right, "level {} was taken", level, claim=6)
        return
    dtype, ends, kept = working(P.dtype), subject.central_interval(P, Q, level), []
    form = FORMATS[dtype]
    rows = zip(P.values, Q.values, *(end.values for end in ends), strict=True)
    for p, q, first, second in rows:
        found, complaint = (p, q, level, first, second), "{}, {} at level {} gives {} to {}"
        if not (math.isfinite(p) and math.isfinite(q) and (p or q)):
            expected = (-math.inf, math.inf) if p == q == 0 else (math.nan, math.nan)
            right = identical(first, expected[0]) and identical(second, expected[1])
            require(right, complaint, *found, claim=5)
            continue
        exact = central(Fraction(p), Fraction(q), level, form)
        right = all(is_near(y, *end, form) for y, end in zip((first, second), exact, strict=True))
        require(right, complaint, *found)
        through = exact[0][1] * exact[1][1] < 0
        sure = all(abs(d) > off for _, d, _, off in exact)
        require(not sure or through == (first > second), complaint, *found, claim=3)
        require(level > 0 or first == second, complaint, *found, claim=4)
        if math.isfinite(first) and math.isfinite(second) and first != second:
            kept.append((p, q, first, second))
    columns = zip(*kept, strict=True) if kept else [()] * 4
    p, q, first, second = (Array.of(column, dtype) for column in columns)
    arcs = Arcs(p, q, (first, Array.full(1.0, p)), (second, Array.full(1.0, p)))
    for m, right, slack in probabilities(subject, arcs, 4):
        close = near(m, right, slack) and near(level, right, slack)
        require(close, "the level of {} is {}, not {}", arcs, m, level, claim=2)


def _require_wide(subject: Likelihoods, arcs: Arcs, resolution: float) -> None:
    """LIK-7.7: require that half precision counts as float32."""
    P, wide = arcs.P, arcs.of([replace(x, dtype=working(x.dtype)) for x in arcs.parts])
    found, exact = (loss(subject, x, resolution) for x in (arcs, wide))
    in_P, in_Q = ([cast(g, P.dtype) for g in x.values] for x in (exact.in_P, exact.in_Q))
    expected = Measured(exact.value, P.with_values(in_P), P.with_values(in_Q))
    half, full = ([m for m, *_ in probabilities(subject, x)] for x in (arcs, wide))
    complaint = "{} at resolution {} gives {}, not {}"
    right = found == expected and half == full
    require(right, complaint, arcs, resolution, found, expected, claim=7)
    half_ends, ends = (
        repr([end.values for end in subject.central_interval(x.P, x.Q, 0.9)]) for x in (arcs, wide)
    )
    right = half_ends == ends
    require(right, "central intervals of {} are {}, not {}", arcs, half_ends, ends, claim=7)


@clause("LIK-7", source="Ours: what careful IEEE arithmetic costs, by operations", since="0.5.0")
def numerics(subject: Likelihoods, arcs: Arcs, resolution: float) -> None:
    """Let rounding change ``P·d − Q·n``, of a unit tuple ``(n, d)``, by ``4ε(|P·d| + |Q·n|)``, the
    sine of an arc likewise, and let parts of unit tuples underflow. Every bound below also allows
    one smallest normal number.

    1. Of finite tuples and lines of any magnitude, losses, gradients and probabilities are finite.
    2. A loss of n terms differs from the exact loss by no more than such changes can move it, plus
       ``(8 + n/2)ε`` times the mean scale.
    3. A gradient differs from the exact one by no more than they can move it, plus ``16ε/n`` times
       its scale.
    4. A probability differs from the exact one by no more than they can move it, plus 8ε of it.
    5. At ``(0, 0)`` losses and gradients are 0, and the probability of an arc is ``δ/π``.
    6. A target ``(0, 0)`` is no line: its loss and its gradient are 0.
    7. Numbers in half precision count as the same in float32; gradients are rounded.
    8. If a part of a predicted tuple is NaN or ±∞, the loss is NaN.
    9. A tuple whose larger part exceeds 2¹²⁰ counts as shortened to that by a constant factor, so
       that its gradient, which may grow like ρ, is finite.

    A loss has the scale ``log(1 + 4(1 + ρ²)c²) + log(1 + 2ρ²)`` for a line, and
    ``1 + |log δ| + |log πm|`` for an arc; a gradient that of the larger of its two parts, with all
    terms positive. Where another clause says “up to rounding”, a formula has a thousand times that.
    """
    found = loss(subject, arcs, resolution)
    parts, complaint = (arcs, resolution), "{} at resolution {} gives {}, not {}"
    if not all(math.isfinite(v) for x in (arcs.P, arcs.Q) for v in x.values):
        require(math.isnan(found.value), complaint, *parts, found, math.nan, claim=8)
        return
    if working(arcs.P.dtype) != arcs.P.dtype:
        _require_wide(subject, arcs, resolution)
        return
    ms = probabilities(subject, arcs) if arcs.upper else []
    numbers = [found.value, *found.in_P.values, *found.in_Q.values, *(m for m, *_ in ms)]
    require(all(map(math.isfinite, numbers)), complaint, *parts, numbers, "finite")
    nothing = [not any(x.values + y.values) for x, y in (arcs.parts[:2], arcs.lower)]
    long = max(map(abs, arcs.P.values + arcs.Q.values), default=0) > LONGEST
    special = 5 if nothing[0] else 6 if nothing[1] else 9 if long else 0
    require_close(subject, arcs, resolution, claims=(special or 2, special or 3))
    still = not any(nothing) or not any(found.in_P.values + found.in_Q.values)
    require(still, complaint, *parts, found, 0, claim=special or 3)
    for m, exactly, slack in ms:
        require(near(m, exactly, slack), complaint, *parts, m, float(exactly), claim=special or 4)


@clause(
    "LIK-8",
    source="Ours: noiseless data drive ρ to infinity unless the loss is bounded below; "
    "probabilities and intervals are those of ε = 0",
    since="0.5.0",
)
def resolved(subject: Likelihoods, arcs: Arcs, resolution: float) -> None:
    """A resolution ε ≥ 0 of a loss is the angle that no measurement is sharper than.

    1. It replaces ``c²`` by ``c² + ρ²ε²``, and ``c_L·c_U`` by ``c_L·c_U + ρ²ε²cos²(δ/2)``, up to
       rounding.
    2. The gradient is the derivative of that loss, up to rounding.
    3. A loss of lines is at least ``log(2ε√(1 − ε²))`` for ``ε² < 1/2``, and else at least 0.
    4. A resolution that is negative or not finite raises ValueError.

    Without ``cos²(δ/2)`` an arc of nearly the whole line, which says nothing, could cost much.
    """
    if not 0 <= resolution < math.inf:
        loss(subject, arcs)  # Who has no loss refuses nothing.
        right = refused(ValueError, lambda: loss(subject, arcs, resolution), claim=4)
        require(right, "resolution {} was taken", resolution, claim=4)
        return
    found = require_close(subject, arcs, resolution, coarse=COARSE).value
    if arcs.upper is None and resolution:
        sharp = real(min(resolution, 0.5**0.5))
        bound = MP.log(2 * sharp * MP.sqrt(1 - sharp * sharp))
        slack = judge(arcs, resolution)["loss"][0][1]
        complaint = "loss of {} at resolution {} is {}, less than {}"
        require(found >= bound - slack, complaint, arcs, resolution, found, float(bound), claim=3)
