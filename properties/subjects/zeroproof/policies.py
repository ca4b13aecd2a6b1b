"""POL by ``zeroproof``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from properties.subjects.tensors import Outputs
from properties.subjects.zeroproof.scripted import trainer_of
from properties.tensors import to_array, to_tensor
from spec import Array, identical
from spec.reach import GatedWindow
from spec.scopes import classes
from zeroproof.autodiff import apply_policy, get_policy, gradient_policy, register_policy
from zeroproof.scm.carrier import SCMTensor

LAYERS: dict[str, Any] = {}


def layer_of(name: str | None) -> Any:
    """Return the class of a name, derived as the name says, or the instance."""
    if name and name not in LAYERS:
        _, *bases = classes(name)
        base = layer_of(bases[0]) if bases else object
        LAYERS[name] = base() if name.endswith("()") else type(name, (base,), {})
    return LAYERS.get(name or "")


def agreed(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """Return numbers that are the same in both, and NaN for others."""
    return [x if identical(x, y) else math.nan for x, y in zip(first, second, strict=True)]


class Gated(nn.Module):
    """A model whose parameters come out of a layer that puts them under its policy."""

    def __init__(self, window: GatedWindow, reentrant: bool) -> None:
        super().__init__()
        self.window, self.reentrant = window, reentrant
        self.weight = nn.Parameter(torch.zeros(len(window.bottom)))

    def layer(self, x: Tensor) -> Tensor:
        mask = torch.tensor(self.window.bottom, device=x.device)[: len(x)]
        return apply_policy(x * 1, mask, layer=self)

    def forward(self, x: Tensor) -> Tensor:
        """Return as many outputs as there are samples."""
        outputs = self.weight[: len(x)]
        if not self.window.default:
            return outputs
        if not self.window.recomputed:
            return self.layer(outputs)
        found: Tensor = checkpoint(self.layer, outputs, use_reentrant=self.reentrant)
        return found


class ZeroProofPolicies:
    """``zeroproof.autodiff``, and the trainer."""

    def policy_gradient(self, policy: str, g: Array, bottom: Sequence[bool]) -> Array:
        return self.forward(policy, None, g, bottom)()

    def forward(
        self, policy: str | None, layer: str | None, g: Array, bottom: Sequence[bool],
        run: Callable[..., Tensor] = lambda function, x: function(x),
    ) -> Callable[[], Array]:  # fmt: skip
        """Run the forward of a gate."""
        incoming = to_tensor(g)
        x = torch.zeros_like(incoming).requires_grad_()
        mask = torch.tensor(bottom, dtype=torch.bool).reshape(g.shape)
        y = run(lambda x: apply_policy(x * 1, mask, policy, layer=layer_of(layer)), x)

        def backward() -> Array:
            y.backward(incoming)  # type: ignore[no-untyped-call]
            assert x.grad is not None
            return to_array(x.grad)

        return backward

    def recomputed_forward(
        self, policy: str | None, layer: str | None, g: Array, bottom: Sequence[bool]
    ) -> Callable[[], Array]:
        """Run it in both kinds of checkpoint that torch has; NaN is where they differ."""

        def one(reentrant: bool) -> Callable[[], Array]:
            run = lambda function, x: checkpoint(function, x, use_reentrant=reentrant)  # noqa: E731
            return self.forward(policy, layer, g, bottom, run)

        backwards = [one(True), one(False)]

        def both() -> Array:
            first, second = (backward() for backward in backwards)
            return first.with_values(agreed(first.values, second.values))

        return both

    def policy_value(self, policy: str, x: Array, bottom: Sequence[bool]) -> Array:
        """Run the forward of a gate on values that are tracked for gradients."""
        mask = torch.tensor(bottom, dtype=torch.bool).reshape(x.shape)
        return to_array(apply_policy(to_tensor(x).requires_grad_(), mask, policy))

    def policy_scope(self, policy: str) -> AbstractContextManager[object]:
        return gradient_policy(policy)

    def policy_in_force(self, layer: str | None = None) -> str:
        return get_policy(layer_of(layer)).value

    def set_default(self, layer: str, policy: str | None) -> None:
        register_policy(layer_of(layer), policy)

    def output_gradient(
        self, policy: str | None, form: str, first: Array, second: Array, g: Array
    ) -> list[Array]:
        """Train one step, without learning, and look at the gradients of the outputs."""
        model = Outputs([to_tensor(first), to_tensor(second)], form, SCMTensor)
        return model.gradients(g, trainer_of, gradient_policy=policy, max_nonfinite_steps=2)

    def window_gradients(self, window: GatedWindow) -> list[float]:
        """Train in both kinds of checkpoint; NaN is where they differ."""
        kinds = (True, False)
        return agreed(*(self._trained(window, reentrant) for reentrant in kinds))

    def _trained(self, window: GatedWindow, reentrant: bool) -> list[float]:
        model = Gated(window, reentrant)
        register_policy(model, window.default)
        batches = [(x := to_tensor(g), x) for g in window.gradients]
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)

        def loss(outputs: Tensor, lifted: Any, *, targets: Tensor) -> Tensor:
            return (outputs * targets).sum()  # its gradient is what it gets as targets

        trainer_of(
            model,
            optimizer,
            loss,
            batches,
            gradient_policy=window.policy,
            gradient_accumulation_steps=len(batches),
            mixed_precision=window.float16,
            amp_dtype="fp16",
        ).fit()
        register_policy(model, None)
        return [-x for x in model.weight.tolist()]
