"""POL by ``zeroproof.autodiff.policies``, the rational layer and the trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from properties.assertions import Unsupported
from properties.subjects.tensors import Outputs
from properties.subjects.third_party.adapters.training import trainer_of
from properties.tensors import to_array, to_tensor
from spec import Array
from spec.policies import GatedWindow

autodiff: Any = import_module("zeroproof.autodiff.policies")
layers: Any = import_module("zeroproof.layers.scm_rational")

LAYER = "scm_rational"
"""The one name under which the layer looks for a default; every layer of a clause is this one."""


def member(policy: str | None) -> Any:
    """Return a policy by the name that the package gives it; ValueError for an unknown one."""
    if policy is None:
        return None
    return autodiff.GradientPolicy("pass" if policy == "passthrough" else policy)


def named(layer: str | None) -> str | None:
    """Return the name of a layer; defaults are by name, so classes and instances have none."""
    if layer and not layer.isidentifier():
        raise Unsupported("defaults of derived classes, and of instances")
    return layer and LAYER


def quotient(policy: str | None, g: Array, bottom: Sequence[bool]) -> Tensor:
    """Return the output of a rational layer, which has poles where ⊥ is.

    Of its two features one is the denominator, 1 or 0, and the other the numerator.
    """
    Q = to_tensor(g.with_values([float(not flag) for flag in bottom]))
    P = torch.zeros_like(Q)
    basis = layers.CustomBasis(lambda x, degree: torch.stack([Q, x], dim=-1))
    layer = layers.SCMRationalLayer(1, 0, basis=basis, gradient_policy=member(policy))
    layer.to(Q.dtype)
    with torch.no_grad():
        layer.numerator.copy_(torch.tensor([0.0, 1.0]))
        layer.denominator.copy_(torch.tensor([1.0]))
    output: Tensor = layer(P)[0]
    output.retain_grad()
    return output


def backward_of(output: Tensor, g: Array) -> Tensor:
    """Return what the layer's policy makes of a gradient that comes back to its output.

    A pole's own derivative, ∞, is no matter of a policy.
    """
    output.backward(to_tensor(g))  # type: ignore[no-untyped-call]
    assert output.grad is not None
    return output.grad


class PublicPolicies:
    """Policies where they meet gradients: in the rational layer."""

    def policy_gradient(self, policy: str, g: Array, bottom: Sequence[bool]) -> Array:
        return to_array(backward_of(quotient(policy, g, bottom), g))

    def forward(
        self, policy: str | None, layer: str | None, g: Array, bottom: Sequence[bool],
        inside: str | None = None,
    ) -> Callable[[], Array]:  # fmt: skip
        """Run the layer; the backward tells what its policy makes of the gradient.

        Which policy that is, is asked here; what CLAMP makes of NaN is for POL-1 to judge.
        """
        if inside:
            with self.policy_scope(inside):
                return self.forward(policy, layer, g, bottom)
        named(layer)
        clamps = (member(policy) or autodiff.get_policy(LAYER)) is autodiff.GradientPolicy.CLAMP
        output = quotient(policy, g, bottom)

        def backward() -> Array:
            found = backward_of(output, g)
            return to_array(torch.where(found.isnan() & clamps, 0.0, found))

        return backward

    def recomputed_forward(
        self, policy: str | None, layer: str | None, g: Array, bottom: Sequence[bool],
        inside: str | None = None,
    ) -> Callable[[], Array]:  # fmt: skip
        """Leave this out: a policy's gradient shows outside of checkpoints only."""
        raise Unsupported("a forward that the backward computes again")

    def policy_scope(self, policy: str) -> AbstractContextManager[object]:
        scope: AbstractContextManager[object] = autodiff.gradient_policy(member(policy))
        return scope

    def policy_in_force(self, layer: str | None = None) -> str:
        found = autodiff.get_policy(named(layer)).name
        return str(found).lower()

    def set_default(self, layer: str, policy: str | None) -> None:
        named(layer)
        if policy is None:
            self._forget_default()
        else:
            autodiff.register_policy(LAYER, member(policy))

    def _forget_default(self) -> None:
        autodiff.POLICY_REGISTRY.pop(LAYER, None)

    def output_gradient(
        self, policy: str | None, form: str, first: Array, second: Array, g: Array
    ) -> list[Array]:
        if form in ("pair", "carrier"):
            raise Unsupported("outputs with a mask")
        if first.shape != second.shape:
            raise Unsupported("outputs that share a denominator")
        model = Outputs([to_tensor(first), to_tensor(second)], form)
        return model.gradients(g, trainer_of, gradient_policy=member(policy))

    def window_gradients(self, window: GatedWindow) -> list[float]:
        """Leave this out: no layer of the packages marks given elements of given parameters."""
        raise Unsupported("a layer inside a model that marks given elements")
