"""LIK: what a tuple says of its number, and the tuple that stands for several.

What is rational is computed exactly; eigenvalues have 256 bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Any, Final, Protocol, TypeAlias

from .arrays import Array, same
from .clause import clause, refused, require
from .formats import FORMATS
from .joint_likelihood import JointLikelihoods, Sample, Samples, alone
from .lifting import lift
from .likelihood import near as near_real
from .likelihood_numerics import is_near
from .likelihood_terms import LONGEST, MP, Element, Lines, central, real, shortened, tolerances
from .losses import COARSE, near, working
from .squares import misfits

# How many ε of a number its rounding costs; LIK-11, LIK-12.
ROUNDED: Final = 8000
SUREST: Final = 1 - Fraction(1, 10**12)
NAMES: Final = ("certainty", "median", "scale")

Vector: TypeAlias = tuple[Fraction, ...]


class Mixtures(Protocol):
    """A subject that reads tuples as distributions; ``Q`` may be one column for all of P."""

    def certainty(self, P: Array, Q: Array) -> Array:
        """Return concentrations, in float32 or wider; ValueError for shapes that do not fit."""

    def median_and_scale(self, P: Array, Q: Array) -> tuple[Array, Array]:
        """Return median and scale of numbers, in float64; ValueError as for the certainty."""

    def combine(self, P: Array, Q: Array, weights: Array | None) -> tuple[Array, Array]:
        """Return the tuples that stand for several members, in float64: P of the shape (rows,
        outputs), and Q with as many columns as the members' Q.

        P has the shape (rows, members, outputs), and weights (rows, members); None stands for equal
        weights. ValueError for other shapes, and for weights that are negative or not finite.
        """


def _is_central(row: tuple[Fraction, Fraction], level: float, interval: list[float]) -> bool:
    """LIK-10.2: tell whether an interval is a tuple's, up to rounding in single precision."""
    single = FORMATS["float32"]
    exact = central(*row, level, single)
    close = all(is_near(y, *e, single) for y, e in zip(interval, exact, strict=True))
    return close if any(row) else interval == [-math.inf, math.inf]


def _require_refusals(
    subject: JointLikelihoods, samples: Samples, ends: tuple[Lines, Lines], level: float
) -> None:
    """LIK-10.5: require that shapes that do not fit are refused."""
    P, Q = samples.P, samples.Q
    for bad in misfits(Q):
        for call in (lambda of=bad: subject.joint_probability(P, of, *ends),
                     lambda of=bad: subject.joint_interval(P, of, level)):  # fmt: skip
            require(refused(ValueError, call, claim=5), "{} {} were taken", P, bad, claim=5)


@clause("LIK-10", source="Ours: its marginal; other outputs tell of Q, too", since="0.6.0")
def each(
    subject: JointLikelihoods, samples: Samples, ends: tuple[float, float], level: float
) -> None:
    """Let X be the tuple of a sample whose outputs share a denominator, and ρ its length. What the
    output i says is what ``(P_i, Q)`` says, lengthened to the length ρ_i for which
    ``ρ_i²(1 + ρ_i²) = (P_i² + Q²)(1 + ρ²)``.

    1. The probability of an arc is LIK-2's of that tuple, up to rounding.
    2. The central interval is LIK-6's of that tuple, up to rounding in single precision.
    3. If a part of a sample's tuple is NaN or ±∞, all of these are NaN.
    4. Probabilities and ends have the shape of P.
    5. A level outside [0, 1), or NaN, and shapes that do not fit raise ValueError.
    """
    P, Q, form = samples.P, samples.Q, FORMATS[working(samples.P.dtype)]
    lower, upper = ((Array.full(n, P), Array.full(d, P)) for n, d in map(lift, ends))
    if not 0 <= level < 1:
        right = refused(ValueError, lambda: subject.joint_interval(P, Q, level), claim=5)
        require(right, "level {} was taken", level, claim=5)
        return
    found, pair = subject.joint_probability(P, Q, lower, upper), subject.joint_interval(P, Q, level)
    right = all(x.shape == P.shape for x in (found, *pair))
    require(right, "probabilities and intervals of {} are {} {}", samples, found, pair, claim=4)
    tuples = [(row, lost) for sample, lost in zip(samples.rows, samples.lost, strict=True)
              for row in alone(sample)]  # fmt: skip
    edges = [Fraction(x) for y in ends for x in lift(y)]
    answers = zip(tuples, found.values, *(x.values for x in pair), strict=True)
    for (row, lost), m, *interval in answers:
        here = samples, *ends, level, m, interval
        complaint = "{} from {} to {}, level {}: probability {}, interval {}"
        if lost:
            require(all(map(math.isnan, (m, *interval))), complaint, *here, claim=3)
            continue
        exactly, off = tolerances(Element(*row, *edges), 0.0, form, COARSE)
        right = near_real(m, exactly.m, off.m + real(form.smallest_normal))
        require(right, complaint + ", not {}", *here, float(exactly.m))
        require(_is_central(row, level, interval), complaint, *here, claim=2)
    _require_refusals(subject, samples, (lower, upper), level)


