"""LOSS: the training loss that is made of the others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Final, Protocol, TypeAlias, TypedDict

from .arrays import Array, identical
from .clause import clause, refused, require
from .formats import FORMATS
from .lifting import lift, orientation
from .loss_terms import composite, slope_tolerances
from .losses import GAMMA, Losses, Measured, counted, form_of, near, row, working

TERMS: Final = ("fit", "margin", "sign", "rejection")
WEIGHTS: Final = {"fit": 1.0, "margin": 0.1, "sign": 1.0, "rejection": 0.01}

Batch: TypeAlias = tuple[Array, Array, Array]
"""Predicted tuples ``P, Q`` and raw targets ``y``, alike in shape and dtype."""


class _Options(TypedDict):
    """The fields that every training loss is made with."""

    fit: str
    tau: float | Array
    goal: float
    weights: Mapping[str, float] | None
    given: Mapping[str, float | Array]


class Options(_Options, total=False):
    """What a training loss is made with: its fit, τ, the coverage goal, and two sets of weights.

    ``weights`` configures margin, sign and rejection, None leaves the library's own; ``given`` are
    those of the call, by the names of the terms. τ and what is given are numbers or scalars,
    which are arrays without a dimension. If ``bare``, the call is given neither raw targets nor τ,
    which is configured.
    """

    bare: bool


def number(x: float | Array) -> float:
    """Return a number, or that of a scalar."""
    return x.values[0] if isinstance(x, Array) else x


class TrainingLosses(Losses, Protocol):
    """A subject that sums the losses, too."""

    def training_loss(
        self, P: Array, Q: Array, y: Array, options: Options
    ) -> tuple[Measured, dict[str, float]]:
        """Return the total and its terms; ValueError for what LOSS-16 lists."""


def own_terms(subject: Losses, batch: Batch, options: Options) -> dict[str, Measured]:
    """Return the losses by themselves, by the names of the terms; LOSS-6."""
    case, oriented = lifted(*batch)
    if options.get("bare"):
        oriented = replace(oriented, values=tuple(d == 0 for d in case[3].values))
    names = {"fit": options["fit"], "margin": "margin", "sign": "sign", "rejection": "rejection"}
    masks, tau, goal = {"sign": oriented}, number(options["tau"]), options["goal"]
    return {
        name: subject.loss(loss, *case, mask=masks.get(name), tau=tau, goal=goal)
        for name, loss in names.items()
    }


def lifted(P: Array, Q: Array, y: Array) -> tuple[tuple[Array, Array, Array, Array], Array]:
    """Return the tuples with their lifted targets, and which of these are oriented."""
    pairs = [lift(value) for value in y.values]
    Y_n, Y_d = (y.with_values([pair[part] for pair in pairs]) for part in (0, 1))
    flags = tuple(orientation(value) != 0 for value in y.values)
    return (P, Q, Y_n, Y_d), Array(flags, y.shape, "bool")


def weights_of(options: Options) -> dict[str, float | Array]:
    """Return each term's weight: the one given with the call, or else the configured one."""
    return {**WEIGHTS, **(options["weights"] or {}), **options["given"]}


def used_weights(options: Options) -> dict[str, Fraction]:
    """Return each term's weight as an exact number."""
    return {name: Fraction(number(weight)) for name, weight in weights_of(options).items()}


def dropped(options: Options) -> set[str]:
    """Return the terms whose weight is the number 0; LOSS-6."""
    return {name for name, weight in weights_of(options).items() if weight == 0}


def _slack(batch: Batch, options: Options, weights: dict[str, Fraction], i: int) -> list[Fraction]:
    """Return what two evaluations of the terms' gradients in ``P`` and ``Q`` may differ by."""
    case, oriented = lifted(*batch)
    form, element = form_of(case), row(case, i)
    slacks = [Fraction(0), Fraction(0)]
    for name, loss in {"fit": options["fit"], "margin": "margin", "sign": "sign"}.items():
        kept = counted(loss, case[3], oriented if loss == "sign" else None)
        guard = Fraction(GAMMA if loss == "implicit" else number(options["tau"]))
        each = slope_tolerances(loss, form, element, guard, max(len(kept), 1))
        slacks = [slack + 2 * weights[name] * one for slack, one in zip(slacks, each, strict=True)]
    return slacks


