"""POL: what a gradient ``g`` becomes at an element with bottom flag ``b``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from .arrays import Array, identical, same
from .clause import clause, require


def clamp(g: float, b: bool) -> float:
    """Return 0 where ``b`` or for NaN, else ``g`` clamped to ``[-1, 1]``; POL-1."""
    if b or math.isnan(g):
        return 0.0
    if g > 1:
        return 1.0
    return -1.0 if g < -1 else g


def project(g: float, b: bool) -> float:
    """Return 0 where ``b``, even for NaN and ±∞, else ``g`` itself; POL-2."""
    return 0.0 if b else g


def reject(g: float, b: bool) -> float:
    """Return 0, whatever ``g`` is; POL-3."""
    return 0.0


def passthrough(g: float, b: bool) -> float:
    """Return ``g``; POL-4."""
    return g


POLICIES: Final[dict[str, Callable[[float, bool], float]]] = {
    "clamp": clamp,
    "project": project,
    "reject": reject,
    "passthrough": passthrough,
}
SELECTING: Final = ("clamp", "project", "reject")


class Policies(Protocol):
    """A subject that puts gradients under a policy."""

    def policy_gradient(self, policy: str, g: Array, bottom: Sequence[bool]) -> Array:
        """Return what becomes of incoming gradients; ValueError for an unknown policy."""

    def policy_value(self, policy: str, x: Array, bottom: Sequence[bool]) -> Array:
        """Return values that have been put under a policy."""


def require_gradients(
    policy: str, found: Array, g: Array, bottom: Sequence[bool], where: str = "", *,
    at_bottom: int = 1, at_nan: int = 1, claim: int = 1,
) -> None:  # fmt: skip
    """Require a policy's gradients, by one claim at ⊥, one for NaN and one elsewhere."""
    count = len(g.values)
    require(len(found.values) == count, "{}{}: {} became {}", where, policy, g, found, claim=claim)
    for value, b, got in zip(g.values, bottom, found.values, strict=True):
        want = POLICIES[policy](value, b)
        right, number = identical(got, want), at_nan if math.isnan(value) else claim
        parts = where, policy, value, b, got, want
        broken = at_bottom if b else number
        require(right, "{}{} of {} (⊥: {}) is {}, not {}", *parts, claim=broken)


@clause("POL-1", source="Guide: CLAMP", since="0.2.0")
def clamps(subject: Policies, g: Array, bottom: Sequence[bool]) -> None:
    """CLAMP bounds the gradient of each element.

    1. CLAMP gives 0 at ⊥.
    2. CLAMP gives 0 for NaN.
    3. CLAMP gives every other gradient clamped to ``[-1, 1]``.
    """
    found = subject.policy_gradient("clamp", g, bottom)
    require_gradients("clamp", found, g, bottom, at_nan=2, claim=3)


@clause("POL-2", source="Guide: PROJECT", since="0.2.0")
def projects(subject: Policies, g: Array, bottom: Sequence[bool]) -> None:
    """PROJECT removes the gradient of ⊥ elements.

    1. PROJECT gives 0 at ⊥.
    2. PROJECT gives every other gradient bit for bit, NaN and ±∞ included.
    """
    found = subject.policy_gradient("project", g, bottom)
    require_gradients("project", found, g, bottom, at_nan=2, claim=2)


@clause("POL-3", source="Guide: REJECT", since="0.2.0")
def rejects(subject: Policies, g: Array, bottom: Sequence[bool]) -> None:
    """REJECT gives 0 everywhere."""
    require_gradients("reject", subject.policy_gradient("reject", g, bottom), g, bottom)


@clause("POL-4", source="Guide: PASSTHROUGH", since="0.2.0")
def passes(subject: Policies, g: Array, bottom: Sequence[bool]) -> None:
    """PASSTHROUGH gives the gradient everywhere, bit for bit."""
    require_gradients("passthrough", subject.policy_gradient("passthrough", g, bottom), g, bottom)


@clause("POL-5", source="Ours: 0 · NaN is NaN, so a product does not mask", since="0.2.0")
def selects(subject: Policies, policy: str, g: Array, bottom: Sequence[bool]) -> None:
    """Under CLAMP, PROJECT and REJECT a ⊥ element's gradient is exactly 0, even when the incoming
    one is NaN or ±∞.
    """
    found = subject.policy_gradient(policy, g, bottom)
    for x, value, b in zip(g.values, found.values, bottom, strict=True):
        require(not b or value == 0, "{} of {} at ⊥ is {}", policy, x, value)


@clause("POL-6", source="Ours: a layer in a layer must not be punished twice", since="0.2.0")
def idempotent(subject: Policies, policy: str, g: Array, bottom: Sequence[bool]) -> None:
    """Applying a policy twice gives what applying it once gives, bit for bit."""
    once = subject.policy_gradient(policy, g, bottom)
    twice = subject.policy_gradient(policy, once, bottom)
    require(same(twice, once), "{} once gives {}, twice {}", policy, once, twice)


@clause("POL-7", source="Ours: samples are independent", since="0.2.0")
def independent(
    subject: Policies, policy: str, g: Array, other: Array, bottom: Sequence[bool],
    kept: Sequence[bool],
) -> None:  # fmt: skip
    """A policy acts element by element.

    1. No element's gradient depends on the gradients and flags of others.
    2. The result has the shape and dtype of the incoming gradient.
    """
    mixed = g.with_values(
        [x if keep else y for x, y, keep in zip(g.values, other.values, kept, strict=True)]
    )
    flags = [b if keep else not b for b, keep in zip(bottom, kept, strict=True)]
    before, after = (
        subject.policy_gradient(policy, *case) for case in ((g, bottom), (mixed, flags))
    )
    kind = (before.shape, before.dtype)
    require(kind == (g.shape, g.dtype), "{} of {} became {}", policy, g, before, claim=2)
    for x, y, keep in zip(before.values, after.values, kept, strict=True):
        require(not keep or identical(x, y), "{} among others: {}, not {}", policy, y, x)


@clause(
    "POL-11",
    source="Ours: what a model predicts must not depend on how it is trained",
    since="0.2.0",
)
def keeps_values(subject: Policies, policy: str, x: Array, bottom: Sequence[bool]) -> None:
    """A policy acts on gradients only: values, those at ⊥ included, stay bit for bit."""
    found = subject.policy_value(policy, x, bottom)
    require(same(found, x), "{} made {} of {}", policy, found, x)
