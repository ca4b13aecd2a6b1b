"""BOT and ALG by ``zeroproof``."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from properties.subjects.tensors import OnTensors
from properties.tensors import flags, to_array, to_tensor
from spec import Array
from spec.carriers import Carrier, Elementwise, Operand
from spec.formats import FORMATS
from zeroproof import scm
from zeroproof.scm import SCMTensor

OPERATORS: Final[dict[str, Callable[..., SCMTensor]]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "power": operator.pow,
    "neg": operator.neg,
    "absolute": abs,
}


def to_carrier(x: SCMTensor) -> Carrier:
    """Return a carrier's payload and mask."""
    payload = to_array(x.payload)
    return Carrier(Array(payload.values, tuple(x.shape), payload.dtype), flags(x.bottom))


def from_carrier(x: Carrier, payload: Tensor) -> SCMTensor:
    """Return a payload under a carrier's mask; one of another size is the library's to refuse."""
    mask = torch.tensor(x.bottom, dtype=torch.bool)
    return SCMTensor(payload, mask.reshape(payload.shape) if len(mask) == payload.numel() else mask)


def given(x: Operand) -> Any:
    if isinstance(x, Carrier):
        return from_carrier(x, to_tensor(x.payload))
    return to_tensor(x) if isinstance(x, Array) else x


class ZeroProofBottom(OnTensors):
    """``zeroproof.scm``."""

    kinds = tuple(FORMATS)

    def meadow(self, kind: str) -> Elementwise:
        return Elementwise(self, kind)

    def enter(self, x: Array, bottom: tuple[bool, ...]) -> Carrier:
        """Return an array as a carrier, which needs no mask where no element is flagged."""
        tensor, unflagged = to_tensor(x), bottom == (False,) * len(x.values)
        return to_carrier(
            SCMTensor(tensor) if unflagged else from_carrier(Carrier(x, bottom), tensor)
        )

    def leave(self, x: Carrier) -> Array:
        return to_array(given(x).to_ieee())

    def apply(self, operation: str, *operands: Operand) -> Carrier:
        return to_carrier(getattr(scm, operation)(*map(given, operands)))

    def operate(self, operation: str, *operands: Operand) -> Carrier:
        """Apply Python's operator."""
        return to_carrier(OPERATORS[operation](*map(given, operands)))

    def select(self, x: Carrier, chosen: Sequence[int]) -> Carrier:
        """Index the carrier with a tensor."""
        return to_carrier(given(x)[torch.tensor(chosen, dtype=torch.long)])

    def gradients(
        self, operation: str, incoming: Array, *operands: Operand
    ) -> tuple[Carrier, tuple[Array, ...]]:
        """Apply an operation, its carriers made of leaves, and run its backward."""
        leaves: list[Tensor] = []
        mixed: list[Any] = []
        for x in operands:
            if isinstance(x, Carrier):
                leaves.append(to_tensor(x.payload).requires_grad_())
            mixed.append(from_carrier(x, leaves[-1]) if isinstance(x, Carrier) else given(x))
        found = getattr(scm, operation)(*mixed)
        found.payload.backward(to_tensor(incoming))
        gradients = [leaf.grad for leaf in leaves]
        return to_carrier(found), tuple(to_array(g) for g in gradients if g is not None)
