"""LIK: what several outputs with one denominator say together, and what each says alone.

What is rational is computed exactly; roots and logarithms have 256 bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from typing import Final, NamedTuple, Protocol

from .arrays import Array
from .clause import clause, refused, require
from .formats import FORMATS
from .lifting import lift
from .likelihood import Likelihoods, near
from .likelihood_numerics import is_near
from .likelihood_terms import (
    LONGEST,
    MP,
    NOTHING,
    ROUNDINGS,
    Element,
    Lines,
    Outcome,
    Real,
    central,
    rational,
    real,
    tolerances,
)
from .losses import COARSE, Measured, working

# How many ε of the tuple's length rounding costs in r, for each part of the tuple; LIK-9.
TURNED: Final = 4


class Sample(NamedTuple):
    """The tuple ``(P_1, …, P_k, Q)`` of a sample, and its targets; None if one is singular."""

    X: tuple[Fraction, ...]
    y: tuple[Fraction, ...] | None


@dataclass(frozen=True)
class Samples:
    """Tuples and lifted targets of samples: ``Q`` has the shape (n, 1), the others (n, k), or all
    of them one more dimension between.
    """

    P: Array
    Q: Array
    Y_n: Array
    Y_d: Array

    @property
    def parts(self) -> tuple[Array, ...]:
        """The arrays."""
        return self.P, self.Q, self.Y_n, self.Y_d

    @property
    def rows(self) -> list[Sample]:
        """The samples; what is not finite is 0."""
        found, k = list[Sample](), self.P.shape[-1]
        for i, q in enumerate(self.Q.values):
            P, y, finite = (x.values[i * k : (i + 1) * k] for x in (self.P, self.Y_n, self.Y_d))
            X, Y = (tuple(Fraction(v if math.isfinite(v) else 0) for v in x) for x in ((*P, q), y))
            found.append(Sample(X, Y if all(finite) else None))
        return found

    def of(self, parts: Sequence[Array]) -> Samples:
        """Return samples of other arrays."""
        P, Q, Y_n, Y_d = parts
        return Samples(P, Q, Y_n, Y_d)


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


def outcome(sample: Sample, resolution: float = 0.0, longer: Real = 0, turned: Real = 0) -> Outcome:
    """LIK-9: return loss and gradient of a sample; the gradients in its P are a list.

    Rounding may have made r longer, and changed each of its parts, by multiples of ρ.
    """
    factor = LONGEST / max(*map(abs, sample.X), LONGEST)
    X, k, y = [x * factor for x in sample.X], len(sample.X) - 1, sample.y
    Y = [*(y or [Fraction(0)] * k), Fraction(1)]
    along = sum((a * b for a, b in zip(X, Y, strict=True)), Fraction(0)) / sum(b * b for b in Y)
    r = [*[Fraction(0)] * k, X[k]] if y is None else [
        a - along * b for a, b in zip(X, Y, strict=True)
    ]  # fmt: skip
    square, missed = (real(sum((a * a for a in v), Fraction(0))) for v in (X, r))
    rho, blur, f = MP.sqrt(square), real(resolution) ** 2, real(factor)
    p, w = (real(k + 1) / 2, real(k)) if y is not None else (MP.one, MP.one)
    blurred = max(MP.sqrt(missed) + longer * rho, MP.zero) ** 2 + square * blur
    K, sharp = 4 * (1 + square), 1 + 2 * square
    logs = p * MP.log1p(K * blurred), w * MP.log1p(2 * square)

    def slope(x: Real, part: Real, sign: int) -> Real:
        pull = p * (8 * x * blurred + 2 * K * (part + x * blur)) / (1 + K * blurred)
        return f * (pull - sign * 4 * w * x / sharp)

    *in_P, in_Q = (slope(real(x), real(a) + turned * rho, 1) for x, a in zip(X, r, strict=True))
    steep = slope(real(max(map(abs, X))), real(max(map(abs, r))), -1)
    return Outcome(logs[0] - logs[1], in_P, in_Q, MP.zero, sum(logs), steep)


def judge(
    samples: Samples, resolution: float = 0.0, coarse: int = 1, mask: Array | None = None
) -> dict[str, list[tuple[Real, Real]]]:
    """Return the mean loss and the gradients, by element, with tolerances."""
    form, k = FORMATS[working(samples.P.dtype)], samples.P.shape[-1]
    kept = mask.values if mask else [True] * len(samples.Q.values)
    n, floor, cost = max(sum(kept), 1), real(form.smallest_normal), coarse * real(form.epsilon)
    loss, slack, slopes = MP.zero, floor, list[list[tuple[Real, Real]]]()
    for sample, keep in zip(samples.rows, kept, strict=True):
        right, off = NOTHING._replace(in_P=[MP.zero] * k), TURNED * (k + 1) * cost
        around = [right]
        if keep:
            corners = product((-off, off), repeat=2)
            right = outcome(sample, resolution)
            around = [outcome(sample, resolution, *corner) for corner in corners]
        loss += right.loss / n
        slack += max(abs(x.loss - right.loss) for x in around) / n
        slack += (ROUNDINGS * cost / n + real(form.epsilon) / 2) * right.scale
        columns = zip(*([*x.in_P, x.in_Q] for x in (right, *around)), strict=True)
        spans = [(own, max(abs(g - own) for g in others)) for own, *others in columns]
        extra = 2 * ROUNDINGS * cost * right.steep
        slopes.append([(g / n, (span + extra) / n + floor) for g, span in spans])
    in_P, in_Q = [pair for row in slopes for pair in row[:-1]], [row[-1] for row in slopes]
    return {"loss": [(loss, slack)], "in_P": in_P, "in_Q": in_Q}


def _require_close(
    subject: JointLikelihoods, samples: Samples, resolution: float, mask: Array | None,
    claims: tuple[int, int],
) -> None:  # fmt: skip
    found = subject.joint_likelihood(*samples.parts, resolution=resolution, mask=mask)
    judged = judge(samples, resolution, COARSE, mask)
    sides = ("loss", (found.value,)), ("in_P", found.in_P.values), ("in_Q", found.in_Q.values)
    for name, values in sides:
        for i, (value, (right, slack)) in enumerate(zip(values, judged[name], strict=True)):
            complaint = "{} {} of {} at resolution {} under {} is {}, not {}"
            parts, claim = (samples, resolution, mask, value, float(right)), claims[name != "loss"]
            require(near(value, right, slack), complaint, name, i, *parts, claim=claim)


@clause(
    "LIK-9",
    source="Ours: outputs with their poles together tell of one denominator; the line of "
    "(N_1, …, N_k, D) ~ N(0, I + 4(1 + ρ²)XXᵀ) has this distribution (Tyler, Biometrika 74, 1987)",
    since="0.6.0",
)
def joint(
    subject: JointLikelihoods, samples: Samples, resolution: float, mask: Array, poison: float
) -> None:
    """Let ``X = (P_1, …, P_k, Q)`` be the tuple of a sample whose k > 1 outputs share a denominator
    (DEC-9), ρ its length, Y the unit vector of ``(y_1, …, y_k, 1)``, and ``r = X − (X·Y)Y``.

    1. The loss is ``((k + 1)/2)·log(1 + 4(1 + ρ²)(‖r‖² + ρ²ε²)) − k·log(1 + 2ρ²)`` at a resolution
       ε, up to rounding.
    2. A sample with a singular target only says that its pole is near: its loss is that of the
       tuple ``(‖P‖, Q)`` against the line ``(1, 0)`` (LIK-1, LIK-8), up to rounding.
    3. The gradient is the derivative, up to rounding.
    4. The loss is a mean over the samples that count, 0 for none.
    5. Samples that do not count, whatever numbers they hold, change nothing and have gradient 0.
    6. If a part of a tuple is NaN or ±∞, the loss is NaN.
    7. Shapes that do not fit raise ValueError, and so does a resolution that is negative or not
       finite.

    For k = 1 the formula is LIK-1's. Rounding may change r by ``4(k + 1)ε‖X‖``, and costs otherwise
    what LIK-7 says of lines; “up to rounding” is a thousand times that.
    """

    def loss(*parts: Array, at: float = resolution, kept: Array | None = None) -> Measured:
        return subject.joint_likelihood(*parts[:4], resolution=at, mask=kept)

    parts, complaint = samples.parts, "{} under {} has {}, not {}"
    if not 0 <= resolution < math.inf:
        loss(*parts, at=0.0)  # Who has no loss refuses nothing.
        right = refused(ValueError, lambda: loss(*parts), claim=7)
        require(right, "resolution {} was taken", resolution, claim=7)
        return
    if not all(math.isfinite(v) for x in parts[:2] for v in x.values):
        value = loss(*parts).value
        require(math.isnan(value), complaint, samples, None, value, math.nan, claim=6)
        return
    own = 1 if all(row.y is not None for row in samples.rows) else 2
    _require_close(subject, samples, resolution, None, (own, 3))
    _require_close(subject, samples, resolution, mask, (4, 4))
    flags = [[keep for keep in mask.values for _ in range(x.shape[-1])] for x in parts]
    dirty = [x.with_values([v if keep else poison for v, keep in zip(x.values, kept, strict=True)])
             for x, kept in zip(parts, flags, strict=True)]  # fmt: skip
    before, after = (loss(*x, kept=mask) for x in (parts, dirty))
    slopes = zip(before.in_P.values + before.in_Q.values, flags[0] + flags[1], strict=True)
    right = before == after and not any(g for g, keep in slopes if not keep)
    require(right, complaint, dirty, mask, after, before, claim=5)
    for i in range(5):
        bad = [*parts, mask]
        bad[i] = replace(bad[i], shape=(1, *bad[i].shape))
        call = lambda of=bad: loss(*of, kept=of[4])  # noqa: E731
        require(refused(ValueError, call, claim=7), "{} were taken", bad, claim=7)


def alone(sample: Sample) -> list[tuple[Fraction, Fraction]]:
    """LIK-10: return the tuple of each output that says what the sample's tuple says of it."""
    *P, Q = (x * LONGEST / max(*map(abs, sample.X), LONGEST) for x in sample.X)
    more, found = real(1 + Q * Q + sum(p * p for p in P)), list[tuple[Fraction, Fraction]]()
    for p in P:
        root = MP.sqrt(1 + 4 * more * real(p * p + Q * Q))
        factor = rational(MP.sqrt(2 * more / (1 + root)))
        found.append((p * factor, Q * factor))
    return found


