"""What counted at a forward, also where activation checkpointing runs it a second time."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

if TYPE_CHECKING:
    from zeroproof.autodiff.policies import GradientPolicy

_KEPT = "_zeroproof_setting"


class Scope(NamedTuple):
    """An open scope: its policy, the scope around it, and the function it was opened in."""

    policy: GradientPolicy
    outer: Scope | None
    function: Any


class Setting(NamedTuple):
    """What the policy of a forward depends on."""

    scope: Scope | None
    unit: Tensor | float
    defaults: Mapping[Hashable, GradientPolicy]


def setting_at_forward(now: Setting) -> Setting:
    """Return what counts here: ``now``, or in a recomputation what counted at its first forward.

    Reentrant checkpointing (``torch.utils.checkpoint``) runs the first forward without gradients
    inside an autograd function, and the second one in its backward, with the same ``ctx``, which
    keeps the setting. Other checkpointing differentiates the graph of the first forward.
    """
    return _setting_in(list(_functions()), now) if _is_nested() else now


def enclosing_function() -> Any:
    """Return the ``ctx`` of the autograd function that this runs in, if one may recompute."""
    return next(_functions(), None) if _is_nested() else None


def _is_nested() -> bool:
    if torch.compiler.is_compiling():
        return False
    return not torch.is_grad_enabled() or torch._C._current_graph_task_id() >= 0


def _functions() -> Iterator[Any]:
    frame = sys._getframe(1)
    while frame := frame.f_back:  # type: ignore[assignment]
        if "ctx" in frame.f_code.co_varnames:
            ctx = frame.f_locals.get("ctx")
            if isinstance(ctx, BackwardCFunction):
                yield ctx


def _setting_in(functions: list[Any], now: Setting) -> Setting:
    """Return the setting at the innermost function's first forward, and its own scopes in it."""
    if not functions:
        return now
    function, *outer = functions
    around = now.scope
    while around is not None and around.function is function:
        around = around.outer
    kept: Setting | None = getattr(function, _KEPT, None)
    if kept is None:
        kept = _setting_in(outer, now._replace(scope=around))
        if not torch.is_grad_enabled():
            setattr(function, _KEPT, kept)
    return kept if around is now.scope else kept._replace(scope=now.scope)
