"""LIK: what several outputs with one denominator say together, and what each says alone."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Protocol

from .arrays import Array
from .clause import clause, refused, require
from .formats import FORMATS
from .joint_terms import Samples, alone, judge, rest
from .lifting import lift
from .likelihood import Likelihoods, near
from .likelihood_numerics import is_near
from .likelihood_terms import MP, Element, Lines, central, real, tolerances
from .losses import COARSE, Measured, cast, working


class JointLikelihoods(Likelihoods, Protocol):
    """A subject whose outputs of a sample may share one denominator, of shape (n, 1)."""

    def joint_likelihood(
        self, P: Array, Q: Array, Y_n: Array, Y_d: Array, *, resolution: float = 0.0,
        mask: Array | None = None,
    ) -> Measured:  # fmt: skip
        """Return the mean joint loss of all samples, or of those under a bool mask of shape (n,).

        The targets are lifted. ValueError for shapes that do not fit, and for a resolution < 0 or
        not finite.
        """

    def joint_probability(self, P: Array, Q: Array, lower: Lines, upper: Lines) -> Array:
        """Return the probability of an arc for each output, in float32 or wider."""

    def joint_interval(self, P: Array, Q: Array, level: float) -> tuple[Array, Array]:
        """Return the ends of each output's central interval, in float32 or wider."""


def loss(
    subject: JointLikelihoods, samples: Samples, resolution: float = 0, mask: Array | None = None
) -> Measured:
    """Return the joint loss of samples."""
    return subject.joint_likelihood(*samples.parts, resolution=resolution, mask=mask)


def require_close(
    subject: JointLikelihoods, samples: Samples, resolution: float, mask: Array | None = None, *,
    coarse: int = 1, claims: tuple[int, int],
) -> Measured:  # fmt: skip
    """Require loss and gradient within so many tolerances of the exact ones."""
    found = loss(subject, samples, resolution, mask)
    judged = judge(samples, resolution, coarse, mask)
    sides = ("loss", (found.value,)), ("in_P", found.in_P.values), ("in_Q", found.in_Q.values)
    for name, values in sides:
        for i, (value, (right, slack)) in enumerate(zip(values, judged[name], strict=True)):
            complaint = "{} {} of {} at resolution {} under {} is {}, not {}"
            parts, claim = (samples, resolution, mask, value, float(right)), claims[name != "loss"]
            require(near(value, right, slack), complaint, name, i, *parts, claim=claim)
    return found


def _require_wide(subject: JointLikelihoods, samples: Samples, resolution: float) -> None:
    """LIK-9.6: require that half precision counts as float32."""
    dtype, (p, q, n, d) = samples.P.dtype, (replace(x, dtype="float32") for x in samples.parts)
    found, exact = (loss(subject, x, resolution) for x in (samples, Samples(p, q, n, d)))
    in_P, in_Q = (
        replace(x, values=tuple(cast(g, dtype) for g in x.values), dtype=dtype)
        for x in (exact.in_P, exact.in_Q)
    )
    expected = Measured(exact.value, in_P, in_Q)
    require(found == expected, "{} has {}, not {}", samples, found, expected, claim=6)


