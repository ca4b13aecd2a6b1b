"""Refusals, domains and shared denominators that go wrong: ARG, DEC-10 and POL-13."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from properties.faults.register import fault, zeroproof_fault
from spec import Array
from spec.policies import output_gradients
from spec.refusals import RENAMED, Refusal


def _taken(wrong: str) -> Any:
    return lambda real, of, *a: Refusal(None) if wrong in a else real(of, *a)


def _clamped(x: Array, low: float, high: float) -> Array:
    return x.with_values([min(max(v, low), high) for v in x.values])


fault("ARG-1.1", "A list is taken for a tensor.", refuse=_taken("a list"))
fault("ARG-1.1", "A mask of integers is taken.", refuse=lambda real, of, *a: (
      Refusal(None) if "integers" in a and a[0] in ("mask", "oriented", "is_bottom")
      else real(of, *a)))
zeroproof_fault("ARG-1.1", "The ends of an interval need not be pairs.",
      "zeroproof.losses.likelihood.check_pair", lambda *_: None)
fault("ARG-1.2", "A mask of another shape is broadcast.", refuse=_taken("another shape"))
fault("ARG-1.2", "A share of more than one is taken.", refuse=_taken("more than one"))
fault("ARG-1.2", "An infinite scale is taken.", refuse=_taken("infinite"))
fault("ARG-1.2", "A negative threshold is taken.", refuse=lambda real, of, *a: (
      Refusal(None) if a == ("tau", "negative") else real(of, *a)))
zeroproof_fault("ARG-1.2", "The ends of an interval have shapes of their own.",
      "zeroproof.inference.certainty.check_same_shape", lambda *_, **named: None)
zeroproof_fault("ARG-1.3", "The parts of intervals have other names.",
      "zeroproof.losses.arithmetic.check_floats",
      lambda real, **parts: real(**{f"the_{name}": part for name, part in parts.items()}))
fault("ARG-1.3", "No error says more than its type.", refuse=lambda real, *a: replace(
      real(*a), error=real(*a).error and type(real(*a).error)("no")))
zeroproof_fault("ARG-1.4", "Random numbers are drawn before the arguments are looked at.",
      "zeroproof.utils.checks.describe", lambda real, x: (torch.rand(()), real(x))[1])
fault("ARG-1.5", "Right arguments are refused, too.",
      refuse=lambda real, of, *a: real(of, *a) if a else Refusal(TypeError(of)))
fault("ARG-1.5", "A call writes over its arguments.",
      refuse=lambda real, *a: replace(real(*a), changed=("arguments",) if len(a) == 1 else ()))
zeroproof_fault("ARG-1.5", "Denominators of ⊥ are written over.",
      "zeroproof.inference.strict_inference", lambda real, P, Q, config: (
      found := real(P, Q, config), Q.masked_fill_(found.bottom, 7.0))[0])
zeroproof_fault("ARG-1.5", "A domain runs downwards.", "zeroproof.layers.rational._checked_domain",
      lambda real, domain: real(domain[::-1]))
fault("ARG-2.1", "The error is Python's own.", refuse=lambda real, of, *a: (
      Refusal(TypeError(f"{a[0]} is unexpected")) if "keyword" in a else real(of, *a)))
fault("ARG-2.1", "A keyword is ignored.", refuse=lambda real, of, *a: (
      Refusal(None) if a and (of, a[0]) in RENAMED else real(of, *a)))
fault("DEC-10.1", "A domain is mapped to [−1, 0].", rational=lambda real, P, Q, domain, x: real(
      P, Q, domain and (domain[0], 2 * domain[1] - domain[0]), x))
fault("DEC-10.1", "An input outside the domain is taken for the nearest end.",
      rational=lambda real, P, Q, ends, x: real(P, Q, ends, _clamped(x, *ends) if ends else x))
fault("DEC-10.3", "Without a domain, inputs are clamped to [−1, 1].",
      rational=lambda real, P, Q, ends, x: real(P, Q, ends, x if ends else _clamped(x, -1.0, 1.0)))
fault("DEC-10.3", "Values are float64.", rational=lambda real, P, Q, ends, x: [
      y if ends else replace(y, dtype="float64") for y in real(P, Q, ends, x)])
fault("DEC-10.2", "The width of a domain overflows.", rational=lambda real, P, Q, domain, x: (
      (Array.full(math.inf, x),) * 2 if domain and domain[1] - domain[0] > 3.4e38 else
      real(P, Q, domain, x)))
fault("DEC-10.3", "Without a domain, it is that of [0, 2].",
      rational=lambda real, P, Q, domain, x: real(P, Q, domain or (0.0, 2.0), x))


def _one_by_one(lost: bool) -> Any:
    """Return gradients of outputs that are ⊥ alone, or all where their denominator is 0."""

    def gradients(real: Any, policy: Any, form: str, P: Array, Q: Array, g: Array) -> Any:
        if P.shape == Q.shape:
            return real(policy, form, P, Q, g)
        k = P.shape[-1]
        over = P.with_values([q for q in Q.values for _ in range(k)])
        in_P, in_Q = output_gradients(policy, form, P if lost else over, over, g)
        return [in_P, Q.with_values(in_Q.values[::k])]

    return gradients


fault("POL-13.1", "Each output of a sample is ⊥ alone.", output_gradient=_one_by_one(True))
fault("POL-13.2", "A denominator of 0 makes a sample ⊥.", output_gradient=_one_by_one(False))
fault("POL-13.2", "A sample whose sum overflows is ⊥.", output_gradient=lambda real, policy, form,
    P, Q, g: real(policy, form, P.with_values([v if math.isfinite(sum(P.values[i - i % P.shape[-1]:]
        [: P.shape[-1]])) else math.nan for i, v in enumerate(P.values)]), Q, g))
fault("POL-13.2", "A sample whose squares underflow is ⊥.", output_gradient=lambda real, policy,
    form, P, Q, g: real(policy, form, *(x.with_values([v if v != v or v * v else 0.0 for v in
        x.values]) for x in (P, Q)), g))
