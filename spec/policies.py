"""POL: what a gradient ``g`` becomes at an element with bottom flag ``b``."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Final, Protocol

from .arrays import Array, identical, same
from .clause import clause, refused, require


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
FORMS: Final = ("value", "pair", "tuple")


def in_force(explicit: str | None, scopes: Sequence[str], default: str | None) -> str:
    """Return the policy that counts at a forward; POL-8.

    An explicit argument goes before the innermost scope, a scope before the default registered
    for the layer, and that before CLAMP.
    """
    if explicit is not None:
        return explicit
    if scopes:
        return scopes[-1]
    return "clamp" if default is None else default


def output_is_bottom(form: str, first: float, second: float) -> bool:
    """Tell whether a model's output is ⊥ to a policy; POL-9.

    Of a value the second part is the flag of an explicit mask. A tuple at infinity is an ordinary
    point of the projective line, so only what is no tuple is ⊥.
    """
    if form == "tuple":
        finite = math.isfinite(first) and math.isfinite(second)
        return not finite or (first, second) == (0.0, 0.0)
    return not math.isfinite(first) or (form == "pair" and second != 0)


class Policies(Protocol):
    """A subject that puts gradients under a policy."""

    def policy_gradient(
        self, policy: str, g: Array, bottom: Sequence[bool], layer: str | None = None
    ) -> Array:
        """Return what becomes of incoming gradients; ValueError for an unknown policy."""

    def forward(
        self, policy: str | None, layer: str | None, g: Array, bottom: Sequence[bool]
    ) -> Callable[[], Array]:
        """Run the forward now, and return the backward, to be run later."""

    def policy_value(self, policy: str, x: Array, bottom: Sequence[bool]) -> Array:
        """Return what becomes of values that are put under a policy."""

    def policy_scope(self, policy: str) -> AbstractContextManager[object]:
        """Put a policy in force; ValueError for an unknown one."""

    def policy_in_force(self, layer: str | None = None) -> str:
        """Return the policy that a forward here and now would be under."""

    def set_default(self, layer: str, policy: str | None) -> None:
        """Register a layer's default, or remove it; ValueError for an unknown policy."""

    def output_gradient(
        self, policy: str, form: str, first: Array, second: Array, g: Array
    ) -> list[Array]:
        """Train under a policy with a model that returns these outputs, and let ``g`` come back.

        The form is one of :data:`FORMS`: a value (NaN for ⊥), a value and a mask, or a tuple.
        Returned are the gradients of the floating-point parts.
        """


def _require_gradients(
    policy: str, found: Array, g: Array, bottom: Sequence[bool], where: str = ""
) -> None:
    kind = (found.shape, found.dtype)
    require(kind == (g.shape, g.dtype), "{}{} of {} became {}", where, policy, g, kind)
    for index, (value, b) in enumerate(zip(g.values, bottom, strict=True)):
        got, want = found.values[index], POLICIES[policy](value, b)
        right = identical(got, want)
        require(right, "{}{} of {} (⊥: {}) is {}, not {}", where, policy, value, b, got, want)


@clause("POL-1", source="Guide: CLAMP", since="0.2.0")
def clamps(subject: Policies, g: Array, bottom: Sequence[bool]) -> None:
    """CLAMP gives 0 where ⊥ or for NaN, else the gradient clamped to ``[-1, 1]``."""
    found = subject.policy_gradient("clamp", g, bottom)
    _require_gradients("clamp", found, g, bottom)
    require(all(abs(x) <= 1 for x in found.values), "{} leaves [-1, 1]", found)


@clause("POL-2", source="Guide: PROJECT", since="0.2.0")
def projects(subject: Policies, g: Array, bottom: Sequence[bool]) -> None:
    """PROJECT gives 0 where ⊥, else the gradient bit for bit."""
    _require_gradients("project", subject.policy_gradient("project", g, bottom), g, bottom)


@clause("POL-3", source="Guide: REJECT", since="0.2.0")
def rejects(subject: Policies, g: Array, bottom: Sequence[bool]) -> None:
    """REJECT gives 0 everywhere."""
    _require_gradients("reject", subject.policy_gradient("reject", g, bottom), g, bottom)


@clause("POL-4", source="Guide: PASSTHROUGH", since="0.2.0")
def passes(subject: Policies, g: Array, bottom: Sequence[bool]) -> None:
    """PASSTHROUGH gives the gradient everywhere, bit for bit."""
    _require_gradients("passthrough", subject.policy_gradient("passthrough", g, bottom), g, bottom)


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
    """Each policy is idempotent."""
    once = subject.policy_gradient(policy, g, bottom)
    twice = subject.policy_gradient(policy, once, bottom)
    require(same(twice, once), "{} once gives {}, twice {}", policy, once, twice)


@clause("POL-7", source="Ours: samples are independent", since="0.2.0")
def independent(
    subject: Policies, policy: str, g: Array, other: Array, bottom: Sequence[bool],
    kept: Sequence[bool],
) -> None:  # fmt: skip
    """No element's gradient depends on another's."""
    mixed = g.with_values(
        [x if keep else y for x, y, keep in zip(g.values, other.values, kept, strict=True)]
    )
    flags = [b if keep else not b for b, keep in zip(bottom, kept, strict=True)]
    before = subject.policy_gradient(policy, g, bottom).values
    after = subject.policy_gradient(policy, mixed, flags).values
    for x, y, keep in zip(before, after, kept, strict=True):
        require(not keep or identical(x, y), "{} among others: {}, not {}", policy, y, x)


