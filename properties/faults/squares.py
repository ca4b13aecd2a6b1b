"""Squares and second derivatives that go wrong."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import torch

from properties.faults.register import fault, zeroproof_fault

fault("LOSS-18.1", "Errors count as such, not squared.",
    squared=lambda real, e: (abs(e[0] / e[1] - e[2] / e[3]), real(e)[1]))
fault("LOSS-18.1", "⊥ at τ is compared, too, where there is a quotient.",
    compared=lambda real, case, tau, mask: real(case, 0.0, mask))
zeroproof_fault("LOSS-18.1", "Quotients are approximate.", "zeroproof.losses.terms.quotient",
    lambda real, P, Q: real(P, Q) * (1 + 2.0**-18))
zeroproof_fault("LOSS-18.1", "⊥ is judged in float32, also where float16 overflows.",
    "zeroproof.losses.terms.tuple_bottom", lambda real, P, Q, tau: real(P.float(), Q.float(), tau))
fault("LOSS-18.2", "A term has no cap, and the sum overflows.", capped=lambda real, term, *_: term)
zeroproof_fault("LOSS-18.2", "A capped term has no gradient to come down by.",
    "zeroproof.losses.terms.capped_square", lambda real, x, largest:
        (x * x).clamp(max=largest / 4 / max(x.numel(), 1)))
zeroproof_fault("LOSS-18.3", "Autograd multiplies an error of 0 by a slope that overflows.",
    "zeroproof.losses.terms.quotient", lambda real, P, Q: P / Q)
fault("LOSS-18.3", "The gradient holds denominators constant.",
    squared=lambda real, e: (real(e)[0], (real(e)[1][0], Fraction(0))))
fault("LOSS-18.4", "A mask selects terms after their arithmetic.", squares=lambda real, *case, **a:
    found if (found := real(*case, **a)) and all(map(math.isfinite, case[0].values)) else
        replace(found, in_P=case[0].full(math.nan, case[0])))
zeroproof_fault("LOSS-18.5", "A mean over no elements is 0/0.", "zeroproof.losses.terms.mean",
    lambda real, terms, mask: torch.where(mask, terms, 0.0).sum() / mask.sum())
fault("LOSS-18.6", "Shapes that differ are broadcast.", check_shapes=lambda real, *parts: None)
zeroproof_fault("LOSS-18.7", "A tuple that decodes to ⊥ has a NaN for the gradient of its angle.",
    "zeroproof.losses.composite.prepare_tuples", lambda real, mask, *parts: real(None, *parts))
fault("LOSS-18.7", "The training loss has no threshold for its fit.",
    loss=lambda real, name, *case, **options:
        real(name, *case, **options | ({"tau": 0.0} if name == "squares" else {})))
fault("LOSS-19.1", "A gradient in targets is dropped.", variable=lambda *_: None)
fault("LOSS-19.1", "A gradient in denominators alone is dropped.",
      variable=lambda real, part, name: part == "denominators" or real(part, name))
for place in "arithmetic", "composite":
    zeroproof_fault("LOSS-19.1", f"{place} drops gradients in all but predictions.",
        f"zeroproof.losses.{place}.check_constant", lambda real, *values: None)
zeroproof_fault("LOSS-19.2", "A second backward takes the tuples of the first for constants.",
    "zeroproof.losses.arithmetic._unit", lambda real, *tuples: [x.detach() for x in real(*tuples)])
