"""BOT by ``zeroproof``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from properties.tensors import to_array, to_tensor
from spec import Array
from spec.bottom import Carrier, Operand
from zeroproof import scm
from zeroproof.scm import SCMTensor

IEEE: Final[dict[str, Callable[..., Tensor]]] = {
    "inv": torch.reciprocal,
    "absolute": torch.abs,
    "power": torch.pow,
}


def to_carrier(x: SCMTensor) -> Carrier:
    """Return a carrier's payload and mask."""
    return Carrier(to_array(x.payload), tuple(x.bottom.flatten().tolist()))


def from_carrier(x: Carrier, payload: Tensor) -> SCMTensor:
    """Return a payload under a carrier's mask."""
    return SCMTensor(payload, torch.tensor(x.bottom, dtype=torch.bool).reshape(payload.shape))


class ZeroProofBottom:
    """``zeroproof.scm``."""

    def enter(self, x: Array, bottom: tuple[bool, ...]) -> Carrier:
        """Return an array as a carrier, which needs no mask where no element is flagged."""
        tensor = to_tensor(x)
        flagged = from_carrier(Carrier(x, bottom), tensor) if any(bottom) else SCMTensor(tensor)
        return to_carrier(flagged)

    def leave(self, x: Carrier) -> Array:
        """Return a carrier as a plain array."""
        return to_array(from_carrier(x, to_tensor(x.payload)).to_ieee())

    def apply(self, operation: str, *operands: Operand) -> Carrier:
        """Apply an operation."""
        given = [
            from_carrier(x, to_tensor(x.payload))
            if isinstance(x, Carrier)
            else to_tensor(x)
            if isinstance(x, Array)
            else x
            for x in operands
        ]
        return to_carrier(getattr(scm, operation)(*given))

    def ieee(self, operation: str, *operands: Array) -> Array:
        """Apply torch's operation."""
        function = IEEE.get(operation) or getattr(torch, operation)
        return to_array(function(*map(to_tensor, operands)))

    def gradients(
        self, operation: str, incoming: Array, *operands: Carrier
    ) -> tuple[Carrier, tuple[Array, ...]]:
        """Apply an operation to leaves, and run its backward."""
        leaves = [to_tensor(x.payload).requires_grad_() for x in operands]
        given = [from_carrier(x, leaf) for x, leaf in zip(operands, leaves, strict=True)]
        found = getattr(scm, operation)(*given)
        found.payload.backward(to_tensor(incoming))
        gradients = [leaf.grad for leaf in leaves]
        return to_carrier(found), tuple(to_array(g) for g in gradients if g is not None)
