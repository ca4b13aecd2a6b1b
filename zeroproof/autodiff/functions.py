"""Autograd functions with an analytic gradient, in reverse and in forward mode.

torch.compile traces no function that has a ``jvp`` or saves tensors for one. So a function here has
a ``tangent`` instead, of which :func:`with_forward_mode` makes a ``jvp`` for eager code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch
from torch.autograd import forward_ad

_unpack_dual: Any = forward_ad.unpack_dual  # which has no types


def with_forward_mode(function: type[Any]) -> Callable[..., Any]:
    """Return ``apply`` of an autograd function, with forward mode.

    Its ``tangent(ctx, saved, *tangents)`` returns the tangents of the outputs.
    """

    def jvp(ctx: Any, *tangents: Any) -> Any:
        # torch switches forward mode off here, and a jvp of a jvp would lose terms in silence.
        with forward_ad._set_fwd_grad_enabled(True):
            return function.tangent(ctx, [_primal(x) for x in ctx.saved_tensors], *tangents)

    eager: Any = type(function.__name__, (function,), {"jvp": staticmethod(jvp)})
    return lambda *inputs: (function if torch.compiler.is_compiling() else eager).apply(*inputs)


def save_tensors(ctx: Any, *tensors: Tensor) -> None:
    """Save tensors for a function's ``backward`` and ``tangent``."""
    ctx.save_for_backward(*tensors)
    if not torch.compiler.is_compiling():
        ctx.save_for_forward(*tensors)


def _primal(x: Tensor) -> Tensor:
    """Return ``x`` without its tangent, which inside vmap lies below the batch's dimension."""
    if not _functorch.is_batchedtensor(x):
        return _unpack_dual(x).primal  # type: ignore[no-any-return]
    inner, place = _functorch.get_unwrapped(x), _functorch.maybe_get_bdim(x)
    return _functorch._add_batch_dim(_primal(inner), place, _functorch.maybe_get_level(x))


def has_gradient(x: Tensor) -> bool:
    """Tell whether ``x`` is differentiated, in reverse or in forward mode, also inside vmap."""
    if torch.compiler.is_compiling():
        return x.requires_grad
    while _functorch.is_batchedtensor(x):
        x = _functorch.get_unwrapped(x)
    return x.requires_grad or _unpack_dual(x).tangent is not None
