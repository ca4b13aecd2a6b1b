"""STOP: training ends when coverage stays low."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Protocol

from .clause import clause, require
from .ranks import Distributes
from .runs import Plan, Trace, Trains


def count_bad(bad_epochs: int, coverage: Fraction | None, threshold: Fraction) -> int:
    """Return the counter after an epoch, of which None has no finite targets; STOP-1, STOP-6."""
    if coverage is None:
        return bad_epochs
    return bad_epochs + 1 if coverage < threshold else 0


def watch(
    coverages: Sequence[float | Fraction | None], threshold: float | Fraction, patience: int
) -> list[tuple[int, bool]]:
    """Return the counter after each epoch and whether it stops training, up to the stop; STOP-1."""
    seen: list[tuple[int, bool]] = []
    for coverage in coverages:
        covered = None if coverage is None else Fraction(coverage)
        bad_epochs = count_bad(seen[-1][0] if seen else 0, covered, Fraction(threshold))
        seen.append((bad_epochs, covered is not None and bad_epochs >= patience))
        if seen[-1][1]:
            break
    return seen


class Stops(Protocol):
    """A subject that watches coverage."""

    def watch(
        self, coverages: Sequence[float | None], threshold: float, patience: int
    ) -> list[tuple[int, bool]]:
        """Return the counter after each epoch and whether it stops training, up to the stop; None
        is the coverage of an epoch without finite targets.
        """


@clause("STOP-1", source="Guide: coverage_threshold, coverage_patience", since="0.2.0")
def counter(
    subject: Stops, coverages: Sequence[float | None], threshold: float, patience: int
) -> None:
    """Bad epochs are counted.

    1. An epoch whose coverage is below the threshold adds 1 to the counter; equality is not below.
       Any other epoch resets it to 0 (an epoch without finite targets: STOP-6).
    2. Training stops after the epoch in which the counter reaches the patience.
    """
    found = subject.watch(coverages, threshold, patience)
    expected = watch(coverages, threshold, patience)
    counts, parts = [count for count, _ in expected], (coverages, threshold, found, expected)
    counted = [count for count, _ in found] == counts[: len(found)]
    require(counted, "{} at {}: counted {}, not {}", *parts)
    require(found == expected, "{} at {}: {}, not {}", *parts, claim=2)


@clause(
    "STOP-2",
    source="Ours: noise must not add up over a run; the Guide's patience is of consecutive epochs",
    since="0.2.0",
)
def consecutive(subject: Stops, threshold: float, patience: int, rounds: int) -> None:
    """Training stops iff ``patience`` consecutive epochs are bad; a good epoch resets the count."""
    bad = [threshold / 2] * (patience - 1)
    calm = [*bad, threshold] * rounds
    found = subject.watch([*calm, *bad, *bad, 0.0], threshold, patience)
    stopped = [epoch for epoch, (_, stops) in enumerate(found) if stops]
    expected = [len(calm) + patience - 1]
    require(stopped == expected, "stopped after {}, not {}", stopped, expected)


def _stops(trace: Trace) -> list[float | Fraction]:
    return [event.values["epoch"] for event in trace.of("stop")]


@clause("STOP-4", source="Ours: a rank that continues alone waits for ever", since="0.2.0")
def every_rank(subject: Distributes, plan: Plan, ranks: int) -> None:
    """On any number of ranks, training stops on every rank after the same epoch as on one."""
    expected = _stops(subject.train(plan))
    for rank, trace in enumerate(subject.train_ranks(replace(plan, ranks=ranks))):
        found = _stops(trace)
        parts = plan, rank, found, expected
        require(found == expected, "{}: rank {} stops after {}, not {}", *parts)


@clause("STOP-5", source="Ours: a job that is restarted daily must still stop", since="0.2.0")
def survives(subject: Trains, plan: Plan) -> None:
    """The stop survives a resume.

    1. A run that is interrupted stops after the same epoch as one that is not.
    2. A run that has stopped does not train when it is resumed.
    """
    trace, whole = subject.train(plan), subject.train(replace(plan, interrupts=()))
    found, expected = _stops(trace), _stops(whole)
    require(found[:1] == expected, "{}: stops after {}, not {}", plan, found, expected)
    counts = [len(run.of("draw")) for run in (trace, whole)]
    right = not expected or counts[0] <= counts[1]
    require(right, "{}: trains on {} micro-batches, not {}", plan, *counts, claim=2)
