"""POL: what a gradient ``g`` becomes at an element with bottom flag ``b``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final


def clamp(g: float, b: bool) -> float:
    """POL-1, POL-5: CLAMP gives 0 where ``b`` or for NaN, else ``g`` clamped to ``[-1, 1]``."""
    if b or math.isnan(g):
        return 0.0
    if g > 1:
        return 1.0
    return -1.0 if g < -1 else g


def project(g: float, b: bool) -> float:
    """POL-2, POL-5: PROJECT gives 0 where ``b``, even for NaN and ±∞, else ``g`` itself."""
    return 0.0 if b else g


def reject(g: float, b: bool) -> float:
    """POL-3, POL-5: REJECT gives 0 everywhere, whatever ``g`` is."""
    return 0.0


def passthrough(g: float, b: bool) -> float:
    """POL-4: PASSTHROUGH gives ``g`` everywhere."""
    return g


POLICIES: Final[dict[str, Callable[[float, bool], float]]] = {
    "clamp": clamp,
    "project": project,
    "reject": reject,
    "passthrough": passthrough,
}


def in_force(explicit: str | None, scopes: Sequence[str], default: str | None) -> str:
    """Return the policy that counts at a forward.

    POL-8: an explicit argument goes before the innermost scope, a scope before the default
    registered for the layer, and that before CLAMP; what holds at the forward holds at its
    backward.
    """
    if explicit is not None:
        return explicit
    if scopes:
        return scopes[-1]
    return "clamp" if default is None else default
