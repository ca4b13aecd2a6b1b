"""Trace the clauses: into the docstrings that claim them, and the properties that held them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import pytest

from properties.assertions import HELD
from spec import CLAUSES
from spec.evidence import KINDS
from spec.lock import ids_in

ROOT = Path(__file__).parent.parent
TRACE = ROOT / "spec" / "trace.json"


def docstrings(folder: Path) -> Iterator[tuple[str, str]]:
    """Walk the docstrings of a package: qualified names and texts."""
    for path in sorted(folder.rglob("*.py")):
        module = ".".join(path.relative_to(folder.parent).with_suffix("").parts)
        yield from _docstrings(ast.parse(path.read_text("utf-8")), module.removesuffix(".__init__"))


def _docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    body = getattr(node, "body", [])
    for before, after in zip([None, *body], body, strict=False):
        if isinstance(after, (ast.ClassDef, ast.FunctionDef)):
            yield from _docstrings(after, f"{name}.{after.name}")
        text = after.value if isinstance(after, ast.Expr) else None
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            # A string after an assignment documents what was assigned.
            target = before.targets[0] if isinstance(before, ast.Assign) else None
            yield f"{name}.{target.id}" if isinstance(target, ast.Name) else name, text.value


def claims(folder: Path) -> dict[str, list[str]]:
    """Return who claims each clause by a "Meets:" in its docstring."""
    found: dict[str, list[str]] = {}
    for name, text in docstrings(folder):
        for meets in re.findall(r"Meets:(.*?)(?:\n\s*\n|\Z)", text, re.DOTALL):
            for id in ids_in(meets):
                found.setdefault(id, []).append(name)
    return found


def properties_in(folder: Path) -> dict[str, list[str]]:
    """Return the clauses that the name of each property names, ``test_LIFT_2_…``."""
    found: dict[str, list[str]] = {}
    for path in [*sorted(folder.glob("test_*.py")), *sorted(folder.glob("proofs/prove_*.py"))]:
        place = path.relative_to(folder.parent)
        # Imported, since some are made in a loop.
        for name in vars(import_module(".".join(place.with_suffix("").parts))):
            if name.startswith("test_"):
                named = re.match(r"test_([A-Z]+)_(\d+)_", name + "_")
                ids = [f"{named[1]}-{named[2]}"] if named else []
                found[f"{place.as_posix()}::{name}"] = ids
    return found


def problems(
    digests: Mapping[str, str],
    trace: Mapping[str, Any],
    claimed: Mapping[str, Sequence[str]],
    properties: Mapping[str, Sequence[str]],
    mentioned: Mapping[str, Sequence[str]],
    faults: Mapping[str, Sequence[str]],
) -> Iterator[str]:
    """Walk the broken ends between clauses, properties and the docstrings that claim them.

    Args:
        digests: of the clauses as they stand, by id.
        trace: what was recorded, by id.
        claimed: who claims each id by a "Meets:".
        properties: the ids in each property's name.
        mentioned: the ids in each docstring.
        faults: what the wrong subjects do that each claim has to catch.
    """
    remedy = "run 'nox -s properties', which records it"
    for id, digest in digests.items():
        entry = trace.get(id, {})
        recorded = {name for names in entry.get("evidence", {}).values() for name in names}
        if entry.get("digest") != digest:
            yield f"{id} changed since its evidence was recorded; {remedy}"
        if not recorded:
            yield f"{id} has no property; write one that holds it"
        known = {c: sorted(set(wrong)) for c, wrong in faults.items() if c.rpartition(".")[0] == id}
        if known != entry.get("faults"):
            yield f"{id} has other faults than were recorded; {remedy}"
        for name in recorded - properties.keys():
            yield f"{id} is said to be held by {name}, which is not there; {remedy}"
        if not claimed.get(id) and not entry.get("unmet"):
            yield f"{id} is claimed by no docstring of zeroproof; add a 'Meets: {id}'"
        if list(claimed.get(id, ())) != entry.get("met_by"):
            yield f"{id} is claimed by others than was recorded; {remedy}"
    for where, ids in [*properties.items(), *mentioned.items()]:
        for id in ids:
            if id not in digests:
                yield f"{where} names {id}, which is no clause"
            elif where in properties and where not in str(trace.get(id, {}).get("evidence")):
                yield f"{where} was never recorded as evidence of {id}; {remedy}"
    for id in trace.keys() - digests.keys():
        yield f"the trace holds {id}, which is no clause; {remedy}"


@dataclass(eq=False)
class Recorder:
    """A plugin that notes which clauses each passing property held, and writes it down.

    A property gives evidence by what it is: proved or exhaustive where it is marked so, sampled
    where Hypothesis draws its inputs, else an example.
    """

    writes: bool
    held: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    unmet: dict[str, set[str]] = field(default_factory=dict)
    caught: set[tuple[str, str]] = field(default_factory=set)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Attach to the report what was held."""
        HELD.clear()
        try:
            return (yield)
        finally:
            marks = {mark.name for mark in item.iter_markers()}
            function = getattr(item, "function", None)
            sampled = "sampled" if hasattr(function, "hypothesis") else "example"
            kind = next((kind for kind in KINDS if kind in marks), sampled)
            if "faults" not in marks:
                item.user_properties.append(("held", (kind, sorted(HELD))))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what a report says."""
        for name, value in report.user_properties:
            if name == "fault" and report.passed:
                self.caught.add(cast(tuple[str, str], value))
            if name == "held" and report.when == "call":
                kind, ids = cast(tuple[str, list[str]], value)
                for id in ids:
                    if report.passed:
                        names = self.held.setdefault(id, {}).setdefault(kind, set())
                        names.add(report.nodeid.partition("[")[0])
                    elif hasattr(report, "wasxfail"):
                        self.unmet.setdefault(id, set()).add(report.wasxfail)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Replace ``spec/trace.json``; a run of a part leaves the rest without evidence."""
        if not self.writes or exitstatus != pytest.ExitCode.OK:
            return
        caught: dict[str, dict[str, list[str]]] = {}
        for claim, wrong in sorted(self.caught):
            caught.setdefault(claim.rpartition(".")[0], {}).setdefault(claim, []).append(wrong)
        claimed, trace = claims(ROOT / "zeroproof"), dict[str, Any]()
        for id, clause in CLAUSES.items():
            held = self.held.get(id, {})
            trace[id] = {
                "digest": clause.digest,
                "evidence": {kind: sorted(held[kind]) for kind in KINDS if kind in held},
                "met_by": claimed.get(id, []),
                "faults": caught.get(id, {}),
            } | ({"unmet": "; ".join(sorted(self.unmet[id]))} if id in self.unmet else {})
        TRACE.write_text(json.dumps(trace, indent=1, ensure_ascii=False) + "\n", "utf-8")
