"""THR: thresholds that are certified, so that a rate of false numbers has a bound."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations_with_replacement
from typing import Final

from .arrays import Array
from .choosing import BAND, Chooses, HeldOut
from .clause import clause, require

DIGITS: Final = Fraction(1, 10**9)
INTEGER: Final = re.compile(r"(?<![\w.])\d+(?!\w|\.\d)")


def allowed(n: int, rate: float, confidence: float, spare: Fraction = Fraction(0)) -> int:
    """Return THR-2's k, or a smaller one with a share of the risk to spare; -1 if there is none."""
    p, risk = Fraction(rate), (1 - Fraction(confidence)) * (1 - spare)
    k, chance = -1, (1 - p) ** n
    while chance <= risk and k < n:
        k += 1
        chance += math.comb(n, k + 1) * p ** (k + 1) * (1 - p) ** (n - k - 1)
    return k


def counted(subject: Chooses, held: HeldOut, tau: float) -> tuple[int, Fraction | None]:
    """Count the singular rows that decode to a number, and the share of finite ones to ⊥."""
    kinds: dict[bool, list[bool]] = {True: [], False: []}
    for bottom, y in zip(subject.decode(held.at(tau)).bottom, held.targets.values, strict=True):
        kinds[math.isfinite(y)].append(bottom)
    lost = Fraction(sum(kinds[True]), len(kinds[True])) if kinds[True] else None
    return kinds[False].count(False), lost


@clause("THR-2", source="Paper: Clopper and Pearson, Biometrika 26, 1934", since="0.8.0")
def certificate(subject: Chooses, held: HeldOut, rate: float, confidence: float | None) -> None:
    """A threshold of the unit gauge may be certified by held-out rows, of which n are singular. Let
    k be the largest number such that a binomial count of n trials at ``rate`` is k or less with
    probability ``1 − confidence`` at most. It may be one less where the two agree within 10⁻⁹.

    1. At the certified threshold at most k singular rows decode to a number.
    2. At every smaller threshold more than k do, up to rounding.
    3. The certificate tells rate, confidence, n, and how many singular rows decode to a number.
    4. It tells the share of the finite rows that decode to ⊥, NaN if there are none.
    5. The usual confidence is 0.95.
    6. Where there is no such k, and only there, a ValueError says how many singular rows it takes.
    """
    n = sum(not math.isfinite(y) for y in held.targets.values)
    level, case = 0.95 if confidence is None else confidence, (held, rate, confidence)
    most, least = (allowed(n, rate, level, spare) for spare in (Fraction(0), DIGITS))
    try:
        found = subject.certify_threshold(*case)
    except ValueError as error:
        require(least < 0, "{} at rate {} and confidence {} was refused", *case, claim=6)
        takes = Fraction(math.log1p(-level)) / Fraction(math.log1p(-rate))
        ends = [math.ceil(takes * (1 + side * DIGITS)) for side in (-1, 1)]
        right = any(ends[0] <= int(word) <= ends[1] for word in INTEGER.findall(str(error)))
        complaint = "rate {} and confidence {} take {} rows, but: {}"
        require(right, complaint, rate, level, ends[0], str(error), claim=6)
        return
    complaint = "{} at rate {} and confidence {} has {}; {} "
    require(found.confidence == level, complaint + "is the confidence", *case, found, level,
            claim=5 if confidence is None else 3)  # fmt: skip
    require(most >= 0, complaint + "rows are too few", *case, found, n, claim=6)
    errors, lost = counted(subject, held, found.tau)
    require(errors <= most, complaint + "numbers are allowed", *case, found, most)
    lower = min(found.tau * (1 - BAND), math.nextafter(found.tau, 0.0))
    right = found.tau == 0 or counted(subject, held, lower)[0] > least
    require(right, complaint + "would do", *case, found, lower, claim=2)
    right = (found.rate, found.rows, found.errors) == (rate, n, errors)
    require(right, complaint + "are numbers", *case, found, errors, claim=3)
    share = found.false_bottom
    right = math.isnan(share) if lost is None else abs(share - lost) <= BAND
    require(right, complaint + "is the share of ⊥", *case, found, lost, claim=4)


@clause("THR-3", source="Ours: a certificate is a promise", since="0.8.0")
def promise(
    subject: Chooses, lines: HeldOut, weights: Sequence[int], n: int, rate: float, confidence: float
) -> None:
    """If n singular held-out rows are drawn independently, the probability is at most ``1 −
    confidence`` that more than ``rate`` of the singular rows that they are drawn from decode to a
    number at the certified threshold.
    """
    if allowed(n, rate, confidence, DIGITS) < 0:
        return
    total, broken = sum(weights), Fraction(0)
    for drawn in combinations_with_replacement(range(len(weights)), n):
        columns = ([x.values[i] for i in drawn] for x in (lines.P, lines.Q, lines.targets))
        held = HeldOut(*(Array.of(column, lines.P.dtype) for column in columns))
        tau = subject.certify_threshold(held, rate, confidence).tau
        flags = zip(subject.decode(lines.at(tau)).bottom, weights, strict=True)
        if sum(weight for bottom, weight in flags if not bottom) > Fraction(rate) * total:
            chance = Fraction(math.factorial(n))
            for i, weight in enumerate(weights):
                chance *= Fraction(weight, total) ** drawn.count(i)
                chance /= math.factorial(drawn.count(i))
            broken += chance
    complaint = "{} rows of {} with weights {} exceed the rate {} with probability {}"
    right = broken <= 1 - Fraction(confidence)
    require(right, complaint, n, lines, weights, rate, broken)