def columns(P: Array, Q: Array) -> int:
    """Return how many elements of P a tuple has."""
    return 1 if P.shape == Q.shape else P.shape[-1]


def numbers(P: Array, Q: Array, at: int) -> tuple[float, ...]:
    """Return the tuple that begins at an element of P."""
    return *P.values[at : at + columns(P, Q)], Q.values[at // columns(P, Q)]


def exact(X: tuple[float, ...]) -> Vector | None:
    """Return a tuple exactly; None if it is not finite."""
    return tuple(map(Fraction, X)) if all(map(math.isfinite, X)) else None


def known(P: Fraction, Q: Fraction) -> tuple[Fraction, Fraction, Fraction]:
    """Return the certainty of a tuple as it counts, and median and scale of its numbers; LIK-11."""
    P, Q, _ = shortened(P, Q)
    square = P * P + Q * Q
    spread = 4 * (1 + square)
    below = 1 + spread * Q * Q
    return square / (1 + square), spread * P * Q / below, (1 + 2 * square) / below


def own_tuples(P: Array, Q: Array) -> list[Vector | None]:
    """Return the tuple of each output (LIK-10); None if it is not finite."""
    k, found = columns(P, Q), list[Vector | None]()
    for at in range(0, len(P.values), k):
        X = exact(numbers(P, Q, at))
        found += [None] * k if X is None else alone(Sample(X, None)) if k > 1 else [X]
    return found


@clause("LIK-11", source="Ours: one asks how much is known, and where a number lies", since="0.8.0")
def certain(subject: Mixtures, P: Array, Q: Array) -> None:
    """Let ρ be the length of a tuple. Cut at infinity, the distribution of LIK-1 is Cauchy's.

    1. The certainty of a tuple, its concentration, is ``ρ²/(1 + ρ²)``, up to rounding in
       float32 or wider.
    2. The median of its numbers is ``4(1 + ρ²)PQ / (1 + 4(1 + ρ²)Q²)``, up to rounding in
       float64.
    3. Their scale, half the interquartile range, is ``(1 + 2ρ²) / (1 + 4(1 + ρ²)Q²)``, up to
       rounding in float64.
    4. An output that shares Q with others has those of its own tuple, as LIK-10 lengthens it.
    5. If a part of a tuple is NaN or ±∞, all three are NaN.
    6. P and Q of shapes that do not fit raise ValueError.
    7. All three have the shape of P.

    A long tuple counts as shortened (LIK-7). “Up to rounding” is 8000ε of the right number, plus
    the smallest normal number, or for a median its root: in float64, or for the certainty of
    shorter formats in float32.
    """
    found = subject.certainty(P, Q), *subject.median_and_scale(P, Q)
    right = all(x.shape == P.shape for x in found)
    require(right, "{} {} have {}, of other shapes", P, Q, found, claim=7)
    for i, X in enumerate(own_tuples(P, Q)):
        rights = known(*X) if X else (None,) * 3
        for claim, (values, y) in enumerate(zip(found, rights, strict=True), 1):
            form = FORMATS["float64" if claim > 1 else working(P.dtype)]
            x, name = values.values[i], NAMES[claim - 1]
            slack = Fraction(2) ** (form.least // (2 if name == "median" else 1))
            slack += ROUNDED * form.epsilon * (abs(y) if y else 0)
            right = math.isnan(x) if y is None else near(x, y, slack)
            claim = 5 if y is None else claim if columns(P, Q) == 1 else 4
            require(right, "{} of {} {} at {} is {}, not {}", name, P, Q, i, x, y, claim=claim)
    for call, bad in product(
        (subject.certainty, subject.median_and_scale), misfits(Q, P.shape, (*P.shape[:-1], 1))
    ):
        right = refused(ValueError, lambda of=call, q=bad: of(P, q), claim=6)  # type: ignore[misc]
        require(right, "{} {} were taken", P, bad, claim=6)


def moment(members: list[Vector], weights: list[Fraction]) -> Any:
    """Return the mean moment of tuples by their weights, a matrix; 0 without weights; LIK-12."""
    pairs = [(X, w / (sum(weights) or 1)) for X, w in zip(members, weights, strict=True)]
    places, parts = range(len(members[0])), [(X, w / (1 + sum(x * x for x in X))) for X, w in pairs]
    return MP.matrix([[real(sum(w * X[i] * X[j] for X, w in parts)) for j in places]
                      for i in places])  # fmt: skip


def groups(
    P: Array, Q: Array, weights: Array | None
) -> Iterator[tuple[int, list[Vector | None], list[Fraction]]]:
    """Walk where combined tuples begin, with their members, as they count, and the weights.

    A member of weight 0 is ``(0, 0)``, and one that is not finite None.
    """
    rows, members, k = P.shape
    for row in range(rows):
        places = range(row * members, (row + 1) * members)
        own = [Fraction(weights.values[i] if weights else 1) for i in places]
        for at in range(0, k, columns(P, Q)):
            found, zero = list[Vector | None](), (Fraction(0),) * (columns(P, Q) + 1)
            for i, w in zip(places, own, strict=True):
                X = exact(numbers(P, Q, i * k + at)) if w else zero
                found.append(X and tuple(x * LONGEST / max(*map(abs, X), LONGEST) for x in X))
            yield row * k + at, found, own


def _require_standing(
    subject: Mixtures, P: Array, Q: Array, weights: Array | None, claims: tuple[int, int]
) -> tuple[Array, Array]:
    found = subject.combine(P, Q, weights)
    form, complaint = FORMATS["float64"], "{} {} with weights {} make {} at {}"
    rows, _, k = P.shape
    right = [x.shape for x in found] == [(rows, k), (rows, k // columns(P, Q))]
    require(right, complaint, P, Q, weights, found, "all", claim=8)
    for at, members, own in groups(P, Q, weights):
        X, tuples = numbers(*found, at), [m for m in members if m]
        here = P, Q, weights, found, at
        if len(tuples) < len(members):
            require(all(map(math.isnan, X)), complaint, *here, claim=6)
            continue
        require(any(own) or not any(X), complaint, *here, claim=4)
        require(exact(X) is not None, complaint, *here, claim=claims[0])
        M, line = moment(tuples, own), MP.matrix([real(x) for x in X])
        *others, first = MP.eigsy(M, eigvals_only=True)
        slack = ROUNDED * real(form.epsilon) * (first + sum(others)) + real(form.smallest_normal)
        square = MP.norm(line) ** 2
        close = MP.norm(M * line - first * line) <= slack * MP.norm(line)
        require(close, complaint, *here, claim=claims[0])
        known = min(first - sum(others) / len(others), real(SUREST))
        close = abs(square / (1 + square) - known) <= slack
        require(close, complaint + ", not of {}", *here, float(known), claim=claims[1])
    return found


@clause("LIK-12", source="Ours: networks that disagree know less", since="0.8.0")
def mixture(subject: Mixtures, P: Array, Q: Array, weights: Array | None, poison: float) -> None:
    """Let the moment of a tuple X of length ρ be ``XXᵀ/(1 + ρ²)``, and M the mean moment of several
    tuples, the members, by their weights.

    1. The tuple that stands for the members is an eigenvector of M to its largest eigenvalue, up to
       rounding in float64; its sign is free.
    2. Its concentration (LIK-11) is what this eigenvalue exceeds the mean of the others by, but at
       most ``1 − 10⁻¹²``, up to rounding.
    3. Only the ratios of weights count; without weights all members count the same.
    4. A member of weight 0, whatever numbers it holds, changes nothing; if all weights are 0, the
       tuple is ``(0, 0)``.
    5. Outputs that share Q are one tuple; others are combined one by one.
    6. If a part of a member that counts is NaN or ±∞, all parts of the tuple are NaN.
    7. A weight that is negative, NaN or infinite, and shapes that do not fit raise ValueError.
    8. P of the result has the shape (rows, outputs), and Q has as many columns as the members' Q.

    Long members count as shortened (LIK-7). “Up to rounding” is 8000ε of the members' mean
    concentration, plus the smallest normal number.
    """
    claims = (5, 5) if columns(P, Q) > 1 else (3, 3) if weights else (1, 2)
    found = _require_standing(subject, P, Q, weights, claims)
    usual = weights or Array((1.0,) * (P.shape[0] * P.shape[1]), P.shape[:2], P.dtype)
    dirty = [x.with_values([v if usual.values[i // x.shape[-1]] else poison
                            for i, v in enumerate(x.values)]) for x in (P, Q)]  # fmt: skip
    other, complaint = (
        subject.combine(dirty[0], dirty[1], weights),
        "{} {} with weights {} make {}, not {}",
    )
    right = all(map(same, found, other))
    require(right, complaint, *dirty, weights, other, found, claim=4)
    wrong = [usual.with_values([w, *usual.values[1:]]) for w in (-1.0, math.nan, math.inf)]
    wrong += [replace(usual, shape=(1, *usual.shape))]
    column = Array((1.0,) * usual.shape[0], (usual.shape[0], 1), usual.dtype)
    wrong += [column] if usual.shape[1] > 1 else []
    longer = replace(Q, shape=(1, *Q.shape))
    for given in [*((P, Q, w) for w in wrong), (P, longer, weights)]:
        right = refused(ValueError, lambda of=given: subject.combine(*of), claim=7)  # type: ignore[misc]
        require(right, "{} {} with weights {} were taken", *given, claim=7)
