"""POL-9 and POL-12: a policy in training, from the loss back to the parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Protocol

from .arrays import Array, identical
from .clause import clause, require
from .policies import POLICIES

FLAGGED: Final = ("pair", "carrier")


def output_is_bottom(form: str, first: float, second: float) -> bool:
    """Tell whether a model's output is ⊥ to a policy; POL-9.

    Of a value with a mask the second part is the flag. A tuple at infinity is an ordinary point
    of the projective line, so only what is no tuple is ⊥.
    """
    if form == "tuple":
        finite = math.isfinite(first) and math.isfinite(second)
        return not finite or (first, second) == (0.0, 0.0)
    return not math.isfinite(first) or (form in FLAGGED and second != 0)


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
        tuple. Returned are the gradients of the floating-point parts.
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
            parts = where, output, policy, g.values[i], got, want
            complaint = "{}: at {}, {} of {} is {}, not {}"
            require(identical(got, want), complaint, *parts, claim=_claim(form, *output, claim))
    if default is not None:
        finite = Array.of([4.0, -0.25, 3.0][: len(bottom)], "float32")
        window = GatedWindow((finite,), bottom, policy, default)
        _require_window(subject, window, 4 if policy else 6)


def _claim(form: str, first: float, second: float, ordinary: int) -> int:
    """Return the claim of POL-9 that an output is about."""
    if form == "tuple":
        return 3 if second == 0 or output_is_bottom(form, first, second) else ordinary
    return 2 if output_is_bottom(form, first, second) else ordinary


@clause(
    "POL-12",
    source="Ours: what a parameter learns must not depend on how a window is cut, or scaled",
    since="0.4.0",
)
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
