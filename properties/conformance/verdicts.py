"""What is found of a clause: a verdict, and what shows it."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import fill, wrap
from typing import Final, Literal, TypeAlias

from spec import CLAUSES

VerdictName: TypeAlias = Literal["holds", "unfinished", "fails", "absent", "error"]
WIDTH: Final = 98
MOST: Final = 16  # lines of what was found


@dataclass(frozen=True)
class Options:
    """How many inputs to try, from which seed, the seconds after which a search is cut, and whether
    to try inputs exhaustively, too.
    """

    examples: int | None = None
    seed: int = 0
    seconds: float = 120.0
    exhaustive: bool = True


@dataclass(frozen=True)
class Counterexample:
    """What was found, by which program it is found again, and whether it was.

    ``claim`` is the id of the claim that is broken, empty for an error.
    """

    found: str
    snippet: str
    exception: str
    claim: str = ""
    reproduced: bool | None = None

    @property
    def told(self) -> str:
        """The claim, if one is broken, and what was found, in lines that fit a terminal."""
        claims = CLAUSES[self.claim.rpartition(".")[0]].claims if self.claim else ()
        texts = [fill(f"{c.id}: {c.text}", WIDTH) for c in claims if c.id == self.claim]
        lines = [part for line in self.found.splitlines() for part in wrap(line, WIDTH)]
        if len(lines) > MOST:
            lines[MOST // 2 : -MOST // 2] = ["…"]
        return "\n".join([*texts, *lines])


@dataclass(frozen=True)
class Verdict:
    """What is found of a clause after so many inputs."""

    id: str
    verdict: VerdictName
    examples: int
    seconds: float
    reason: str = ""
    counterexample: Counterexample | None = None
    others: tuple[Counterexample, ...] = ()  # of other claims, so that no fault hides another

    @property
    def shown(self) -> tuple[Counterexample, ...]:
        return (self.counterexample, *self.others) if self.counterexample else ()
