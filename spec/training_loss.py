"""LOSS: the training loss that is made of the others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Final, Protocol, TypeAlias, TypedDict

from .arrays import Array, identical
from .clause import clause, refused, require
from .formats import FORMATS
from .lifting import lift, orientation
from .loss_terms import composite, slope_tolerances
from .losses import GAMMA, Losses, Measured, counted, row, working

TERMS: Final = ("fit", "margin", "sign", "rejection")
WEIGHTS: Final = {"fit": 1.0, "margin": 0.1, "sign": 1.0, "rejection": 0.01}

Batch: TypeAlias = tuple[Array, Array, Array]
"""Predicted tuples ``P, Q`` and raw targets ``y``, alike in shape and dtype."""


class Options(TypedDict):
    """What a training loss is made with: its fit, τ, the coverage goal, and two sets of weights.

    ``weights`` configures margin, sign and rejection, None leaves the library's own; ``given`` are
    those of the call, by the names of the terms.
    """

    fit: str
    tau: float
    goal: float
    weights: Mapping[str, float] | None
    given: Mapping[str, float]


class TrainingLosses(Losses, Protocol):
    """A subject that sums the losses, too."""

    def training_loss(
        self, P: Array, Q: Array, y: Array, options: Options
    ) -> tuple[Measured, dict[str, float]]:
        """Return the total and its terms; ValueError for an unknown name among the given."""


def _parts(
    subject: Losses, batch: Batch, options: Options
) -> Iterator[tuple[str, str, Array | None, Measured]]:
    """Walk the terms: their names, the losses' names, and these losses under their masks."""
    case, oriented = lifted(*batch)
    names = {"fit": options["fit"], "margin": "margin", "sign": "sign", "rejection": "rejection"}
    for name, loss in names.items():
        mask = oriented if name == "sign" else None
        tau, goal = options["tau"], options["goal"]
        yield name, loss, mask, subject.loss(loss, *case, mask=mask, tau=tau, goal=goal)


def lifted(P: Array, Q: Array, y: Array) -> tuple[tuple[Array, Array, Array, Array], Array]:
    """Return the tuples with their lifted targets, and which of these are oriented."""
    pairs = [lift(value) for value in y.values]
    Y_n, Y_d = (y.with_values([pair[part] for pair in pairs]) for part in (0, 1))
    flags = tuple(orientation(value) != 0 for value in y.values)
    return (P, Q, Y_n, Y_d), Array(flags, y.shape, "bool")


def used_weights(options: Options) -> dict[str, Fraction]:
    """Return the weights that are configured."""
    return {name: Fraction(w) for name, w in {**WEIGHTS, **(options["weights"] or {})}.items()}


def _slack(batch: Batch, options: Options, weights: dict[str, Fraction], i: int) -> list[Fraction]:
    """Return what two evaluations of the terms' gradients in ``P`` and ``Q`` may differ by."""
    case, oriented = lifted(*batch)
    form, element = FORMATS[working(batch[0].dtype)], row(case, i)
    slacks = [Fraction(0), Fraction(0)]
    for name, loss in {"fit": options["fit"], "margin": "margin", "sign": "sign"}.items():
        kept = counted(loss, case[3], oriented if loss == "sign" else None)
        guard = Fraction(GAMMA if loss == "implicit" else options["tau"])
        each = slope_tolerances(loss, form, *element, guard, max(len(kept), 1))
        slacks = [slack + 2 * weights[name] * one for slack, one in zip(slacks, each, strict=True)]
    return slacks


def _require_summed(
    batch: Batch, options: Options, total: Measured, own: dict[str, Measured]
) -> None:
    weights = used_weights(options) | {k: Fraction(v) for k, v in options["given"].items()}
    form = FORMATS[working(batch[0].dtype)]
    for i in range(len(batch[0].values)):
        slacks = _slack(batch, options, weights, i)
        for part in (0, 1):
            found = (total.in_P, total.in_Q)[part].values[i]
            slopes = {name: (m.in_P, m.in_Q)[part].values[i] for name, m in own.items()}
            if not all(map(math.isfinite, slopes.values())):
                continue
            sums = [weights[name] * Fraction(value) for name, value in slopes.items()]
            size, expected = sum(map(abs, sums), Fraction(0)), sum(sums, Fraction(0))
            if size >= form.largest / 8:
                continue
            slack = slacks[part] + 8 * form.epsilon * size + form.smallest_normal
            right = math.isfinite(found) and abs(Fraction(found) - expected) <= slack
            complaint = "gradient in {} at {} of {} with {} is {}, not {}"
            require(right, complaint, "PQ"[part], i, batch, options, found, expected)


@clause("LOSS-6", source="Guide: SCMTrainingLoss and its default weights", since="0.2.0")
def weighted_sum(subject: TrainingLosses, batch: Batch, options: Options) -> None:
    """The training loss is fit + λ_margin·margin + λ_sign·sign + λ_rej·rejection up to rounding,
    in value and gradient, the fit being chordal or implicit, the λ 0.1, 1 and 0.01 unless
    configured, and weights given by name with a call replacing them; it returns the terms, too,
    each bitwise the loss by itself, unweighted.
    """
    total, terms = subject.training_loss(*batch, options)
    own = {name: measured for name, _, _, measured in _parts(subject, batch, options)}
    require(terms.keys() == own.keys(), "the terms are {}", sorted(terms))
    for name, measured in own.items():
        right = identical(terms[name], measured.value)
        complaint = "{} of {} with {} is {}, not {}"
        require(right, complaint, name, batch, options, terms[name], measured.value)
    finite = all(map(math.isfinite, terms.values()))
    require(finite, "the terms of {} with {} are {}", batch, options, terms)
    exact = {name: Fraction(value) for name, value in terms.items()}
    given = {name: Fraction(weight) for name, weight in options["given"].items()}
    expected, form = (
        composite(exact, used_weights(options), given),
        FORMATS[working(batch[0].dtype)],
    )
    if expected <= form.largest / 2:
        slack = 4 * form.epsilon * expected + form.smallest_normal
        right = math.isfinite(total.value) and abs(Fraction(total.value) - expected) <= slack
        require(right, "total of {} with {}: {}, not {}", batch, options, total.value, expected)
    _require_summed(batch, options, total, own)


@clause(
    "LOSS-16",
    source="Ours: a misspelt weight that is accepted silently trains something else",
    since="0.2.0",
)
def known_names(subject: TrainingLosses, batch: Batch, options: Options) -> None:
    """A weight given by a name that no term has is a ValueError."""
    right = refused(ValueError, lambda: subject.training_loss(*batch, options))
    require(right, "weights {} were accepted", options["given"])
