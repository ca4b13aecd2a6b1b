"""Refusals, domains and shared denominators that go wrong: ARG, DEC-10 and POL-13."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from properties.faults.register import fault, zeroproof_fault
from spec import Array
from spec.policies import output_gradients
from spec.refusals import Refusal


def _taken(wrong: str) -> Any:
    return lambda real, of, *a: Refusal(None) if wrong in a else real(of, *a)


fault("ARG-1.1", "A list is taken for a tensor.", refuse=_taken("a list"))
zeroproof_fault("ARG-1.1", "The ends of an interval need not be pairs.",
      "zeroproof.losses.likelihood.check_pair", lambda *_: None)
fault("ARG-1.2", "A mask of another shape is broadcast.", refuse=_taken("another shape"))
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
zeroproof_fault("ARG-1.5", "A domain runs downwards.", "zeroproof.layers.rational._checked_domain",
      lambda real, domain: real(domain[::-1]))
fault("ARG-2.1", "The error is Python's own.", refuse=lambda real, of, *a: (
      Refusal(TypeError(f"{a[0]} is unexpected")) if "keyword" in a else real(of, *a)))
fault("DEC-10.1", "A domain is mapped to [−1, 0].", rational=lambda real, P, Q, domain, x: real(
      P, Q, domain and (domain[0], 2 * domain[1] - domain[0]), x))
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
