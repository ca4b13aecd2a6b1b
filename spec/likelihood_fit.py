"""LIK-13 and CUR-3: the likelihood as the fit of a training loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Protocol

from .arrays import Array, identical
from .clause import clause, refused, require
from .formats import FORMATS
from .joint_likelihood import JointLikelihoods
from .lifting import lift
from .losses import Measured, near, working
from .squares import agree
from .training_loss import WEIGHTS, number

RESOLUTIONS: Final = (0.7, 0.003)
"""The first resolution and the last, unless they are configured."""


@dataclass(frozen=True)
class Fit:
    """Tuples, whose ``Q`` may be one column, and targets; with ``upper`` these are intervals.

    A resolution may be configured, and another given with the call, as a number or a scalar.
    Beside the lifted targets ``raw`` ones of their own may come.
    """

    P: Array
    Q: Array
    lower: Array
    upper: Array | None = None
    resolution: float | None = None
    given: float | Array | None = None
    fit: str = "likelihood"
    raw: Array | None = None


class LikelihoodFits(JointLikelihoods, Protocol):
    """A subject whose training loss has the likelihood as a fit, and a curriculum of its own."""

    def likelihood_fit(
        self, fit: Fit, weighed: Sequence[str] | None, learned: bool = False
    ) -> tuple[Measured, dict[str, float]]:
        """Return a training loss at τ = 0.5, and its terms.

        Terms that are ``weighed`` are given the weight 1 and others 0; None is for the usual
        weights. If ``learned``, the given resolution requires a gradient.
        """

    def resolutions(
        self, fit: str, epochs: int, ends: tuple[float, float] | None,
        fixed: Mapping[str, float], curriculum: Mapping[str, float],
    ) -> list[tuple[float | None, float | None]]:  # fmt: skip
        """Train with a fit, first and last resolution, ``loss_weights``, and a ``loss_curriculum``.

        Return the resolution that training and validation gave to the loss in each epoch, None for
        none. ValueError for resolutions that cannot be configured.
        """


def own_fit(subject: JointLikelihoods, fit: Fit) -> Measured:
    """Return the likelihood by itself that a training loss has as its fit; LIK-13."""
    usual = RESOLUTIONS[1] if fit.resolution is None else fit.resolution
    resolution, ends = usual if fit.given is None else number(fit.given), []
    for y in (fit.lower, *([fit.upper] if fit.upper else [])):
        n, d = zip(*map(lift, y.values), strict=True)
        ends.append((y.with_values(n), y.with_values(d)))
    if fit.upper:
        return subject.interval_likelihood(fit.P, fit.Q, *ends, resolution=resolution)
    shared = fit.P.shape != fit.Q.shape
    likelihood = subject.joint_likelihood if shared else subject.likelihood
    return likelihood(fit.P, fit.Q, *ends[0], resolution=resolution)


@clause("LIK-13", source="Ours: a tuple keeps its sign through a simple pole", since="0.8.0")
def fitted(subject: LikelihoodFits, fit: Fit) -> None:
    """A training loss may have the likelihood as its fit.

    1. Of exact targets the fit is the likelihood (LIK-1, LIK-8), bit for bit, and if the other
       terms have no weight, so are the loss and its gradient.
    2. Of intervals it is that of arcs (LIK-2), and of outputs that share Q the joint one (LIK-9).
    3. Unless configured, the resolution is 0.003.
    4. A ``resolution`` among the weights of a call, a number or a scalar, replaces it.
    5. Unless configured, λ_sign is 0; the other weights are those of LOSS-6. A weight of the sign
       adds the gradient of LOSS-4.
    6. Intervals with another fit or a shared Q, raw targets of another shape than the outputs', and
       a resolution that requires a gradient raise ValueError.
    """
    (alone, terms), own = subject.likelihood_fit(fit, ["fit"]), own_fit(subject, fit)
    shared, y = fit.P.shape != fit.Q.shape, fit.lower
    claim = 2 if fit.upper or shared else 1
    claim = 4 if fit.given is not None else 3 if fit.resolution is None else claim
    right = agree(alone, own) and identical(terms["fit"], own.value)
    require(right, "fit of {} is {}, {}, not {}", fit, alone, terms, own, claim=claim)
    total, terms = subject.likelihood_fit(fit, None)
    weights = WEIGHTS | {"sign": 0.0}
    parts = [Fraction(weights[name]) * Fraction(term) for name, term in terms.items()]
    form = FORMATS[working(fit.P.dtype)]
    slack = 8 * form.epsilon * sum(map(abs, parts)) + form.smallest_normal
    right = near(total.value, sum(parts, Fraction(0)), slack)
    require(right, "loss of {} is {}, not of {}", fit, total.value, terms, claim=5)
    if not (fit.upper or shared):
        both, _ = subject.likelihood_fit(fit, ["fit", "sign"])
        sign, _ = subject.likelihood_fit(replace(fit, fit="chordal", given=None), ["sign"])
        for part in ("in_P", "in_Q"):
            for values in zip(*(getattr(m, part).values for m in (both, own, sign)), strict=True):
                if all(map(math.isfinite, values)):
                    parts = [Fraction(value) for value in values[1:]]
                    slack = 8 * form.epsilon * sum(map(abs, parts)) + form.smallest_normal
                    right = near(values[0], sum(parts, Fraction(0)), slack)
                    require(right, "with the sign {} of {} is {}", part, fit, values, claim=5)
    wrong = [(replace(fit, raw=replace(y, shape=(1, *y.shape)), upper=None), False)]
    wrong += [(replace(fit, given=Array((0.25,), (), fit.P.dtype)), True)]
    wrong += [(replace(fit, fit="chordal"), False)] if fit.upper else []
    wrong += [(replace(fit, upper=y), False)] if shared else []
    for bad, learned in wrong:
        call = lambda of=bad, more=learned: subject.likelihood_fit(of, ["fit"], more)  # noqa: E731
        require(refused(ValueError, call, claim=6), "{} was taken", bad, claim=6)


def narrowed(ends: tuple[float, float] | None, epochs: int, epoch: int) -> float:
    """Return the resolution of an epoch's training; CUR-3."""
    first, last = ends or RESOLUTIONS
    return last + (first - last) * max(0.0, 1 - epoch / (0.7 * epochs)) ** 3


