"""What tuples know, and likelihoods as fits, that go wrong."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch

from properties.faults.register import fault, zeroproof_fault
from spec import Array

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


def lost_counts(real: Any, P: Array, Q: Array, *rest: Any) -> Any:
    P, Q = (x.with_values([v if math.isfinite(v) else 0.0 for v in x.values]) for x in (P, Q))
    return real(P, Q, *rest)


fault("LIK-11.1", "The certainty is the length, cut at 1.",
    known=knows(0, lambda c, *_: min(c / (1 - c), Fraction(1))))
zeroproof_fault("LIK-11.1", "What is left of 1 is lost for short tuples.",
    "properties.subjects.zeroproof.mixtures.certainty",
    lambda real, P, Q: 1.0 - 1.0 / (1.0 + P * P + Q * Q))
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
fault("LIK-13.5", "λ_sign is 1, as with the other fits.",
    fit_weights=lambda real: real() | {"sign": 1.0})
zeroproof_fault("LIK-13.5", "λ_sign is 1, as with the other fits.",
    COMPOSITE + "LossConfig.weights", lambda real, config: real(config) | {"sign": 1.0})
fault("LIK-13.5", "A weight of the sign adds no gradient.",
    likelihood_fit=lambda real, fit, weighed, *a: real(fit, weighed and weighed[:1], *a))
fault("LIK-13.6", "All is taken.", check_fit=lambda *_: None)
zeroproof_fault("LIK-13.6", "A resolution has a gradient, which is dropped.",
    COMPOSITE + "check_constant", lambda *_: None)
fault("CUR-3.1", "The resolution narrows over all epochs.",
    narrowed=lambda real, ends, epochs, epoch: real(ends, epochs / 0.7, epoch))
zeroproof_fault("CUR-3.1", "The resolution narrows linearly.",
    COMPOSITE + "SCMTrainingLoss.default_curriculum", lambda real, loss, epochs: real(loss, epochs)
        and (lambda e: {"resolution": loss.config.resolution + (loss.config.first_resolution -
            loss.config.resolution) * max(0.0, 1 - e / (0.7 * epochs))}))
fault("CUR-3.2", "The first resolution is 1.",
    narrowed=lambda real, ends, *epoch: real(ends or (1.0, 0.003), *epoch))
fault("CUR-3.3", "A validation has the resolution of its epoch.",
    resolutions=lambda real, *run: [(x, x) for x, _ in real(*run)])
fault("CUR-3.4", "Any weight ends the narrowing.", resolutions=lambda real, *run:
    [(None if any(run[3:]) and x != y else x, y) for x, y in real(*run)])
fault("CUR-3.5", "Every fit has a curriculum.",
    resolutions=lambda real, fit, *run: real("likelihood", *run))
fault("CUR-3.6", "A negative resolution is taken for its size.",
    resolutions=lambda real, fit, epochs, ends, *weights: real(fit, epochs, None, *weights))
