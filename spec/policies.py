"""POL: what a gradient ``g`` becomes at an element with bottom flag ``b``, and in training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Protocol

from .arrays import Array, identical, same
from .clause import clause, require


def clamp(g: float, b: bool) -> float:
    """Return 0 where ``b`` or for NaN, else ``g`` clamped to ``[-1, 1]``; POL-1."""
    return 0.0 if b or math.isnan(g) else max(-1.0, min(g, 1.0))


POLICIES: Final[dict[str, Callable[[float, bool], float]]] = {
    "clamp": clamp,
    "project": lambda g, b: 0.0 if b else g,
    "reject": lambda g, b: 0.0,
    "passthrough": lambda g, b: g,
}
"""What a gradient becomes, given whether it is one at ⊥; POL-1 to POL-4."""
SELECTING: Final = ("clamp", "project", "reject")


class Policies(Protocol):
    """A subject that puts gradients under a policy."""

    def policy_gradient(self, policy: str, g: Array, bottom: Sequence[bool]) -> Array:
        """Return what becomes of incoming gradients; ValueError for an unknown policy."""

    def policy_value(self, policy: str, x: Array, bottom: Sequence[bool]) -> Array:
        """Return values that have been put under a policy."""


def require_gradients(
    policy: str, found: Array, g: Array, bottom: Sequence[bool], where: str = "",
    claims: tuple[int, int, int] = (1, 1, 1),
) -> None:  # fmt: skip
    """Require a policy's gradients, by one claim at ⊥, one for NaN and one elsewhere."""
    right = len(found.values) == len(g.values)
    require(right, "{}{}: {} became {}", where, policy, g, found, claim=claims[2])
    for value, b, got in zip(g.values, bottom, found.values, strict=True):
        want = POLICIES[policy](value, b)
        claim = claims[0 if b else 1 if math.isnan(value) else 2]
        parts = where, policy, value, b, got, want
        require(identical(got, want), "{}{} of {} (⊥: {}) is {}, not {}", *parts, claim=claim)


@clause("POL-1", source="Guide: CLAMP", since="0.2.0")
def clamps(subject: Policies, g: Array, bottom: Sequence[bool]) -> None:
    """CLAMP bounds the gradient of each element.

    1. CLAMP gives 0 at ⊥.
    2. CLAMP gives 0 for NaN.
    3. CLAMP gives every other gradient clamped to ``[-1, 1]``.
    """
    found = subject.policy_gradient("clamp", g, bottom)
    require_gradients("clamp", found, g, bottom, claims=(1, 2, 3))


@clause("POL-2", source="Guide: PROJECT", since="0.2.0")
def projects(subject: Policies, g: Array, bottom: Sequence[bool]) -> None:
    """PROJECT removes the gradient of ⊥ elements.

    1. PROJECT gives 0 at ⊥.
    2. PROJECT gives every other gradient bit for bit, NaN and ±∞ included.
    """
    found = subject.policy_gradient("project", g, bottom)
    require_gradients("project", found, g, bottom, claims=(1, 2, 2))


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
    """Under CLAMP, PROJECT and REJECT the gradient at ⊥ is exactly 0, even for NaN and ±∞."""
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


@clause("POL-11", source="Ours: a prediction must not depend on how a model trains", since="0.2.0")
def keeps_values(subject: Policies, policy: str, x: Array, bottom: Sequence[bool]) -> None:
    """A policy acts on gradients only: values, those at ⊥ included, stay bit for bit."""
    found = subject.policy_value(policy, x, bottom)
    require(same(found, x), "{} made {} of {}", policy, found, x)


def output_is_bottom(form: str, first: float, second: float) -> bool:
    """Tell whether a model's output is ⊥ to a policy; POL-9.

    Of a value with a mask the second part is the flag. A tuple at infinity is an ordinary point
    of the projective line, so only what is no tuple is ⊥.
    """
    if form == "tuple":
        return not (math.isfinite(first) and math.isfinite(second)) or first == second == 0
    return not math.isfinite(first) or (form in ("pair", "carrier") and second != 0)


def output_gradients(
    policy: str | None, form: str, first: Array, second: Array, g: Array
) -> list[Array]:
    """Return what becomes of a gradient that comes back to each part of the outputs; POL-9.

    A carrier's ⊥ is a constant.
    """
    rule, found = POLICIES[policy or "passthrough"], []
    for value, *pair in zip(g.values, first.values, second.values, strict=True):
        bottom = output_is_bottom(form, *pair)
        found.append(rule(0.0 if bottom and form == "carrier" else value, bottom))
    return [g.with_values(found)] * (2 if form == "tuple" else 1)


@dataclass(frozen=True)
class GatedWindow:
    """A window of training by gradient descent, with a model whose outputs are its parameters.

    Output ``i`` is parameter ``i``, and ``gradients`` are those of each micro-batch's loss at its
    outputs, one for each sample. With a ``default`` the outputs come out of a layer of that default
    policy, which flags ``bottom``, and whose forward a backward may run a second time. With
    ``float16`` the trainer uses mixed precision, and a loss scale of 65536.
    """

    gradients: tuple[Array, ...]
    bottom: tuple[bool, ...]
    policy: str | None
    default: str | None = None
    float16: bool = False
    recomputed: bool = False


