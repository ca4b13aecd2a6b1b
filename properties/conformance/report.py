"""A run as a report: JSON, Markdown, or a page of HTML."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Final

import spec
from properties.conformance.verdicts import Counterexample, Options, Verdict
from spec import CLAUSES, SPEC_VERSION

# Each with how the summary counts it.
VERDICTS: Final = {"holds": "hold", "unfinished": "unfinished", "fails": "fail",
                   "absent": "absent", "error": "in error"}  # fmt: skip
SUFFIXES: Final = (".json", ".md", ".html")
NOTHING: Final = (
    "The subject has nothing that these clauses ask for: give it the methods that "
    f"'python -m {spec.__name__} show ID' lists, or choose other --clauses."
)


@dataclass(frozen=True)
class Report:
    """What one run found on a subject; ``unknown`` are its methods that no protocol names."""

    subject: str
    options: Options
    verdicts: Sequence[Verdict]
    unknown: tuple[str, ...] = ()

    @property
    def status(self) -> int:
        """The exit status: 1 if a clause fails or errs, 2 if all are absent, 3 if unfinished."""
        found = {verdict.verdict for verdict in self.verdicts}
        if found & {"fails", "error"}:
            return 1
        return 2 if found == {"absent"} else 3 if "unfinished" in found else 0

    @property
    def notes(self) -> list[str]:
        """Sentences about the subject's methods."""
        told = [f"Unknown methods: {', '.join(self.unknown)}."] if self.unknown else []
        return told + ([NOTHING] if self.status == 2 else [])

    def counts(self) -> list[tuple[str, Counter[str]]]:
        """Return how many clauses of each chapter got each verdict, and of all."""
        chapters: dict[str, Counter[str]] = {}
        for verdict in self.verdicts:
            chapter = chapters.setdefault(CLAUSES[verdict.id].chapter, Counter())
            chapter[verdict.verdict] += 1
        return [*chapters.items(), ("all", Counter(v.verdict for v in self.verdicts))]

    def how(self) -> str:
        """Return in a sentence how the run searched."""
        examples = self.options.examples or "each property's own number of"
        return (
            f"Specification {SPEC_VERSION}; seed {self.options.seed}, {examples} examples, "
            f"at most {self.options.seconds:g} seconds a search"
            + ("." if self.options.exhaustive else ", nothing exhaustive.")
        )

    def write(self, path: Path) -> None:
        formats = {".json": as_json, ".md": as_markdown, ".html": as_html}
        path.write_text(formats[path.suffix](self), "utf-8")


def note(verdict: Verdict) -> str:
    """Return in a line how a clause was tried."""
    return f"{verdict.examples} inputs in {verdict.seconds:.1f} s"


def as_json(report: Report) -> str:
    found = {
        "subject": report.subject,
        "spec_version": SPEC_VERSION,
        "options": asdict(report.options),
        "unknown": report.unknown,
        "clauses": [{**asdict(v), "sentence": CLAUSES[v.id].sentence} for v in report.verdicts],
    }
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str) -> Report:
    """Return a report that was written as JSON.

    Raises:
        ValueError: it was made under another version of the specification.
    """
    data = json.loads(text)
    if data["spec_version"] != SPEC_VERSION:
        raise ValueError(
            f"the report on {data['subject']} was made under specification "
            f"{data['spec_version']}, and this is {SPEC_VERSION}; run 'nox -s reports'"
        )
    verdicts = []
    for entry in data["clauses"]:
        del entry["sentence"]
        first = entry["counterexample"]
        entry["counterexample"] = first and Counterexample(**first)
        entry["others"] = tuple(Counterexample(**other) for other in entry["others"])
        verdicts.append(Verdict(**entry))
    options, unknown = Options(**data["options"]), tuple(data.get("unknown", ()))
    return Report(data["subject"], options, verdicts, unknown)


