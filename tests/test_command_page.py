"""The page of a report: names, pictures, and what stands alone in one file."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.report_helpers import rows_of, train
from zeroproof.command import page


class Page(HTMLParser):
    """Checks that elements are closed and that names of elements are their own."""

    VOID = ("meta", "path", "use", "rect", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open, self.ids, self.fetched = list[str](), list[str](), list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open += [] if tag in self.VOID else [tag]
        for name, value in attrs:
            self.ids += [value or ""] if name == "id" else []
            if name in ("src", "href", "xlink:href") and not str(value).startswith("#"):
                self.fetched.append(str(value))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_stands_alone_and_shows_names_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, text = train(tmp_path, "several", "--ignore", "温度")
    html = (folder / "report.html").read_text(encoding="utf-8")
    parser = Page()
    parser.feed(html)
    assert parser.open == []
    assert parser.fetched == []
    assert len(parser.ids) == len(set(parser.ids)) > 50
    assert "url(http" not in html
    assert "@import" not in html
    assert html.count("<svg") == 7, "curves; for two targets points, shares, importance"
    for name in ("Re_$y_1$", "虚部", "$a_1$", "напряжение"):
        assert len(re.findall(rf"<text[^>]*>[^<]*{re.escape(name)}", html)) >= 1, name
        assert f"<td>{name}</td>" in html
    assert not {page.INK, page.BLUE, page.ORANGE} & set(re.findall("#[0-9a-f]{6}", html)), (
        "a dark page needs colours of its own"
    )
    assert "{{" not in html + text
    assert "![pictures](plot.png)" in text
    assert (folder / "plot.png").read_bytes().startswith(b"\x89PNG")
    columns = rows_of(text, "Columns")
    assert [row[:2] for row in columns[1:]] == [
        ["sample", "ignored"],
        ["$a_1$", "number"],
        ["напряжение", "number"],
        ["温度", "ignored"],
        ["Re_$y_1$", "target"],
        ["虚部", "target"],
    ]
    again = text.split("```sh\n")[1].split("\n```")[0]
    assert again.startswith("zeroproof train --config ")
    said = capsys.readouterr().out
    assert said.startswith(text[2 : text.index("\n")].replace("\\", ""))
    assert "report.html" in said


def test_marks_of_markdown_and_html_in_names_are_text(tmp_path: Path) -> None:
    table = pd.DataFrame([["<i>`$"]], columns=["h|1"])
    sections: page.Sections = {"a|b": ["*x* <b>", "_y_", table]}
    assert page.write(tmp_path, "<t>", [("A & B", "c_d")], sections, "a_b") == []
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# A & B\n\nc\\_d\n\n\\<t\\>\n")
    assert "| h\\|1 |\n| --- |\n| \\<i\\>\\`\\$ |" in text
    assert "\\*x\\* \\<b\\>" in text
    html = (tmp_path / "report.html").read_text()
    for part in (
        "<title>&lt;t&gt;</title>",
        "<h1>A &amp; B</h1>",
        "<td>&lt;i&gt;`$</td>",
        "<p>_y_</p>",
    ):
        assert part in html


def test_a_picture_that_fails_is_named_and_costs_nothing_else(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*arguments: Any) -> None:
        raise ValueError("no such glyph")

    monkeypatch.setattr(page, "curves", fail)
    folder, text = train(tmp_path, "limits", epochs=1)
    assert "could not be drawn (no such glyph)" in text.split("## Training")[1]
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert "could not be drawn (no such glyph)" in html
    assert html.count("<svg") == 3
    assert (folder / "plot.png").exists()
    assert "could not be drawn (no such glyph)" in capsys.readouterr().out


def test_without_matplotlib_the_remedy_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(page.importlib.util, "find_spec", lambda name: None)
    folder, text = train(tmp_path, "limits", epochs=1)
    assert "pip install 'zeroproof-scm\\[plot\\]'" in text
    assert "pip install 'zeroproof-scm[plot]'" in capsys.readouterr().out
    assert "plot.png" not in text
    assert "<svg" not in (folder / "report.html").read_text(encoding="utf-8")
    assert not (folder / "plot.png").exists()
