"""LOSS: how far a predicted tuple is from a lifted target, element by element, exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from spec.coverage import Counts

_ROOT_BITS: Final = 256


def mean(terms: Sequence[Fraction]) -> Fraction:
    """LOSS-3, LOSS-4, LOSS-7: a loss is the mean of the terms that count, 0 without any."""
    return sum(terms, Fraction(0)) / len(terms) if terms else Fraction(0)


def implicit(P: Fraction, Q: Fraction, Y_n: Fraction, Y_d: Fraction, gamma: Fraction) -> Fraction:
    """LOSS-1: a term is ``(P·Y_d − Q·Y_n)² / (Q²Y_d² + P²Y_n² + γ)``."""
    return (P * Y_d - Q * Y_n) ** 2 / ((Q * Y_d) ** 2 + (P * Y_n) ** 2 + gamma)


def implicit_gradient(
    P: Fraction, Q: Fraction, Y_n: Fraction, Y_d: Fraction, gamma: Fraction
) -> tuple[Fraction, Fraction]:
    """LOSS-1: the gradient in ``(P, Q)`` holds the denominator constant."""
    slope = 2 * (P * Y_d - Q * Y_n) / ((Q * Y_d) ** 2 + (P * Y_n) ** 2 + gamma)
    return slope * Y_d, -slope * Y_n


def saturate(term: Fraction, largest: Fraction, count: int) -> Fraction:
    """LOSS-1: of ``count`` terms none counts for more than ``largest / (4 · count)``.

    The implicit loss has no bound of its own, and the sum must be finite in its dtype.
    """
    return min(term, largest / (4 * count))


def chordal(P: Fraction, Q: Fraction, Y_n: Fraction, Y_d: Fraction) -> Fraction:
    """LOSS-2: a term is the squared sine of the angle between the two lines, 1 at ``(0, 0)``."""
    sizes = (P * P + Q * Q) * (Y_n * Y_n + Y_d * Y_d)
    return (P * Y_d - Q * Y_n) ** 2 / sizes if sizes else Fraction(1)


def chordal_gradient(
    P: Fraction, Q: Fraction, Y_n: Fraction, Y_d: Fraction
) -> tuple[Fraction, Fraction]:
    """LOSS-2: the gradient in ``(P, Q)`` is orthogonal to ``(P, Q)``, and 0 at ``(0, 0)``."""
    sizes = (P * P + Q * Q) ** 2 * (Y_n * Y_n + Y_d * Y_d)
    if not sizes:
        return Fraction(0), Fraction(0)
    turn = 2 * (P * Y_d - Q * Y_n) * (P * Y_n + Q * Y_d) / sizes
    return turn * Q, -turn * P


def margin(Q: Fraction, tau: Fraction) -> Fraction:
    """LOSS-3: a term is ``max(0, τ − |Q|)²``; it counts where the target is finite."""
    return max(Fraction(0), tau - abs(Q)) ** 2


def margin_gradient(Q: Fraction, tau: Fraction) -> Fraction:
    """LOSS-3: below τ the gradient is ``−2(τ − |Q|)s(Q)``, elsewhere 0."""
    return -2 * max(Fraction(0), tau - abs(Q)) * ((Q > 0) - (Q < 0))


def root_bounds(x: Fraction) -> tuple[Fraction, Fraction]:
    """Return rationals below and above ``√x``, apart by less than a relative ``2⁻²⁵⁰``."""
    if x == 0:
        return Fraction(0), Fraction(0)
    size = x.numerator.bit_length() - x.denominator.bit_length()
    unit = Fraction(2) ** (size // 2 - _ROOT_BITS)
    scaled = x / (unit * unit)
    root = math.isqrt(scaled.numerator // scaled.denominator)
    return root * unit, (root + 1) * unit


def sign_consistency(
    P: Fraction, Q: Fraction, Y_n: Fraction, Y_d: Fraction
) -> tuple[Fraction, Fraction]:
    """Return bounds of a term.

    LOSS-4: a term is ``1 − cos∠((P, Q), (Y_n, Y_d))``, 1 at ``(0, 0)``; it counts where the
    target is oriented.
    """
    low, high = root_bounds((P * P + Q * Q) * (Y_n * Y_n + Y_d * Y_d))
    if not low:
        return Fraction(1), Fraction(1)
    cosines = sorted((P * Y_n + Q * Y_d) / root for root in (low, high))
    return 1 - cosines[1], 1 - cosines[0]


def sign_gradient(
    P: Fraction, Q: Fraction, Y_n: Fraction, Y_d: Fraction
) -> tuple[tuple[Fraction, Fraction], tuple[Fraction, Fraction]]:
    """LOSS-4: return bounds of the gradient in ``P`` and in ``Q``; it is 0 at ``(0, 0)``."""
    size = P * P + Q * Q
    low, high = root_bounds(size * (Y_n * Y_n + Y_d * Y_d))
    if not low:
        return (Fraction(0), Fraction(0)), (Fraction(0), Fraction(0))
    turn = (P * Y_d - Q * Y_n) / size
    in_P = sorted(turn * Q / root for root in (low, high))
    in_Q = sorted(-turn * P / root for root in (low, high))
    return (in_P[0], in_P[1]), (in_Q[0], in_Q[1])


def rejection(counts: Counts, target_coverage: Fraction) -> Fraction:
    """LOSS-5: the value is ``max(0, target − coverage)²`` over finite-target samples, else 0."""
    if not counts.finite:
        return Fraction(0)
    covered = Fraction(counts.covered_finite, counts.finite)
    return max(Fraction(0), target_coverage - covered) ** 2


def composite(
    terms: dict[str, Fraction], weights: dict[str, Fraction], given: dict[str, Fraction]
) -> Fraction:
    """LOSS-6: the total is the weighted sum of the terms; a given weight replaces the configured.

    A given name that no term has is a ValueError.
    """
    if not given.keys() <= terms.keys():
        raise ValueError(f"unknown terms {sorted(given.keys() - terms.keys())}")
    return sum(((weights | given)[name] * term for name, term in terms.items()), Fraction(0))


def scale(
    loss: str, P: Fraction, Q: Fraction, Y_n: Fraction, Y_d: Fraction, guard: Fraction
) -> Fraction:
    """Return the size against which a term's rounding error is measured.

    LOSS tolerance: chordal, sign and rejection are bounded, so their error is absolute (scale 1);
    implicit and margin are a square of a difference, so theirs is relative to what the square
    would be if nothing cancelled. ``guard`` is γ of the implicit loss and τ of the margin.
    """
    if loss == "implicit":
        uncancelled = (abs(P * Y_d) + abs(Q * Y_n)) ** 2
        return uncancelled / ((Q * Y_d) ** 2 + (P * Y_n) ** 2 + guard)
    return guard * guard if loss == "margin" else Fraction(1)


def gradient_scale(
    loss: str, P: Fraction, Q: Fraction, Y_n: Fraction, Y_d: Fraction, guard: Fraction
) -> tuple[Fraction, Fraction]:
    """Return the sizes against which the rounding errors of a term's gradient are measured.

    LOSS tolerance: a chordal or sign gradient is at most ``1/‖(P, Q)‖`` long, so its error is
    measured by ``1/max(|P|, |Q|)``; the implicit one by itself without cancellation; the
    margin's by ``2τ``.
    """
    if loss == "implicit":
        uncancelled = abs(P * Y_d) + abs(Q * Y_n)
        slope = 2 * uncancelled / ((Q * Y_d) ** 2 + (P * Y_n) ** 2 + guard)
        return slope * abs(Y_d), slope * abs(Y_n)
    if loss == "margin":
        return Fraction(0), 2 * guard
    size = max(abs(P), abs(Q))
    return (1 / size, 1 / size) if size else (Fraction(0), Fraction(0))


ROUNDINGS: Final = {"implicit": 8, "chordal": 7, "margin": 4, "sign": 8, "rejection": 4}


def tolerance(loss: str, eps: Fraction, scales: Sequence[Fraction]) -> Fraction:
    """Return how far a mean may lie from the exact one, given the scales of its terms.

    LOSS tolerance: ``(c + n/2) · eps`` times the mean scale. With unit roundoff ``u = eps/2``, n
    terms cost ``n · u`` to add and divide. A chordal term costs ``13u``: scaling out the larger
    components leaves ``2.5u`` on the sine, twice that on its square, and ``8u`` on the quotient.
    The others are counted alike: implicit ``16u``, sign ``16u``, margin and rejection ``8u``.
    """
    return (ROUNDINGS[loss] + Fraction(len(scales), 2)) * eps * mean(scales)


def gradient_tolerance(loss: str, eps: Fraction, term_scale: Fraction, count: int) -> Fraction:
    """Return how far one element's gradient of a mean over ``count`` terms may lie off.

    LOSS tolerance: twice a term's roundings, as the backward repeats the forward's.
    """
    return 2 * ROUNDINGS[loss] * eps * term_scale / count


def underflow(P: Fraction, Q: Fraction, smallest_normal: Fraction, eps: Fraction) -> Fraction:
    """Return what a gradient in ``(P, Q)`` may lose to underflow.

    LOSS tolerance: the smallest normal number, and two of the smallest number of all divided by
    ``max(|P|, |Q|)``, for the gradient is formed at unit size and then scaled.
    """
    size = max(abs(P), abs(Q))
    return smallest_normal * (1 + (2 * eps / size if size else 0))
