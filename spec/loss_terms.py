"""LOSS, the rules: each term for one element, exactly, and how far rounding may take it.

An element is a predicted tuple ``(P, Q)`` with a target tuple ``(Y_n, Y_d)``. A *slope* is the
gradient of a term in ``(P, Q)``. The functions without a case distinction use only + − · / and
squares, so that they run on the symbols of a proof as they do on fractions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Final, TypeAlias

from .formats import Format

Row: TypeAlias = tuple[Fraction, Fraction, Fraction, Fraction]
Slope: TypeAlias = tuple[Fraction, Fraction]

_ROOT_BITS: Final = 128


def cross(P: Fraction, Q: Fraction, Y_n: Fraction, Y_d: Fraction) -> Fraction:
    """Return ``P·Y_d − Q·Y_n``, which is 0 where the two lines meet."""
    return P * Y_d - Q * Y_n


def dot(P: Fraction, Q: Fraction, Y_n: Fraction, Y_d: Fraction) -> Fraction:
    """Return ``P·Y_n + Q·Y_d``, which is 0 at a right angle."""
    return P * Y_n + Q * Y_d


def squared_sizes(P: Fraction, Q: Fraction, Y_n: Fraction, Y_d: Fraction) -> Fraction:
    """Return ``(P² + Q²)(Y_n² + Y_d²)``; 0 if one of the two is ``(0, 0)``."""
    return (P * P + Q * Q) * (Y_n * Y_n + Y_d * Y_d)


def implicit_weight(
    P: Fraction, Q: Fraction, Y_n: Fraction, Y_d: Fraction, gamma: Fraction
) -> Fraction:
    """Return ``Q²Y_d² + P²Y_n² + γ``, which the gradient holds constant."""
    return (Q * Y_d) ** 2 + (P * Y_n) ** 2 + gamma


def implicit(P: Fraction, Q: Fraction, Y_n: Fraction, Y_d: Fraction, weight: Fraction) -> Fraction:
    """LOSS-1: a term is ``(P·Y_d − Q·Y_n)²`` over the weight."""
    return cross(P, Q, Y_n, Y_d) ** 2 / weight


def implicit_slope(
    P: Fraction, Q: Fraction, Y_n: Fraction, Y_d: Fraction, weight: Fraction
) -> Slope:
    """LOSS-1: the slope, with the weight held constant."""
    turn = 2 * cross(P, Q, Y_n, Y_d) / weight
    return turn * Y_d, -turn * Y_n


def saturate(term: Fraction, form: Format, count: int) -> Fraction:
    """LOSS-1, LOSS-3: each of ``count`` terms is capped at ``largest / (4 · count)``.

    These two terms have no bound of their own, and the sum must be finite in its dtype.
    """
    return min(term, form.largest / (4 * count))


def squared_sine(P: Fraction, Q: Fraction, Y_n: Fraction, Y_d: Fraction) -> Fraction:
    """LOSS-2: a term between two tuples."""
    return cross(P, Q, Y_n, Y_d) ** 2 / squared_sizes(P, Q, Y_n, Y_d)


def squared_sine_slope(P: Fraction, Q: Fraction, Y_n: Fraction, Y_d: Fraction) -> Slope:
    """LOSS-2: the slope of the squared sine."""
    size = P * P + Q * Q
    turn = 2 * cross(P, Q, Y_n, Y_d) * dot(P, Q, Y_n, Y_d)
    turn = turn / (size * size * (Y_n * Y_n + Y_d * Y_d))
    return turn * Q, -turn * P


def root(x: Fraction) -> Fraction:
    """Return ``√x`` of ``x > 0``, or a rational above it by less than a relative ``2⁻¹²⁰``.

    That is far below every tolerance, and a cosine with it is never beyond ±1.
    """
    size = x.numerator.bit_length() - x.denominator.bit_length()
    unit = Fraction(2) ** (size // 2 - _ROOT_BITS)
    scaled = x / (unit * unit)
    below = math.isqrt(scaled.numerator // scaled.denominator)
    return (below if below * below == scaled else below + 1) * unit


def one_minus_cosine(
    P: Fraction, Q: Fraction, Y_n: Fraction, Y_d: Fraction, sizes: Fraction
) -> Fraction:
    """LOSS-4: a term between two tuples, given ``‖(P, Q)‖·‖(Y_n, Y_d)‖``."""
    return 1 - dot(P, Q, Y_n, Y_d) / sizes


def one_minus_cosine_slope(
    P: Fraction, Q: Fraction, Y_n: Fraction, Y_d: Fraction, sizes: Fraction
) -> Slope:
    """LOSS-4: the slope of one minus the cosine."""
    turn = cross(P, Q, Y_n, Y_d) / ((P * P + Q * Q) * sizes)
    return turn * Q, -turn * P


def rejection(coverage: Fraction | None, goal: Fraction) -> Fraction:
    """LOSS-5: ``max(0, goal − coverage)²``, 0 without a sample that counts."""
    return Fraction(0) if coverage is None else max(Fraction(0), goal - coverage) ** 2


def composite(terms: dict[str, Fraction], weights: dict[str, Fraction]) -> Fraction:
    """LOSS-6: the weighted sum of the terms."""
    return sum((weights[name] * term for name, term in terms.items()), Fraction(0))


def mean(terms: Sequence[Fraction]) -> Fraction:
    """LOSS-13: a loss is the mean of the terms that count, 0 without any."""
    return sum(terms, Fraction(0)) / len(terms) if terms else Fraction(0)


def term(name: str, element: Row, guard: Fraction) -> Fraction:
    """Return the term of a loss by name; ``guard`` is γ of the implicit one, τ of the margin.

    LOSS-10: at ``(0, 0)`` the terms of angles are those of a right angle.
    """
    if name == "implicit":
        return implicit(*element, implicit_weight(*element, guard))
    if name == "margin":
        return max(Fraction(0), guard - abs(element[1])) ** 2
    sizes = squared_sizes(*element)
    if not sizes:
        return Fraction(1)
    return squared_sine(*element) if name == "chordal" else one_minus_cosine(*element, root(sizes))


def slope(name: str, element: Row, guard: Fraction) -> Slope:
    """Return the slope of a loss by name; LOSS-10: it is 0 at ``(0, 0)``."""
    if name == "implicit":
        return implicit_slope(*element, implicit_weight(*element, guard))
    if name == "margin":
        Q = element[1]
        return Fraction(0), -2 * max(Fraction(0), guard - abs(Q)) * ((Q > 0) - (Q < 0))
    sizes = squared_sizes(*element)
    if not sizes:
        return Fraction(0), Fraction(0)
    if name == "chordal":
        return squared_sine_slope(*element)
    return one_minus_cosine_slope(*element, root(sizes))


def scale(name: str, element: Row, guard: Fraction) -> Fraction:
    """Return the size against which a term's rounding error is measured; LOSS-11.

    Chordal, sign and rejection are bounded, so their error is absolute (scale 1); implicit and
    margin are a square of a difference, so theirs is relative to what the square would be if
    nothing cancelled.
    """
    if name == "implicit":
        P, Q, Y_n, Y_d = element
        return (abs(P * Y_d) + abs(Q * Y_n)) ** 2 / implicit_weight(*element, guard)
    return guard * guard if name == "margin" else Fraction(1)


def slope_scale(name: str, element: Row, guard: Fraction) -> Slope:
    """Return the sizes against which the rounding errors of a term's slope are measured; LOSS-11.

    A chordal or sign slope is at most ``1/‖(P, Q)‖`` long, so its error is measured by
    ``1/max(|P|, |Q|)``; the implicit one by itself without cancellation; the margin's by ``2τ``.
    """
    P, Q, Y_n, Y_d = element
    if name == "implicit":
        turn = 2 * (abs(P * Y_d) + abs(Q * Y_n)) / implicit_weight(*element, guard)
        return turn * abs(Y_d), turn * abs(Y_n)
    if name == "margin":
        return Fraction(0), 2 * guard
    return (1 / max(abs(P), abs(Q)),) * 2 if P or Q else (Fraction(0), Fraction(0))


ROUNDINGS: Final = {"implicit": 8, "chordal": 7, "margin": 4, "sign": 8, "rejection": 4}


def tolerance(name: str, form: Format, scales: Sequence[Fraction]) -> Fraction:
    """Return how far a mean may lie from the exact one, given the scales of its terms.

    LOSS-11: ``(c + n/2) · eps`` times the mean scale, and the smallest normal number. With unit
    roundoff ``u = eps/2``, n terms cost ``n · u`` to add and divide. A chordal term costs ``13u``:
    scaling out the larger components leaves ``2.5u`` on the sine, twice that on its square, and
    ``8u`` on the quotient. The others are counted alike: implicit ``16u``, sign ``16u``, margin
    and rejection ``8u``.
    """
    relative = (ROUNDINGS[name] + Fraction(len(scales), 2)) * form.epsilon
    return relative * mean(scales) + form.smallest_normal


def slope_tolerances(name: str, form: Format, element: Row, guard: Fraction, count: int) -> Slope:
    """Return how far one element's gradient of a mean over ``count`` terms may lie off.

    LOSS-11: twice a term's roundings of the slope's scale, as the backward repeats the forward's;
    the smallest normal number; and two of the smallest number of all times ``1/max(|P|, |Q|)`` or
    the larger scale: the gradient is formed between tuples whose larger parts are 1, where the
    smaller ones may underflow, and is scaled then.
    """
    scales = slope_scale(name, element, guard)
    lost = 2 * form.epsilon * max(*scales, *slope_scale("chordal", element, guard))
    floor = form.smallest_normal * (1 + lost)
    relative = 2 * ROUNDINGS[name] * form.epsilon / count
    return relative * scales[0] + floor, relative * scales[1] + floor
