"""POL by ``zeroproof``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from properties.subjects.tensors import Outputs
from properties.subjects.zeroproof.scripted import trainer_of
from properties.tensors import to_array, to_tensor
from spec import Array, identical
from spec.policies import GatedWindow
from spec.scopes import classes
from zeroproof.autodiff import apply_policy, get_policy, gradient_policy, register_policy
from zeroproof.scm.carrier import SCMTensor

LAYERS: dict[str, Any] = {}


def layer_of(name: str | None) -> Any:
    """Return the class of a name, derived as the name says, or the instance."""
    if name and name not in LAYERS:
        _, *bases = classes(name)
        base = layer_of(bases[0]) if bases else nn.Module
        LAYERS[name] = base() if name.endswith("()") else type(name, (base,), {})
    return LAYERS.get(name or "")


def agreed(first: Sequence[float], *others: Sequence[float]) -> list[float]:
    """Return numbers that are the same in all, and NaN for others."""
    rows = zip(first, *others, strict=True)
    return [x if all(identical(x, y) for y in rest) else math.nan for x, *rest in rows]


def checkpointed(function: Callable[[Tensor], Tensor], kinds: Sequence[bool]) -> Any:
    """Return a function in checkpoints, one in another: reentrant ones, and others."""
    for reentrant in kinds:
        function = partial(checkpoint, function, use_reentrant=reentrant)
    return function


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
        found: Tensor = checkpointed(self.layer, [self.reentrant])(outputs)
        return found


class ZeroProofPolicies:
    """``zeroproof.autodiff``, and the trainer."""

    def policy_gradient(self, policy: str, g: Array, bottom: Sequence[bool]) -> Array:
        return self.forward(policy, None, g, bottom)()

    def forward(
        self, policy: str | None, layer: str | None, g: Array, bottom: Sequence[bool],
        inside: str | None = None, kinds: Sequence[bool] = (),
    ) -> Callable[[], Array]:  # fmt: skip
        """Run the forward of a gate, the outermost checkpoint around the scope that it opens."""
        incoming = to_tensor(g)
        x = torch.zeros_like(incoming).requires_grad_()
        mask = torch.tensor(bottom, dtype=torch.bool).reshape(g.shape)

        def gate(x: Tensor) -> Tensor:
            return apply_policy(x * 1, mask, policy, layer=layer_of(layer))

        def scoped(x: Tensor) -> Tensor:
            if inside:
                gate(x)
            with gradient_policy(inside) if inside else nullcontext():
                found: Tensor = checkpointed(gate, kinds[1:])(x)
                return found

        y = checkpointed(scoped, kinds[:1])(x)

        def backward() -> Array:
            """Run the backward twice; NaN is where they differ."""
            found = list[Array]()
            for again in (True, False):
                x.grad = None
                y.backward(incoming, retain_graph=again)
                assert x.grad is not None
                found.append(to_array(x.grad))
            return found[0].with_values(agreed(*(one.values for one in found)))

        return backward

    def recomputed_forward(
        self, policy: str | None, layer: str | None, g: Array, bottom: Sequence[bool],
        inside: str | None = None,
    ) -> Callable[[], Array]:  # fmt: skip
        """Run it in torch's kinds of checkpoint, also nested; NaN is where they differ."""
        nests = (True,), (False,), (True, True), (False, False)
        backwards = [self.forward(policy, layer, g, bottom, inside, kinds) for kinds in nests]

        def all_of_them() -> Array:
            found = [backward() for backward in backwards]
            return found[0].with_values(agreed(*(one.values for one in found)))

        return all_of_them

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
            """Return a loss whose gradient is what it gets as targets, of outputs that are 0."""
            endless = targets.isinf()
            rooted = (targets[endless].sign() * outputs[endless].sqrt()).sum()
            return (outputs[~endless] * targets[~endless]).sum() + rooted

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
