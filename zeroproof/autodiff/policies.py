"""What happens to a gradient that arrives at a ⊥ element."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from enum import Enum
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zeroproof.training.transfer import waits


class GradientPolicy(Enum):
    """The four rules for a gradient ``g`` at an element with bottom flag ``b``."""

    CLAMP = "clamp"
    """0 where ``b``, else ``g`` clamped to [-1, 1], NaN becoming 0. Meets: POL-1."""
    PROJECT = "project"
    """0 where ``b``, else ``g``. Meets: POL-2."""
    REJECT = "reject"
    """0 everywhere. Meets: POL-3."""
    PASSTHROUGH = "passthrough"
    """``g`` everywhere. Meets: POL-4."""

    @classmethod
    def parse(cls, policy: GradientPolicy | str) -> GradientPolicy:
        """Return the policy, also from its name in any case; ValueError for another name."""
        if isinstance(policy, cls):
            return policy
        try:
            return cls(str(policy).lower())
        except ValueError:
            names = ", ".join(p.name for p in cls)
            raise ValueError(f"gradient policy {policy!r} is unknown; use one of {names}") from None


_in_scope: ContextVar[GradientPolicy | None] = ContextVar("gradient_policy", default=None)
_unit: ContextVar[Tensor | float] = ContextVar("gradient_unit", default=1.0)
_USUAL_UNIT = nullcontext()
_defaults: dict[Hashable, GradientPolicy] = {}


@contextmanager
def gradient_policy(policy: GradientPolicy | str) -> Iterator[GradientPolicy]:
    """Put a policy in force for the forwards inside the block.

    The scope nests, is undone on exceptions, and is local to the thread and the async task.
    Raises ValueError for an unknown name. Meets: POL-8.

    Example:
        >>> with gradient_policy("reject"):
        ...     get_policy()
        <GradientPolicy.REJECT: 'reject'>
    """
    chosen = GradientPolicy.parse(policy)
    token = _in_scope.set(chosen)
    try:
        yield chosen
    finally:
        _in_scope.reset(token)


def gradient_unit(unit: Tensor | float) -> AbstractContextManager[None]:
    """Tell the forwards inside the block that their loss will be multiplied by ``unit``.

    CLAMP then bounds the gradient of the loss itself, not that of the multiple which a gradient
    scaler or an accumulation window makes of it. Meets: POL-1, ACC-1.
    """
    usual = not isinstance(unit, Tensor) and unit == _unit.get()
    return _USUAL_UNIT if usual else _scoped_unit(unit)


@contextmanager
def _scoped_unit(unit: Tensor | float) -> Iterator[None]:
    token = _unit.set(unit)
    try:
        yield
    finally:
        _unit.reset(token)


def register_policy(layer: Hashable, policy: GradientPolicy | str | None) -> None:
    """Set the default policy of a layer (any hashable key, such as its class or a name).

    None removes the default. Raises ValueError for an unknown policy. Meets: POL-8.
    """
    if policy is None:
        _defaults.pop(layer, None)
    else:
        _defaults[layer] = GradientPolicy.parse(policy)


def get_policy(layer: Hashable | None = None) -> GradientPolicy:
    """Return the policy in force: of the scope, else the layer's default, else CLAMP.

    Meets: POL-8.
    """
    return _in_scope.get() or _defaults.get(layer, GradientPolicy.CLAMP)


def _select(
    gradient: Tensor, bottom: Tensor, policy: GradientPolicy, unit: Tensor | float
) -> Tensor:
    if policy is GradientPolicy.REJECT:
        return torch.zeros_like(gradient)
    if policy is GradientPolicy.CLAMP:
        gradient = gradient.nan_to_num(0.0)
        if isinstance(unit, Tensor):
            bound = unit.to(gradient.device, gradient.dtype)
            gradient = gradient.clamp(-bound, bound)
        else:
            gradient = gradient.clamp(-unit, unit)
    # A select, never a product: 0 · NaN is NaN. Meets: POL-5.
    return gradient.masked_fill(bottom, 0.0) if waits(bottom) or bottom.any() else gradient


class _PolicyGate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bottom: Tensor, policy: GradientPolicy) -> Tensor:
        ctx.save_for_backward(bottom)
        ctx.policy, ctx.unit = policy, _unit.get()
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (bottom,) = ctx.saved_tensors
        return _select(gradients[0], bottom, ctx.policy, ctx.unit), None, None


def apply_policy(
    x: Float[Tensor, "*shape"],
    bottom: Bool[Tensor, "*shape"],
    policy: GradientPolicy | str | None = None,
    *,
    layer: Hashable | None = None,
) -> Float[Tensor, "*shape"]:
    """Return ``x`` itself, with its gradient put under a policy.

    Args:
        x: values; any shape.
        bottom: True where the element is ⊥; the shape of ``x``.
        policy: an explicit policy; None takes :func:`get_policy` of ``layer``, now: a scope
            that has ended by the time of the backward still counts.
        layer: the key under which a default may be registered.

    Raises:
        ValueError: an unknown policy, or shapes that differ.

    Meets: POL-1 to POL-8, POL-11.

    Example:
        >>> x = torch.tensor([3.0, 0.0], requires_grad=True)
        >>> y = apply_policy(x, torch.tensor([False, True]), GradientPolicy.CLAMP)
        >>> (5 * y).sum().backward()
        >>> x.grad
        tensor([1., 0.])
    """
    if bottom.shape != x.shape:
        raise ValueError(
            f"bottom has shape {tuple(bottom.shape)}, x {tuple(x.shape)}; they must be equal"
        )
    chosen = get_policy(layer) if policy is None else GradientPolicy.parse(policy)
    if chosen is GradientPolicy.PASSTHROUGH or not x.requires_grad:
        return x
    gated: Tensor = _PolicyGate.apply(x, bottom, chosen)  # type: ignore[no-untyped-call]
    return gated
