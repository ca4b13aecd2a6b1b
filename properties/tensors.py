"""Between the specification's arrays and tensors, and gradients at these, under its policies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from spec import Array
from spec.losses import Measured
from spec.policies import POLICIES


def to_tensor(x: Array) -> Tensor:
    """Return a tensor of the array's values, shape and dtype, laid out in memory as it asks."""
    dtype: torch.dtype = getattr(torch, x.dtype)
    made = torch.float64 if dtype.is_floating_point else dtype
    tensor = torch.tensor(x.values, dtype=made).to(dtype).reshape(x.shape)
    if x.layout == "transposed":
        order = list(reversed(range(tensor.dim())))
        return tensor.permute(order).contiguous().permute(order)
    if x.layout == "strided" and tensor.dim() and dtype.is_floating_point:
        return torch.stack([tensor, torch.full_like(tensor, math.nan)], dim=-1)[..., 0]
    return tensor


def to_array(x: Tensor) -> Array:
    """Return a tensor's elements, exactly."""
    x = x.detach()
    values = (x.double() if x.is_floating_point() else x).flatten().tolist()
    return Array(tuple(values), tuple(x.shape), str(x.dtype).removeprefix("torch."))


def flags(x: Tensor) -> tuple[bool, ...]:
    return tuple(x.flatten().tolist())


def measured(value: Tensor, P: Tensor, Q: Tensor, *, again: bool = False) -> Measured:
    """Return a scalar with its gradients at two leaves.

    The gradient that arrives at the scalar is not 1. With ``again`` they have a graph.
    """
    gradients = [torch.zeros_like(x) for x in (P, Q)]
    if value.requires_grad:
        gradients = arriving(value, P, Q, create_graph=again)
    return Measured(value.item(), *map(to_array, gradients))


def arriving(value: Tensor, *leaves: Tensor, create_graph: bool = False) -> list[Tensor]:
    """Return the gradients of a sum at leaves, exactly, where −1 arrives at each of its terms."""
    root = torch.full_like(value, -1.0)
    found = torch.autograd.grad(
        value, leaves, root, create_graph=create_graph, allow_unused=True, materialize_grads=True
    )
    return [-g for g in found]


def gated(x: Tensor, rule: str, bottom: Tensor) -> Tensor:
    """Return ``x`` with its gradient under a policy of the specification."""

    x.register_hook(lambda g: gradients_under(rule, g, bottom))  # type: ignore[no-untyped-call]
    return x


def gradients_under(rule: str, g: Tensor, bottom: Tensor) -> Tensor:
    """Return what a policy of the specification makes of gradients."""
    pairs = zip(g.flatten().tolist(), bottom.flatten().tolist(), strict=True)
    return torch.tensor([POLICIES[rule](*pair) for pair in pairs], dtype=g.dtype).view_as(g)


def gradients(outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> list[Tensor]:
    """Return gradients, some of which CLAMP changes."""
    incoming = [torch.linspace(-3, 2, x.numel(), dtype=x.dtype).view_as(x) for x in outputs]
    return list(torch.autograd.grad(outputs, leaves, incoming))


def assert_close(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> None:
    slack = 64 * torch.finfo(found[0].dtype).eps
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a.double(), b.double(), rtol=slack, atol=slack, equal_nan=True)


def within(chosen: Tensor, mask: Tensor | None) -> Tensor:
    """Return what is chosen under a mask; a mask of another shape is the library's to refuse."""
    if mask is None:
        return chosen
    return chosen & mask if mask.shape == chosen.shape else mask


class Incoming(torch.autograd.Function):
    """A loss of 0 with a given gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return torch.zeros((), dtype=torch.float64)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient, None
