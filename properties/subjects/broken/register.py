"""The list of broken subjects, and the clause that has to find each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

Subject = TypeVar("Subject", bound=type)


@dataclass(frozen=True)
class Broken:
    """A subject, and the clause that it breaks."""

    clause: str
    subject: type


BROKEN: Final[list[Broken]] = []


def breaks(clause: str) -> Callable[[Subject], Subject]:
    """Register a class, whose docstring says what is wrong, as breaking a clause."""

    def register(subject: Subject) -> Subject:
        BROKEN.append(Broken(clause, subject))
        return subject

    return register
