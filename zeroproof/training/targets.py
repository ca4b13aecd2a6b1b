"""Lift targets, singular ones included, to projective tuples."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int8, Shaped
from torch import Tensor


def _as_float(y: Tensor) -> Tensor:
    if y.dtype == torch.bool or y.is_complex():
        raise TypeError(f"targets of dtype {y.dtype} have no lift; pass floats or integers")
    y = y.detach()
    return y if y.is_floating_point() else y.to(torch.get_default_dtype())


def lift_targets(
    y: Shaped[Tensor, "*shape"],
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Lift targets to tuples ``(Y_n, Y_d)`` that stand for ``Y_n / Y_d``.

    A finite ``y`` becomes ``(y, 1)``, ``±∞`` becomes ``(±1, 0)``, and NaN, a singularity
    without orientation, becomes ``(1, 0)``; see :func:`orientation` to tell it from ``+∞``.

    Args:
        y: targets, any shape and unit; integers take the default float dtype.

    Returns:
        Two tensors of the shape, dtype and device of ``y``, outside any graph.

    Raises:
        TypeError: boolean or complex targets.

    Meets: LIFT-1, LIFT-2, LIFT-3, LIFT-4, LIFT-5, LIFT-6, LIFT-7, LIFT-8.

    Example:
        >>> lift_targets(torch.tensor([2.0, -torch.inf]))
        (tensor([ 2., -1.]), tensor([1., 0.]))
    """
    values = _as_float(y)
    Y_n = values.nan_to_num(1.0, 1.0, -1.0)
    return Y_n, (values == Y_n).to(values.dtype)


def orientation(y: Shaped[Tensor, "*shape"]) -> Int8[Tensor, "*shape"]:
    """Return −1 for ``−∞``, +1 for ``+∞``, 0 for finite targets and NaN.

    Raises TypeError for boolean or complex targets. Meets: LIFT-3.

    Example:
        >>> orientation(torch.tensor([2.0, -torch.inf, torch.nan]))
        tensor([ 0, -1,  0], dtype=torch.int8)
    """
    values = _as_float(y)
    return (values == torch.inf).to(torch.int8) - (values == -torch.inf).to(torch.int8)
