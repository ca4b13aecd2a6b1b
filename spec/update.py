"""ACC and STEP: micro-batches share an optimizer step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction


def windows(sizes: Sequence[int], n: int) -> list[list[int]]:
    """Return the indices of an epoch's micro-batches, window by window.

    ACC-2: a window holds ``n`` micro-batches in order, the last one of an epoch what is left, and
    none reaches into the next epoch.
    """
    return [list(range(first, min(first + n, len(sizes)))) for first in range(0, len(sizes), n)]


def updates_per_epoch(micro_batches: int, n: int) -> int:
    """ACC-2: an epoch makes ``⌈micro-batches / N⌉`` updates."""
    return -(-micro_batches // n)


def window_gradient(sizes: Sequence[int], gradients: Sequence[Fraction]) -> Fraction:
    """ACC-1: a window's gradient is ``Σ nᵢgᵢ / Σ nᵢ``, with ``nᵢ`` samples in micro-batch i."""
    weighted = sum((n * g for n, g in zip(sizes, gradients, strict=True)), Fraction(0))
    return weighted / sum(sizes)


@dataclass(frozen=True)
class Outcome:
    """Which windows' updates were applied, and the window that ended in an error, if any."""

    applied: tuple[bool, ...]
    error_at: int | None


def outcome(faults: Sequence[bool], max_nonfinite_steps: int) -> Outcome:
    """Return what becomes of a run's windows, given which hold something not finite.

    STEP-2: the global step counts the applied updates, and no others.
    STEP-3: a faulty window applies nothing; ``max_nonfinite_steps`` faulty ones in a row are an
    error, and an applied update starts the row anew. A window that only a float16 scaler's scale
    spoils (its losses are finite) counts in the row once the scale has fallen to 1.
    """
    applied: list[bool] = []
    row = 0
    for window, fault in enumerate(faults):
        applied.append(not fault)
        row = row + 1 if fault else 0
        if row >= max_nonfinite_steps:
            return Outcome(tuple(applied), window)
    return Outcome(tuple(applied), None)
