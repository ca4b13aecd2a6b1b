"""What becomes of a clause: a verdict, and what shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

VerdictName: TypeAlias = Literal["holds", "fails", "absent", "error"]


@dataclass(frozen=True)
class Options:
    """How long to search, and from which seed."""

    examples: int | None = None
    seed: int = 0
    seconds: float = 10.0


@dataclass(frozen=True)
class Counterexample:
    """What was found, by which program it is found again, and whether it was."""

    found: str
    snippet: str
    exception: str
    reproduced: bool | None = None


@dataclass(frozen=True)
class Verdict:
    """What became of a clause."""

    id: str
    verdict: VerdictName
    examples: int
    seconds: float
    cut_short: bool = False
    reason: str = ""
    counterexample: Counterexample | None = None
    others: tuple[Counterexample, ...] = ()  # of other shapes, so that one fault hides no other

    @property
    def shown(self) -> tuple[Counterexample, ...]:
        """All counterexamples."""
        return (self.counterexample, *self.others) if self.counterexample else ()
