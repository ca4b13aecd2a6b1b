"""The page of the test vectors: what each operation does, and which clauses have no value."""

from __future__ import annotations

import json

from docs.sources import prose
from spec import vectors


def vectors_page() -> str:
    """Return the page, made from the registry and from the file."""
    file = json.loads(vectors.VECTORS.read_text("utf-8"))
    cases: dict[str, list[list[str]]] = {name: [] for name in file["operations"]}
    for case in file["cases"]:
        cases[case["operation"]].append(case["clauses"])
    parts = ["# Test vectors\n", "[How to use them](/guide/vectors.md).\n"]
    parts += [f"Format {file['format']}, specification {file['spec_version']}, "
              f"{len(file['cases'])} cases.\n", "## Operations\n"]  # fmt: skip
    for text in dict.fromkeys(file["operations"].values()):
        names = [name for name, said in file["operations"].items() if said == text]
        clauses = dict.fromkeys(id for name in names for ids in cases[name] for id in ids)
        shown = list(clauses) if len(clauses) < 30 else ["every law of ALG", "BOT-3"]
        count = sum(len(cases[name]) for name in names)
        parts += [f"### {', '.join(f'`{name}`' for name in names)}\n", prose(text) + "\n"]
        parts += [f"{count} cases of {', '.join(map(prose, shown))}\\.\n"]
    parts += ["## Clauses without a value\n"]
    parts += [f"- {prose(id)}: {prose(why)}\\.\n" for id, why in vectors.WITHOUT.items()]
    return "\n".join(parts)
