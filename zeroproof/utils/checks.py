"""Checks of arguments that several rooms share, with one wording for each."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from torch import Tensor

Call = TypeVar("Call", bound=Callable[..., Any])


def check_thresholds(lower: float, upper: float, names: tuple[str, str]) -> None:
    """Raise ValueError unless ``0 ≤ lower ≤ upper < ∞``. Meets: TAU-3."""
    for name, value in zip(names, (lower, upper), strict=True):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be a finite number ≥ 0, got {value!r}")
    if lower > upper:
        raise ValueError(f"{names[0]} ({lower!r}) must not exceed {names[1]} ({upper!r})")


def check_same_shape(*tensors: Tensor) -> None:
    """Raise ValueError unless all tensors have one shape; nothing is broadcast."""
    if any(t.shape != tensors[0].shape for t in tensors):
        raise ValueError(
            f"shapes {[tuple(t.shape) for t in tensors]} must all be equal; broadcasting would "
            "pair every prediction with every target. Reshape one side, as in "
            "targets.reshape(outputs.shape)"
        )


def check_mask(mask: Tensor, like: Tensor) -> None:
    """Raise ValueError unless the mask has the tensor's shape."""
    if mask.shape != like.shape:
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}, the tensors {tuple(like.shape)}; "
            "they must be equal"
        )


def explains(**remedies: str) -> Callable[[Call], Call]:
    """Let a function say, of keywords that zeroproofml has and it has not, what to write instead.

    Example:
        >>> @explains(tau_train="it is called tau")
        ... def margin(*, tau):
        ...     return tau
        >>> margin(tau_train=0.1)
        Traceback (most recent call last):
        TypeError: margin() takes no 'tau_train': it is called tau
    """

    def decorate(function: Call) -> Call:
        @wraps(function)
        def explained(*arguments: Any, **options: Any) -> Any:
            for name in remedies.keys() & options.keys():
                called = function.__qualname__.removesuffix(".__init__")
                raise TypeError(f"{called}() takes no {name!r}: {remedies[name]}")
            return function(*arguments, **options)

        return cast(Call, explained)

    return decorate
