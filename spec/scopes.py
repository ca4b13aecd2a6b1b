"""POL-8: which policy a forward is under."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from typing import Final, Protocol

from .arrays import Array
from .clause import clause, refused, require
from .policies import Policies, require_gradients

PROBE: Final = Array.of([2.0, math.nan, 0.5], "float32")
BOTTOM: Final = (False, False, True)
LAYERS: Final = ("probe", "probe()", "probe.special", "probe.special()", "probe.special.own()")


def classes(layer: str) -> list[str]:
    """Return a layer, named as for :class:`Forward`, and its classes, the nearest first."""
    name = layer.removesuffix("()")
    parts = name.split(".")
    lines = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return lines if name == layer else [layer, *lines]


def default_of(layer: str | None, defaults: Mapping[str, str]) -> str | None:
    """Return the default that holds for a layer: its own, or that of its nearest class; POL-8."""
    return next((defaults[name] for name in classes(layer or "") if name in defaults), None)


def in_force(explicit: str | None, scopes: Sequence[str], default: str | None) -> str:
    """Return the policy that counts at a forward; POL-8."""
    return explicit or (scopes[-1] if scopes else default or "clamp")


@dataclass(frozen=True)
class Forward:
    """A forward of a layer: the explicit policy, the open scopes, outermost first, the defaults.

    A layer ``"probe"`` is a class, ``"probe.special"`` a class derived from it, and
    ``"probe.special()"`` an instance of that. If ``recomputed``, the backward runs the forward a
    second time (activation checkpointing). The layer runs in the scope ``inside``, which the
    forward itself opens after it has run the layer outside of it.
    """

    explicit: str | None = None
    scopes: tuple[str, ...] = ()
    layer: str = "probe"
    defaults: tuple[tuple[str, str], ...] = ()
    recomputed: bool = False
    inside: str | None = None

    @property
    def policy(self) -> str:
        """The policy that counts."""
        default = default_of(self.layer, dict(self.defaults))
        scopes = (*self.scopes, self.inside) if self.inside else self.scopes
        return in_force(self.explicit, scopes, default)


class Scopes(Policies, Protocol):
    """A subject that has scopes of policies, and defaults of layers."""

    def forward(
        self, policy: str | None, layer: str | None, g: Array, bottom: Sequence[bool],
        inside: str | None = None,
    ) -> Callable[[], Array]:  # fmt: skip
        """Run a forward now under an explicit policy, or none, and return the backward of ``g``.

        With ``inside`` it runs twice, the second time in a scope that the forward itself opens.
        """

    def recomputed_forward(
        self, policy: str | None, layer: str | None, g: Array, bottom: Sequence[bool],
        inside: str | None = None,
    ) -> Callable[[], Array]:  # fmt: skip
        """Do the same; the backward runs the forward a second time."""

    def policy_scope(self, policy: str) -> AbstractContextManager[object]:
        """Put a policy in force; ValueError for an unknown one."""

    def policy_in_force(self, layer: str | None = None) -> str:
        """Return the policy that a forward here and now would be under."""

    def set_default(self, layer: str, policy: str | None) -> None:
        """Register a layer's default, or remove it; ValueError for an unknown policy."""


