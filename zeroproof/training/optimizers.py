"""What optimizers of any make have or lack; checks of a trainer's parts."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zeroproof.utils.checks import check_loader, check_offers, check_type


def check_parts(
    model: Any, optimizer: Any, loader: Any, scheduler: Any, *, validates: bool
) -> None:
    """Raise TypeError for a part of the wrong type."""
    check_type("model", model, nn.Module, "an instance of torch.nn.Module, not a function")
    if validates and getattr(model, "decodes_in_eval_mode", False):
        raise TypeError(
            f"model must not be an {type(model).__name__} with a val_loader, since it decodes in "
            "eval mode; train the model inside, and wrap it afterwards"
        )
    wanted = "an instance of an optimizer, as torch.optim.Adam(model.parameters()) is"
    check_offers("optimizer", optimizer, ("param_groups", "step", "zero_grad"), wanted)
    check_loader("train_loader", loader)
    if scheduler is not None:
        wanted = "an instance of a scheduler, as StepLR(optimizer, 10) is, or None"
        check_offers("scheduler", scheduler, ("step", "state_dict", "get_last_lr"), wanted)


def current_rate(optimizer: Optimizer) -> float | Tensor:
    """Return the first learning rate; of a tensor a copy, which a scheduler does not change.

    NaN where an optimizer has none. Meets: LOG-4.
    """
    rate = optimizer.param_groups[0].get("lr") if optimizer.param_groups else None
    if isinstance(rate, Tensor):
        return rate.detach().clone() if rate.numel() == 1 else math.nan
    return float(rate) if isinstance(rate, Real) else math.nan


def needs_closure(optimizer: Optimizer) -> bool:
    """Tell whether a step needs a closure, such as that of LBFGS, which evaluates several times.

    Raises ValueError if it needs other arguments.
    """
    arguments = inspect.signature(optimizer.step).parameters.values()
    several = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    needed = {a.name for a in arguments if a.default is a.empty and a.kind not in several}
    if needed - {"self", "closure"}:  # of a function that a scheduler put there
        raise ValueError(
            f"{type(optimizer).__name__}.step() needs {', '.join(sorted(needed - {'self'}))}, and "
            "the trainer gives it a closure at most; give these to an optimizer around it"
        )
    return "closure" in needed


def _has_modes(optimizer: Any) -> bool:
    return all(callable(getattr(optimizer, name, None)) for name in ("train", "eval"))


@contextmanager
def training_weights(optimizer: Any) -> Iterator[None]:
    """Put an optimizer that has modes, as schedule-free ones, in train mode, then in eval mode."""
    if _has_modes(optimizer):
        optimizer.train()
    try:
        yield
    finally:
        if _has_modes(optimizer):
            optimizer.eval()


def copy_values(parameters: Iterable[Tensor], values: Iterable[Tensor]) -> None:
    """Give parameters, in place, the values of as many tensors."""
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)


@contextmanager
def averaged_weights(optimizer: Any) -> Iterator[None]:
    """Put an optimizer that has modes in eval mode; what that changes is then undone, bitwise."""
    if not _has_modes(optimizer):
        yield
        return
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    before, options = [p.detach().clone() for p in parameters], fixed_options(optimizer)
    optimizer.eval()
    trained = options != fixed_options(optimizer) or not all(map(torch.equal, parameters, before))
    try:
        yield
    finally:
        if trained:
            optimizer.train()
            copy_values(parameters, before)  # which train() only gets back up to rounding


def fixed_options(optimizer: Any) -> dict[tuple[int, str], Any]:
    """Return what an optimizer's groups hold beside parameters and rates, by group and name."""
    groups = enumerate(optimizer.param_groups)
    return {(i, n): x for i, g in groups for n, x in g.items() if n not in ("params", "lr")}
