"""The pages of what implementations meet, made from the reports in ``docs/reports``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from docs.sources import ROOT
from properties.conformance.report import VERDICTS, Report, as_markdown, from_json
from spec import CLAUSES

REPORTS: Final = ROOT / "docs" / "reports"
# The order of the columns, and what each is.
SUBJECTS: Final = {
    "exact": "the exact reference, in Python's fractions",
    "zeroproof": "this package",
    "zeroproofml-0.4.3": "a public package, the one of the v0.4 guide",
    "zeroproofml-0.6.1": "the same package, later",
}


def reports() -> dict[str, Report]:
    """Return the reports by subject; ValueError if one was made under another specification."""
    paths = {name: REPORTS / f"{name}.json" for name in SUBJECTS}
    return {name: from_json(path.read_text("utf-8")) for name, path in paths.items()}


def page_of(name: str) -> str:
    """Return the document of a subject's report."""
    return f"conformance-{name}"


def conformance_pages() -> Iterator[tuple[str, str]]:
    """Walk the pages: all subjects beside each other, and each subject's report."""
    found = reports()
    parts = ["# What implementations meet\n"]
    parts += ["[How to judge a subject](/guide/conformance.md) of your own.\n"]
    parts += [f"{next(iter(found.values())).how()}\n"]
    parts += [f"| subject | {' | '.join(VERDICTS)} |", "|---" * (1 + len(VERDICTS)) + "|"]
    for name, report in found.items():
        counts = dict(report.counts())["all"]
        told = " | ".join(str(counts[verdict]) for verdict in VERDICTS)
        parts.append(f"| [{name}]({page_of(name)}.md), {SUBJECTS[name]} | {told} |")
    parts += ["", "## Clause by clause\n", f"| clause | {' | '.join(found)} |"]
    parts.append("|---" * (1 + len(found)) + "|")
    verdicts = {name: {v.id: v.verdict for v in report.verdicts} for name, report in found.items()}
    for id in CLAUSES:
        cells = [_cell(name, id, verdicts[name][id]) for name in found]
        parts.append(f"| {{clause}}`{id}` | {' | '.join(cells)} |")
    parts += ["", "```{toctree}", ":hidden:", *(f"{name} <{page_of(name)}>" for name in found)]
    yield "spec/conformance", "\n".join([*parts, "```\n"])
    for name, report in found.items():
        yield f"spec/{page_of(name)}", as_markdown(report)


def _cell(name: str, id: str, verdict: str) -> str:
    if verdict in ("holds", "absent"):
        return f"[{verdict}]{{.{verdict}}}"
    return f"[{verdict}]({page_of(name)}.md#{id.lower()}-{verdict})"
