"""The book: its examples run as printed, and its pages say what the registry says."""

from __future__ import annotations

import contextlib
import doctest
import inspect
import io
import re
from pathlib import Path
from typing import Any

import pytest

from docs.conformance import reports
from docs.pages import Book, clause_page, write
from docs.sources import prose
from properties.faults import Fault
from spec import CLAUSES, arrays, epochs, lifting, thresholds, update, vectors
from spec.evidence import evidence_of

GUIDE = Path(__file__).parents[2] / "docs" / "guide"
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def examples(page: Path) -> list[tuple[str, str]]:
    """Return a page's examples, each with the output that is shown right after it."""
    text, found = page.read_text("utf-8"), list[tuple[str, str]]()
    for language, body in BLOCK.findall(text):
        if language == "python":
            found.append((body, ""))
        else:
            found[-1] = (found[-1][0], found[-1][1] + body)
    return found


@pytest.mark.parametrize("page", sorted(GUIDE.glob("*.md")), ids=lambda page: page.stem)
def test_the_examples_of_a_page_run_as_printed(page: Path) -> None:
    namespace: dict[str, object] = {}
    for code, expected in examples(page):
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            exec(compile(code, str(page), "exec"), namespace)
        options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        right = doctest.OutputChecker().check_output(expected, shown.getvalue(), options)
        assert right, f"{code}\nprinted\n{shown.getvalue()}\nnot\n{expected}"


# What is made of the registry, against a hand-made trace

DIGEST = CLAUSES["LIFT-2"].digest
PROPERTY = "properties/test_lifting.py::test_LIFT_1_to_6_of_targets"
TRACE = {
    "LIFT-2": {
        "digest": DIGEST,
        "evidence": {"sampled": [PROPERTY], "proved": ["properties/proofs/gone.py::prove_it"]},
        "met_by": [],
        "unmet": "it is |slow|",
    }
}


WRONG = Fault("LIFT-2.1", "±∞ is ``clipped``.", object)
MODULES = [lifting, update, epochs, thresholds, arrays]


def book(trace: dict[str, Any]) -> Book:
    claims = {"LIFT-2": ["zeroproof.training.targets.lift_targets", "zeroproof.training._hidden"]}
    return Book(CLAUSES, trace, claims, [WRONG], MODULES)


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return dict(book(TRACE).pages())


def test_a_clause_s_page_answers_what_why_since_when_and_how_we_know(
    pages: dict[str, str],
) -> None:
    page = pages["spec/LIFT-2"]
    clause = CLAUSES["LIFT-2"]
    for part in (
        "# LIFT-2 · infinite",
        prose(clause.sentence),
        prose(clause.source.removeprefix("Guide: ")),
        f"since {clause.since}",
        "[`test_LIFT_1_to_6_of_targets`](#test_lifting-test_lift_1_to_6_of_targets)",
        "`properties/proofs/gone.py::prove_it`",
        "{py:obj}`zeroproof.training.targets.lift_targets`",
        "- `zeroproof.training._hidden`",
        r"Not yet met: it is \|slow\|",
        f"**LIFT-2.1** {prose(clause.claims[0].text)}",
        "- ±∞ is `` clipped ``\\.",
        inspect.getsource(clause.predicate).strip(),
        "def _require_lift",
        "(#spec-lifting-lift)",
        clause.digest,
    ):
        assert part in page, part


def test_what_was_recorded_of_another_clause_is_no_evidence() -> None:
    stale = {"LIFT-2": TRACE["LIFT-2"] | {"digest": "0"}}
    for trace in ({}, stale):
        page = clause_page(CLAUSES["LIFT-2"], evidence_of(CLAUSES["LIFT-2"], trace))
        assert "no evidence yet" in page
        assert "test_LIFT_1" not in page


def test_every_clause_has_a_page_and_a_row(pages: dict[str, str]) -> None:
    for id, clause in CLAUSES.items():
        assert f"(/spec/{id}.md)" in pages["spec/index"]
        assert prose(clause.sentence) in pages[f"spec/{id}"]


def test_the_words_come_before_the_chapters(pages: dict[str, str]) -> None:
    assert "**micro-batch**\n: What the loader yields" in pages["spec/glossary"]
    contents = pages["spec/index"]
    assert contents.index("glossary\n") < contents.index("ALG")


def test_a_module_is_shown_where_its_docstring_says(pages: dict[str, str]) -> None:
    made = book(TRACE)
    assert [made.home(m) for m in (lifting, update, epochs, arrays)] == ["LIFT", "STEP", "VAL", ""]
    assert "def sample_mean" in pages["spec/ACC"]
    assert "def sample_mean" not in pages["spec/STEP"]
    assert "[VAL](VAL.md)" in pages["spec/LIFT"]
    assert "class Array" in pages["spec/common"]


def test_the_page_of_vectors_names_every_operation_and_clause(pages: dict[str, str]) -> None:
    page = pages["spec/vectors"]
    assert all(f"`{name}`" in page for name in vectors.OPERATIONS)
    for id, clause in CLAUSES.items():
        many = f"clauses of {clause.chapter}"
        assert f"{{clause}}`{id}`" in page or many in page, id


def test_the_reports_of_four_subjects_are_of_this_specification(pages: dict[str, str]) -> None:
    for name, report in reports().items():
        assert [verdict.id for verdict in report.verdicts] == list(CLAUSES)
        assert (report.status == 0) == (name in ("exact", "zeroproof"))
        for verdict in report.verdicts:
            assert f"## {verdict.id}: {verdict.verdict}" in pages[f"spec/conformance-{name}"]
            found = verdict.counterexample
            assert verdict.verdict != "fails" or (found and found.reproduced), verdict.id
    assert "[fails](conformance-zeroproofml-0.4.3.md#cov-1-fails)" in pages["spec/conformance"]


def test_a_property_s_entry_leads_to_its_clauses(pages: dict[str, str]) -> None:
    page = pages["properties/test_lifting"]
    entry = page.partition("(test_lifting-test_lift_1_to_6_of_targets)=")[2]
    assert "{clause}`LIFT-2`" in entry[:200]
    assert "`properties/test_lifting.py`, line" in entry[:300]


def test_prose_is_verbatim_but_for_literals_ids_and_emphasis() -> None:
    text = "``|Q|`` of LIFT-2, |Q| < [a](b) *so so* x*y*z"
    wanted = r"`` |Q| `` of {clause}`LIFT-2`\, \|Q\| \< \[a\]\(b\) *so so* x\*y\*z"
    assert prose(text) == wanted


def test_pages_that_nothing_makes_any_more_go(tmp_path: Path) -> None:
    write(tmp_path, [("spec/A-1", "one"), ("spec/A-2", "two")])
    write(tmp_path, [("spec/A-1", "one")])
    assert [path.name for path in (tmp_path / "spec").iterdir()] == ["A-1.md"]
