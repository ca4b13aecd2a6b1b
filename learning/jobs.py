"""A job is what one process does: every method on some samples. It returns rows of numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """Some samples of one table.

    Args:
        table: ``"curves"``, ``"assay"``, …
        case: of curves, how noisy they are.
        seeds: of the samples, and of all fits to them.
        quick: train for a few epochs only, as a smoke test.
    """

    table: str
    case: str
    seeds: tuple[int, ...]
    quick: bool = False


@dataclass(frozen=True)
class Row:
    """What one method reached on one sample, by name."""

    table: str
    case: str
    method: str
    seed: int
    numbers: dict[str, float]
