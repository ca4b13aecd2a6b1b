"""Joint likelihoods that go wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

from properties.faults.register import fault, zeroproof_fault
from spec.joint_terms import JointOutcome, Sample, rest
from spec.likelihood_terms import MP, real
from spec.losses import cast

HERE = "zeroproof.losses.likelihood."


def of(**parts: Callable[[JointOutcome, Sample], Any]) -> Any:
    """Return an override of what is right of a sample, given this and the sample."""

    def override(exact: Any, sample: Sample, resolution: float = 0.0) -> Any:
        right = exact(sample, resolution)
        return right._replace(**{name: part(right, sample) for name, part in parts.items()})

    return override


def certainty(sample: Sample) -> Any:
    return MP.log1p(2 * real(sum(x * x for x in rest(sample)[0])))


def without_poles(exact: Any, sample: Sample, resolution: float = 0.0) -> Any:
    y = sample.y or (Fraction(0),) * (len(sample.X) - 1)
    return exact(sample._replace(y=y), resolution)


def masked_after(real_: Any, P: Any, Q: Any, *targets: Any, **options: Any) -> Any:
    found, parts = real_(P, Q, *targets, **options), (P, Q, *targets)
    finite = all(math.isfinite(v) for x in parts for v in x.values)
    return found if finite else replace(found, value=math.nan)


def in_own_format(real_: Any, P: Any, *a: Any, **options: Any) -> Any:
    found = real_(P, *a, **options)
    return replace(found, value=cast(found.value, P.dtype))


def without_nan(real_: Any, P: Any, Q: Any, *a: Any, **options: Any) -> Any:
    parts = (x.with_values([v if math.isfinite(v) else 0.0 for v in x.values]) for x in (P, Q))
    return real_(*parts, *a, **options)


fault("LIK-9.1", "The power is k, as of outputs with denominators of their own.",
    joint=of(loss=lambda o, s: o.loss + (o.loss + len(s.X[1:]) * certainty(s))
        * (2 * len(s.X[1:]) / MP.mpf(len(s.X)) - 1) if s.y is not None else o.loss))
fault("LIK-9.1", "The resolution is left out.", joint=lambda exact, s, resolution=0.0:
    exact(s, resolution if s.y is None else 0.0))
fault("LIK-9.2", "An infinite target counts as 0.", joint=without_poles)
fault("LIK-9.2", "A sample with an infinite target says nothing.",
    joint=of(loss=lambda o, s: o.loss if s.y is not None else MP.zero))
fault("LIK-9.3", "The gradient in the denominator is that of one output.",
    joint=of(slopes=lambda o, s: [*o.slopes[:-1], o.slopes[-1] / len(s.X[1:])]))
zeroproof_fault("LIK-9.4", "The sum over the samples is divided by the number of outputs.",
    HERE + "mean", lambda mean, terms, mask=None: mean(terms, mask)
        * (1.0 if mask is None else mask.sum() / max(mask.numel(), 1)))
fault("LIK-9.5", "A mask selects terms after their arithmetic.", joint_likelihood=masked_after)
fault("LIK-9.6", "Half-precision tuples are measured in half precision.",
    joint_likelihood=in_own_format)
fault("LIK-9.7", "A NaN counts as 0.", joint_likelihood=without_nan)
fault("LIK-9.8", "Shapes and resolutions are not checked.",
    check_joint=lambda real_, *a: None)
fault("LIK-10.1", "Each output is taken for what its own tuple says.",
    alone=lambda real_, s: [(p, s.X[-1]) for p in s.X[:-1]])
fault("LIK-10.2", "The level is that of one side.",
    joint_interval=lambda real_, P, Q, level: real_(P, Q, level / 2))
fault("LIK-11.1", "Distances are those of the values, to which poles are far away.",
    joint=of(loss=lambda o, s: o.loss + real(1 / (1 + sum(y * y for y in s.y or (0,))))))
fault("LIK-11.2", "A negative denominator costs a little.",
    joint=of(loss=lambda o, s: o.loss + (s.X[-1] < 0) * MP.mpf(2) ** -16))
fault("LIK-11.3", "The density is clamped.", joint=of(loss=lambda o, s: max(o.loss, -MP.one)))
fault("LIK-11.4", "The loss grows faster than the density falls.",
    joint=of(loss=lambda o, s: o.loss * (3 if o.loss > 0 else 1)))
