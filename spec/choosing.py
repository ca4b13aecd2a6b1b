"""THR: thresholds that are chosen from held-out rows, those of least cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Final, NamedTuple, Protocol, cast

from .algebra import Bottom
from .arrays import Array
from .clause import clause, refused, require
from .decoding import Decodes, Tuples
from .formats import root_to
from .quotients import quotient, squared_sine

BAND: Final = 2.0**-50  # more than rounding changes of a denominator in the unit gauge; DEC-4
TIE: Final = Fraction(1, 10**12)


class Row(NamedTuple):
    """A tuple's denominator in the unit gauge and its value, both 0 if it is always ⊥."""

    size: float
    value: Fraction
    target: float

    def cost(self, tau: float, unit: Fraction) -> Fraction:
        """Return what the row costs at a threshold; THR-1."""
        is_number = self.size >= tau and self.size > 0
        if not math.isfinite(self.target):
            return Fraction(is_number)
        return abs(self.value - Fraction(self.target)) / unit if is_number else Fraction(1)


@dataclass(frozen=True)
class HeldOut:
    """Tuples ``(P, Q)`` and targets, alike in shape, that no fit has seen."""

    P: Array
    Q: Array
    targets: Array

    @property
    def rows(self) -> list[Row]:
        """The rows in order, their denominators correctly rounded."""
        found = []
        for P, Q, y in zip(self.P.values, self.Q.values, self.targets.values, strict=True):
            value = quotient(P, Q, self.P.dtype)[0]
            row = (0.0, Fraction(0)) if isinstance(value, Bottom) else (
                cast(float, root_to("float64", squared_sine(P, Q))), value
            )  # fmt: skip
            found.append(Row(*row, y))
        return found

    def at(self, tau: float) -> Tuples:
        """Return the tuples with a threshold in the unit gauge."""
        return Tuples(self.P, self.Q, tau, tau, "unit")


@dataclass(frozen=True)
class Certified:
    """A threshold; the rate and the confidence of its bound; how many held-out rows are singular,
    how many of these decode to a number, and the share of the finite ones that decodes to ⊥.
    """

    tau: float
    rate: float
    confidence: float
    rows: int
    errors: int
    false_bottom: float


class Chooses(Decodes, Protocol):
    """A subject that chooses thresholds of the unit gauge from held-out rows."""

    def choose_threshold(self, held: HeldOut, unit: float | None = None) -> float:
        """Return the threshold of least cost, at the usual unit for None; ValueError as THR-4
        says.
        """

    def certify_threshold(
        self, held: HeldOut, rate: float, confidence: float | None = None
    ) -> Certified:
        """Return a certified threshold, at the usual confidence for None; ValueError as THR-2 and
        THR-4 say.
        """


def usual_unit(rows: Sequence[Row]) -> Fraction:
    """Return the usual unit; THR-1.4."""
    finite = sorted(Fraction(row.target) for row in rows if math.isfinite(row.target))
    ends = []
    for quarter in (1, 3) if finite else ():
        whole, rest = divmod(quarter * (len(finite) - 1), 4)
        low, high = finite[whole], finite[whole + (rest > 0)]
        ends.append(low + (high - low) * Fraction(rest, 4))
    return (ends[1] - ends[0]) / Fraction("1.349") or Fraction(1) if finite else Fraction(1)


def cost(rows: Sequence[Row], tau: float, unit: Fraction) -> Fraction:
    """Return the mean over the finite targets plus that over the singular ones; THR-1."""
    kinds: dict[bool, list[Fraction]] = {True: [], False: []}
    for row in rows:
        kinds[math.isfinite(row.target)].append(row.cost(tau, unit))
    return sum((sum(kind, Fraction(0)) / len(kind) for kind in kinds.values() if kind), Fraction(0))


def intervals(rows: Sequence[Row]) -> list[tuple[float, float]]:
    """Return each two neighbours among denominators, 0 and 1, between which costs are equal."""
    return list(pairwise(sorted({0.0, 1.0, *(row.size for row in rows)})))


