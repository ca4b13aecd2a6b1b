"""What libraries on torch do in the same way, each with functions of its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn

from properties.tensors import Incoming, to_array, to_tensor
from spec import Array
from spec.lifting import Effects

IEEE: Final[dict[str, Callable[..., Tensor]]] = {
    "inv": torch.reciprocal,
    "absolute": torch.abs,
    "power": torch.pow,
}


class OnTensors:
    """Targets and numbers as tensors."""

    _lifted: Callable[[Tensor], tuple[Tensor, Tensor]]

    @contextmanager
    def using_default_dtype(self, dtype: str) -> Iterator[None]:
        before = torch.get_default_dtype()
        torch.set_default_dtype(getattr(torch, dtype))
        try:
            yield
        finally:
            torch.set_default_dtype(before)

    def lift(self, y: Array) -> tuple[Array, Array]:
        Y_n, Y_d = self._lifted(to_tensor(y))
        return to_array(Y_n), to_array(Y_d)

    def lift_effects(self, y: Array) -> Effects:
        """Lift a leaf, and write over the results."""
        tensor = to_tensor(y).requires_grad_()
        lifted = self._lifted(tensor)
        for part in lifted:
            part.detach().fill_(7.0)
        return Effects(to_array(tensor), any(part.requires_grad for part in lifted))

    def global_random_state(self) -> Hashable:
        return bytes(torch.get_rng_state().tolist()), random.getstate()

    def ieee(self, operation: str, *operands: Array) -> Array:
        function = IEEE.get(operation) or getattr(torch, operation)
        return to_array(function(*map(to_tensor, operands)))

    def reduced_precision(self) -> AbstractContextManager[object]:
        return torch.autocast("cpu", torch.bfloat16)


class Outputs(nn.Module):
    """A model whose parameters are its outputs; a library may have a carrier of its own."""

    def __init__(self, parts: Sequence[Tensor], form: str, carrier: Any = None) -> None:
        super().__init__()
        self.parts = nn.ParameterList(parts if form == "tuple" else parts[:1])
        self.mask, self.form, self.carrier = parts[1] != 0, form, carrier

    def forward(self, x: Tensor) -> Any:
        first = self.parts[0] * 1
        if self.form in ("value", "carrier"):
            return first if self.form == "value" else self.carrier(first, self.mask)
        return first, (self.mask if self.form == "pair" else self.parts[1] * 1)

    def gradients(self, g: Array, trainer_of: Callable[..., Any], **options: Any) -> list[Array]:
        """Train one step, without learning, and look at the gradients of the outputs."""
        weight, seen = to_tensor(g), list[Array]()

        def loss(outputs: Any, lifted: Any) -> Tensor:
            # Finite, with the incoming gradient set by hand: NaN times a weight is no gradient.
            parts = outputs if isinstance(outputs, tuple) else (outputs,)
            payloads: list[Any] = [getattr(part, "payload", part) for part in parts]
            gated = [Incoming.apply(x, weight) for x in payloads if x.is_floating_point()]  # type: ignore[no-untyped-call]
            return sum(gated, torch.zeros(()))

        for parameter in self.parts:
            parameter.register_hook(lambda grad: seen.append(to_array(grad)))
        optimizer, y = torch.optim.SGD(self.parameters(), lr=0.0), torch.zeros_like(self.parts[0])
        trainer_of(self, optimizer, loss, [(y, y)], **options).fit()
        return seen
