"""The pages that are made, not written: the specification, its properties, the API.

Everything here is Markdown in a string, made from the registry, the trace and the sources, so that
no rule is written twice. Sphinx reads the result from files that git ignores.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import properties
import spec
from docs.api import api_pages
from docs.conformance import conformance_pages
from docs.glossary import glossary_page
from docs.sources import (
    ROOT,
    anchor,
    code,
    definitions,
    module_of,
    paragraphs,
    path_of,
    property_files,
    prose,
    summary,
    toctree,
    used,
)
from docs.vectors import vectors_page
from properties.faults import Fault
from spec.clause import Clause
from spec.evidence import Evidence, evidence_of
from spec.lock import ID


def chips(clause: Clause, evidence: Evidence) -> str:
    """Return the kinds of evidence as labels."""
    labels = [f"[{kind}]{{.chip .{kind}}}" for kind in evidence.kinds]
    labels += ["[not yet met]{.chip .unmet}"] if evidence.unmet else []
    labels += ["[law to break]{.chip .law}"] if clause.must_fail else []
    return " ".join(labels or ["[no evidence yet]{.chip}"])


def title(clause: Clause) -> str:
    """Return the id and the predicate's name in words."""
    return f"{clause.id} · {clause.predicate.__name__.replace('_', ' ')}"


def property_link(node: str) -> str:
    """Return a link to a property, given as pytest names it."""
    file, _, name = node.partition("::")
    path, name = ROOT / file, name.partition("::")[0]
    if path not in property_files():
        return f"`{node}`"
    for known in definitions(path):
        if known.name == name:
            return f"[`{name}`](#{anchor(path.stem, name)}), {file}, line {known.line}"
    # A property that is made in a loop has no place of its own.
    return f"[`{name}`](/properties/{path.stem}.md), {file}"


def claim_link(name: str) -> str:
    """Return a link to what claims a clause; only a public thing has a page."""
    hidden = any(part.startswith("_") for part in name.split("."))
    return f"`{name}`" if hidden else f"{{py:obj}}`{name}`"


def bullets(lines: Iterable[str]) -> str:
    """Return a list."""
    return "".join(f"- {line}\n" for line in lines)


def clause_page(clause: Clause, evidence: Evidence, faults: Iterable[Fault] = ()) -> str:
    """Return the page of a clause."""
    module = module_of(clause)
    first = inspect.getsourcelines(clause.predicate)[1]
    parts = [f"# {title(clause)}\n", f"{{.sentence}}\n{prose(clause.sentence)}\n"]
    parts += [f"{chips(clause, evidence)} [since {clause.since}]{{.chip}}\n"]
    parts += [f"{{.not-yet}}\nNot yet met: {prose(evidence.unmet)}\n"] if evidence.unmet else []
    parts += ["## Why\n", *paragraphs(clause.why)]
    parts += [bullets(f"**{kind}:** {prose(reason)}" for kind, reason in sources(clause))]
    parts += ["## Evidence\n"]
    for kind in evidence.kinds:
        tested = map(property_link, evidence.properties[kind])
        parts.append(bullets(f"[{kind}]{{.chip .{kind}}} {link}" for link in tested))
    parts += [] if evidence.kinds else ["Nothing was recorded for the clause as it stands.\n"]
    parts += ["## Claims\n", "Each with the faults that it catches in subjects made for it.\n"]
    for claim in clause.claims:
        wrong = [prose(fault.wrong) for fault in faults if fault.claim == claim.id]
        parts += [f"**{claim.id}** {prose(claim.text)}\n", bullets(wrong)]
    parts += ["## Where in the code\n"]
    parts += [bullets(map(claim_link, evidence.met_by)) or "Nothing claims to meet it yet.\n"]
    parts += ["## The predicate\n", f"`{module.__name__}`, line {first}.\n"]
    parts += [code(inspect.getsource(clause.predicate))]
    helpers = used(clause)
    parts += [code(d.source) for _, d in helpers if d.name.startswith("_")]
    links = [f"[`{d.name}`](#{anchor(m.__name__, d.name)})" for m, d in helpers]
    parts += [f"It uses {', '.join(links)}.\n"] if links else []
    cited = f"ZeroProof specification {spec.SPEC_VERSION}, {clause.id} (`{clause.digest}`)"
    return "\n".join([*parts, f"{{.cite}}\nCite as: {cited}. The digest changes with the rule.\n"])


def sources(clause: Clause) -> Iterator[tuple[str, str]]:
    """Walk where a clause comes from: the kind of source, and what it says."""
    for part in re.split(r"; (?=(?:Guide|Paper|ZeroProof): )", clause.source):
        kind, _, reason = part.partition(": ")
        yield kind, reason


