"""Likelihoods that go wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from properties.faults.register import fault, zeroproof_fault
from spec.likelihood_terms import LONGEST, MP, Element, Outcome, Real, place, real
from spec.losses import cast

HERE = "zeroproof.losses.likelihood."


def of(**parts: Callable[[Outcome, Element], Any]) -> Any:
    """Return an override of what is right of an element, given this and the element."""

    def override(exact: Any, e: Element, resolution: float = 0.0) -> Any:
        right = exact(e, resolution)
        return right._replace(**{name: part(right, e) for name, part in parts.items()})

    return override


def certainty(e: Element) -> Real:
    return MP.log1p(2 * real(e.P**2 + e.Q**2))


def is_arc(e: Element) -> bool:
    return e[2:4] != e[4:]


def unmasked(found: Any, arcs: Any, *_: Any) -> Any:
    finite = all(math.isfinite(v) for x in arcs.parts for v in x.values)
    return found if finite else replace(found, value=math.nan)


def then(change: Callable[..., Any]) -> Any:
    """Return an override that changes a mean loss, given it and the arguments."""
    return lambda real, *a, **options: change(real(*a, **options), *a)


def without_nan(real: Any, arcs: Any, *rest: Any, **options: Any) -> Any:
    P, Q = (x.with_values([v if v == v else 0.0 for v in x.values]) for x in (arcs.P, arcs.Q))
    return real(replace(arcs, P=P, Q=Q), *rest, **options)


def in_full(real: Any, e: Element, resolution: float = 0.0) -> Any:
    half = MP.cos(MP.acos(place(e).C) / 2) if is_arc(e) and resolution else 1
    return real(e, float(resolution / max(half, 1e-9)))


fault("LIK-1.1", "The density is not normalised, so that length only costs.",
    outcome=of(loss=lambda o, e: o.loss + certainty(e)))
fault("LIK-1.2", "The gradient turns a tuple the other way.",
    outcome=of(in_P=lambda o, e: -o.in_P, in_Q=lambda o, e: -o.in_Q))
zeroproof_fault("LIK-1.3", "The sum over the kept elements is divided by the number of all.",
    HERE + "mean", lambda real, terms, mask=None:
        real(terms, mask) * (1.0 if mask is None else mask.sum() / max(mask.numel(), 1)))
fault("LIK-1.4", "A mask selects terms after their arithmetic.", mean_loss=then(unmasked))
fault("LIK-1.5", "Shapes that differ are broadcast.", check_loss=lambda real, *a: None)
fault("LIK-2.1", "An arc through infinity is taken for the rest of the line.",
    outcome=of(m=lambda o, e: 1 - o.m if e.u_n * e.l_d < e.l_n * e.u_d else o.m))
fault("LIK-2.1", "The whole line, whose sine is 0, is taken for a line.",
    outcome=of(m=lambda o, e: o.m if place(e).S else MP.zero))
fault("LIK-2.2", "The loss of an arc is −log m, and grows as the arc shrinks.",
    outcome=of(loss=lambda o, e: -MP.log(o.m) if o.m else o.loss))
fault("LIK-2.3", "The gradient of an arc leaves numerators alone.",
    outcome=of(in_P=lambda o, e: MP.zero if is_arc(e) else o.in_P))
fault("LIK-3.1", "The angle is the arc tangent's, which loses half of the line.",
    outcome=of(m=lambda o, e: o.m - (0.5 < o.m < 1)))
fault("LIK-3.2", "An arc beyond half of the line counts as what it leaves.",
    outcome=of(m=lambda o, e: min(o.m, 1 - o.m) if place(e).S else o.m))
fault("LIK-3.3", "The probability of the whole line is rounded to more than 1.",
    outcome=of(m=lambda o, e: o.m + (o.m == 1) * MP.mpf(2) ** -20))
fault("LIK-4.1", "The density is that of numbers, to which lines near infinity are far apart.",
    outcome=of(loss=lambda o, e: o.loss + real(e.l_d**2 / (e.l_n**2 + e.l_d**2 or 1))))
fault("LIK-4.2", "Infinity is half an end.",
    outcome=of(m=lambda o, e: o.m * (1 if e.u_d else 0.999)))
fault("LIK-4.3", "A negative denominator costs a little.",
    outcome=of(loss=lambda o, e: o.loss + (e.Q < 0) * MP.mpf(2) ** -16))
fault("LIK-5.1", "The density is clamped.", outcome=of(loss=lambda o, e: max(o.loss, -MP.one)))
fault("LIK-5.2", "The loss is clamped.", outcome=of(loss=lambda o, e: min(o.loss, MP.one)))
fault("LIK-5.3", "The loss grows faster than the density falls.", outcome=of(loss=lambda o, e:
    o.loss * (3 if (e.P * e.l_d - e.Q * e.l_n) * (e.P * e.l_n + e.Q * e.l_d) else 1)))
fault("LIK-6.1", "The level is that of one side.",
    central=lambda real, P, Q, level, form: real(P, Q, level / 2, form))
fault("LIK-6.2", "The probability is that of one side.", outcome=of(m=lambda o, e: o.m / 2))
fault("LIK-6.3", "An end that overflows is +∞.",
    number=lambda real, *a: abs(y) if math.isinf(y := real(*a)) else y)
fault("LIK-6.4", "An end at infinity has the sign of its side, at level 0, too.",
    ends=lambda real, p, q, *a: real(p, q, *a) if q else (-math.inf, math.inf))
fault("LIK-6.5", "The interval of (0, 0) has no ends.",
    ends=lambda real, p, q, *a: real(p, q, *a) if p or q else (math.nan, math.nan))
fault("LIK-6.6", "The level 1 is taken.", check_level=lambda real, level: None)
zeroproof_fault("LIK-7.1", "Lengths are squared in the tuples' own format.",
    HERE + "shortened", lambda real, *tensors: list(tensors))
zeroproof_fault("LIK-7.2", "Cross products are formed in float32.",
    HERE + "unit", lambda real, *line: [x.float().double() for x in real(*line)])
fault("LIK-7.3", "Each slope passes through a format of eight bits.",
    outcome=of(in_Q=lambda o, e: real(cast(float(o.in_Q), "bfloat16"))))
fault("LIK-7.4", "A probability is what its complement leaves of 1.",
    outcome=of(m=lambda o, e: 1 - real(cast(float(1 - o.m), "float32"))))
fault("LIK-7.5", "Ignorance costs.", outcome=of(loss=lambda o, e: o.loss + (not (e.P or e.Q))))
fault("LIK-7.6", "A target (0, 0) agrees with every line, and rewards certainty.",
    outcome=of(loss=lambda o, e: o.loss if e.l_n or e.l_d else -certainty(e)))
fault("LIK-7.7", "Half-precision tuples are measured in half precision.", mean_loss=then(
    lambda found, arcs, *_: replace(found, value=cast(found.value, arcs.P.dtype))))
fault("LIK-7.8", "A NaN counts as 0.", mean_loss=without_nan)
fault("LIK-7.9", "Long tuples are clamped, and have no gradient to come down by.",
    outcome=of(in_P=lambda o, e: o.in_P * (max(abs(e.P), abs(e.Q)) <= LONGEST)))
fault("LIK-8.1", "The resolution counts in full, also for nearly the whole line.", outcome=in_full)
fault("LIK-8.1", "Arcs have no resolution.",
    outcome=lambda real, e, resolution=0.0: real(e, 0.0 if is_arc(e) else resolution))
fault("LIK-8.2", "The gradient is that without a resolution.",
    outcome=lambda real, e, resolution=0.0: real(e)._replace(loss=real(e, resolution).loss))
fault("LIK-8.3", "The loss is rounded down to a grid.",
    outcome=of(loss=lambda o, e: o.loss - MP.mpf(2) ** -12))
fault("LIK-8.4", "A negative resolution is squared, and so taken.",
    check_loss=lambda real, arcs, resolution, mask: real(arcs, 0.0, mask))
