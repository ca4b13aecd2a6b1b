"""What tuples know, and likelihoods as fits, that go wrong."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from itertools import count
from typing import Any

import torch

from properties.faults.likelihood import both_flat, flat, stretched
from properties.faults.register import fault, zeroproof_fault
from spec import Array
from spec.losses import Measured, cast

INFERENCE = "zeroproof.inference.certainty."
COMPOSITE = "zeroproof.losses.composite."


def knows(part: int, change: Any) -> Any:
    """Return an override that changes one of the numbers that a tuple knows, given these."""

    def override(real: Any, P: Fraction, Q: Fraction) -> Any:
        found = [*real(P, Q)]
        found[part] = change(*found)
        return found

    return override


def unequal(real: Any, P: Array, Q: Array, weights: Array | None) -> Any:
    return real(P, Q, weights and Array.full(1.0, weights))


def rounded(x: Array, dtype: str) -> Array:
    return Array(tuple(cast(v, dtype) for v in x.values), x.shape, dtype)


def fit_alone(real: Any, fit: Any, weighed: Any, *a: Any) -> tuple[Measured, dict[str, float]]:
    """Leave all terms but the fit out of the usual loss."""
    total, terms = real(fit, weighed, *a)
    if weighed is None and fit.fit == "likelihood":
        total = replace(total, value=terms["fit"])
    return total, {"fit": terms["fit"]}


def fit_beside_zeros(real: Any, fit: Any, *a: Any) -> tuple[Measured, dict[str, float]]:
    total, terms = fit_alone(real, fit, *a)
    zeros = dict.fromkeys(("margin", "sign", "rejection"), 0.0)
    return (total, terms | zeros) if fit.fit == "likelihood" else real(fit, *a)


def lost_counts(real: Any, P: Array, Q: Array, *rest: Any) -> Any:
    P, Q = (x.with_values([v if math.isfinite(v) else 0.0 for v in x.values]) for x in (P, Q))
    return real(P, Q, *rest)


fault("LIK-11.1", "The certainty is the length, cut at 1.",
    known=knows(0, lambda c, *_: min(c / (1 - c), Fraction(1))))
zeroproof_fault("LIK-11.1", "What is left of 1 is lost for short tuples.",
    "properties.subjects.zeroproof.mixtures.certainty",
    lambda real, P, Q: 1.0 - 1.0 / (1.0 + P * P + Q * Q))
fault("LIK-11.1", "What is known is rounded to bfloat16.",
    certainty=lambda real, *a: rounded(real(*a), "bfloat16"))
fault("LIK-11.2", "Median and scale have single precision.", median_and_scale=lambda real, *a:
    tuple(rounded(x, "float32") for x in real(*a)))
fault("LIK-11.2", "The median is the decoded value, however uncertain.",
    known=lambda real, P, Q: (*real(P, Q)[:1], P / (Q or 1), *real(P, Q)[2:]))
zeroproof_fault("LIK-11.2", "Squares of long tuples overflow.",
    INFERENCE + "shortened", lambda real, P, Q: [P.double(), Q.double()])
fault("LIK-11.3", "The scale is the whole interquartile range.",
    known=knows(2, lambda c, m, s: 2 * s))
fault("LIK-11.4", "Each output is taken for what its own tuple says.",
    own_tuples=lambda real, P, Q: real(P, P.with_values([Q.values[i // (len(P.values) //
        len(Q.values))] for i in range(len(P.values))])))
zeroproof_fault("LIK-11.4", "Outputs that share Q are not lengthened.",
    INFERENCE + "shares_denominator", lambda real, P, Q: False)
fault("LIK-11.5", "An infinite tuple is a certain one.",
    certainty=lambda real, P, Q: (found := real(P, Q)).with_values(
        [1.0 if c != c else c for c in found.values]))
fault("LIK-11.6", "Shapes that differ are broadcast.", check_columns=lambda *_: None,
    own_tuples=lambda real, P, Q: real(P, replace(Q, shape=P.shape)))
fault("LIK-11.6", "Numbers of dimensions are compared, and single elements broadcast.",
    certainty=lambda real, P, Q: real(P, stretched(P, Q)[1]))
fault("LIK-11.7", "What is known is flat.", certainty=flat)
fault("LIK-11.7", "Median and scale are flat.", median_and_scale=both_flat)
fault("LIK-12.1", "The tuples have single precision.", combine=lambda real, *a:
    tuple(rounded(x.with_values([v * (1 + 2.0**-13) for v in x.values]), "float32")
        for x in real(*a)))
fault("LIK-12.1", "A mixture is the mean of its members' tuples, by its direction.",
    moment=lambda real, members, weights: real(
        [tuple(sum(x, Fraction(0)) for x in zip(*members, strict=True))], [Fraction(1)]))
fault("LIK-12.1", "The line is the last eigenvector.",
    standing_for=lambda real, members, weights: [*real(members, weights)][::-1])
fault("LIK-12.2", "The concentration is the largest eigenvalue.", gap=lambda real, values:
    min(values[-1], 1 - values[-1] / 10**12))
zeroproof_fault("LIK-12.2", "The concentration has no largest value.", "torch.Tensor.clamp",
    lambda real, x, *a, **options: real(x, 0.0, 1.0 - 1e-9) if a == (0.0, 1.0 - 1e-12)
        else real(x, *a, **options))
fault("LIK-12.3", "Weights are ignored.", combine=unequal)
zeroproof_fault("LIK-12.3", "Weights are not divided by their sum.",
    INFERENCE + "_shares", lambda real, P, weights: torch.ones_like(P[..., 0]).double()
        if weights is None else weights.double())
zeroproof_fault("LIK-12.4", "A weight of 0 multiplies, and NaN times 0 is NaN.",
    INFERENCE + "_shares", lambda real, P, weights: real(P, weights) + 2.0**-1074)
fault("LIK-12.4", "Without any weight all members count the same.",
    combine=lambda real, P, Q, weights: real(P, Q, weights and any(weights.values) and weights))
fault("LIK-12.5", "Outputs that share Q are combined one by one.",
    standing_for=lambda real, members, weights: real(members, weights) if len(members[0]) == 2 else
        [real([(X[i], X[-1]) for X in members], weights)[0] for i in range(len(members[0]))])
fault("LIK-12.6", "A NaN counts as 0.", combine=lost_counts)
fault("LIK-12.7", "Negative weights are taken.", check_weights=lambda *_: None)
fault("LIK-12.7", "A weight of each row is that of all its members.",
    combine=lambda real, P, Q, weights: real(P, Q, replace(weights, shape=P.shape[:2],
        values=weights.values * P.shape[1]) if weights and weights.shape == (P.shape[0], 1)
            else weights))
fault("LIK-12.8", "The tuples are flat.", combine=both_flat)
fault("LIK-13.1", "The fit is the chordal loss.", own_fit=lambda real, fit:
    replace(real(fit), value=abs(real(fit).value)))
zeroproof_fault("LIK-13.2", "A shared denominator is repeated.",
    COMPOSITE + "shares_denominator", lambda *_: False)
zeroproof_fault("LIK-13.2", "An interval is its lower end.",
    COMPOSITE + "interval_term", lambda real, P, Q, lower, upper, resolution:
        real(P, Q, lower, lower, resolution))
fault("LIK-13.3", "Unless configured there is no resolution.", own_fit=lambda real, fit:
    real(replace(fit, resolution=fit.resolution or 0.0)))
fault("LIK-13.4", "The resolution of a curriculum is taken and ignored.",
    own_fit=lambda real, fit: real(replace(fit, given=None)))
fault("LIK-13.4", "A resolution of a call stays.",
    own_fit=lambda real, fit: real(replace(fit, given=fit.before if fit.given is None
        else fit.given)))
fault("LIK-13.4", "A resolution of 0 is taken for none.",
    own_fit=lambda real, fit: real(replace(fit, given=fit.given or None)))
fault("LIK-13.5", "λ_sign is 1, as with the other fits.",
    fit_weights=lambda real: real() | {"sign": 1.0})
zeroproof_fault("LIK-13.5", "λ_sign is 1, as with the other fits.",
    COMPOSITE + "LossConfig.weights", lambda real, config: real(config) | {"sign": 1.0})
fault("LIK-13.5", "A weight of the sign adds no gradient.",
    likelihood_fit=lambda real, fit, weighed, *a: real(fit, weighed and weighed[:1], *a))
fault("LIK-13.5", "With the likelihood there are no other terms.", likelihood_fit=fit_alone)
fault("LIK-13.5", "With the likelihood the other terms are 0.", likelihood_fit=fit_beside_zeros)
fault("LIK-13.6", "A negative resolution is taken for its size.",
    likelihood_fit=lambda real, fit, *a: real(replace(fit, given=abs(fit.given))
        if isinstance(fit.given, float) else fit, *a))
fault("LIK-13.6", "An infinite resolution is taken for a large one.",
    likelihood_fit=lambda real, fit, *a: real(replace(fit, given=1.0)
        if fit.given == math.inf else fit, *a))
fault("LIK-13.6", "All is taken.", check_fit=lambda *_: None)
zeroproof_fault("LIK-13.6", "A resolution has a gradient, which is dropped.",
    COMPOSITE + "check_constant", lambda *_: None)
fault("CUR-3.1", "The resolution narrows over all epochs.",
    narrowed=lambda real, ends, epochs, epoch: real(ends, epochs / 0.7, epoch))
zeroproof_fault("CUR-3.1", "The resolution narrows linearly.",
    COMPOSITE + "SCMTrainingLoss.default_curriculum", lambda real, loss, epochs: real(loss, epochs)
        and (lambda e: {"resolution": loss.config.resolution + (loss.config.first_resolution -
            loss.config.resolution) * max(0.0, 1 - e / (0.7 * epochs))}))
fault("CUR-3.1", "A last resolution of 0 is taken for none.",
    narrowed=lambda real, ends, *epoch: real(ends and (ends[0], ends[1] or 0.003), *epoch))
zeroproof_fault("CUR-3.1", "The resolution narrows with each batch.",
    COMPOSITE + "SCMTrainingLoss.default_curriculum", lambda real, loss, epochs: (found :=
        real(loss, epochs)) and (at := count()) and (lambda epoch: found(next(at))))
fault("CUR-3.2", "The first resolution is 1.",
    narrowed=lambda real, ends, *epoch: real(ends or (1.0, 0.003), *epoch))
fault("CUR-3.3", "A validation has the resolution of its epoch.",
    resolutions=lambda real, *run: [(x, x) for x, _ in real(*run)])
fault("CUR-3.4", "Any weight ends the narrowing.", resolutions=lambda real, *run:
    [(None if any(run[3:]) and x != y else x, y) for x, y in real(*run)])
fault("CUR-3.5", "Every fit has a curriculum.",
    resolutions=lambda real, fit, *run: real("likelihood", *run))
fault("CUR-3.5", "A validation has a resolution with every fit.",
    resolutions=lambda real, fit, *run: [(x, y or 0.003) for x, y in real(fit, *run)])
fault("CUR-3.6", "A negative resolution is taken for its size.",
    resolutions=lambda real, fit, epochs, ends, *weights: real(fit, epochs, None, *weights))
