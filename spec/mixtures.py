"""LIK: what a tuple knows of its number, and the tuple that stands for several.

What is rational is computed exactly; eigenvalues have 256 bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final, Protocol, TypeAlias

from .arrays import Array, same
from .clause import clause, refused, require
from .formats import FORMATS
from .joint_likelihood import Sample, alone
from .likelihood_terms import LONGEST, MP, real, shortened
from .losses import near

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
        """Return the tuples that stand for several members, in float64.

        P has the shape (rows, members, outputs), and weights (rows, members); None stands for equal
        weights. ValueError for other shapes, and for weights that are negative or not finite.
        """


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

    1. The certainty of a tuple, its concentration, is ``ρ²/(1 + ρ²)``, up to rounding.
    2. The median of its numbers is ``4(1 + ρ²)PQ / (1 + 4(1 + ρ²)Q²)``, up to rounding.
    3. Their scale, half the interquartile range, is ``(1 + 2ρ²) / (1 + 4(1 + ρ²)Q²)``, up to
       rounding.
    4. An output that shares Q with others has those of its own tuple, as LIK-10 lengthens it.
    5. If a part of a tuple is NaN or ±∞, all three are NaN.
    6. P and Q of shapes that do not fit raise ValueError.

    A long tuple counts as shortened (LIK-7). “Up to rounding” is 8000ε of the right number, plus
    the smallest normal number, or for a median its root, in the format of what is returned.
    """
    found = subject.certainty(P, Q), *subject.median_and_scale(P, Q)
    for i, X in enumerate(own_tuples(P, Q)):
        rights = known(*X) if X else (None,) * 3
        for claim, (values, y) in enumerate(zip(found, rights, strict=True), 1):
            form, x, name = FORMATS[values.dtype], values.values[i], NAMES[claim - 1]
            slack = Fraction(2) ** (form.least // (2 if name == "median" else 1))
            slack += ROUNDED * form.epsilon * (abs(y) if y else 0)
            right = math.isnan(x) if y is None else near(x, y, slack)
            claim = 5 if y is None else claim if columns(P, Q) == 1 else 4
            require(right, "{} of {} {} at {} is {}, not {}", name, P, Q, i, x, y, claim=claim)
    for call in (subject.certainty, subject.median_and_scale):
        right = refused(ValueError, lambda of=call: of(P, _longer(Q)), claim=6)  # type: ignore[misc]
        require(right, "{} {} were taken", P, _longer(Q), claim=6)


def _longer(x: Array) -> Array:
    return replace(x, shape=(1, *x.shape))


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
    form, complaint = FORMATS[found[0].dtype], "{} {} with weights {} make {} at {}"
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
       rounding; its sign is free.
    2. Its concentration (LIK-11) is what this eigenvalue exceeds the mean of the others by, but at
       most ``1 − 10⁻¹²``, up to rounding.
    3. Only the ratios of weights count; without weights all members count the same.
    4. A member of weight 0, whatever numbers it holds, changes nothing; if all weights are 0, the
       tuple is ``(0, 0)``.
    5. Outputs that share Q are one tuple; others are combined one by one.
    6. If a part of a member that counts is NaN or ±∞, all parts of the tuple are NaN.
    7. A weight that is negative, NaN or infinite, and shapes that do not fit raise ValueError.

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
    for given in [*((P, Q, w) for w in (*wrong, _longer(usual))), (P, _longer(Q), weights)]:
        right = refused(ValueError, lambda of=given: subject.combine(*of), claim=7)  # type: ignore[misc]
        require(right, "{} {} with weights {} were taken", *given, claim=7)