def window_gradients(window: GatedWindow) -> list[Fraction]:
    """Return each parameter's gradient: the mean over samples of what a policy lets pass; POL-12.

    The trainer's policy counts before the layer's; a model without a layer outputs no ⊥.
    """
    flags = window.bottom if window.default else (False,) * len(window.bottom)
    rule = POLICIES[window.policy or window.default or "passthrough"]
    sums, samples = [Fraction(0)] * len(flags), 0
    for g in window.gradients:
        size, samples = len(g.values), samples + len(g.values)
        for i, (value, flag) in enumerate(zip(g.values, flags, strict=False)):
            sums[i] += size * Fraction(rule(value, flag))
    return [total / samples for total in sums]


class TrainsGated(Protocol):
    """A subject whose trainer puts gradients under a policy."""

    def output_gradient(
        self, policy: str | None, form: str, first: Array, second: Array, g: Array
    ) -> list[Array]:
        """Train under a policy, or none, with a model of these outputs, and let ``g`` come back.

        The form is a value (NaN for ⊥), a pair of a value and a mask, a carrier of both, or a
        tuple, of which the second part may be one column for all outputs of a sample; what comes
        back to it is then the first column of ``g``. Returned are the gradients of the
        floating-point parts.
        """

    def window_gradients(self, window: GatedWindow) -> list[float]:
        """Train on the window; return by what times the learning rate each parameter fell."""


@clause(
    "POL-9",
    source="Ours: a policy that only some layers look at is no policy; a pole is what a "
    "projective model is to learn, so its gradient must flow",
    since="0.2.0",
)
def reach(
    subject: TrainsGated, policy: str | None, form: str, first: Array, second: Array, g: Array,
    bottom: tuple[bool, ...], default: str | None,
) -> None:  # fmt: skip
    """A policy that is configured in the trainer acts on every model.

    1. The policy acts on every floating-point part of the outputs, where they meet the loss.
    2. For a decoded value ⊥ is what its mask marks, or what is not finite; in a carrier ⊥ is a
       constant, whatever the policy.
    3. For a tuple ⊥ is only a non-finite part or ``(0, 0)``.
    4. Layers inside the model follow the policy, whatever their defaults.
    5. With no policy configured, the outputs pass gradients on bit for bit.
    6. With no policy configured, layers inside the model follow their own defaults.
    """
    expected = output_gradients(policy, form, first, second, g)
    gradients, where = subject.output_gradient(policy, form, first, second, g), f"outputs {form}"
    claim, count = 1 if policy else 5, len(gradients)
    require(count == len(expected), "{}: {} gradients", where, count, claim=claim)
    for found, wanted in zip(gradients, expected, strict=True):
        kind = (found.shape, found.dtype) == (g.shape, g.dtype)
        require(kind, "{}: {} became {}", where, g, found, claim=claim)
        for i, (got, want) in enumerate(zip(found.values, wanted.values, strict=True)):
            output = first.values[i], second.values[i]
            about_bottom = output_is_bottom(form, *output) or (form == "tuple" and output[1] == 0)
            parts = where, output, policy, g.values[i], got, want
            right, number = identical(got, want), claim
            if about_bottom and not right and _acts(subject, form, first, second, g):
                number = 3 if form == "tuple" else 2
            require(right, "{}: at {}, {} of {} is {}, not {}", *parts, claim=number)
    if default is not None:
        finite = Array.of([4.0, -0.25, 3.0][: len(bottom)], "float32")
        window = GatedWindow((finite,), bottom, policy, default)
        _require_window(subject, window, 4 if policy else 6)


def _acts(subject: TrainsGated, form: str, first: Array, second: Array, g: Array) -> bool:
    """Tell whether any policy acts on outputs at all: whether REJECT lets no gradient pass."""
    gradients = subject.output_gradient("reject", form, first, second, g)
    return not any(value for found in gradients for value in found.values)


@clause("POL-12", source="Ours: how a window is cut or scaled must not matter", since="0.4.0")
def bounds_the_loss(subject: TrainsGated, window: GatedWindow) -> None:
    """CLAMP bounds the gradient of the loss itself.

    1. A parameter receives the mean over samples of gradients that were clamped before any
       micro-batch was weighted, up to 16 ε of float32.
    2. With a float16 loss scale, CLAMP bounds the gradient without the scale.
    3. A layer inside the model bounds the gradient that reaches it in the same way.
    4. So does a layer whose forward the backward runs a second time (activation checkpointing).
    """
    claim = 4 if window.recomputed else 3 if window.default else 2 if window.float16 else 1
    _require_window(subject, window, claim)


def _require_window(subject: TrainsGated, window: GatedWindow, claim: int) -> None:
    found, wanted = subject.window_gradients(window), window_gradients(window)
    require(len(found) == len(wanted), "{}: {} parameters", window, len(found), claim=claim)
    slack = max(Fraction(1), *map(abs, wanted)) * 16 / 2**23
    for i, (got, want) in enumerate(zip(found, wanted, strict=True)):
        right = math.isfinite(got) and abs(Fraction(got) - want) <= slack
        require(right, "{}: parameter {}: {}, not {}", window, i, got, float(want), claim=claim)
