"""STOP: training ends when coverage stays low."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Protocol

from .clause import clause, require
from .runs import Plan, Trains


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
    """An epoch whose coverage lies below the threshold adds one to a counter, any other returns
    it to 0, and equality is not below; training stops after the epoch in which the counter
    reaches the patience.
    """
    found = subject.watch(coverages, threshold, patience)
    bad_epochs, expected = 0, list[tuple[int, bool]]()
    for coverage in _exactly(coverages):
        bad_epochs = count_bad(bad_epochs, coverage, Fraction(threshold))
        expected.append((bad_epochs, coverage is not None and bad_epochs >= patience))
        if expected[-1][1]:
            break
    require(found == expected, "{} at {}: {}, not {}", coverages, threshold, found, expected)


@clause(
    "STOP-2",
    source="Ours: noise in coverage must not add up over a long run; the Guide's patience is one "
    "of consecutive epochs",
    since="0.2.0",
)
def consecutive(subject: Stops, threshold: float, patience: int, rounds: int) -> None:
    """Only consecutive bad epochs count: any number of them, with a good one after each
    ``patience − 1``, never stop training, and the ``patience`` that follow do.
    """
    bad = [threshold / 2] * (patience - 1)
    calm = [*bad, threshold] * rounds
    found = subject.watch([*calm, *bad, *bad, 0.0], threshold, patience)
    expected = stop_epoch(_exactly([*calm, *bad, *bad, 0.0]), Fraction(threshold), patience)
    stopped = [epoch for epoch, (_, stops) in enumerate(found) if stops]
    require(stopped == [expected], "stopped after {}, not {}", stopped, expected)
    require(expected == len(calm) + patience - 1, "the reference stops at {}", expected)


def _stops(subject: Trains, plan: Plan) -> list[float | Fraction]:
    return [event.values["epoch"] for event in subject.train(plan).of("stop")]


@clause("STOP-4", source="Ours: a rank that goes on alone waits for ever", since="0.2.0")
def every_rank(subject: Trains, plan: Plan, ranks: int) -> None:
    """With any number of ranks training stops after the same epoch as with one."""
    found, expected = _stops(subject, replace(plan, ranks=ranks)), _stops(subject, plan)
    require(found == expected, "{} ranks stop after {}, not {}", ranks, found, expected)


@clause("STOP-5", source="Ours: a job that is restarted daily must still stop", since="0.2.0")
def survives(subject: Trains, plan: Plan) -> None:
    """The counter survives a resume: interrupted, training stops after the epoch in which it
    stops uninterrupted.
    """
    found, expected = _stops(subject, plan), _stops(subject, replace(plan, interrupts=()))
    require(found == expected, "{}: stops after {}, not {}", plan, found, expected)