PROBE: Final = Array.of([2.0, math.nan, 0.5], "float32")
BOTTOM: Final = (False, False, True)


@clause(
    "POL-8",
    source="Guide: gradient_policy; Ours: a backward runs long after its scope has ended, often "
    "on another thread",
    since="0.2.0",
)
def scope(
    subject: Policies, scopes: Sequence[str], default: str | None, explicit: str | None, later: str,
    unknown: str = "clip",
) -> None:  # fmt: skip
    """A scope nests, is undone on exceptions, is local to its thread and async task, overrides a
    layer's default and yields to an explicit argument; the policy that counts is the one in force
    at the forward; an unknown one is a ValueError.
    """
    _require_order(subject, scopes, default, explicit, later)
    _require_undone(subject, scopes)
    _require_local(subject, scopes[0] if scopes else "reject", later)
    for call in (
        lambda: subject.policy_gradient(unknown, PROBE, BOTTOM),
        lambda: subject.policy_scope(unknown).__enter__(),
        lambda: subject.set_default("probe", unknown),
    ):
        require(refused(ValueError, call), "the unknown policy {} was taken", unknown)


def _require_order(
    subject: Policies, scopes: Sequence[str], default: str | None, explicit: str | None, later: str
) -> None:
    subject.set_default("probe", default)
    try:
        with ExitStack() as stack:
            for name in scopes:
                stack.enter_context(subject.policy_scope(name))
            known = in_force(None, scopes, default)
            require(subject.policy_in_force("probe") == known, "{} is not in force", known)
            backward = subject.forward(explicit, "probe", PROBE, BOTTOM)
    finally:
        subject.set_default("probe", None)
    expected = in_force(explicit, scopes, default)
    with subject.policy_scope(later):
        where = f"explicit {explicit}, scopes {scopes}, default {default}, later {later}: "
        _require_gradients(expected, backward(), PROBE, BOTTOM, where)


def _require_undone(subject: Policies, scopes: Sequence[str]) -> None:
    def enter(depth: int) -> None:
        expected = in_force(None, scopes[:depth], None)
        require(subject.policy_in_force() == expected, "entering {}: not {}", scopes, expected)
        if depth == len(scopes):
            raise KeyError(depth)
        try:
            with subject.policy_scope(scopes[depth]):
                enter(depth + 1)
        finally:
            found = subject.policy_in_force()
            require(found == expected, "leaving {} by an exception: {}", scopes, found)

    require(refused(KeyError, lambda: enter(0)), "an exception was swallowed")


def _require_local(subject: Policies, ours: str, theirs: str) -> None:
    seen: list[str] = []
    entered, leave = threading.Event(), threading.Event()

    def work() -> None:
        seen.append(subject.policy_in_force())
        with subject.policy_scope(theirs):
            entered.set()
            leave.wait(10)

    async def task(name: str) -> None:
        with subject.policy_scope(name):
            for _ in range(3):  # by turns: the last to enter is not the first to leave
                await asyncio.sleep(0)
                found = subject.policy_in_force()
                require(found == name, "the task of {} saw {}", name, found)

    async def together() -> None:
        await asyncio.gather(task(ours), task(theirs))

    thread = threading.Thread(target=work)
    with subject.policy_scope(ours):
        thread.start()
        entered.wait(10)
        seen.append(subject.policy_in_force())
        leave.set()
        thread.join()
    require(seen == ["clamp", ours], "a thread saw {}, its maker {}", *seen)
    asyncio.run(together())


@clause(
    "POL-9",
    source="Ours: a policy that only some layers look at is no policy; a pole is what a "
    "projective model is to learn, so its gradient must flow",
    since="0.2.0",
)
def reach(subject: Policies, policy: str, form: str, first: Array, second: Array, g: Array) -> None:
    """A configured policy acts on every model, where its outputs meet the loss: ⊥ are the elements
    of the mask of a decoded value, and of a projective tuple only what is not finite or (0, 0).
    """
    pairs = zip(first.values, second.values, strict=True)
    bottom = [output_is_bottom(form, *pair) for pair in pairs]
    gradients = subject.output_gradient(policy, form, first, second, g)
    count = 2 if form == "tuple" else 1
    require(len(gradients) == count, "outputs {}: {} gradients", form, len(gradients))
    for found in gradients:
        _require_gradients(policy, found, g, bottom, f"outputs {form}, ")


@clause(
    "POL-11",
    source="Ours: what a model predicts must not depend on how it is trained",
    since="0.2.0",
)
def keeps_values(subject: Policies, policy: str, x: Array, bottom: Sequence[bool]) -> None:
    """A policy acts on gradients only: values, those at ⊥ included, stay bit for bit."""
    found = subject.policy_value(policy, x, bottom)
    require(same(found, x), "{} made {} of {}", policy, found, x)
