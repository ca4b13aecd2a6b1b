"""POL by the exact reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar

from spec import Array
from spec.heads import shared_gradients
from spec.policies import POLICIES, GatedWindow, output_gradients, window_gradients
from spec.scopes import default_of, in_force

SCOPES: ContextVar[tuple[str, ...]] = ContextVar("scopes", default=())


def known(policy: str) -> str:
    if policy not in POLICIES:
        raise ValueError(f"{policy} is no policy")
    return policy


class ExactPolicies:
    """Applies policies element by element."""

    def __init__(self) -> None:
        self.defaults: dict[str, str] = {}

    def policy_gradient(self, policy: str, g: Array, bottom: Sequence[bool]) -> Array:
        rule = POLICIES[known(policy)]
        return g.with_values([rule(x, b) for x, b in zip(g.values, bottom, strict=True)])

    def chosen(self, policy: str | None, layer: str | None) -> str:
        """Return the policy that counts here and now."""
        return in_force(policy, self.scopes(), default_of(layer, self.defaults))

    def scopes(self) -> tuple[str, ...]:
        """Return the policies of the open scopes, outermost first."""
        return SCOPES.get()

    def forward(
        self, policy: str | None, layer: str | None, g: Array, bottom: Sequence[bool],
        inside: str | None = None,
    ) -> Callable[[], Array]:  # fmt: skip
        """Settle the policy, and return the backward."""
        with self.policy_scope(inside) if inside else nullcontext():
            chosen = self.chosen(policy, layer)
        return lambda: self.policy_gradient(chosen, g, bottom)

    recomputed_forward = forward

    def policy_value(self, policy: str, x: Array, bottom: Sequence[bool]) -> Array:
        """Leave values as they are."""
        known(policy)
        return x.with_values(x.values)

    @contextmanager
    def policy_scope(self, policy: str) -> Iterator[None]:
        token = SCOPES.set((*SCOPES.get(), known(policy)))
        try:
            yield
        finally:
            SCOPES.reset(token)

    def policy_in_force(self, layer: str | None = None) -> str:
        return self.chosen(None, layer)

    def set_default(self, layer: str, policy: str | None) -> None:
        if policy is None:
            self.defaults.pop(layer, None)
        else:
            self.defaults[layer] = known(policy)

    def output_gradient(
        self, policy: str | None, form: str, first: Array, second: Array, g: Array
    ) -> list[Array]:
        known(policy or "clamp")
        if first.shape != second.shape:
            return shared_gradients(policy, first, second, g)
        return output_gradients(policy, form, first, second, g)

    def window_gradients(self, window: GatedWindow) -> list[float]:
        return [float(mean) for mean in window_gradients(window)]
