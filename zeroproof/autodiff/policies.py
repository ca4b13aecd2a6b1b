"""What happens to a gradient that arrives at a ⊥ element."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from enum import Enum
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zeroproof.autodiff.recomputation import (
    Scope,
    Setting,
    enclosing_function,
    setting_at_forward,
)
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


_in_scope: ContextVar[Scope | None] = ContextVar("gradient_policy", default=None)
_unit: ContextVar[Tensor | float] = ContextVar("gradient_unit", default=1.0)
_USUAL_UNIT = nullcontext()
_defaults: Mapping[Hashable, GradientPolicy] = {}  # replaced, never changed: forwards keep it


@contextmanager
def gradient_policy(policy: GradientPolicy | str) -> Iterator[GradientPolicy]:
    """Put a policy in force for the forwards inside the block.

    The scope nests, is undone on exceptions, and is local to the thread and the async task. A
    forward that activation checkpointing runs again keeps the policy of the first one. Raises
    ValueError for an unknown name. Meets: POL-8.

    Example:
        >>> with gradient_policy("reject"):
        ...     get_policy()
        <GradientPolicy.REJECT: 'reject'>
    """
    chosen = GradientPolicy.parse(policy)
    token = _in_scope.set(Scope(chosen, _in_scope.get(), enclosing_function()))
    try:
        yield chosen
    finally:
        _in_scope.reset(token)


def gradient_unit(unit: Tensor | float) -> AbstractContextManager[None]:
    """Tell the forwards inside the block that their loss will be multiplied by ``unit``.

    CLAMP then bounds the gradient of the loss itself, not that of the multiple which a gradient
    scaler or an accumulation window makes of it. Meets: POL-12.
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
    """Set the default policy of a layer: any hashable key, such as its class or a name.

    That of a class holds for its instances and subclasses, too. None removes the default. Raises
    ValueError for an unknown policy. Meets: POL-8.
    """
    global _defaults
    others = {key: value for key, value in _defaults.items() if key != layer}
    _defaults = others if policy is None else {**others, layer: GradientPolicy.parse(policy)}


def get_policy(layer: Hashable | None = None) -> GradientPolicy:
    """Return the policy in force: of the scope, else the layer's default, else CLAMP.

    The default of a layer without one of its own is that of the nearest of its classes that has
    one. Meets: POL-8.
    """
    return _policy_at(_setting(), layer)


def _setting() -> Setting:
    return setting_at_forward(Setting(_in_scope.get(), _unit.get(), _defaults))


def _policy_at(setting: Setting, layer: Hashable | None) -> GradientPolicy:
    if setting.scope is not None:
        return setting.scope.policy
    classes = layer.__mro__ if isinstance(layer, type) else type(layer).__mro__
    found = (setting.defaults[key] for key in (layer, *classes) if key in setting.defaults)
    return next(found, GradientPolicy.CLAMP)


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
    def forward(
        ctx: Any, x: Tensor, bottom: Tensor, policy: GradientPolicy, unit: Tensor | float
    ) -> Tensor:
        ctx.policy, ctx.unit = policy, unit
        # Not as a saved tensor: checkpointing compares those of both forwards, and the second one
        # may be under another policy, without a gate.
        ctx.bottom, ctx.version = bottom, bottom._version
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        if ctx.bottom._version != ctx.version:
            raise RuntimeError("bottom was changed in place between the forward and the backward")
        return _select(gradients[0], ctx.bottom, ctx.policy, ctx.unit), None, None, None


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
        layer: the layer, or the key under which a default may be registered.

    Raises:
        ValueError: an unknown policy, or shapes that differ.

    Meets: POL-1 to POL-8, POL-11, POL-12.

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
    setting = _setting()
    chosen = _policy_at(setting, layer) if policy is None else GradientPolicy.parse(policy)
    if chosen is GradientPolicy.PASSTHROUGH or not x.requires_grad:
        return x
    gated: Tensor = _PolicyGate.apply(x, bottom, chosen, setting.unit)  # type: ignore[no-untyped-call]
    return gated
