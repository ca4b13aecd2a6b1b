"""Losses that are computed together with their slopes, and what they have in common.

A *rule* takes the gradient that arrives at its first scalar, and tensors; it returns a tuple of
scalars and a tuple of slopes: those of the first scalar in the first tensors, times that gradient.
Its slopes are made of differentiable operations, so that they can be differentiated again.

What costs is the number of operations, not the number of elements. So scalars are Python's numbers
where they can be had without a wait, which is on the CPU, and tensors elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from zeroproof.scm.outputs import widen
from zeroproof.training.transfer import Number, as_scalar, bounded, waits

Rule: TypeAlias = Callable[..., tuple[tuple[Number, ...], tuple[Tensor, ...]]]


class _Attach(torch.autograd.Function):
    """Gives a number the slopes of a rule for its gradient in the inputs.

    They are kept, except in a loss compiled for a GPU, which waits for memory and for nothing
    else: there they are computed in the backward, in one pass over the inputs.
    """

    @staticmethod
    def forward(
        ctx: Any,
        value: Number,
        slopes: tuple[Tensor, ...],
        rule: Rule,
        constants: tuple[Any, ...],
        *inputs: Tensor,
    ) -> Tensor:
        ctx.rule, ctx.constants = rule, constants
        ctx.anew = torch.compiler.is_compiling() and not slopes[0].is_cpu
        ctx.save_for_backward(*inputs, *(inputs if ctx.anew else slopes))
        return as_scalar(value, slopes[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        saved, gradient = ctx.saved_tensors, gradients[0]
        half = len(saved) // 2
        inputs, slopes = saved[:half], saved[half:]
        # What was kept is a constant, of no use where this is to be differentiated.
        if ctx.anew or torch.is_grad_enabled():
            # The gradient goes in, so that no part of it can be computed ahead, and kept.
            _, slopes = ctx.rule(gradient, *inputs, *ctx.constants)
            return None, None, None, None, *slopes
        return None, None, None, None, *(gradient * slope for slope in slopes)


def with_slopes(
    rule: Rule, inputs: Sequence[Tensor], *constants: Tensor | Number | None
) -> tuple[Tensor, ...]:
    """Return a rule's scalars, the first of which has its slopes for a gradient in the inputs.

    It is differentiable once and twice. Raises ValueError for a constant with a gradient.
    """
    if any(isinstance(x, Tensor) and x.requires_grad for x in constants):
        raise ValueError(
            "targets, tau and weights must not require a gradient, which a loss has only in its "
            "predictions; detach them"
        )
    with torch.no_grad():
        (value, *others), slopes = rule(1.0, *inputs, *constants)
        terms = [as_scalar(x, slopes[0]) for x in others]
    return _Attach.apply(value, slopes, rule, constants, *inputs), *terms  # type: ignore[no-untyped-call]


def alike(*tensors: Tensor) -> list[Tensor]:
    """Return the tensors in float32 or wider, after checking that their shapes are equal."""
    shape = tensors[0].shape
    if any(t.shape != shape for t in tensors):
        raise ValueError(
            f"shapes {[tuple(t.shape) for t in tensors]} must all be equal; broadcasting would "
            "pair every prediction with every target. Reshape one side, as in "
            "targets.reshape(outputs.shape)"
        )
    return widen(*tensors)


def check_mask(mask: Tensor, like: Tensor) -> None:
    """Raise ValueError unless the mask has the tensor's shape."""
    if mask.shape != like.shape:
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}, the tensors {tuple(like.shape)}; "
            "they must be equal"
        )


def count(mask: Tensor | None, like: Tensor) -> Number:
    """Return how many elements the mask keeps; of ``like`` where there is none."""
    if mask is None:
        return like.numel()
    found = mask.count_nonzero()
    return found.to(like.dtype) if waits(found) else found.item()


def some(count: Number) -> Number:
    """Return the count, but at least 1, to divide by."""
    return bounded(count, 1, torch.inf)


class Angle(NamedTuple):
    """Predicted tuples, and the angles from there to their targets, elementwise."""

    size: Tensor
    """``|Q|``."""
    least: float
    """The least ``|Q|``; 0 where that is not known without a wait."""
    larger: Tensor
    """``max(|P|, |Q|)``, held constant; 1 at ``(0, 0)``."""
    shrink: Tensor
    """``larger / ‖(P, Q)‖``; 1 at ``(0, 0)``."""
    p: Tensor
    q: Tensor
    """The predicted tuple at norm 1; ``(0, 0)`` stays there, at a right angle to everything."""
    missing: Tensor | None
    """1 at ``(0, 0)``, else 0; None where there is none."""
    sine: Tensor
    cosine: Tensor

    @classmethod
    def between(cls, P: Tensor, Q: Tensor, Y_n: Tensor, Y_d: Tensor) -> Angle:
        """Measure; a target must not be ``(0, 0)``, nor so near 0 or ∞ that its norm is."""
        size, missing = Q.abs(), None
        least = 0.0
        if not waits(size):
            least = size.amin().item() if size.numel() else torch.inf
        # No square can overflow, or lose both components to underflow.
        larger = torch.maximum(P.abs(), size).detach()
        if not least > 0:
            missing = (larger == 0).to(larger.dtype)
            larger = larger + missing
        p, q = P / larger, Q / larger
        square = p * p if missing is None else torch.addcmul(missing, p, p)
        shrink = torch.addcmul(square, q, q).rsqrt()
        p, q = p * shrink, q * shrink
        target = torch.hypot(Y_n, Y_d)
        n, d = Y_n / target, Y_d / target
        sine = p * d - q * n  # not fused, so that it is 0 for equal ones
        cosine = torch.addcmul(p * n, q, d)
        return cls(size, least, larger, shrink, p, q, missing, sine, cosine)

    def turn(self, speed: Tensor) -> tuple[Tensor, Tensor]:
        """Return by how much a term rises with ``P`` and falls with ``Q``.

        ``speed`` times the sine is its slope in the angle.
        """
        push = self.sine * speed * self.shrink
        return push * self.q / self.larger, push * self.p / self.larger


def add(total: Tensor, weight: Number, term: Tensor) -> Tensor:
    """Return ``total + weight·term``; with a float 0 not even a NaN of the term counts."""
    if isinstance(weight, Tensor):
        return total + weight * term
    return torch.add(total, term, alpha=weight) if weight else total