def _require_slopes(
    batch: Batch, options: Options, total: Measured, own: dict[str, Measured], claim: int
) -> None:
    weights, form = used_weights(options), FORMATS[batch[0].dtype]
    for i in range(len(batch[0].values)):
        finite = all(math.isfinite(x.values[i]) for x in batch[:2])
        slacks = _slack(batch, options, weights, i) if finite else [Fraction(0)] * 2
        for part, slack in zip(("in_P", "in_Q"), slacks, strict=True):
            found = getattr(total, part).values[i]
            slopes = {name: getattr(measured, part).values[i] for name, measured in own.items()}
            if not all(map(math.isfinite, slopes.values())):
                continue
            sums = [weights[name] * Fraction(value) for name, value in slopes.items()]
            size, expected = sum(map(abs, sums), Fraction(0)), sum(sums, Fraction(0))
            slack += 8 * form.epsilon * size + form.smallest_normal
            right = size >= form.largest / 8 or near(found, expected, slack)
            complaint = "gradient {} at {} of {} with {} is {}, not {}"
            parts = part, i, batch, options, found, expected
            require(right, complaint, *parts, claim=claim)


@clause("LOSS-6", source="Guide: SCMTrainingLoss and its default weights", since="0.2.0")
def weighted_sum(subject: TrainingLosses, batch: Batch, options: Options) -> None:
    """The training loss is a weighted sum.

    1. It is fit + λ_margin·margin + λ_sign·sign + λ_rej·rejection, up to rounding.
    2. Its gradient is the same sum of the terms' gradients, up to rounding.
    3. The fit is the chordal or the implicit loss, as configured.
    4. Unless configured, λ_margin is 0.1, λ_sign is 1 and λ_rej is 0.01 with these fits.
    5. A weight given with a call, by the name of its term, replaces the configured one, or 1 for
       the fit; it is a number or a scalar.
    6. The training loss also returns each term, unweighted, bit for bit the loss by itself.
    7. A term whose weight is the number 0 is returned, and changes neither the sum nor its
       gradient, even if it is NaN.
    8. Without raw targets every target with ``Y_d = 0`` counts as oriented.
    9. Without a τ the configured threshold counts.
    """
    total, terms = subject.training_loss(*batch, options)
    own = own_terms(subject, batch, options)
    require(terms.keys() == own.keys(), "the terms are {}", sorted(terms), claim=6)
    complaint = "{} of {} with {} is {}, not {}"
    for name, measured in own.items():
        right, parts = identical(terms[name], measured.value), (name, batch, options)
        claim = 3 if name == "fit" else (8 if name == "sign" else 9) if options.get("bare") else 6
        require(right, complaint, *parts, terms[name], measured.value, claim=claim)
    summed = {name: own[name] for name in own.keys() - dropped(options)}
    lost = not all(math.isfinite(m.value) for m in own.values())
    if options.get("bare") or not all(math.isfinite(m.value) for m in summed.values()):
        return
    claim = 7 if lost else 5 if options["given"] else 1 if options["weights"] else 4
    exact = {name: Fraction(m.value) for name, m in summed.items()}
    form, expected = FORMATS[working(batch[0].dtype)], composite(exact, used_weights(options))
    slack = 4 * form.epsilon * expected + form.smallest_normal
    right = expected > form.largest / 2 or near(total.value, expected, slack)
    require(right, complaint, "sum", batch, options, total.value, expected, claim=claim)
    _require_slopes(batch, options, total, summed, 7 if lost else 2)


@clause("LOSS-16", source="Ours: a misspelt weight must not train something else", since="0.2.0")
def refuses(subject: TrainingLosses, batch: Batch, options: Options) -> None:
    """The training loss refuses what it cannot use.

    1. A weight given by a name that no term has raises ValueError.
    2. Targets of another shape than the predictions' raise ValueError.
    3. A configured weight or threshold that is negative, infinite or NaN, a goal outside [0, 1],
       and a fit of another name raise ValueError.
    """
    configured = (options["weights"] or {}).values()
    usable = all(0 <= w < math.inf for w in configured) and 0 <= options["goal"] <= 1
    usable = usable and (not options.get("bare") or 0 <= number(options["tau"]) < math.inf)
    faults = {
        1: not options["given"].keys() <= set(TERMS),
        2: batch[2].shape != batch[0].shape,
        3: not usable or options["fit"] not in ("chordal", "implicit"),
    }
    for claim in [number for number, wrong in faults.items() if wrong]:
        right = refused(ValueError, lambda: subject.training_loss(*batch, options), claim=claim)
        require(right, "{} with {} was accepted", batch, options, claim=claim)
