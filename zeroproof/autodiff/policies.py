"""What happens to a gradient that arrives at a ⊥ element."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction

from zeroproof.autodiff.functions import save_tensors, with_forward_mode
from zeroproof.utils.checks import check_floats, check_mask, check_type, explains


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


class Setting(NamedTuple):
    """The policy and scale of a layer's gradient."""

    policy: GradientPolicy
    grad_scale: Tensor | float


KNOWN = "torch", __name__.split(".")[0]  # whose layers are known to ask for a policy, or not
_scope: ContextVar[GradientPolicy | None] = ContextVar("gradient_policy", default=None)
_grad_scale: ContextVar[Tensor | float] = ContextVar("grad_scale", default=1.0)
_defaults: dict[Hashable, GradientPolicy] = {}  # a module stores its own
_built_in: dict[Hashable, GradientPolicy] = {}
# Scope and scale in code that torch.compile traces, which reads no ContextVar.
_traced: tuple[GradientPolicy | None, Tensor | float] | None = None


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
    token = _scope.set(chosen)
    try:
        yield chosen
    finally:
        _scope.reset(token)


@contextmanager
def grad_scale(scale: Tensor | float) -> Iterator[None]:
    """Tell the forwards inside the block that their loss will be multiplied by ``scale``.

    CLAMP then bounds the gradient of the loss itself, not that of the multiple which a gradient
    scaler or an accumulation window makes of it. Meets: POL-12.
    """
    token = _grad_scale.set(scale)
    try:
        yield
    finally:
        _grad_scale.reset(token)


def get_grad_scale() -> Tensor | float:
    """Return the scale in force; 1 outside of :func:`grad_scale`."""
    return _grad_scale.get()


@contextmanager
def traced_setting(policy: GradientPolicy | None, scale: Tensor | float) -> Iterator[None]:
    """Do what :func:`gradient_policy` and :func:`grad_scale` do, in a graph without breaks."""
    global _traced
    _traced = policy, scale
    try:
        yield
    finally:
        _traced = None


def register_policy(layer: Hashable, policy: GradientPolicy | str | None) -> None:
    """Set the default policy of a layer: any hashable key, such as its class or a name.

    That of a class holds for its instances and subclasses, too, and that of a module for all
    modules inside it at that time, in place of theirs, and for copies and pickles of them. None
    removes it; a layer of this package then has its own again.

    Raises:
        TypeError: a key that is not hashable.
        ValueError: an unknown policy, a class or module that asks for none, such as ``nn.Linear``,
            or the name of a class that asks.

    Meets: POL-8.
    """
    check_type("layer", layer, Hashable, "hashable, as a class, a module or a name")
    asking = tuple(key for key in (*_built_in, *_defaults) if isinstance(key, type))
    names = [kind.__name__ for key in asking for kind in _with_subclasses(key)]
    kinds = {type(x) for x in layer.modules()} if isinstance(layer, nn.Module) else {layer}
    known = (isinstance(x, type) and x.__module__.split(".")[0] in KNOWN for x in kinds)
    if layer in names or (all(known) and not any(issubclass(cast(type, x), asking) for x in kinds)):
        raise ValueError(f"layer {layer!r} asks for no policy; give one of the classes {names}")
    chosen = None if policy is None else GradientPolicy.parse(policy)
    if isinstance(layer, nn.Module):
        for module in layer.modules():
            module.__dict__["_default_policy"] = chosen
    elif chosen is None:
        _defaults.pop(layer, None)
    else:
        _defaults[layer] = chosen


def _with_subclasses(kind: type[Any]) -> list[type[Any]]:
    return [kind, *(x for below in kind.__subclasses__() for x in _with_subclasses(below))]


def set_default(kind: Hashable, policy: GradientPolicy) -> None:
    """Give a class of this package its policy, which counts where none is registered for it."""
    _built_in[kind] = policy


def get_policy(layer: Hashable | None = None) -> GradientPolicy:
    """Return the policy in force: of the scope, else the layer's default, else CLAMP.

    The default of a layer without one of its own is that of the nearest of its classes that has
    one. Meets: POL-8.
    """
    return _setting(layer).policy


def _default_of(layer: Hashable | None) -> GradientPolicy:
    own = getattr(layer, "_default_policy", None) if isinstance(layer, nn.Module) else None
    classes = layer.__mro__ if isinstance(layer, type) else type(layer).__mro__
    given = (_defaults.get(key, _built_in.get(key)) for key in (layer, *classes))
    found = (own, *given, GradientPolicy.CLAMP)
    return next(policy for policy in found if policy is not None)