@clause("LIK-10", source="Ours: its marginal; other outputs tell of Q, too", since="0.6.0")
def each(
    subject: JointLikelihoods, samples: Samples, ends: tuple[float, float], level: float
) -> None:
    """Let X be the tuple of a sample whose outputs share a denominator, and ρ its length. What the
    output i says is what ``(P_i, Q)`` says, lengthened to the length ρ_i for which
    ``ρ_i²(1 + ρ_i²) = (P_i² + Q²)(1 + ρ²)``.

    1. The probability of an arc is LIK-2's of that tuple, up to rounding.
    2. The central interval is LIK-6's of that tuple, up to rounding in single precision.
    """
    P, Q, form = samples.P, samples.Q, FORMATS[working(samples.P.dtype)]
    lower, upper = ((Array.full(n, P), Array.full(d, P)) for n, d in map(lift, ends))
    found = subject.joint_probability(P, Q, lower, upper)
    tuples = [row for sample in samples.rows for row in alone(sample)]
    edges = [Fraction(x) for y in ends for x in lift(y)]
    for m, row in zip(found.values, tuples, strict=True):
        right, off = tolerances(Element(*row, *edges), 0.0, form, COARSE)
        complaint, slack = "probability of {} from {} to {} is {}, not {}", off.m
        slack += real(form.smallest_normal)
        require(near(m, right.m, slack), complaint, samples, *ends, m, float(right.m))
    single, (first, second) = FORMATS["float32"], subject.joint_interval(P, Q, level)
    for row, *interval in zip(tuples, first.values, second.values, strict=True):
        exact = central(*row, level, single)
        near_both = all(is_near(y, *e, single) for y, e in zip(interval, exact, strict=True))
        whole = interval == [-math.inf, math.inf]
        complaint = "{} at level {}: an interval is {} to {}"
        require(near_both if any(row) else whole, complaint, samples, level, *interval, claim=2)
