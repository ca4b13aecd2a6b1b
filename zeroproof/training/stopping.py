"""Early stop on coverage."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class CoverageStop:
    """Counts consecutive epochs whose coverage lies below a threshold.

    Meets: STOP-1, STOP-2, STOP-3.

    Example:
        >>> stop = CoverageStop(threshold=0.5, patience=2)
        >>> [stop.observe(coverage) for coverage in (0.4, 0.5, 0.4, None, 0.3)]
        [False, False, False, False, True]
    """

    threshold: float
    patience: int
    bad_epochs: int = 0

    def observe(self, coverage: float | None) -> bool:
        """Take an epoch's coverage and tell whether training must stop.

        None, an epoch in which no sample has a finite target, leaves the counter as it is
        (STOP-6).
        """
        if coverage is None:
            return False
        self.bad_epochs = self.bad_epochs + 1 if coverage < self.threshold else 0
        return self.bad_epochs >= self.patience


def nothing_left(epochs: int, stopped: bool) -> str:
    """Return the message for a ``fit()`` that finds no work after so many epochs."""
    reason, remedy = "max_epochs is reached", "more max_epochs"
    if stopped:
        reason = "coverage stopped it, or trainer.stopped was set"
        remedy = "a lower coverage_threshold, and set its trainer.stopped = False"
    return (
        f"fit() has nothing to do: {epochs} epochs are done and {reason}; make a new trainer, or "
        f"load a checkpoint into one with {remedy}"
    )