def table(rows: Iterable[tuple[Clause, Evidence]]) -> str:
    """Return the table of some clauses: id, sentence, evidence."""
    lines = ["````{list-table}", ":header-rows: 1", ":class: clauses", ":widths: 10 66 24", ""]
    lines += ["* - Clause", "  - What it says", "  - Evidence"]
    for clause, evidence in rows:
        link = f"[{clause.id}](/spec/{clause.id}.md)"
        lines += [f"* - {link}", f"  - {prose(clause.sentence)}", f"  - {chips(clause, evidence)}"]
    return "\n".join([*lines, "````\n"])


Rows = list[tuple[Clause, Evidence]]


@dataclass(frozen=True)
class Book:
    """What the pages are made of."""

    clauses: Mapping[str, Clause]
    trace: dict[str, Any]
    claims: Mapping[str, list[str]]
    faults: Sequence[Fault]
    modules: list[ModuleType]

    @cached_property
    def rows(self) -> Rows:
        """All clauses with what is known of them; claims need no run, and so are never old."""
        known = [(clause, evidence_of(clause, self.trace)) for clause in self.clauses.values()]
        return [(c, replace(e, met_by=self.claims.get(c.id, []))) for c, e in known]

    def chapter(self, name: str) -> Rows:
        """Return the clauses of a chapter, with their evidence."""
        return [(clause, evidence) for clause, evidence in self.rows if clause.chapter == name]

    def home(self, module: ModuleType) -> str:
        """Return the chapter on whose page a module is shown; empty for common ground."""
        named = re.match(r"([A-Z]{3,4})\b", summary(module)[0])
        own = [c.chapter for c in self.clauses.values() if module_of(c) is module]
        return next((name for name in [named and named[1], *own] if name in spec.CHAPTERS), "")

    def rooms(self, name: str) -> list[ModuleType]:
        """Return the modules of a chapter, those that it is at home in first."""
        own = [module for module in self.modules if self.home(module) == name]
        places = [module_of(clause) for clause, _ in self.chapter(name)]
        first = {module: place for place, module in reversed(list(enumerate(places)))}
        own.sort(key=lambda m: (not summary(m)[0].startswith(name), first.get(m, len(places))))
        return list(dict.fromkeys([*own, *places]))

    def chapter_page(self, name: str) -> str:
        """Return the page of a chapter: its clauses, and the modules that are at home there."""
        rows, rooms = self.chapter(name), self.rooms(name)
        head = summary(rooms[0])[0].rpartition(": ")[2].rstrip(".")
        parts = [f"# {name} · {head}\n", toctree(clause.id for clause, _ in rows)]
        parts += paragraphs(summary(rooms[0])[1])
        parts += ["## Clauses\n", table(rows)] if rows else []
        for module in rooms:
            if self.home(module) == name:
                parts += self.sections(module, told=module is rooms[0])
            else:
                parts += [f"Reference functions of [{self.home(module)}]({self.home(module)}.md), "
                          f"from `{module.__name__}`, serve this chapter, too.\n"]  # fmt: skip
        return "\n".join(parts)

    def index_page(self) -> str:
        """Return the table of all clauses."""
        head, rest = summary(spec)
        names = [name for name in spec.CHAPTERS if self.rooms(name)]
        parts = ["# The specification\n", f"{{.sentence}}\n{prose(head)}\n"]
        parts += [f"Version {spec.SPEC_VERSION}, {len(self.clauses)} clauses.\n"]
        parts += paragraphs(rest)
        stems = {name: self.rooms(name)[0].__name__.rpartition(".")[2] for name in names}
        chapters = [f"{name} · {stems[name]} <{name}>" for name in names]
        parts += [toctree(["glossary", *chapters, "common", "subject", "vectors", "conformance"])]
        for name in names:
            if rows := self.chapter(name):
                parts += [f"## [{name}]({name}.md)\n", table(rows)]
        return "\n".join(parts)

    def common_page(self) -> str:
        """Return the page of what no chapter owns."""
        parts = ["# Common ground\n", "What the chapters are written in.\n"]
        for module in self.modules:
            parts += [] if self.home(module) else self.sections(module)
        return "\n".join(parts)

    def subject_page(self) -> str:
        """Return the page of what a subject offers: the methods of each chapter's protocols."""
        parts = ["# What a subject offers, by chapter\n"]
        parts += ["A subject has those of these methods that its library can carry out.\n"]
        for name in spec.CHAPTERS:
            for module in (m for m in self.rooms(name) if self.home(m) == name):
                for found in (d for d in definitions(path_of(module)) if d.protocol):
                    link = f"[`{found.name}`](#{anchor(module.__name__, found.name)})"
                    protocol = getattr(module, found.name)
                    said = prose(" ".join((inspect.getdoc(protocol) or "").split()))
                    parts += [f"## {name}: {link}\n", f"{said}\n", bullets(_offered(protocol))]
        return "\n".join(parts)

    def sections(self, module: ModuleType, told: bool = False) -> list[str]:
        """Return what a module defines but its predicates; what it says, unless told already."""
        predicates = {c.predicate.__name__ for c in self.clauses.values() if module_of(c) is module}
        found = [d for d in definitions(path_of(module)) if d.name not in predicates]
        functions = [d.section(module.__name__) for d in found if not d.protocol]
        protocols = [d.section(module.__name__) for d in found if d.protocol]
        file = f"`spec/{path_of(module).name}`"
        parts = [f"## Reference functions, {file}\n"] if functions else []
        parts += [] if told else paragraphs("\n\n".join(summary(module)))
        parts += [*functions, *([f"## What a subject offers, {file}\n"] if protocols else [])]
        return [*parts, *protocols]

    def properties_page(self, path: Path) -> str:
        """Return the page of a file of properties."""
        file = str(path.relative_to(ROOT))
        held: dict[str, set[str]] = {}
        for id, entry in self.trace.items():
            for node in (node for nodes in entry["evidence"].values() for node in nodes):
                held.setdefault(node, set()).add(id)
        head = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or path.stem
        parts = [f"# {prose(head.partition(chr(10) * 2)[0].rstrip('.'))}\n"]
        for found in definitions(path):
            ids = held.get(f"{file}::{found.name}", set()) | set(ID.findall(found.source))
            known = [f"{{clause}}`{id}`" for id in self.clauses if id in ids]
            where = [*known, f"`{file}`, line {found.line}"]
            note = "" if found.name.isupper() else f"{', '.join(where)}\n\n"
            parts.append(found.section(path.stem, "##", note))
        return "\n".join(parts)

    def order(self, path: Path) -> tuple[bool, int, str]:
        """Return the place of a file: that of the first clause it names; then what makes inputs."""
        ids = set(ID.findall(path.read_text("utf-8").replace("_", "-")))
        places = [place for place, id in enumerate(self.clauses) if id in ids]
        other = not path.stem.startswith(("test_", "prove_"))
        return other, min(places, default=len(self.clauses)), path.stem

    def pages(self) -> Iterator[tuple[str, str]]:
        """Walk all pages that are made: names and texts."""
        yield "spec/index", self.index_page()
        yield "spec/common", self.common_page()
        yield "spec/subject", self.subject_page()
        yield "spec/glossary", glossary_page()
        yield "spec/vectors", vectors_page()
        yield from conformance_pages()
        for name in spec.CHAPTERS:
            if self.rooms(name):
                yield f"spec/{name}", self.chapter_page(name)
            for clause, evidence in self.chapter(name):
                yield f"spec/{clause.id}", clause_page(clause, evidence, self.faults)
        files = sorted(property_files(), key=self.order)
        parts = ["# Properties\n", *paragraphs(inspect.getdoc(properties) or "")]
        names = []
        for path in files:
            page = self.properties_page(path)
            yield f"properties/{path.stem}", page
            kind, _, name = path.stem.partition("_")
            label = {"test": name, "prove": f"{name}, proved"}.get(kind, path.stem)
            names.append(f"{label} <{path.stem}>")
            parts.append(f"- [{label}]({path.stem}.md): {page.splitlines()[0].removeprefix('# ')}")
        yield "properties/index", "\n".join([*parts, "\n", toctree(names)])
        yield from api_pages()


def _offered(protocol: type) -> Iterator[str]:
    """Walk what a protocol's own body asks for, with the first paragraph of what it says."""
    for name, member in vars(protocol).items():
        method = inspect.isfunction(member) or isinstance(member, property)
        if method and not name.startswith("_"):
            said = (inspect.getdoc(member) or "").partition("\n\n")[0]
            yield f"`{name}`: {prose(' '.join(said.split()))}"


def write(folder: Path, pages: Iterable[tuple[str, str]]) -> None:
    """Write pages that changed, and remove those that are no longer made."""
    made = {folder / f"{name}.md": text for name, text in pages}
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
    for path in {p for made_in in {m.parent for m in made} for p in made_in.glob("*.md")} - {*made}:
        path.unlink()