@clause("THR-1", source="Ours: a threshold trades false numbers for lost ones", since="0.8.0")
def least_cost(subject: Chooses, held: HeldOut, unit: float | None) -> None:
    """A threshold of the unit gauge may be chosen from held-out tuples and targets. Let a finite
    target y cost ``|P/Q − y| / unit`` where its tuple decodes to a number, and 1 where to ⊥. Let a
    singular target cost 1 where its tuple decodes to a number, and 0 where to ⊥. A threshold costs
    the mean of the finite targets plus the mean of the singular ones. A tuple that is ⊥ at every
    threshold has the denominator 0. Let nothing overflow.

    1. With singular targets, no threshold in [0, 1] costs less, up to rounding and 10⁻¹².
    2. It is the middle between two neighbours among the denominators, 0 and 1. No neighbours with
       the same or a smaller cost between them are farther apart, up to rounding.
    3. Without singular targets it is half the least denominator.
    4. The usual unit is the interquartile range of the finite targets, interpolated linearly, over
       1.349, or 1 where that is 0.
    """
    rows, tau = held.rows, subject.choose_threshold(held, unit)
    if all(math.isfinite(row.target) for row in rows):
        half = min(row.size for row in rows) / 2
        right = abs(tau - half) <= BAND * half
        require(right, "{} without singular targets has {}, not {}", held, tau, half, claim=3)
        return
    scale = usual_unit(rows) if unit is None else Fraction(unit)
    found = [(cost(rows, high, scale), low, high) for low, high in intervals(rows)]
    # Where targets exceed the unit by far, a difference from them has fewer digits.
    largest = max((abs(Fraction(r.target)) for r in rows if math.isfinite(r.target)), default=0)
    slack = 2 * TIE + Fraction(2) ** -47 * (1 + largest / scale)
    claims = [
        _broken(tau, part, found, slack)
        for part in found
        if part[1] * (1 - BAND) <= tau <= part[2] * (1 + BAND)
    ]
    claim, complaint = min(claims, default=1), "{} at unit {} has the threshold {}; {} are possible"
    claim = 4 if claim == 1 and unit is None else claim
    require(not claim, complaint, held, unit, tau, found, claim=claim or 1)


def _broken(
    tau: float,
    own: tuple[Fraction, float, float],
    found: Sequence[tuple[Fraction, float, float]],
    slack: Fraction,
) -> int:
    """Return the claim that a threshold between two neighbours breaks, 0 for none."""
    price, low, high = own
    # Neighbours that rounding makes equal are none that a subject has to tell apart.
    wide = [part for part in found if part[2] - part[1] > BAND * part[2]]
    least = min(part[0] for part in wide)
    if price > least + slack * (1 + price):
        return 1
    wider = (b - a > high - low + BAND * (b + high) for c, a, b in wide if c <= min(price, least))
    if slack < 4 * TIE and any(wider):
        return 2
    return 2 * (abs(tau - (low + high) / 2) > BAND * high)


@clause("THR-4", source="Ours: a broadcast would pair every P with every Q", since="0.8.0")
def unfit(subject: Chooses, held: HeldOut, number: float) -> None:
    """A choice raises ValueError where its arguments do not fit.

    1. Numerators, denominators and targets that differ in shape raise ValueError; there is no
       shared denominator.
    2. No rows raise ValueError.
    3. A unit that is not in (0, ∞) raises ValueError.
    4. A rate or a confidence that is not in (0, 1) raises ValueError.
    """
    taller = {name: replace(x, shape=(1, *x.shape)) for name, x in vars(held).items()}
    single = {name: replace(x, values=x.values[:1], shape=(1, 1)) for name, x in vars(held).items()}
    wrong = [(1, replace(held, **{name: x})) for name, x in taller.items()]
    if held.Q.shape != (1,):
        wrong += [(1, HeldOut(**taller | {"Q": single["Q"]}))]
        wrong += [(1, HeldOut(**single | {"P": taller["P"]}))]
    wrong += [(2, HeldOut(*(Array.of([], x.dtype) for x in vars(held).values())))]
    calls: list[tuple[int, Callable[[], object]]] = []
    for claim, rows in wrong:
        calls += [(claim, partial(subject.choose_threshold, rows))]
        calls += [(claim, partial(subject.certify_threshold, rows, 0.5, 0.5))]
    if not 0 < number < math.inf:
        calls += [(3, partial(subject.choose_threshold, held, number))]
    if not 0 < number < 1:
        calls += [(4, partial(subject.certify_threshold, held, number, 0.5))]
        calls += [(4, partial(subject.certify_threshold, held, 0.5, number))]
    for claim, call in calls:
        require(refused(ValueError, call, claim=claim), "{} was taken", call.args, claim=claim)  # type: ignore[attr-defined]
