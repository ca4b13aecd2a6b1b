"""Checks of what a trainer is made of, and of what its loss returns."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from zeroproof.utils.checks import check_loader, check_offers, check_type, describe


def check_parts(
    model: Any, optimizer: Any, loader: Any, scheduler: Any, *, validates: bool
) -> None:
    """Raise TypeError for a part of the wrong type."""
    check_type("model", model, nn.Module, "a torch.nn.Module that is made, not a function")
    if validates and getattr(model, "decodes_in_eval_mode", False):
        raise TypeError(
            f"model must not be an {type(model).__name__} with a val_loader, since it decodes in "
            "eval mode; train the model inside, and wrap it afterwards"
        )
    wanted = "an optimizer that is made, as torch.optim.Adam(model.parameters()) is"
    check_offers("optimizer", optimizer, ("param_groups", "step", "zero_grad"), wanted)
    check_loader("train_loader", loader)
    if scheduler is not None:
        wanted = "a scheduler that is made, as StepLR(optimizer, 10) is, or None"
        check_offers("scheduler", scheduler, ("step", "state_dict", "get_last_lr"), wanted)


def check_loss(loss_fn: Any) -> None:
    """Raise TypeError for a loss that is no callable instance, or one of torch's."""
    check_offers("loss_fn", loss_fn, ("__call__",), "a function, or an instance of a loss")
    function = loss_fn.forward if isinstance(loss_fn, nn.Module) else loss_fn
    if getattr(function, "__module__", "") in ("torch.nn.modules.loss", "torch.nn.functional"):
        raise TypeError(
            f"loss_fn must take outputs and lifted targets (Y_n, Y_d), which torch's {loss_fn} "
            "does not; write lambda outputs, lifted, targets: loss(outputs, targets)"
        )


def check_call(signature: inspect.Signature, keywords: Iterable[str]) -> None:
    """Raise TypeError for a loss that outputs, targets and these keywords cannot call."""
    try:
        signature.bind(None, None, **dict.fromkeys(keywords))
    except TypeError as error:
        raise TypeError(
            "loss_fn is called as loss_fn(outputs, (Y_n, Y_d)), but takes "
            f"({', '.join(signature.parameters)}): {error}; unpack them, as "
            "lambda outputs, lifted: loss(*outputs, *lifted) does"
        ) from None


def checked_result(result: Any) -> tuple[Tensor, dict[str, float | Tensor]]:
    """Return a loss and its terms.

    Raises TypeError for anything but a scalar tensor, alone or with a dict of scalar terms.
    """
    pair = result if isinstance(result, tuple) else (result, {})
    if len(pair) != 2 or not isinstance(pair[1], Mapping):
        raise TypeError(
            "loss_fn must return a scalar tensor, or a pair of one and a dict of terms, got "
            f"{describe(result)}"
        )
    loss, terms = pair
    if not isinstance(loss, Tensor):
        raise TypeError(f"loss_fn must return a scalar tensor, got {describe(loss)}")
    scalars = {name: checked_scalar(f"the term {name!r}", x) for name, x in terms.items()}
    return checked_scalar("the loss", loss), scalars


def checked_scalar(name: str, x: Any) -> Any:
    """Return a number, or a tensor of no dimension; TypeError for anything else."""
    if not isinstance(x, Tensor) and getattr(x, "shape", None) == ():
        x = torch.as_tensor(x)  # of NumPy; torch.compile traces its scalars as arrays
    if isinstance(x, Tensor) and x.numel() == 1 and not x.is_complex():
        x = x if x.is_floating_point() else x.double()  # which float32 might round
        return x.reshape(()) if x.dim() else x
    if isinstance(x, Tensor) or not isinstance(x, Real):
        remedy = "reduce it, as .mean() does, or leave it out"
        raise TypeError(
            f"{name} that loss_fn returns must be a scalar, got {describe(x)}; {remedy}"
        )
    return float(x)


def samples_of(name: str, x: Any) -> int:
    """Return a tensor's number of samples; TypeError for another type or no dimension."""
    if not isinstance(x, Tensor) or not x.dim():
        raise TypeError(f"{name} must be tensors of samples, got {describe(x)}")
    return len(x)
