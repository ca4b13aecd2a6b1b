"""VAL, LOG and CUR: what an epoch reports, in which order, and with which weights."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction


def validation_mean(sizes: Sequence[int], values: Sequence[Fraction]) -> Fraction:
    """VAL-1: a validation's value is ``Σ nᵢvᵢ / Σ nᵢ``, with ``nᵢ`` samples in micro-batch i."""
    return sum((n * v for n, v in zip(sizes, values, strict=True)), Fraction(0)) / sum(sizes)


def validation_minimum(values: Sequence[Fraction]) -> Fraction:
    """VAL-1: the value of a minimum is the true one of all micro-batches, not a mean."""
    return min(values)


def validation_threshold(tau_min: Fraction, tau_max: Fraction) -> Fraction:
    """TAU-8: validation uses the fixed midpoint of the thresholds."""
    return (tau_min + tau_max) / 2


def records(micro_batches: int, epochs: int, validated: bool) -> list[tuple[int, int | None]]:
    """Return the records of a run in order: an epoch, and a micro-batch or None for validation.

    LOG-1: every micro-batch gives one, and all of an epoch's come before its validation's.
    """
    order: list[tuple[int, int | None]] = []
    for epoch in range(epochs):
        order += [(epoch, epoch * micro_batches + i) for i in range(micro_batches)]
        order += [(epoch, None)] if validated else []
    return order


def ramp(start: Fraction, end: Fraction, epochs: int, first_epoch: int, epoch: int) -> Fraction:
    """CUR-1: a linear ramp is ``start`` up to ``first_epoch`` and ``end`` after ``epochs`` more."""
    progress = min(max(Fraction(epoch - first_epoch, epochs), Fraction(0)), Fraction(1))
    return start + (end - start) * progress
