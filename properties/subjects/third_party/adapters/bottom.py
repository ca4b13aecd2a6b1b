"""BOT and ALG by ``zeroproof.scm`` and the bridge to IEEE numbers."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from properties.assertions import Unsupported
from properties.subjects.tensors import OnTensors
from properties.tensors import flags, to_array, to_tensor
from spec import Array
from spec.carriers import ARITY, Carrier, Operand

scm: Any = import_module("zeroproof.scm")
values: Any = import_module("zeroproof.scm.value")
bridge: Any = import_module("zeroproof.utils.ieee_bridge")


def compute(operation: str, operands: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return values and mask of an operation on values with masks."""
    name = f"scm_{'pow' if operation == 'power' else operation}_torch"
    if not hasattr(scm, name):
        raise Unsupported(f"the operation {operation} on tensors")
    (x, mask_x), (y, mask_y) = operands[0], operands[-1]
    if ARITY[operation] == 1:
        found = getattr(scm, name)(x, mask_x)
    elif operation != "power":
        found = getattr(scm, name)(x, y, mask_x=mask_x, mask_y=mask_y)
    elif mask_y.any():
        raise Unsupported("exponents with a mask")
    else:
        found = getattr(scm, name)(x, y, mask_x)
    return found[0], found[1]


class PublicBottom(OnTensors):
    """Vectorized operations with masks; what is no number enters and leaves by the bridge."""

    def enter(self, x: Array, bottom: tuple[bool, ...]) -> Carrier:
        entered = [
            values.scm_bottom() if flag else value
            for value, flag in zip(bridge.batch_from_ieee(x.values), bottom, strict=True)
        ]
        payload = x.with_values([0.0 if v.is_bottom else v.payload for v in entered])
        return Carrier(payload, tuple(v.is_bottom for v in entered))

    def leave(self, x: Carrier) -> Array:
        pairs = zip(x.payload.values, x.bottom, strict=True)
        left = [values.scm_bottom() if flag else values.scm_real(value) for value, flag in pairs]
        return x.payload.with_values(bridge.batch_to_ieee(left))

    def _given(self, x: Operand) -> tuple[Tensor, Tensor]:
        if isinstance(x, Array):
            x = self.enter(x, (False,) * len(x.values))
        elif isinstance(x, Carrier):
            x = self.enter(x.payload, x.bottom)
        else:
            raise Unsupported("a number among tensors")
        tensor = to_tensor(x.payload)
        return tensor, torch.tensor(x.bottom, dtype=torch.bool).reshape(tensor.shape)

    def apply(self, operation: str, *operands: Operand) -> Carrier:
        value, mask = compute(operation, [self._given(x) for x in operands])
        return Carrier(to_array(value), flags(mask))

    def gradients(
        self, operation: str, incoming: Array, *operands: Operand
    ) -> tuple[Carrier, tuple[Array, ...]]:
        """Apply an operation, its carriers leaves, and run its backward."""
        given = [self._given(x) for x in operands]
        leaves = [
            value.detach().requires_grad_(isinstance(x, Carrier))
            for x, (value, _) in zip(operands, given, strict=True)
        ]
        masks = [mask for _, mask in given]
        value, mask = compute(operation, list(zip(leaves, masks, strict=True)))
        value.backward(to_tensor(incoming))  # type: ignore[no-untyped-call]
        gradients = [leaf.grad for leaf in leaves]
        arrays = tuple(to_array(g) for g in gradients if g is not None)
        return Carrier(to_array(value), flags(mask)), arrays
