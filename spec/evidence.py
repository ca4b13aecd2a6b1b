"""What is known of each clause: its properties, its faults, and who claims to meet it.

``trace.json`` beside this file is written by those runs, never by hand. An entry counts only for
the clause that it was recorded for: with the sentence or the predicate changes the digest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

from .clause import Clause

KINDS: Final = ("proved", "exhaustive", "sampled", "example")


@dataclass(frozen=True)
class Evidence:
    """Properties by the kind of evidence that they give, and where an implementation stands.

    ``met_by`` names the functions and classes of ``zeroproof`` whose docstrings claim the clause;
    ``unmet`` says what it is known not to do of it, empty if nothing. ``faults`` says for each
    claim what the wrong subjects do that it caught.
    """

    properties: dict[str, list[str]] = field(default_factory=dict)
    met_by: list[str] = field(default_factory=list)
    unmet: str = ""
    faults: dict[str, list[str]] = field(default_factory=dict)

    @property
    def kinds(self) -> list[str]:
        """The kinds of evidence, the strongest first."""
        return [kind for kind in KINDS if self.properties.get(kind)]


def read_trace() -> dict[str, Any]:
    """Return what was recorded, by clause."""
    file = files(__package__) / "trace.json"
    trace: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return trace


def evidence_of(clause: Clause, trace: dict[str, Any]) -> Evidence:
    """Return what was recorded of a clause as it stands."""
    entry = trace.get(clause.id, {})
    if entry.get("digest") != clause.digest:
        return Evidence()
    faults = entry.get("faults", {})
    return Evidence(entry["evidence"], entry["met_by"], entry.get("unmet", ""), faults)
