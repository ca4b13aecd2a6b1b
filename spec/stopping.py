"""STOP: training ends when coverage stays low."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Protocol

from .clause import clause, require
from .processes import Distributes
from .runs import Plan, Trace, Trains


def count_bad(bad_epochs: int, coverage: Fraction | None, threshold: Fraction) -> int:
    """Return the counter after an epoch, of which None has no finite targets; STOP-1, STOP-6."""
    if coverage is None:
        return bad_epochs
    return bad_epochs + 1 if coverage < threshold else 0


def stop_epoch(
    coverages: Sequence[Fraction | None], threshold: Fraction, patience: int
) -> int | None:
    """Return the index of the epoch after which training stops, or None; STOP-1, STOP-2."""
    bad_epochs = 0
    for epoch, coverage in enumerate(coverages):
        bad_epochs = count_bad(bad_epochs, coverage, threshold)
        if coverage is not None and bad_epochs >= patience:
            return epoch
    return None


class Stops(Protocol):
    """A subject that watches coverage."""

    def watch(
        self, coverages: Sequence[float | None], threshold: float, patience: int
    ) -> list[tuple[int, bool]]:
        """Return the counter after each epoch and whether it stops training, up to the stop."""


def _exactly(coverages: Sequence[float | None]) -> list[Fraction | None]:
    return [None if coverage is None else Fraction(coverage) for coverage in coverages]


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
    bad_epochs, expected = 0, list[tuple[int, bool]]()
    for coverage in _exactly(coverages):
        bad_epochs = count_bad(bad_epochs, coverage, Fraction(threshold))
        expected.append((bad_epochs, coverage is not None and bad_epochs >= patience))
        if expected[-1][1]:
            break
    counts, stops = (list(zip(*run, strict=True)) or [(), ()] for run in (found, expected))
    same = counts[0] == stops[0][: len(counts[0])]
    require(same, "{} at {}: counted {}, not {}", coverages, threshold, counts[0], stops[0])
    require(
        found == expected, "{} at {}: {}, not {}", coverages, threshold, found, expected, claim=2
    )


@clause(
    "STOP-2",
    source="Ours: noise in coverage must not add up over a long run; the Guide's patience is one "
    "of consecutive epochs",
    since="0.2.0",
)
def consecutive(subject: Stops, threshold: float, patience: int, rounds: int) -> None:
    """Training stops iff ``patience`` consecutive epochs are bad; a good epoch resets the count."""
    bad = [threshold / 2] * (patience - 1)
    calm = [*bad, threshold] * rounds
    found = subject.watch([*calm, *bad, *bad, 0.0], threshold, patience)
    expected = stop_epoch(_exactly([*calm, *bad, *bad, 0.0]), Fraction(threshold), patience)
    stopped = [epoch for epoch, (_, stops) in enumerate(found) if stops]
    require(stopped == [expected], "stopped after {}, not {}", stopped, expected)
    require(expected == len(calm) + patience - 1, "the reference stops at {}", expected)


def _stops(trace: Trace) -> list[float | Fraction]:
    return [event.values["epoch"] for event in trace.of("stop")]


@clause("STOP-4", source="Ours: a rank that continues alone waits for ever", since="0.2.0")
def every_rank(subject: Distributes, plan: Plan, ranks: int) -> None:
    """On any number of ranks, training stops on every rank after the same epoch as on one."""
    expected = _stops(subject.train(plan))
    for rank, trace in enumerate(subject.train_ranks(replace(plan, ranks=ranks))):
        found = _stops(trace)
        require(
            found == expected, "{}: rank {} stops after {}, not {}", plan, rank, found, expected
        )


@clause("STOP-5", source="Ours: a job that is restarted daily must still stop", since="0.2.0")
def survives(subject: Trains, plan: Plan) -> None:
    """The stop survives a resume.

    1. A run that is interrupted stops after the same epoch as one that is not.
    2. A run that has stopped does not train when it is resumed.
    """
    trace, whole = subject.train(plan), subject.train(replace(plan, interrupts=()))
    found, expected = _stops(trace), _stops(whole)
    right = found[:1] == expected
    require(right, "{}: stops after {}, not {}", plan, found, expected)
    counts = [len(run.of("update", "skip")) for run in (trace, whole)]
    require(counts[0] == counts[1], "{}: {} updates, not {}", plan, *counts, claim=2)
