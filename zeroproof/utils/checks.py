"""Checks of arguments that several rooms share, with one wording for each (ARG-1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from numbers import Integral, Real
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

Call = TypeVar("Call", bound=Callable[..., Any])
Kind = TypeVar("Kind")


def describe(value: object) -> str:
    """Return what an error shows of an argument: its value, or its type where that is long."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if hasattr(value, "shape") and hasattr(value, "dtype") and len(value.shape):
        return f"{type(value).__name__} of {value.dtype} and shape {tuple(value.shape)}"
    if isinstance(value, (tuple, list)) and any(hasattr(x, "shape") for x in value):
        return f"{type(value).__name__} of {', '.join(type(x).__name__ for x in value)}"
    shown = repr(value)
    is_short = len(shown) < 60 and "\n" not in shown
    return shown if is_short else f"an object of type {type(value).__name__}"


def check_type(name: str, value: object, kinds: Any, wanted: str) -> None:
    """Raise TypeError unless the value is an instance; ``wanted`` says of what. Meets: ARG-1."""
    if not isinstance(value, kinds):
        raise TypeError(f"{name} must be {wanted}, got {describe(value)}")


def check_offers(name: str, value: object, attributes: Iterable[str], wanted: str) -> None:
    """Raise TypeError for a class, and for a value that lacks one of the attributes."""
    missing = [attribute for attribute in attributes if not hasattr(value, attribute)]
    if missing or isinstance(value, type):
        lacks = f", which has no {missing[0]}" if missing else ""
        raise TypeError(f"{name} must be {wanted}, got {describe(value)}{lacks}")


def instance_or_default(name: str, value: Kind | None, kind: type[Kind]) -> Kind:
    """Return the value, or an instance of the type for None; TypeError for another type."""
    wanted = f"an instance {kind.__name__}(...), or None"
    check_type(name, value, (kind, type(None)), wanted)
    return kind() if value is None else value


def check_integer(name: str, value: object, least: int) -> int:
    """Return an integer, such as NumPy's, as an int.

    Raises TypeError for another type, bool and float included, and ValueError below ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {describe(value)}; int(...) makes one")
    if value < least:
        raise ValueError(f"{name} must be ≥ {least}, got {value!r}")
    return int(value)


def check_number(name: str, value: object, allowed: str = "(-∞, ∞)") -> float:
    """Return a number, such as NumPy's, as a float.

    Raises TypeError for a bool, a string, a tensor and other types, and ValueError outside the
    interval ``allowed``, such as ``"[0, ∞)"``; NaN lies in none. Meets: ARG-1.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        remedy = "float(...) or .item() makes one"
        raise TypeError(f"{name} must be a number in {allowed}, got {describe(value)}; {remedy}")
    try:
        number = float(value)
    except OverflowError:  # an integer beyond all floats
        number = -math.inf if value < 0 else math.inf
    low, high = (float(end.replace("∞", "inf")) for end in allowed[1:-1].split(", "))
    above = number > low or (number == low and allowed[0] == "[")
    if not (above and (number < high or (number == high and allowed[-1] == "]"))):
        raise ValueError(f"{name} must be in {allowed}, got {value!r}")
    return number


def check_thresholds(lower: object, upper: object, names: tuple[str, str]) -> tuple[float, float]:
    """Return two numbers as floats; ValueError unless ``0 ≤ lower ≤ upper < ∞``. Meets: TAU-3."""
    low, high = check_number(names[0], lower, "[0, ∞)"), check_number(names[1], upper, "[0, ∞)")
    if low > high:
        raise ValueError(
            f"{names[0]} ({lower!r}) must not exceed {names[1]} ({upper!r}); give both, since one "
            "that is left out has its default"
        )
    return low, high


def check_scalar(name: str, value: object, allowed: str) -> float | Tensor:
    """Return a number as a float, a 0-d tensor unchanged; TypeError or ValueError for the rest.

    A number must lie in the interval ``allowed``; to look at a tensor's would wait for its device.
    """
    if not isinstance(value, Tensor):
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name} must be a number or a 0-d tensor, got {describe(value)}")
        return check_number(name, value, allowed)
    if value.dtype == torch.bool or value.is_complex():
        raise TypeError(f"{name} must hold real numbers, got a tensor of {value.dtype}")
    if value.dim():
        raise ValueError(f"{name} must have no dimension, got the shape {tuple(value.shape)}")
    return value


def check_floats(**tensors: object) -> None:
    """Raise TypeError unless all are floating-point tensors. Meets: ARG-1."""
    for name, x in tensors.items():
        if not (isinstance(x, Tensor) and x.is_floating_point()):
            raise TypeError(
                f"{name} must be a floating-point tensor, got {describe(x)}; convert it, as "
                f"torch.as_tensor({name}, dtype=torch.float32) does"
            )


def check_same_shape(**tensors: Tensor) -> None:
    """Raise ValueError unless all tensors have one shape and one device; nothing is broadcast."""
    first, *others = tensors.values()
    if any(x.shape != first.shape for x in others):
        shapes = ", ".join(f"{name} {tuple(x.shape)}" for name, x in tensors.items())
        raise ValueError(
            f"the shapes of {shapes} must all be equal; broadcasting would pair every prediction "
            "with every target. Reshape one side, as in targets.reshape(outputs.shape)"
        )
    if any(x.device != first.device for x in others):
        devices = ", ".join(f"{name} {x.device}" for name, x in tensors.items())
        raise ValueError(f"the devices of {devices} must be one; move them with .to(device)")


def check_mask(mask: object, like: Tensor, name: str = "mask") -> None:
    """Raise TypeError unless the mask is a boolean tensor, ValueError unless it has the shape."""
    if not (isinstance(mask, Tensor) and mask.dtype == torch.bool):
        raise TypeError(f"{name} must be a tensor of torch.bool, got {describe(mask)}")
    if mask.shape != like.shape:
        raise ValueError(
            f"{name} has shape {tuple(mask.shape)}, the tensors {tuple(like.shape)}; "
            "they must be equal"
        )


def check_pair(name: str, value: object) -> None:
    """Raise TypeError unless the value is a pair, such as that of a lifted target."""
    if not (isinstance(value, (tuple, list)) and len(value) == 2):
        raise TypeError(
            f"{name} must be a pair of tensors (n, d), as lift_targets({name}) makes, got "
            f"{describe(value)}"
        )


def check_weights(name: str, weights: Any) -> dict[str, float]:
    """Return numbers by name; TypeError and ValueError as for :func:`check_number`.

    Weights may be negative, but not the likelihood's ``resolution`` (LIK-8).
    """
    check_type(name, weights, Mapping, "a dict of numbers by name")
    return {
        key: check_number(f"{name}[{key!r}]", number, weight_range(key))
        for key, number in weights.items()
    }


def weight_range(name: object) -> str:
    """Return the interval that a number among the weights of a loss must lie in."""
    return "[0, ∞)" if name == "resolution" else "(-∞, ∞)"


def check_loader(name: str, loader: object) -> None:
    """Raise TypeError for what yields no batches: a data set, a tensor, a string, a dict."""
    wanted = "a loader of pairs (inputs, targets), as a DataLoader or a list of them is"
    check_type(name, loader, Iterable, wanted)
    if isinstance(loader, (str, Mapping)) or hasattr(loader, "shape"):
        raise TypeError(f"{name} must be {wanted}, got {describe(loader)}")


def explains(**remedies: str) -> Callable[[Call], Call]:
    """Let a function say, of keywords that zeroproofml has and it has not, what to write instead.

    Meets: ARG-2.

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