@clause(
    "POL-8",
    source="Guide: gradient_policy; Ours: a backward may run after its scope, on another thread",
    since="0.2.0",
)
def scope(subject: Scopes, run: Forward, later: str, unknown: str = "clip") -> None:
    """The policy of a forward follows these rules.

    1. An explicit policy counts before scopes and defaults.
    2. Of nested scopes the innermost counts.
    3. A scope counts before the default of a layer.
    4. A default counts where no scope is open.
    5. A default of a class holds for its instances and subclasses; that of the nearest counts.
    6. With nothing set, the policy is CLAMP.
    7. A backward uses the policy that counted at its forward.
    8. So does a backward that runs the forward a second time (activation checkpointing).
    9. Leaving a scope, also by an exception, restores the one around it.
    10. A scope holds in its own thread only.
    11. A scope holds in its own async task only.
    12. An unknown policy raises ValueError.
    13. A scope that the forward itself opens counts before those around it, also when the backward
        runs the forward a second time.
    """
    given, own = run.defaults, tuple(x for x in run.defaults if x[0] == run.layer)
    if run.explicit is not None:
        _require_policy(subject, Forward(run.explicit, run.scopes, run.layer, given), 1)
    else:
        _require_policy(subject, Forward(scopes=run.scopes), 2 if run.scopes else 6)
        _require_policy(subject, Forward(None, run.scopes, run.layer, own), 3 if run.scopes else 4)
        _require_policy(subject, Forward(None, (), run.layer, given), 5)
    _require_policy(subject, run, 13 if run.inside else 8 if run.recomputed else 7, later)
    _require_restored(subject, run.scopes)
    _require_local(subject, run.scopes[0] if run.scopes else "reject", later)
    for call in (
        lambda: subject.policy_gradient(unknown, PROBE, BOTTOM),
        lambda: subject.policy_scope(unknown).__enter__(),
        lambda: subject.set_default("probe", unknown),
    ):
        taken = "the unknown policy {} was taken"
        require(refused(ValueError, call, claim=12), taken, unknown, claim=12)


def _require_policy(subject: Scopes, run: Forward, claim: int, later: str | None = None) -> None:
    """Require that the policy of a forward counts, for a backward in its scopes, or in later ones.

    By then the defaults have been removed, too.
    """
    made = subject.recomputed_forward if run.recomputed else subject.forward
    with ExitStack() as stack:
        for layer, policy in run.defaults:
            subject.set_default(layer, policy)
            stack.callback(subject.set_default, layer, None)
        for name in run.scopes:
            stack.enter_context(subject.policy_scope(name))
        inside = (run.inside,) if run.inside else ()
        backward = made(run.explicit, run.layer, PROBE, BOTTOM, *inside)
        if later is None:
            found = subject.policy_in_force(run.layer)
            wanted = replace(run, explicit=None).policy
            require(found == wanted, "{}: in force is {}, not {}", run, found, wanted, claim=claim)
            gradients = backward()
    if later is not None:
        with subject.policy_scope(later):
            gradients = backward()
    where = f"{run}, later {later}: "
    require_gradients(run.policy, gradients, PROBE, BOTTOM, where, (claim,) * 3)


def _require_restored(subject: Scopes, scopes: Sequence[str]) -> None:
    def require_outer(depth: int, how: str) -> None:
        found, expected = subject.policy_in_force(), in_force(None, scopes[:depth], None)
        require(found == expected, "leaving {} {}: {}", scopes, how, found, claim=9)

    def nest(how: str) -> None:
        with ExitStack() as stack:
            for depth, policy in enumerate(scopes):
                stack.callback(require_outer, depth, how)
                stack.enter_context(subject.policy_scope(policy))
            if how == "by an exception":
                raise KeyError

    nest("at its end")
    raised = refused(KeyError, lambda: nest("by an exception"), claim=9)
    require(raised, "an exception was swallowed", claim=9)


def _require_local(subject: Scopes, ours: str, theirs: str) -> None:
    with ThreadPoolExecutor(1) as thread, subject.policy_scope(ours):
        seen = [thread.submit(subject.policy_in_force).result()]
        inner = subject.policy_scope(theirs)
        thread.submit(inner.__enter__).result()
        seen.append(subject.policy_in_force())
        thread.submit(inner.__exit__, None, None, None).result()
    require(seen == ["clamp", ours], "a thread saw {}, its maker {}", *seen, claim=10)

    async def task(name: str) -> None:
        with subject.policy_scope(name):
            for _ in range(3):  # by turns: the last to enter is not the first to leave
                await asyncio.sleep(0)
                found = subject.policy_in_force()
                require(found == name, "the task of {} saw {}", name, found, claim=11)

    async def together() -> None:
        await asyncio.gather(task(ours), task(theirs))

    asyncio.run(together())
