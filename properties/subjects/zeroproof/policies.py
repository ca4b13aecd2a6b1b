"""POL by ``zeroproof``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from properties.tensors import Incoming, to_array, to_tensor
from spec import Array
from zeroproof.autodiff import apply_policy, get_policy, gradient_policy, register_policy
from zeroproof.training.trainer import SCMTrainer, TrainingConfig


class Outputs(nn.Module):
    """A model whose parameters are its outputs."""

    def __init__(self, parts: Sequence[Tensor], form: str) -> None:
        super().__init__()
        self.parts = nn.ParameterList(parts if form == "tuple" else parts[:1])
        self.mask = parts[1] != 0
        self.form = form

    def forward(self, x: Tensor) -> Any:
        """Return them."""
        first = self.parts[0] * 1
        if self.form == "value":
            return first
        return first, (self.mask if self.form == "pair" else self.parts[1] * 1)


class ZeroProofPolicies:
    """``zeroproof.autodiff``, and the trainer."""

    def policy_gradient(
        self, policy: str, g: Array, bottom: Sequence[bool], layer: str | None = None
    ) -> Array:
        """Run a backward."""
        return self.forward(policy, layer, g, bottom)()

    def forward(
        self, policy: str | None, layer: str | None, g: Array, bottom: Sequence[bool]
    ) -> Callable[[], Array]:
        """Run the forward of a gate."""
        incoming = to_tensor(g)
        x = torch.zeros_like(incoming).requires_grad_()
        mask = torch.tensor(bottom, dtype=torch.bool).reshape(g.shape)
        y = apply_policy(x, mask, policy, layer=layer)
        return lambda: to_array(torch.autograd.grad(y, x, incoming)[0])

    def policy_value(self, policy: str, x: Array, bottom: Sequence[bool]) -> Array:
        """Run the forward of a gate on values that are tracked for gradients."""
        mask = torch.tensor(bottom, dtype=torch.bool).reshape(x.shape)
        return to_array(apply_policy(to_tensor(x).requires_grad_(), mask, policy))

    def policy_scope(self, policy: str) -> AbstractContextManager[object]:
        """Open a scope."""
        return gradient_policy(policy)

    def policy_in_force(self, layer: str | None = None) -> str:
        """Ask."""
        return get_policy(layer).value

    def set_default(self, layer: str, policy: str | None) -> None:
        """Register."""
        register_policy(layer, policy)

    def output_gradient(
        self, policy: str, form: str, first: Array, second: Array, g: Array
    ) -> list[Array]:
        """Train one step, without learning, and look at the gradients of the outputs."""
        model, seen = Outputs([to_tensor(first), to_tensor(second)], form), list[Array]()
        weight = to_tensor(g)

        def loss(outputs: Any, lifted: Any) -> Tensor:
            # Finite, with the incoming gradient set by hand: NaN times a weight is no gradient.
            parts = outputs if form == "tuple" else outputs[:1] if form == "pair" else (outputs,)
            return sum((Incoming.apply(part, weight) for part in parts), torch.zeros(()))  # type: ignore[no-untyped-call]

        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        for parameter in model.parts:
            parameter.register_hook(lambda grad: seen.append(to_array(grad)))
        config = TrainingConfig(max_epochs=1, gradient_policy=policy, max_nonfinite_steps=2)
        y = torch.zeros(first.shape, dtype=to_tensor(first).dtype)
        SCMTrainer(model, optimizer, loss, [(y, y)], config=config).fit()
        return seen
