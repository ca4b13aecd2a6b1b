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
)
from .cases import OPERATIONS, Case, written

__all__ = [
    "FORMAT", "OPERATIONS", "SCHEMA", "VECTORS", "WITHOUT", "Case", "all_cases", "bottoms", "cases",
    "composites", "coverages", "decodes", "gradients", "lifts", "lines", "measures", "terms",
    "trainings", "write",
]  # fmt: skip

FORMAT: Final = 1
"""The version of the format, raised when a reader would have to change."""

VECTORS: Final = Path(__file__).parent / "vectors.json"
SCHEMA: Final = Path(__file__).parent / "schema.json"

WITHOUT: Final = {
    "TAU-4": "it is about a state that must stay as it is, whatever that is",
    "TAU-5": "it compares draws of one implementation with each other",
    "TAU-6": "it is about the distribution of many draws",
    "AMP-4": "it leaves open which dtypes there are",
    "STEP-4": "it is about when the host waits",
    "STEP-6": "it compares two ways to run one implementation",
    "VAL-2": "it is about a state that must stay as it is, whatever that is",
    "RES-2": "it is about a file while it is written",
    "RES-3": "it is about files whose form is an implementation's own",
    "RES-4": "it is about signals of the operating system",
}
"""The clauses that have no value, and why."""


def all_cases() -> Iterator[tuple[str, Case]]:
    """Walk the cases of all operations, each made from a random source of its own."""
    for name, operation in OPERATIONS.items():
        for number, case in enumerate(operation.maker(name, Random(name))):
            yield f"{name}/{number}", case


def plain(id: str, case: Case) -> dict[str, Any]:
    """Return a case as JSON has it."""
    outcome = {"refusal": case.refusal} if case.refusal else {"result": written(case.result)}
    head = {"id": id, "clauses": case.clauses.split(), "operation": id.partition("/")[0]}
    return head | {"arguments": written(case.arguments)} | outcome


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def lines(version: str) -> Iterator[str]:
    """Walk the lines of the file for a version of the specification, one case a line."""
    yield f'{{"format":{FORMAT},"spec_version":{_compact(version)},'
    yield '"operations":{'
    texts = [f"{_compact(name)}:{_compact(o.text)}" for name, o in OPERATIONS.items()]
    yield from _joined(texts)
    yield '},"cases":['
    yield from _joined([_compact(plain(id, case)) for id, case in all_cases()])
    yield "]}"


def _joined(texts: list[str]) -> Iterator[str]:
    yield from (text + "," for text in texts[:-1])
    yield texts[-1]


def write(path: Path, version: str) -> None:
    """Write the file."""
    path.write_text("\n".join(lines(version)) + "\n", "utf-8")
