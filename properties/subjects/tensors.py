"""What libraries on torch do in the same way, each with functions of its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor, nn

from properties.tensors import Incoming, arriving, flags, measured, to_array, to_tensor
from spec import Array
from spec.decoding import Strict, Tuples
from spec.lifting import Effects
from spec.losses import GAMMA, GOAL, TAU, Measured

IEEE: Final[dict[str, Callable[..., Tensor]]] = {
    "inv": torch.reciprocal,
    "absolute": torch.abs,
    "power": torch.pow,
}
Parts: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]
"""``P, Q, Y_n, Y_d``."""
LAMBDAS: Final = {"margin": "lambda_margin", "sign": "lambda_sign", "rejection": "lambda_rej"}
"""What the libraries call the weights of a training loss."""


class OnTensors:
    """Targets and numbers as tensors."""

    _lifted: Callable[[Tensor], tuple[Tensor, Tensor]]
    _decoded: Callable[..., tuple[Tensor, Tensor, Tensor]]
    """Returns values, ⊥ and gap of a case, of its tuples as tensors."""
    _loss: Callable[..., Tensor]
    """Returns a loss by name, of four tensors and a mask, or none."""
    _again = False
    """Whether gradients are to be differentiated again, so that slopes are not kept."""

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

    def unlift(self, y: Array) -> Array:
        return self.decode(Tuples(*self.lift(y), 1.0, 1.0)).value

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

    def decode(self, case: Tuples) -> Strict:
        value, bottom, gap = self._decoded(case, to_tensor(case.P), to_tensor(case.Q))
        return Strict(to_array(value), flags(bottom), flags(gap))

    def decode_gradients(self, case: Tuples) -> tuple[Array, Array]:
        leaves = [to_tensor(part).detach().requires_grad_() for part in (case.P, case.Q)]
        value, _, _ = self._decoded(case, *leaves)
        P, Q = arriving(value, *leaves)
        return to_array(P), to_array(Q)

    def loss(
        self, name: str, P: Array, Q: Array, Y_n: Array, Y_d: Array, *,
        mask: Array | None = None, tau: float = TAU, gamma: float = GAMMA, goal: float = GOAL,
    ) -> Measured:  # fmt: skip
        """Return a loss, and its gradients at two leaves."""
        # Tensors are made outside autocast, which does not concern how they came to be.
        with torch.autocast("cpu", enabled=False):
            p, q = (to_tensor(x).requires_grad_() for x in (P, Q))
            parts = p, q, to_tensor(Y_n), to_tensor(Y_d)
            kept = None if mask is None else to_tensor(mask)
        value = self._loss(name, parts, kept, tau=tau, gamma=gamma, goal=goal)
        return measured(value, p, q, again=self._again)

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
        weight, seen = to_tensor(g), dict[int, Array]()

        def loss(outputs: Any, lifted: Any) -> Tensor:
            # Finite, with the incoming gradient set by hand: NaN times a weight is no gradient.
            parts = outputs if isinstance(outputs, tuple) else (outputs,)
            payloads: list[Any] = [getattr(part, "payload", part) for part in parts]
            floats = [x for x in payloads if x.is_floating_point()]
            weights = [weight if x.shape == weight.shape else weight[..., :1] for x in floats]
            gated = map(Incoming.apply, floats, weights)
            return sum(gated, torch.zeros(()))

        for i, parameter in enumerate(self.parts):
            parameter.register_hook(lambda grad, i=i: seen.update({i: to_array(grad)}))
        optimizer, y = torch.optim.SGD(self.parameters(), lr=0.0), torch.zeros_like(self.parts[0])
        trainer_of(self, optimizer, loss, [(y, y)], **options).fit()
        return [seen[i] for i in sorted(seen)]
