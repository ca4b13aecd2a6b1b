"""Joint likelihoods that go wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from properties.faults.register import fault, zeroproof_fault
from spec.joint_likelihood import Sample
from spec.likelihood_terms import MP, Outcome, real


def of(**parts: Callable[[Outcome, int], Any]) -> Any:
    """Return an override of what is right of a sample, given this and its number of outputs."""

    def override(exact: Any, sample: Sample, resolution: float = 0.0) -> Any:
        right, k = exact(sample, resolution), len(sample.X) - 1
        return right._replace(**{name: part(right, k) for name, part in parts.items()})

    return override


def separate(exact: Any, s: Sample, resolution: float = 0.0) -> Any:
    right, k, square = exact(s, resolution), len(s.X) - 1, sum(x * x for x in s.X)
    width = right.loss + k * MP.log1p(2 * real(square))
    return right._replace(loss=right.loss + width * (k - 1) / (k + 1)) if s.y else right


def finite_only(real_: Any, P: Any, Q: Any, *line: Any, **options: Any) -> Any:
    P, Q = (x.with_values([v if math.isfinite(v) else 0.0 for v in x.values]) for x in (P, Q))
    return real_(P, Q, *line, **options)


def masked_after(real_: Any, *parts: Any, **options: Any) -> Any:
    found = real_(*parts, **options)
    finite = all(math.isfinite(v) for x in parts for v in x.values)
    return found if finite else replace(found, value=math.nan)


fault("LIK-9.1", "The power is that of outputs with denominators of their own.", joint=separate)
fault("LIK-9.1", "The resolution is left out.", joint=lambda exact, s, resolution=0.0:
    exact(s) if s.y else exact(s, resolution))
fault("LIK-9.2", "An infinite target counts as 0.", joint=lambda exact, s, resolution=0.0:
    exact(s._replace(y=s.y or s.X[1:]), resolution))
fault("LIK-9.3", "The gradient in the denominator is the mean over the outputs.",
    joint=of(in_Q=lambda o, k: o.in_Q / k))
zeroproof_fault("LIK-9.4", "The sum over the samples that count is divided by the number of all.",
    "zeroproof.losses.likelihood.mean", lambda mean, terms, mask=None:
        mean(terms, mask) * (1.0 if mask is None else mask.sum() / mask.numel()))
fault("LIK-9.5", "A mask selects terms after their arithmetic.", joint_likelihood=masked_after)
fault("LIK-9.6", "A NaN counts as 0.", joint_likelihood=finite_only)
fault("LIK-9.7", "Shapes and resolutions are not checked.", check_joint=lambda real_, *a: None)
fault("LIK-10.1", "Each output is taken for what its own tuple says.",
    alone=lambda real_, s: [(p, s.X[-1]) for p in s.X[:-1]])
zeroproof_fault("LIK-10.2", "A central interval is that of each output's own tuple.",
    "properties.subjects.zeroproof.likelihood.central_interval",
    lambda real_, P, Q, level: real_(P, Q.expand_as(P), level))
