"""What the conformance suite shows: on the terminal, and in reports that are read back."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from html.parser import HTMLParser
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from properties.assertions import Reference, snippet
from properties.conformance.report import Report, as_html, as_json, as_markdown, from_json
from properties.conformance.verdicts import Counterexample, Options, Verdict
from spec import BOTTOM, CLAUSES, SPEC_VERSION, Array
from spec.expressions import expression
from spec.runs import MicroBatch, Plan
from tests.tooling.conftest import SUBJECTS
from tests.tooling.helpers import by_id

ROOT = Path(__file__).parents[2]

# What is shown


def test_lines_fit_and_a_fault_is_told_once(
    run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    _, report = run("those:Uncovered", "--clauses", "COV-1")
    found = by_id(report)["COV-1"]
    claims = [c["claim"] for c in (found["counterexample"], *found["others"])]
    assert claims == sorted(set(claims))
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) < 100
    text = next(c.text for c in CLAUSES["COV-1"].claims if c.id == claims[0])
    assert f"{claims[0]}: {text}" in " ".join(shown.split())


@pytest.mark.parametrize(
    "value",
    [
        Plan(((MicroBatch("v b", Fraction(1, 3)), MicroBatch("V")),), patience=2),
        Array((-0.0, inf, nan), (3,), "float16"),
        [("a  b", {"it's": 1}), (True, 1, 1.0), Fraction(10**40 + 1, 3**90)],
    ],
)
def test_an_expression_makes_its_value_again(value: object) -> None:
    types: set[type] = set()
    text = expression(value, types)
    names = {kind.__name__: kind for kind in types} | {"inf": inf, "nan": nan}
    assert repr(eval(text, names)) == repr(value)
    assert "patience=1" not in text
    assert "layout" not in text


def test_the_terminal_names_what_is_absent_and_why(
    run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run("those:Partial", "--clauses", "LIFT-1,LIFT-4,STOP-1,STOP-2", "--examples", "5")
    shown = capsys.readouterr().out.splitlines()
    assert "Absent, it has no 'unlift': LIFT-4" in shown
    assert "Absent, it has no 'watch': STOP-1, STOP-2" in shown


def test_the_terminal_tells_what_was_not_tried_of_a_clause_that_holds(
    run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run("those:Partial", "--clauses", "LIFT-7", "--examples", "40")
    assert "Holds, not tried in part: no bfloat16: LIFT-7" in capsys.readouterr().out


def test_an_error_in_the_suite_says_where_the_right_types_stand(run: Callable[..., Any]) -> None:
    _, report = run("those:Untyped", "--clauses", "COV-2", "--examples", "5")
    found = by_id(report)["COV-2"]["counterexample"]["found"]
    assert re.match(r"coverage\.py:\d+ \(.* 'python -m spec show COV-2'\?\): TypeError: ", found)


def test_an_older_encoding_loses_no_verdict(tmp_path: Path) -> None:
    for command in (["-m", "spec", "show", "LIFT-4"],
                    ["-m", "zeroproof_conformance", "--subject", "those:Uncovered",
                     "--clauses", "COV-1", "--examples", "5"]):  # fmt: skip
        (tmp_path / "those.py").write_text(SUBJECTS, "utf-8")
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "latin-1"},
            capture_output=True,
            check=False,
        )
        assert b"?" in done.stdout, done.stderr


def test_a_program_has_what_it_names() -> None:
    exact = Reference("properties.subjects.exact", "Exact()")
    exec(snippet("ALG-42", exact, "rational", (Fraction(1, 2),), (BOTTOM,)), {})


# Reports


def verdict_with(text: str) -> Report:
    found = Counterexample(text, f"print({text!r})", "Violation", "LIFT-2.1", reproduced=True)
    verdicts = [
        Verdict("LIFT-1", "unfinished", 7, 0.5),
        Verdict("LIFT-2", "fails", 3, 0.1, counterexample=found),
        Verdict("STOP-1", "absent", 0, 0.0, reason=text),
    ]
    return Report("mine:<b>", Options(), verdicts, ("lifts",))


def test_a_report_is_read_back() -> None:
    report = verdict_with("é ``x``")
    assert from_json(as_json(report)) == report


def test_a_report_of_another_specification_is_refused() -> None:
    old = as_json(verdict_with("")).replace(f'"{SPEC_VERSION}"', '"0.1.0"')
    with pytest.raises(ValueError, match=r"mine:<b> was made under specification 0\.1\.0"):
        from_json(old)


def test_markdown_counts_and_shows() -> None:
    text = as_markdown(verdict_with("```<script>"))
    assert "| LIFT | 0 | 1 | 1 | 0 | 0 |\n| STOP | 0 | 0 | 0 | 1 | 0 |" in text
    assert "| all | 0 | 1 | 1 | 1 | 0 |" in text
    assert "# Conformance of mine:\\<b\\>" in text
    assert "````text\nLIFT-2.1: " in text
    assert "\n```<script>\n````" in text
    assert "7 inputs in 0.5 s" in text


class Tags(HTMLParser):
    """The tags of a page, each open one closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_stands_alone_and_escapes() -> None:
    page = as_html(verdict_with("<script>&"))
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert not {"script", "link", "img"} & set(tags.seen)
    assert "LIFT-2.1: " in page
    assert "&lt;script&gt;&amp;" in page
    assert 'name="viewport"' in page
    assert "<td>LIFT</td><td>0</td><td>1</td><td>1</td><td>0</td><td>0</td>" in page


def test_reports_are_written_by_suffix(run: Callable[..., Any]) -> None:
    run("exact", "--clauses", "AMP-2", "--report", "out.md", "--report", "out.html")
    assert "## AMP-2: holds" in Path("out.md").read_text("utf-8")
    assert '<section id="AMP-2">' in Path("out.html").read_text("utf-8")
