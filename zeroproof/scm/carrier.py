"""The carrier: a payload with a mask of ⊥, and the total operations on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from numbers import Real
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zeroproof.autodiff.functions import save_tensors, with_forward_mode
from zeroproof.utils.checks import check_floats, check_mask, describe

Operand: TypeAlias = "SCMTensor | Tensor | float"


def _apply_total(operation: Callable[..., Tensor], *operands: Operand) -> SCMTensor:
    """Apply an IEEE operation so that every exception becomes ⊥.

    In all of BOT-3's cases (divisor 0, argument outside the domain, overflow) IEEE arithmetic
    yields NaN or ±∞, so one rule decides them. Meets: BOT-1, BOT-2, BOT-3, BOT-5, BOT-11.
    """
    carriers = _to_carriers(operands)
    payloads = [carrier.payload for carrier in carriers]
    with torch.no_grad():
        value = operation(*payloads)
        bottom = ~torch.isfinite(value)
    for carrier in carriers:
        bottom = bottom | carrier.bottom
    # Where the result is ⊥ the operands are replaced *before* the differentiable pass: a mask
    # after it would multiply an infinite local derivative by zero.
    replaced = [torch.where(bottom, 1.0, payload) for payload in payloads]
    return SCMTensor(attach_gradient(operation, value, *replaced), bottom)


def _named(total: Any, name: str, meaning: str) -> Any:
    total.__name__ = total.__qualname__ = name
    total.__doc__ = f"{meaning}, total."
    return total


def _unary(
    name: str, operation: Callable[..., Tensor], meaning: str
) -> Callable[[Operand], SCMTensor]:
    def total(x: Operand) -> SCMTensor:
        return _apply_total(operation, x)

    return _named(total, name, meaning)  # type: ignore[no-any-return]


def _binary(
    name: str, operation: Callable[..., Tensor], meaning: str
) -> Callable[[Operand, Operand], SCMTensor]:
    def total(x: Operand, y: Operand) -> SCMTensor:
        return _apply_total(operation, x, y)

    return _named(total, name, meaning)  # type: ignore[no-any-return]


add = _binary("add", torch.add, "``x + y``")
sub = _binary("sub", torch.sub, "``x - y``")
mul = _binary("mul", torch.mul, "``x · y``; ``0 · ⊥ = ⊥``")
div = _binary("div", torch.div, "``x / y``; ``x / 0 = ⊥``")
power = _binary("power", torch.pow, "``xʸ``; ⊥ for ``0⁻¹`` and a root of a negative number")
neg = _unary("neg", torch.neg, "``-x``")
inv = _unary("inv", torch.reciprocal, "``x⁻¹``; ``0⁻¹ = ⊥``")
absolute = _unary("absolute", torch.abs, "``|x|``")
sign = _unary("sign", torch.sign, "-1, 0 or 1; ``s(⊥) = ⊥``")
exp = _unary("exp", torch.exp, "``eˣ``; ⊥ on overflow")
log = _unary("log", torch.log, "Natural logarithm; ⊥ for ``x ≤ 0``")
sqrt = _unary("sqrt", torch.sqrt, "Square root; ⊥ for ``x < 0``")


def _reflected(operation: Callable[[Operand, Operand], SCMTensor]) -> Callable[..., SCMTensor]:
    """Return the operation with its operands swapped."""
    return lambda y, x: operation(x, y)


def attach_gradient(operation: Callable[..., Tensor], value: Tensor, *operands: Tensor) -> Tensor:
    """Return an operation's value, with its gradients in operands of the same shape."""
    result: Tensor = _tracked(operation.__name__, value, *operands)
    return result


def _to_carriers(operands: tuple[Operand, ...]) -> list[SCMTensor]:
    tensors = [x.payload if isinstance(x, SCMTensor) else x for x in operands]
    like = next((t for t in tensors if isinstance(t, Tensor)), None)
    if like is None:
        raise TypeError("an operation needs at least one tensor; wrap a number in torch.tensor()")

    def to_carrier(x: Operand) -> SCMTensor:
        if isinstance(x, SCMTensor):
            return x
        is_array = getattr(getattr(x, "dtype", None), "kind", "") == "f" and not isinstance(x, Real)
        dtype = None if isinstance(x, Tensor) or is_array else like.dtype
        try:
            return SCMTensor(torch.as_tensor(x, dtype=dtype, device=like.device))
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            if isinstance(x, int):  # beyond all floats
                return SCMTensor(torch.full((), torch.inf, dtype=dtype, device=like.device))
            raise TypeError(f"an operand cannot be {describe(x)}: {error}") from None

    return [to_carrier(x) for x in operands]