def _setting(layer: Hashable | None) -> Setting:
    scope, scale = _traced or (_scope.get(), _grad_scale.get())
    now = Setting(_default_of(layer) if scope is None else scope, scale)
    if _traced is not None or torch.compiler.is_compiling():
        return now
    nested = not torch.is_grad_enabled() or torch._C._current_graph_task_id() >= 0
    return _setting_at_forward(_enclosing_functions(), now) if nested else now


def _setting_at_forward(functions: Iterator[tuple[Any, bool]], now: Setting) -> Setting:
    """Return the setting that the first forward used here.

    Reentrant checkpointing (``torch.utils.checkpoint``) runs a forward without gradients inside an
    autograd function, and again in its backward, with the same ``ctx``. There the settings are
    kept, in the order in which the forward asks for them. Other checkpointing differentiates the
    graph of the first forward, whose gates keep their settings.
    """
    ctx, recomputes = next(functions, (None, False))
    if ctx is None:
        return now
    if not recomputes:
        ctx._zeroproof_settings = getattr(ctx, "_zeroproof_settings", [])
        ctx._zeroproof_settings.append(_setting_at_forward(functions, now))
        return ctx._zeroproof_settings[-1]  # type: ignore[no-any-return]
    if not hasattr(ctx, "_zeroproof_settings"):  # the backward of something else
        return _setting_at_forward(functions, now)
    task = torch._C._current_graph_task_id()
    if getattr(ctx, "_zeroproof_task", None) != task:
        ctx._zeroproof_task, ctx._zeroproof_left = task, iter(ctx._zeroproof_settings)
    return next(ctx._zeroproof_left, now)


def _enclosing_functions() -> Iterator[tuple[Any, bool]]:
    """Walk the autograd functions that this runs in, the innermost first: ctx, and if backward."""
    frame = sys._getframe(1)
    while frame := frame.f_back:  # type: ignore[assignment]
        if "ctx" in frame.f_code.co_varnames:
            ctx = frame.f_locals.get("ctx")
            if isinstance(ctx, BackwardCFunction):
                yield ctx, frame.f_code.co_name == "backward"


class _PolicyGate(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, bottom: Tensor, policy: GradientPolicy, scale: Tensor | float) -> Tensor:
        return x.clone()  # a view of a function's could not be changed in place

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, bottom, ctx.policy, ctx.scale = inputs
        save_tensors(ctx, bottom)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        if ctx.policy is GradientPolicy.CLAMP:
            bound = torch.as_tensor(ctx.scale, dtype=gradient.dtype, device=gradient.device)
            gradient = gradient.nan_to_num(0.0).clamp(-bound, bound)
        return _PolicyGate.tangent(ctx, ctx.saved_tensors, gradient), None, None, None

    @staticmethod
    def tangent(ctx: Any, saved: Sequence[Tensor], tangent: Tensor, *others: Any) -> Tensor:
        """Apply the policy where CLAMP has nothing to clamp: a map that is its own transpose."""
        if ctx.policy is GradientPolicy.PASSTHROUGH:
            return tangent
        # A select, never a product: 0 · NaN is NaN. Meets: POL-5.
        return tangent.masked_fill(saved[0] | (ctx.policy is GradientPolicy.REJECT), 0.0)


_gate = with_forward_mode(_PolicyGate)


@explains(gradient="give x, of the forward", is_bottom="it is called bottom")
def apply_policy(
    x: Float[Tensor, "*shape"],
    bottom: Bool[Tensor, "*shape"],
    policy: GradientPolicy | str | None = None,
    *,
    layer: Hashable | None = None,
) -> Float[Tensor, "*shape"]:
    """Return a copy of ``x`` whose gradient follows a policy.

    Args:
        x: values; any shape.
        bottom: True where the element is ⊥; the shape of ``x``.
        policy: an explicit policy; None takes :func:`get_policy` of ``layer``, now: a scope
            that has ended by the time of the backward still counts.
        layer: the layer, or the key under which a default may be registered.

    Raises:
        TypeError: values or a mask of another type.
        ValueError: an unknown policy, or shapes that differ.

    Meets: POL-1 to POL-8, POL-11, POL-12.

    Example:
        >>> x = torch.tensor([3.0, 0.0], requires_grad=True)
        >>> y = apply_policy(x, torch.tensor([False, True]), GradientPolicy.CLAMP)
        >>> (5 * y).sum().backward()
        >>> x.grad
        tensor([1., 0.])
    """
    check_floats(x=x)
    check_mask(bottom, x, "bottom")
    setting = _setting(layer)
    chosen = setting.policy if policy is None else GradientPolicy.parse(policy)
    gated: Tensor = _gate(x, bottom, chosen, setting.grad_scale)
    return gated
