"""Gradient policies that go wrong."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from properties.subjects.broken.register import breaks
from properties.subjects.exact import Exact
from properties.subjects.exact.policies import SCOPES, known
from spec import Array
from spec.policies import POLICIES


@breaks("POL-1")
class ClampedNaN(Exact):
    """NaN passes through the clamp."""

    def policy_gradient(
        self, policy: str, g: Array, bottom: Sequence[bool], layer: str | None = None
    ) -> Array:
        """Keep NaN."""
        found = super().policy_gradient(policy, g, bottom)
        pairs = zip(g.values, found.values, bottom, strict=True)
        return found.with_values([x if math.isnan(x) and not b else y for x, y, b in pairs])


@breaks("POL-5")
@breaks("POL-2")
class MaskedByProduct(Exact):
    """⊥ is masked by a product, and 0 · NaN is NaN."""

    def policy_gradient(
        self, policy: str, g: Array, bottom: Sequence[bool], layer: str | None = None
    ) -> Array:
        """Multiply."""
        found = super().policy_gradient(policy, g, bottom)
        if policy != "project":
            return found
        return g.with_values([x * (not b) for x, b in zip(g.values, bottom, strict=True)])


@breaks("POL-3")
class LeakyReject(Exact):
    """REJECT rejects ⊥ elements only."""

    def policy_gradient(
        self, policy: str, g: Array, bottom: Sequence[bool], layer: str | None = None
    ) -> Array:
        """Project in place of rejecting."""
        return super().policy_gradient("project" if policy == "reject" else policy, g, bottom)


@breaks("POL-4")
class CleanedPassthrough(Exact):
    """PASSTHROUGH replaces NaN by 0."""

    def policy_gradient(
        self, policy: str, g: Array, bottom: Sequence[bool], layer: str | None = None
    ) -> Array:
        """Clean up."""
        found = super().policy_gradient(policy, g, bottom)
        return found.with_values([0.0 if math.isnan(x) else x for x in found.values])


@breaks("POL-6")
class Halving(Exact):
    """CLAMP shrinks what is in bounds already."""

    def policy_gradient(
        self, policy: str, g: Array, bottom: Sequence[bool], layer: str | None = None
    ) -> Array:
        """Halve."""
        found = super().policy_gradient(policy, g, bottom)
        return found.with_values([x / 2 for x in found.values]) if policy == "clamp" else found


@breaks("POL-7")
class ClippedByNorm(Exact):
    """CLAMP divides by the largest gradient of all."""

    def policy_gradient(
        self, policy: str, g: Array, bottom: Sequence[bool], layer: str | None = None
    ) -> Array:
        """Divide."""
        found = super().policy_gradient("project" if policy == "clamp" else policy, g, bottom)
        finite = [abs(x) for x in found.values if math.isfinite(x)]
        size = max([1.0, *finite])
        return found.with_values([x / size for x in found.values]) if policy == "clamp" else found


class _OwnScopes(Exact):
    """Keeps the open scopes in a way of its own, which ends with the subject."""

    def scopes(self) -> list[str]:
        """Return the scopes that are open here."""
        raise NotImplementedError

    def policy_in_force(self, layer: str | None = None) -> str:
        """Look at them."""
        scopes = self.scopes()
        return scopes[-1] if scopes else super().policy_in_force(layer)

    def forward(
        self, policy: str | None, layer: str | None, g: Array, bottom: Sequence[bool]
    ) -> Callable[[], Array]:
        """Settle the policy."""
        chosen = policy or self.policy_in_force(layer)
        return lambda: self.policy_gradient(chosen, g, bottom)

    @contextmanager
    def policy_scope(self, policy: str) -> Iterator[None]:
        """Push and pop."""
        self.scopes().append(known(policy))
        try:
            yield
        finally:
            self.scopes().pop()


@breaks("POL-8")
class LeaksToThreads(_OwnScopes):
    """The scope is a global of the process."""

    def __init__(self) -> None:
        super().__init__()
        self._all: list[str] = []

    def scopes(self) -> list[str]:
        """Return the same list to whoever asks."""
        return self._all


@breaks("POL-8")
class LeaksToTasks(_OwnScopes):
    """The scope is local to its thread, on which async tasks take turns."""

    def __init__(self) -> None:
        super().__init__()
        self._of_thread = threading.local()

    def scopes(self) -> list[str]:
        """Return the thread's list."""
        if not hasattr(self._of_thread, "scopes"):
            self._of_thread.scopes = []
        scopes: list[str] = self._of_thread.scopes
        return scopes


