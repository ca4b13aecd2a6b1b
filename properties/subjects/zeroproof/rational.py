"""Rational layers by ``zeroproof``."""

from __future__ import annotations

from contextlib import nullcontext

import torch

from properties.tensors import flags, to_array, to_tensor
from spec import Array
from spec.rational import Evaluated, Rational
from zeroproof.autodiff import gradient_policy
from zeroproof.layers import SCMRationalLayer


class ZeroProofRational:
    """``zeroproof.layers``."""

    def rational(self, case: Rational) -> Evaluated:
        """Set the coefficients, and run forward and backward."""
        rows = case.numerator, case.denominator
        layer = SCMRationalLayer(*(len(row.values) - 1 for row in rows), tau=case.tau)
        layer.to(getattr(torch, case.numerator.dtype))
        leaves = [layer.head.numerator, layer.head.denominator, to_tensor(case.x).requires_grad_()]
        with torch.no_grad():
            for leaf, row in zip(leaves, rows, strict=False):
                leaf.copy_(to_tensor(row))
        with gradient_policy(case.policy) if case.policy else nullcontext():
            value, bottom = layer(leaves[-1])
        found = torch.autograd.grad(value, leaves, to_tensor(case.g).to(value.dtype))
        in_numerator, in_denominator, in_x = map(to_array, found)
        return Evaluated(to_array(value), flags(bottom), in_x, in_numerator, in_denominator)

    def new_rational(self, degrees: tuple[int, int], tau: float) -> tuple[Array, Array]:
        """Make one."""
        head = SCMRationalLayer(*degrees, tau=tau).head
        return to_array(head.numerator), to_array(head.denominator)
