"""Lift targets, singular ones and intervals included, to projective tuples."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias, overload

import torch
from jaxtyping import Float, Int8, Shaped
from torch import Tensor

from zeroproof.scm.arcs import Ends, Lifted, lift
from zeroproof.utils.checks import check_same_shape, check_type


class Interval(NamedTuple):
    """Targets of which the ends are known: "more than c" is ``[c, ∞]``, "less" ``[−∞, c]``.

    Where the ends are equal the target is exact. A loader may yield them in the place of a tensor.
    """

    lower: Tensor
    upper: Tensor


Targets: TypeAlias = Tensor | Interval


def ends(targets: Targets) -> tuple[Tensor, Tensor]:
    """Return lower and upper ends; of exact targets the targets twice."""
    return targets if isinstance(targets, Interval) else (targets, targets)


def check_interval(interval: Interval, *, sync: bool = False) -> None:
    """Raise TypeError for ends that are no tensors, and ValueError for unequal shapes.

    Also for NaN and a lower end above the upper one, on the CPU, or if a sync is allowed.
    """
    lower, upper = interval
    for name, end in interval._asdict().items():
        check_type(name, end, Tensor, f"a tensor, as torch.as_tensor({name}) is")
    check_same_shape(lower=lower, upper=upper)
    if torch.compiler.is_compiling() or not (sync or lower.device.type == "cpu"):
        return
    if wrong := int((~(lower <= upper)).sum()):
        raise ValueError(
            f"{wrong} of {lower.numel()} intervals have a lower end above the upper one, or NaN; "
            "an unoriented singular target has no interval"
        )


def _as_float(y: Tensor) -> Tensor:
    check_type("y", y, Tensor, "a tensor, as torch.as_tensor(y) is; or, to lift, an Interval")
    if y.dtype == torch.bool or y.is_complex():
        raise TypeError(f"targets of dtype {y.dtype} have no lift; pass floats or integers")
    y, dtype = y.detach(), torch.get_default_dtype()
    if y.is_floating_point():
        return y
    if dtype == torch.bfloat16 and y.dtype in (torch.int32, torch.int64):
        y = _to_odd(y.long())
    return y.to(dtype)


def _to_odd(y: Tensor) -> Tensor:
    """Round integers to 24 bits, inexact ones to an odd last bit.

    The cast to bfloat16 rounds twice, first to float32; after rounding to odd the result is right.
    """
    size = y.abs()
    for bits in (24, 38, 52):
        low = bits - 10
        rounded = (y >> low | (y % 2**low != 0)) << low
        y = torch.where(size < 2**bits, y, rounded)
    return y


@overload
def lift_targets(
    y: Shaped[Tensor, "*shape"],
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]: ...


@overload
def lift_targets(y: Interval) -> tuple[Ends, Ends]: ...


def lift_targets(y: Targets) -> Lifted:
    """Lift targets to tuples ``(Y_n, Y_d)`` that stand for ``Y_n / Y_d``.

    A finite ``y`` becomes ``(y, 1)``, ``±∞`` becomes ``(±1, 0)``, and NaN, a singularity
    without orientation, becomes ``(1, 0)``; see :func:`orientation` to tell it from ``+∞``. An
    :class:`Interval` becomes the pair of its lifted ends. All have the shape, dtype and device of
    ``y``; integers are rounded to the default float dtype, to ±∞ beyond its range.

    Raises TypeError for boolean or complex targets, or ones that are no tensor, and ValueError for
    an interval on the CPU that LIFT-9 refuses.

    Meets: LIFT-1, LIFT-2, LIFT-3, LIFT-4, LIFT-5, LIFT-6, LIFT-7, LIFT-8, LIFT-9.

    Example:
        >>> lift_targets(torch.tensor([2.0, -torch.inf]))
        (tensor([ 2., -1.]), tensor([1., 0.]))
    """
    if isinstance(y, Interval):
        check_interval(y)
        return lift_targets(y.lower), lift_targets(y.upper)
    return lift(_as_float(y))


def orientation(y: Shaped[Tensor, "*shape"]) -> Int8[Tensor, "*shape"]:
    """Return −1 for ``−∞``, +1 for ``+∞``, 0 for finite targets and NaN.

    Raises TypeError for boolean or complex targets. Meets: LIFT-3, LIFT-8.

    Example:
        >>> orientation(torch.tensor([2.0, -torch.inf, torch.nan]))
        tensor([ 0, -1,  0], dtype=torch.int8)
    """
    values = _as_float(y)
    return (values == torch.inf).to(torch.int8) - (values == -torch.inf).to(torch.int8)