def _fenced(text: str, language: str = "text") -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is, but for the literals of a docstring."""
    parts = text.split("``")
    parts[::2] = [re.sub(r"[\\`*_{}\[\]<>#|~$]", r"\\\g<0>", part) for part in parts[::2]]
    return "`".join(parts)


def as_markdown(report: Report) -> str:
    """Return a report as Markdown: counts by chapter, then every clause."""
    lines = [f"# Conformance of {_plain(report.subject)}", "", report.how(), ""]
    lines += [f"{_plain(told)}\n" for told in report.notes]
    lines += [f"| chapter | {' | '.join(VERDICTS)} |", "|---" * (1 + len(VERDICTS)) + "|"]
    for chapter, counts in report.counts():
        lines.append(f"| {chapter} | " + " | ".join(str(counts[v]) for v in VERDICTS) + " |")
    for verdict in report.verdicts:
        lines += ["", f"## {verdict.id}: {verdict.verdict}", ""]
        lines += [_plain(CLAUSES[verdict.id].sentence), "", f"Tried: {note(verdict)}."]
        reason = _plain(verdict.reason[:1].upper() + verdict.reason[1:])
        lines += ["", f"{reason}."] if reason else []
        for found in verdict.shown:
            lines += ["", _fenced(found.told)]
            lines += ["", _fenced(found.snippet, "python")] if found.snippet else []
            lines += ["", "Reproduced alone." if found.reproduced else "Not reproduced alone."]
    return "\n".join(lines) + "\n"


STYLE: Final = """
:root { color-scheme: light dark; --rule: #8884; --holds: #1d5c3a; --fails: #a3212f;
  --absent: #666; --error: #8a5a00; --unfinished: #5a4a9a; }
@media (prefers-color-scheme: dark) { :root { --holds: #8fd6ae; --fails: #f0a8b4;
  --absent: #aaa; --error: #e3cf86; --unfinished: #b9aef0; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 60rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .7rem; text-align: right; border-bottom: 1px solid var(--rule); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
section { border-top: 1px solid var(--rule); padding: .5rem 0; }
h2 { font-size: 1rem; margin: .3rem 0; }
p { margin: .3rem 0; overflow-wrap: anywhere; }
pre { overflow-x: auto; padding: .6rem; border: 1px solid var(--rule); font-size: .85rem; }
.note { opacity: .75; font-size: .85rem; }
.holds { color: var(--holds); } .fails { color: var(--fails); }
.absent { color: var(--absent); } .error { color: var(--error); }
.unfinished { color: var(--unfinished); }
@media (max-width: 30rem) { th, td { padding: .15rem .3rem; font-size: .8rem; } }
"""


def _section(verdict: Verdict) -> str:
    sentence = escape(CLAUSES[verdict.id].sentence.replace("``", ""))
    lines = [f'<section id="{verdict.id}">']
    lines += [f'<h2>{verdict.id} <span class="{verdict.verdict}">{verdict.verdict}</span></h2>']
    lines += [f"<p>{sentence}</p>", f'<p class="note">{escape(note(verdict))}</p>']
    lines += [f"<p>{escape(verdict.reason)}</p>"] if verdict.reason else []
    for found in verdict.shown:
        lines += [f"<pre>{escape(found.told)}</pre>"]
        lines += [f"<pre>{escape(found.snippet)}</pre>"] if found.snippet else []
        alone = "Reproduced alone." if found.reproduced else "Not reproduced alone."
        lines += [f'<p class="note">{alone}</p>']
    return "\n".join([*lines, "</section>"])


def as_html(report: Report) -> str:
    """Return a report as a page that needs no other file."""
    title = f"Conformance of {escape(report.subject)}"
    heads = "".join(f'<th class="{v}">{v}</th>' for v in VERDICTS)
    rows = [
        f"<tr><td>{chapter}</td>" + "".join(f"<td>{counts[v]}</td>" for v in VERDICTS) + "</tr>"
        for chapter, counts in report.counts()
    ]
    parts = ["<!doctype html>", '<html lang="en"><head><meta charset="utf-8">']
    parts += ['<meta name="viewport" content="width=device-width, initial-scale=1">']
    parts += [f"<title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>"]
    parts += [f"<p>{escape(told)}</p>" for told in [report.how(), *report.notes]]
    parts += [f"<table><tr><th>chapter</th>{heads}</tr>"]
    parts += [*rows, "</table>", *map(_section, report.verdicts), "</body></html>"]
    return "\n".join(parts) + "\n"
