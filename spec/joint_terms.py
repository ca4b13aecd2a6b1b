"""LIK, the rules for several outputs with one denominator: their joint likelihood, and what is
known of each. What is rational is computed exactly; roots and logarithms have 256 bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from .arrays import Array
from .formats import FORMATS
from .likelihood_terms import LONGEST, MP, ROUNDINGS, Real, rational, real
from .losses import working

# How many ε of the tuple's length rounding costs in r, for each part of the tuple; LIK-9.
TURNED = 4


class Sample(NamedTuple):
    """The tuple ``(P_1, …, P_k, Q)`` of a sample, and its targets; None if one is singular."""

    X: tuple[Fraction, ...]
    y: tuple[Fraction, ...] | None


class JointOutcome(NamedTuple):
    """A loss with its gradient in each part of the tuple, and the scales of their errors."""

    loss: Real
    slopes: Sequence[Real]
    scale: Real
    steep: Real


@dataclass(frozen=True)
class Samples:
    """Tuples and lifted targets of samples: ``Q`` has the shape (n, 1), the others (n, k)."""

    P: Array
    Q: Array
    Y_n: Array
    Y_d: Array

    @property
    def rows(self) -> list[Sample]:
        """The samples; what is not finite is 0."""
        found, k = list[Sample](), self.P.shape[-1]
        for i, q in enumerate(self.Q.values):
            P, y, finite = (x.values[i * k : (i + 1) * k] for x in (self.P, self.Y_n, self.Y_d))
            X, Y = (tuple(Fraction(v if math.isfinite(v) else 0) for v in x) for x in ((*P, q), y))
            found.append(Sample(X, Y if all(finite) else None))
        return found

    @property
    def parts(self) -> tuple[Array, ...]:
        """The arrays."""
        return self.P, self.Q, self.Y_n, self.Y_d


def rest(sample: Sample) -> tuple[list[Fraction], list[Fraction], Fraction]:
    """Return a sample's tuple as it counts (LIK-7.9), what it misses its targets by, the factor."""
    factor = LONGEST / max(*map(abs, sample.X), LONGEST)
    X = [x * factor for x in sample.X]
    if sample.y is None:
        return X, [*[Fraction(0)] * len(X[1:]), X[-1]], factor
    Y = [*sample.y, Fraction(1)]
    dots = (sum((x * y for x, y in zip(v, Y, strict=True)), Fraction(0)) for v in (X, Y))
    along = next(dots) / next(dots)
    return X, [x - along * y for x, y in zip(X, Y, strict=True)], factor


def formula(
    X: Sequence[Real], r: Sequence[Real], length: Real, weights: tuple[Real, Real], blur: Real
) -> JointOutcome:
    """Return loss and gradient of a tuple that misses its targets by a vector of some length."""
    square, longest = sum(x * x for x in X), max(map(abs, X))
    K, missed, (p, w) = 4 * (1 + square), length**2 + square * blur, weights
    wide, sharp = 1 + K * missed, 1 + 2 * square
    logs = p * MP.log1p(K * missed), w * MP.log1p(2 * square)

    def slope(x: Real, part: Real, sign: int) -> Real:
        return p * (8 * x * missed + 2 * K * (part + x * blur)) / wide - sign * 4 * w * x / sharp

    slopes = [slope(x, part, 1) for x, part in zip(X, r, strict=True)]
    return JointOutcome(logs[0] - logs[1], slopes, sum(logs), slope(longest, max(map(abs, r)), -1))


def _given(sample: Sample, resolution: float) -> tuple[list[Real], ...]:
    X, r, factor = rest(sample)
    k = len(X) - 1 if sample.y is not None else 1
    length, blur = MP.sqrt(real(sum((x * x for x in r), Fraction(0)))), real(resolution) ** 2
    return [*map(real, X)], [*map(real, r)], [length, (real(k + 1) / 2, real(k)), blur, factor]


def joint(sample: Sample, resolution: float = 0.0) -> JointOutcome:
    """LIK-9: return what is right of a sample."""
    X, r, (length, weights, blur, factor) = _given(sample, resolution)
    right = formula(X, r, length, weights, blur)
    f = real(factor)
    return right._replace(slopes=[f * g for g in right.slopes], steep=f * right.steep)


def tolerances(sample: Sample, resolution: float, dtype: str, coarse: int) -> JointOutcome:
    """LIK-9: return how far rounding may take loss and gradient, for changes of r."""
    X, r, (length, weights, blur, factor) = _given(sample, resolution)
    right, f = joint(sample, resolution), real(factor)
    cost = coarse * real(FORMATS[dtype].epsilon)
    off = TURNED * len(X) * cost * MP.sqrt(sum(x * x for x in X))

    def corners() -> Iterator[JointOutcome]:
        for size in (max(length - off, MP.zero), length + off):
            for turn in (-off, off):
                yield formula(X, [part + turn for part in r], size, weights, blur)

    found = [*corners()]
    loss = max(abs(x.loss - right.loss) for x in found) + ROUNDINGS * cost * right.scale
    columns = zip(*([f * g for g in x.slopes] for x in found), strict=True)
    pairs = zip(right.slopes, columns, strict=True)
    spans = [max(abs(g - own) for g in values) for own, values in pairs]
    slopes = [span + 2 * ROUNDINGS * cost * right.steep for span in spans]
    return JointOutcome(loss, slopes, right.scale, right.steep)


def judge(
    samples: Samples, resolution: float = 0.0, coarse: int = 1, mask: Array | None = None
) -> dict[str, list[tuple[Real, Real]]]:
    """Return the mean loss and the gradients, by element, with tolerances."""
    rows, dtype = samples.rows, working(samples.P.dtype)
    kept = mask.values if mask else [True] * len(rows)
    n, form = max(sum(kept), 1), FORMATS[dtype]
    floor = real(form.smallest_normal)
    judged = {"loss": [(MP.zero, floor)], "in_P": [], "in_Q": []}
    for row, keep in zip(rows, kept, strict=True):
        pairs = [(MP.zero, MP.zero)] * len(row.X)
        if keep:
            right, off = joint(row, resolution), tolerances(row, resolution, dtype, coarse)
            rounding = off.loss / n + real(form.epsilon) / 2 * right.scale
            ((value, slack),) = judged["loss"]
            judged["loss"] = [(value + right.loss / n, slack + rounding)]
            pairs = [*zip(right.slopes, off.slopes, strict=True)]
        *in_P, in_Q = [(slope / n, slack / n + floor) for slope, slack in pairs]
        judged["in_P"] += in_P
        judged["in_Q"] += [in_Q]
    return judged


def alone(sample: Sample) -> list[tuple[Fraction, Fraction]]:
    """LIK-10: return the tuple that says of each output what is known of it."""
    X, _, _ = rest(sample)
    more, found = real(1 + sum((x * x for x in X), Fraction(0))), list[tuple[Fraction, Fraction]]()
    for p in X[:-1]:
        own = real(p * p + X[-1] * X[-1])
        factor = rational(MP.sqrt(2 * more / (1 + MP.sqrt(1 + 4 * more * own))))
        found.append((p * factor, X[-1] * factor))
    return found