@clause(
    "LIK-9",
    source="Ours: outputs with their poles together tell of one denominator; the line of "
    "(N_1, …, N_k, D) ~ N(0, I + 4(1 + ρ²)XXᵀ) has this distribution (Tyler, Biometrika 74, 1987)",
    since="0.6.0",
)
def joint(
    subject: JointLikelihoods, samples: Samples, resolution: float, mask: Array, poison: float
) -> None:
    """Let ``X = (P_1, …, P_k, Q)`` be the tuple of a sample whose outputs share a denominator, ρ
    its length, Y the unit vector of the targets ``(y_1, …, y_k, 1)``, and ``r = X − (X·Y)Y``.

    1. The loss is ``((k + 1)/2)·log(1 + 4(1 + ρ²)(‖r‖² + ρ²ε²)) − k·log(1 + 2ρ²)`` at a resolution
       ε, up to rounding.
    2. A sample with a singular target only says that its pole is near: its loss is that of the
       tuple ``(‖P‖, Q)`` against the line ``(1, 0)`` (LIK-1, LIK-8), up to rounding.
    3. The gradient is the derivative, up to rounding.
    4. The loss is a mean over the samples that count, 0 for none.
    5. Samples that do not count, whatever numbers they hold, change nothing and have gradient 0.
    6. Numbers in half precision count as the same in float32; gradients are rounded.
    7. If a part of a tuple is NaN or ±∞, the loss is NaN.
    8. Shapes that do not fit raise ValueError, and so does a resolution that is negative or not
       finite.

    Rounding may change r by ``4(k + 1)ε‖X‖``, and costs otherwise what LIK-7 says of lines, that
    long tuples count as shortened included. “Up to rounding” is a thousand times that.
    """
    if not 0 <= resolution < math.inf:
        loss(subject, samples)  # Who has no loss refuses nothing.
        right = refused(ValueError, lambda: loss(subject, samples, resolution), claim=8)
        require(right, "resolution {} was taken", resolution, claim=8)
        return
    if not all(math.isfinite(v) for x in samples.parts[:2] for v in x.values):
        value = loss(subject, samples, resolution).value
        require(math.isnan(value), "{} has the loss {}", samples, value, claim=7)
        return
    if working(samples.P.dtype) != samples.P.dtype:
        _require_wide(subject, samples, resolution)
        return
    own = 1 if all(row.y is not None for row in samples.rows) else 2
    require_close(subject, samples, resolution, coarse=COARSE, claims=(own, 3))
    require_close(subject, samples, resolution, mask, coarse=COARSE, claims=(4, 4))
    k, kept = samples.P.shape[-1], mask.values
    p, q, n, d = (
        x.with_values([v if kept[i * len(kept) // len(x.values)] else poison
                       for i, v in enumerate(x.values)]) for x in samples.parts
    )  # fmt: skip
    dirty = Samples(p, q, n, d)
    before, after = (loss(subject, x, resolution, mask) for x in (samples, dirty))
    slopes = [
        *zip([i for i in range(len(kept)) for _ in range(k)], before.in_P.values, strict=True)
    ]
    still = not any(g for i, g in (*slopes, *enumerate(before.in_Q.values)) if not kept[i])
    complaint = "{} and {} under {} give {} and {}"
    require(before == after and still, complaint, samples, dirty, mask, before, after, claim=5)
    for i in range(5):
        parts = [*samples.parts, mask]
        parts[i] = replace(parts[i], shape=(1, *parts[i].shape))
        call = lambda of=parts: loss(subject, Samples(*of[:4]), 0.0, of[4])  # noqa: E731
        require(refused(ValueError, call, claim=8), "{} were taken", parts, claim=8)


@clause("LIK-10", source="Ours: its marginal; other outputs tell of Q, too", since="0.6.0")
def each(
    subject: JointLikelihoods, P: Array, Q: Array, ends: tuple[float, float], level: float
) -> None:
    """Let X be the tuple of a sample whose outputs share a denominator, and ρ its length. Of the
    output i its tuple says what ``(P_i, Q)`` says once it is lengthened to a length ρ_i, where
    ``ρ_i²(1 + ρ_i²) = (P_i² + Q²)(1 + ρ²)``.

    1. The probability of an arc is LIK-2's, up to rounding.
    2. The ends of a central interval are LIK-6's, up to rounding.
    """
    lower, upper = ((Array.full(n, P), Array.full(d, P)) for n, d in map(lift, ends))
    found, form = subject.joint_probability(P, Q, lower, upper), FORMATS[working(P.dtype)]
    tuples = [row for sample in Samples(P, Q, *lower).rows for row in alone(sample)]
    edges = [Fraction(x) for y in ends for x in lift(y)]
    for m, row in zip(found.values, tuples, strict=True):
        right, off = tolerances(Element(*row, *edges), 0.0, form, COARSE)
        complaint, slack = (
            "probability of {} {} from {} to {} is {}, not {}",
            off.m + real(form.smallest_normal),
        )
        require(near(m, right.m, slack), complaint, P, Q, *ends, m, float(right.m))
    intervals = zip(*(x.values for x in subject.joint_interval(P, Q, level)), strict=True)
    for pair, row in zip(intervals, tuples, strict=True):
        exact = [(n, d, COARSE * off_n, COARSE * off_d)
                 for n, d, off_n, off_d in central(*row, level, form)]  # fmt: skip
        close = all(is_near(y, *end, form) for y, end in zip(pair, exact, strict=True))
        parts = P, Q, level, pair, [float(n / d) if d else math.inf for n, d, *_ in exact]
        require(close, "the interval of {} {} at {} is {}, not {}", *parts, claim=2)


def rotated(samples: Samples, turn: tuple[int, int], axis: int) -> Samples:
    """Return samples whose tuples and targets are turned, in the plane of an axis and the last, by
    twice the angle of an integer pair, and rounded; those that a target would leave are not.
    """
    (a, b), dtype, k = turn, samples.P.dtype, samples.P.shape[-1]
    cos, sin = Fraction(a * a - b * b, a * a + b * b), Fraction(2 * a * b, a * a + b * b)
    P, Q, y = list[Fraction](), list[Fraction](), list[Fraction]()
    for X, targets in samples.rows:
        pair = [*X], [*(targets or ()), Fraction(1)]
        if targets is not None and cos - sin * targets[axis % k]:
            for v in pair:
                v[axis % k], v[k] = v[axis % k] * cos + v[k] * sin, v[k] * cos - v[axis % k] * sin
        P, Q, y = P + pair[0][:k], Q + pair[0][k:], y + [n / pair[1][-1] for n in pair[1][:-1]]
    p, q, n = ([cast(v, dtype) for v in part] for part in (P, Q, y))
    parts = samples.P.with_values(p), samples.Q.with_values(q), samples.Y_n.with_values(n)
    return Samples(*parts, samples.Y_d)


@clause("LIK-11", source="Ours: no direction is special, a pole's included", since="0.6.0")
def even(subject: JointLikelihoods, samples: Samples, turn: tuple[int, int], axis: int) -> None:
    """Let all targets of the joint likelihood of k outputs be finite, and its resolution 0.

    1. To rotate tuple and targets together in their k + 1 dimensions changes a loss by no more than
       rounding.
    2. ``X → −X`` changes no bit of a loss, and reverses the gradient.
    3. At the tuple's own values a loss is ``−k·log(1 + 2ρ²)``, up to rounding.
    4. Every loss is at most ``log(1 + 2ρ²)``, and at least the loss at the tuple's own values.
    """
    minus = [x.with_values([-v for v in x.values]) for x in samples.parts[:2]]
    opposed = replace(samples, P=minus[0], Q=minus[1])
    cases = samples, rotated(samples, turn, axis), opposed
    one, other, opposite = (loss(subject, case) for case in cases)
    slack = sum(judge(case, coarse=2)["loss"][0][1] for case in cases[:2])
    parts, complaint = (*cases[:2], one.value, other.value), "{}, turned to {}, has {} and {}"
    require(near(other.value, MP.mpf(one.value), slack), complaint, *parts)
    reversed_ = [[-g for g in x.values] for x in (one.in_P, one.in_Q)]
    right = reversed_ == [[*x.values] for x in (opposite.in_P, opposite.in_Q)]
    right = right and one.value == opposite.value
    require(right, complaint, samples, cases[2], one, opposite, claim=2)
    k, rows = samples.P.shape[-1], samples.rows
    logs = [MP.log1p(2 * real(sum(x * x for x in rest(row)[0]))) for row in rows]
    most, dtype = sum(logs) / len(logs), samples.P.dtype
    sure = all(row.X[-1] for row in rows)
    if sure:
        ratios = [cast(x / row.X[-1], dtype) for row in rows for x in row.X[:-1]]
        own = replace(samples, Y_n=samples.P.with_values(ratios))
        value, off = loss(subject, own).value, judge(own)["loss"][0]
        require(near(value, -k * most, off[1] + abs(off[0] + k * most)), complaint, own, own, value,
                float(-k * most), claim=3)  # fmt: skip
    slack = judge(samples)["loss"][0][1]
    right = -k * most - slack <= one.value <= most + slack
    bounds = float(-k * most), float(most)
    require(right, "loss of {} is {}, beyond {} or {}", samples, one.value, *bounds, claim=4)