@clause("CUR-3", source="Ours: while it is wide, fewer fits miss a narrow pole", since="0.8.0")
def narrows(
    subject: LikelihoodFits, fit: str, epochs: int, ends: tuple[float, float] | None,
    fixed: Mapping[str, float], curriculum: Mapping[str, float],
) -> None:  # fmt: skip
    """A likelihood's resolution narrows while it is trained, by a curriculum of the loss.

    1. In epoch e of E, counted from 0, it is ``last + (first − last)·max(0, 1 − e/(0.7E))³``, up to
       10⁻¹².
    2. Unless configured, the first resolution is 0.7 and the last 0.003.
    3. A validation has the last one.
    4. A resolution among ``loss_weights`` or those of ``loss_curriculum`` replaces it; others leave
       it as it is.
    5. With another fit no resolution is given.
    6. A first or last resolution that is negative, infinite or NaN raises ValueError.
    """
    given = fit, epochs, ends, fixed, curriculum
    if not all(0 <= end < math.inf for end in ends or ()):
        right = refused(ValueError, lambda: subject.resolutions(*given), claim=6)
        require(right, "resolutions {} were taken", ends, claim=6)
        return
    replaced, complaint = {**fixed, **curriculum}.get("resolution"), "{}, epoch {}: {}, not {}"
    claim = 5 if fit != "likelihood" else 4 if fixed or curriculum else 1 if ends else 2
    for epoch, (found, validated) in enumerate(subject.resolutions(*given)):
        expected = narrowed(ends, epochs, epoch) if fit == "likelihood" else None
        expected = expected if replaced is None else replaced
        right = found == expected
        if found is not None and expected is not None:
            right = abs(found - expected) <= 1e-12
        require(right, complaint, given, epoch, found, expected, claim=claim)
        right = validated in (replaced, (ends or RESOLUTIONS)[1] if replaced is None else replaced)
        require(right, complaint, given, epoch, validated, replaced, claim=3)