@breaks("POL-8")
class KeptOnException(_OwnScopes):
    """A scope is undone at the end of its block, which an exception never reaches."""

    def __init__(self) -> None:
        super().__init__()
        self._open: ContextVar[tuple[str, ...]] = ContextVar("open", default=())

    def scopes(self) -> list[str]:
        """Return the scopes of the thread and the task."""
        return list(self._open.get())

    @contextmanager
    def policy_scope(self, policy: str) -> Iterator[None]:
        """Leave the scope open on exceptions."""
        token = self._open.set((*self._open.get(), known(policy)))
        yield
        self._open.reset(token)


@breaks("POL-8")
class ScopeBeforeArgument(Exact):
    """A scope overrides even an explicit argument."""

    def forward(
        self, policy: str | None, layer: str | None, g: Array, bottom: Sequence[bool]
    ) -> Callable[[], Array]:
        """Forget the argument inside a scope."""
        return super().forward(None if SCOPES.get() else policy, layer, g, bottom)


@breaks("POL-8")
class UnknownIsClamp(Exact):
    """An unknown policy is taken for CLAMP."""

    def policy_gradient(
        self, policy: str, g: Array, bottom: Sequence[bool], layer: str | None = None
    ) -> Array:
        """Fall back."""
        return super().policy_gradient(policy if policy in POLICIES else "clamp", g, bottom)


@breaks("POL-8")
class SettledAtBackward(Exact):
    """The policy is the one in force at the backward."""

    def forward(
        self, policy: str | None, layer: str | None, g: Array, bottom: Sequence[bool]
    ) -> Callable[[], Array]:
        """Ask late."""
        return lambda: self.policy_gradient(policy or self.policy_in_force(layer), g, bottom)


@breaks("POL-9")
class BottomAtInfinity(Exact):
    """A tuple at infinity counts as ⊥, so that no pole is ever learned."""

    def output_gradient(
        self, policy: str, form: str, first: Array, second: Array, g: Array
    ) -> list[Array]:
        """Treat Q = 0 as no tuple."""
        if form == "tuple":
            pairs = zip(first.values, second.values, strict=True)
            first = first.with_values([math.nan if q == 0 else p for p, q in pairs])
        return super().output_gradient(policy, form, first, second, g)


@breaks("POL-9")
class UnreachedTuples(Exact):
    """The policy is applied by layers that decode; projective models have none."""

    def output_gradient(
        self, policy: str, form: str, first: Array, second: Array, g: Array
    ) -> list[Array]:
        """Pass tuples through."""
        chosen = "passthrough" if form == "tuple" else policy
        return super().output_gradient(chosen, form, first, second, g)


@breaks("POL-9")
class UnreadMask(Exact):
    """The mask beside a value is not looked at."""

    def output_gradient(
        self, policy: str, form: str, first: Array, second: Array, g: Array
    ) -> list[Array]:
        """Take a pair for its value."""
        form = "value" if form == "pair" else form
        return super().output_gradient(policy, form, first, second, g)


@breaks("POL-9")
class FreeDenominator(Exact):
    """The policy reaches the numerator only; the denominator's gradient never arrives."""

    def output_gradient(
        self, policy: str, form: str, first: Array, second: Array, g: Array
    ) -> list[Array]:
        """Forget the second part."""
        return super().output_gradient(policy, form, first, second, g)[:1]


@breaks("POL-11")
class CleanedValues(Exact):
    """The gate replaces values at ⊥ by the placeholder."""

    def policy_value(self, policy: str, x: Array, bottom: Sequence[bool]) -> Array:
        """Replace."""
        return x.with_values([0.0 if b else v for v, b in zip(x.values, bottom, strict=True)])
