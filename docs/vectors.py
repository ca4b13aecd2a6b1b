"""The page of the test vectors: what each operation does, and which clauses have no value."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from docs.sources import paragraphs, prose
from spec import CLAUSES, vectors

MANY: Final = 20


def _named(ids: Iterable[str]) -> Iterator[str]:
    """Walk clauses in their order, by their number where a chapter has many."""
    for chapter, group in groupby(filter(set(ids).__contains__, CLAUSES), _chapter):
        named = list(group)
        yield from named if len(named) < MANY else [f"{len(named)} clauses of {chapter}"]


def _chapter(id: str) -> str:
    return CLAUSES[id].chapter


def vectors_page() -> str:
    """Return the page, made from the file."""
    file = json.loads(vectors.VECTORS.read_text("utf-8"))
    cases: dict[str, list[list[str]]] = {name: [] for name in file["operations"]}
    for case in file["cases"]:
        cases[case["operation"]].append(case["clauses"])
    parts = ["# Test vectors\n", "[How to use them](/guide/vectors.md).\n"]
    parts += [f"Format {file['format']}, specification {file['spec_version']}, "
              f"{len(file['cases'])} cases.\n", "## Operations\n"]  # fmt: skip
    for text in dict.fromkeys(file["operations"].values()):
        names = [name for name, said in file["operations"].items() if said == text]
        count = sum(len(cases[name]) for name in names)
        clauses = _named(id for name in names for ids in cases[name] for id in ids)
        parts += [f"### {', '.join(f'`{name}`' for name in names)}\n", *paragraphs(text)]
        parts += [f"{count} cases of {', '.join(map(prose, clauses))}\\.\n"]
    parts += ["## Clauses without a value\n"]
    parts += [f"- {prose(', '.join(ids.split()))}: {prose(why)}\\.\n"
              for why, ids in vectors.REASONS.items()]  # fmt: skip
    return "\n".join(parts)
