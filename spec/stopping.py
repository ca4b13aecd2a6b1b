"""STOP: training ends when coverage stays low."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction


def count_bad(bad_epochs: int, coverage: Fraction | None, threshold: Fraction) -> int:
    """Return the counter after an epoch.

    STOP-1: a coverage below the threshold adds one, any other returns the counter to 0; equality
    is not below.
    STOP-6: an epoch without finite targets (None) leaves the counter as it is.
    """
    if coverage is None:
        return bad_epochs
    return bad_epochs + 1 if coverage < threshold else 0


def stop_epoch(
    coverages: Sequence[Fraction | None], threshold: Fraction, patience: int
) -> int | None:
    """Return the index of the epoch after which training stops, or None.

    STOP-1: it is the epoch in which the counter reaches the patience.
    STOP-2: only consecutive bad epochs add up.
    STOP-3: a trainer stops exactly here.
    """
    bad_epochs = 0
    for epoch, coverage in enumerate(coverages):
        bad_epochs = count_bad(bad_epochs, coverage, threshold)
        if coverage is not None and bad_epochs >= patience:
            return epoch
    return None