def _times(gradient: Tensor, slope: Tensor) -> Tensor:
    """Return the product, where 0 · ∞ is 0, and a gradient of 0 times NaN is 0."""
    product = gradient * slope
    known = (slope == slope) | (gradient == 0)
    lost = (product != product) & (gradient == gradient) & known
    return gradient.masked_fill(lost, 0.0) * slope.masked_fill(lost, 0.0)


def _power_gradients(g: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    # Selected before the slope, which may be differentiated again: no 0 · NaN on the way back.
    known, positive = torch.where(y == 0, 1.0, x), torch.where(x > 0, x, 1.0)
    in_x = torch.where(y == 0, 0.0, y * known.pow(y - 1))  # as 0⁰ = 1
    in_y = torch.where(x < 0, torch.nan, positive.pow(y) * positive.log())  # 0 at 0, as 0ʸ = 0
    return _times(g, in_x), _times(g, in_y)


def _quotient_gradients(g: Tensor, x: Tensor | float, y: Tensor) -> tuple[Tensor, Tensor]:
    return g / y, -_times(g / y, x / y)


_GRADIENTS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "add": lambda g, x, y: (g, g),
    "sub": lambda g, x, y: (g, -g),
    "mul": lambda g, x, y: (_times(g, y), _times(g, x)),
    "div": _quotient_gradients,
    "neg": lambda g, x: (-g,),
    "reciprocal": lambda g, x: _quotient_gradients(g, 1.0, x)[1:],
    "abs": lambda g, x: (_times(g, x.sign()),),
    "sign": lambda g, x: (torch.zeros_like(g),),
    "exp": lambda g, x: (_times(g, x.exp()),),
    "log": lambda g, x: (g / x,),
    "sqrt": lambda g, x: (_times(g, 0.5 / x.sqrt()),),
    "pow": _power_gradients,
}
"""From the arriving gradient and the operands to the operands' gradients."""


class _Tracked(torch.autograd.Function):
    """The value of an operation, with its gradients in operands that are as large as the result.

    The value is that of the operands themselves, which torch may round otherwise than these.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(name: str, value: Tensor, *operands: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.name = inputs[0]
        save_tensors(ctx, *inputs[2:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *_GRADIENTS[ctx.name](gradient, *ctx.saved_tensors)

    @staticmethod
    def tangent(ctx: Any, saved: list[Tensor], *tangents: Any) -> Tensor:
        gradients = _GRADIENTS[ctx.name]  # diagonal maps, which are their own transposes
        parts = (gradients(t, *saved)[i] for i, t in enumerate(tangents[2:]))
        return reduce(torch.add, parts)


_tracked = with_forward_mode(_Tracked)


@dataclass(frozen=True, eq=False)
class SCMTensor:
    """A tensor whose elements are numbers or ⊥.

    The mask is authoritative. A number in an operation is first rounded to the tensor's dtype.
    Constructing a carrier turns every NaN and ±∞ of the payload into ⊥, and sets the payload under
    the mask to ``0.0``.

    Raises TypeError unless the payload is floating point and the mask boolean, and ValueError if
    they differ in shape. No mask is False everywhere.

    Meets: ALG-1 to ALG-46, BOT-4, BOT-6 to BOT-10.

    Example:
        >>> x = SCMTensor(torch.tensor([1.0, 0.0]))
        >>> (1 / x).to_ieee()
        tensor([1., nan])
    """

    payload: Float[Tensor, "*shape"]
    bottom: Bool[Tensor, "*shape"]
    __array_ufunc__ = None  # so that an array leaves an operation to its right operand

    def __init__(self, payload: Tensor, bottom: Tensor | None = None) -> None:
        check_floats(payload=payload)
        mask = ~torch.isfinite(payload)
        if bottom is not None:
            check_mask(bottom, payload, "bottom")
            mask = mask | bottom
        object.__setattr__(self, "payload", payload.masked_fill(mask, 0.0))
        object.__setattr__(self, "bottom", mask)

    def to_ieee(self) -> Float[Tensor, "*shape"]:
        """Return the payload with NaN for ⊥. Meets: BOT-4."""
        return self.payload.masked_fill(self.bottom, torch.nan)

    @property
    def shape(self) -> torch.Size:
        """The payload's shape."""
        return self.payload.shape

    def __getitem__(self, index: object) -> SCMTensor:
        return SCMTensor(self.payload[index], self.bottom[index])  # type: ignore[index]

    __contains__ = None  # equal elements are not one

    def __iter__(self) -> Iterator[SCMTensor]:
        return (self[i] for i in range(len(self.payload)))

    def __repr__(self) -> str:
        return f"SCMTensor({self.to_ieee()!r})"

    __add__, __radd__ = add, _reflected(add)
    __sub__, __rsub__ = sub, _reflected(sub)
    __mul__, __rmul__ = mul, _reflected(mul)
    __truediv__, __rtruediv__ = div, _reflected(div)
    __pow__, __rpow__ = power, _reflected(power)
    __neg__ = neg
    __abs__ = absolute
