"""Test vectors: cases of every clause that has a value, for implementations in any language.

``python -m spec vectors`` writes them. They come from the exact rules of the chapters alone: every
number stands as exact hexadecimal, and where a clause allows for rounding, as the range that the
clause's own tolerance gives.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

from .. import CLAUSES, SPEC_VERSION
from . import (
    bottoms,
    cases,
    composites,
    coverages,
    decodes,
    gradients,
    lifts,
    measures,
    terms,
    trainings,
    updates,
)
from .cases import OPERATIONS, Case, written

__all__ = [
    "FORMAT", "OPERATIONS", "SCHEMA", "VECTORS", "WITHOUT", "Case", "all_cases", "bottoms", "cases",
    "composites", "coverages", "decodes", "gradients", "lifts", "lines", "measures", "terms",
    "trainings", "updates", "write",
]  # fmt: skip

FORMAT: Final = 1
"""The version of the format, raised when a reader would have to change."""

VECTORS: Final = Path(__file__).parent / "vectors.json"
SCHEMA: Final = Path(__file__).parent / "schema.json"

WITHOUT: Final = {
    "BOT-9": "it is about operators, which are the host language's own",
    "BOT-10": "it is about indexing, which is the host library's own",
    "BOT-11": "it is about gradients through operations, which BOT-5 has values for",
    "POL-12": "it is about the windows of a trainer under a policy",
    "TAU-4": "it is about a state that must stay as it is, whatever that is",
    "TAU-5": "it compares draws of one implementation with each other",
    "TAU-6": "it is about the distribution of many draws",
    "TAU-9": "it is about the distribution of many draws, and compares runs with each other",
    "DEC-8": "it is about the modes of a model, which is the host library's own",
    "AMP-4": "it leaves open which dtypes there are",
    "STEP-4": "it is about when the host waits",
    "STEP-6": "it compares two ways to run one implementation",
    "STEP-7": "it is about a scheduler, which is the host library's own",
    "VAL-2": "it is about a state that must stay as it is, whatever that is",
    "RES-2": "it is about a file while it is written",
    "RES-3": "it is about files whose form is an implementation's own",
    "RES-4": "it is about signals of the operating system",
    "RES-6": "it is about files whose form is an implementation's own",
}
"""The clauses that have no value, and why."""


def all_cases() -> dict[str, list[Case]]:
    """Return the cases of each operation, by its name, in the order of the clauses.

    Each operation has a random source of its own, so that one more case changes no other's.
    """
    made = {name: list(o.maker(name, Random(name))) for name, o in OPERATIONS.items()}
    places = {id: place for place, id in enumerate(CLAUSES)}
    first = {
        name: min(places[id] for case in cases for id in case.clauses.split())
        for name, cases in made.items()
    }
    return {name: made[name] for name in sorted(made, key=first.__getitem__)}


def plain(name: str, number: int, case: Case) -> dict[str, Any]:
    """Return a case of an operation as JSON has it."""
    outcome = {"refusal": case.refusal} if case.refusal else {"result": written(case.result)}
    head = {"id": f"{name}/{number}", "clauses": case.clauses.split(), "operation": name}
    return head | {"arguments": written(case.arguments)} | outcome


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def lines() -> Iterator[str]:
    """Walk the lines of the file, one case a line."""
    made = all_cases()
    yield f'{{"format":{FORMAT},"spec_version":{_compact(SPEC_VERSION)},'
    yield '"operations":{'
    yield from _joined([f"{_compact(name)}:{_compact(OPERATIONS[name].text)}" for name in made])
    yield '},"cases":['
    numbered = ((name, *pair) for name, cases in made.items() for pair in enumerate(cases))
    yield from _joined([_compact(plain(*case)) for case in numbered])
    yield "]}"


def _joined(texts: list[str]) -> Iterator[str]:
    yield from (text + "," for text in texts[:-1])
    yield texts[-1]


def write(path: Path) -> None:
    """Write the file."""
    path.write_text("\n".join(lines()) + "\n", "utf-8")
