"""What the command says about a run: each number recomputed, each word held to what it means."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from zeroproof.command import page, report
from zeroproof.command.main import main
from zeroproof.command.run import Predictions, Run
from zeroproof.command.scores import shown
from zeroproof.command.table import Measured

INF, NAN = math.inf, math.nan
EDGES = (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.1)


def table(kind: str, rows: int = 150) -> pd.DataFrame:
    """Return a table that is learned in part within a few epochs."""
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (rows, 3))
    value = 3 * x[:, 0] + x[:, 1] + 0.1 * random.normal(size=rows)
    frame = pd.DataFrame(x, columns=["$a_1$", "напряжение", "温度"])
    frame.insert(0, "sample", [f"S-{i:03}" for i in range(rows)])
    if kind == "limits":
        frame["y"] = [f">{2}" if v > 2 else "<-2" if v < -2 else f"{v:.4f}" for v in value]
    elif kind == "poles":
        gap = x[:, 0] - x[:, 1]
        frame["y"] = [
            "nan" if abs(g) < 0.1 else "inf" if 0.1 < g < 0.2 else f"{1 / g:.4f}" for g in gap
        ]
    elif kind == "bounds":
        ends = random.uniform(-2, 3, rows)
        frame["y"] = [
            f">{e:.3f}" if e < v else f"{v:.4f}" for v, e in zip(value, ends, strict=True)
        ]
    elif kind == "ranges":
        frame["y"] = [f"{v + 9:.2f}-{v + 10:.2f}" if v > 1 else f"{v + 9:.4f}" for v in value]
    elif kind == "logarithm":
        frame["y"] = [f"{10**v:.6g}" if v > -2 else "<0.01" for v in value]
    else:
        frame["Re_$y_1$"], frame["虚部"] = value, -value
    return frame


def train(folder: Path, kind: str, *options: str, epochs: int = 10) -> tuple[Path, str]:
    """Train on a table, and return the run's folder and its report."""
    table(kind).to_csv(folder / "data.csv", index=False)
    names = ["Re_$y_1$", "虚部"] if kind == "several" else ["y"]
    chosen = [part for name in names for part in ("--target", name)]
    common = ["--out", str(folder / "run"), "--epochs", str(epochs)]
    assert main(["train", str(folder / "data.csv"), *chosen, *common, *options]) == 0
    return folder / "run", (folder / "run" / "report.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, str]]:
    """Train once for each choice of options; tests only read the folder."""
    return functools.cache(lambda *options: train(tmp_path_factory.mktemp("trained"), *options))


def rows_of(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the tables below a heading, as they were before they were escaped."""
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    plain = re.sub(r"\\(.)", r"\1", section.replace("\\|", "¦"))
    rows = [line[1:-1].split("|") for line in plain.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if "---" not in row[0]]


def ends_of(cell: Any) -> tuple[float, float]:
    """Read a label, independently of the command."""
    text = str(cell)
    if text.startswith(">"):
        return float(text[1:]), INF
    if text.startswith("<"):
        return -INF, float(text[1:])
    if match := re.fullmatch(r"([\d.]+)-([\d.]+)", text):
        return float(match[1]), float(match[2])
    return float(text), float(text)


def kept(value: float, limits: tuple[float, float], middle: float) -> float:
    """Return what an answer counts as."""
    value = min(max(value, limits[0]), limits[1]) if not math.isnan(value) else value
    return value if math.isfinite(value) else middle


@pytest.mark.parametrize(
    ("kind", "options", "limits"),
    [
        ("limits", [], (-2, 2)),
        ("poles", [], (-INF, INF)),
        ("bounds", [], (-INF, INF)),
        ("ranges", [], (-INF, INF)),
        ("logarithm", ["--log-target"], (-2, INF)),
        ("several", ["--shared-denominator"], (-INF, INF)),
    ],
)
def test_every_number_can_be_recomputed_from_the_predictions(
    trained: Callable[..., tuple[Path, str]],
    kind: str,
    options: list[str],
    limits: tuple[float, float],
) -> None:
    folder, text = trained(kind, *options)
    frame = pd.read_csv(folder / "predictions.csv", dtype=str, keep_default_na=False)
    rows = rows_of(text, "Beside rivals")
    heads = [i for i, row in enumerate(rows) if row[1] == "this model"]
    assert len(heads) == (2 if kind == "several" else 1)
    for head, after in zip(heads, [*heads[1:], len(rows)], strict=True):
        target = rows[head][0].removeprefix("log10 of ")
        prefix = f"{target}_" if kind == "several" else ""
        log = np.log10 if "--log-target" in options else np.asarray
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = log([ends_of(cell) for cell in frame[target]]).T
            low = np.where(np.isnan(low) & np.isfinite(high), -INF, low)
            columns = {
                name: log(frame[prefix + name].replace("", "nan").astype(float))
                for name in ("prediction", "guess", "boosting", "lower", "upper")
            }
        assert rows[head][1:] == ["this model", "guessing the median", "gradient boosting"]
        told = {row[0]: row[1:] for row in rows[head + 1 : after]}
        number = np.isfinite(low) & np.isfinite(high)
        middle = columns["guess"][0]
        data = pd.read_csv(folder.parent / "data.csv", dtype=str, keep_default_na=False)
        seen = [ends_of(c) for c in data[target][~data["sample"].isin(frame["sample"])]]
        with np.errstate(divide="ignore", invalid="ignore"):
            middles = log([(a + b) / 2 for a, b in seen if math.isfinite(b - a)])
        assert middle == pytest.approx(np.median(middles), rel=1e-6)
        for place, name in enumerate(("prediction", "guess", "boosting")):
            value = columns[name]
            found = np.array([kept(v, limits, middle) for v in value])
            error = np.abs(found - np.clip(found, low, high))
            answered = number & np.isfinite(value)
            wrong = {
                "said 'no number' for a measured value": (number, ~np.isfinite(value)),
                "said a number where the label is inf or nan": (
                    ~number & ~(low < high),
                    np.isfinite(value),
                ),
                "such as '>": (np.isinf(high) & np.isfinite(low), value < low),
                "such as '<": (np.isinf(low) & np.isfinite(high), value > high),
            }
            means = {"error, all": error[number].mean(), "the same": error[answered].mean()}
            for words, cells in told.items():
                start = [part for part in means if part in words]
                kinds = [part for part in wrong if part in words]
                if start and not kinds:
                    mean = float(cells[place].split(" (")[0])
                    assert mean == pytest.approx(means[start[0]], rel=6e-3), words
                if kinds:
                    of, what = wrong[kinds[0]]
                    assert cells[place].startswith(f"{(of & what).sum()} of {of.sum()} ("), words
            assert sum(of.any() for of, _ in wrong.values()) == sum(
                any(part in words for part in wrong) for words in told
            )
        exact = number & (low == high)
        held = exact & (columns["lower"] <= low) & (high <= columns["upper"])
        cells = told["gave a 90 % interval that misses the measured value"]
        assert cells[0].startswith(f"{exact.sum() - held.sum()} of {exact.sum()} (")
        stated = rows_of(text, page._marked(f"Stated, and came true: {rows[head][0]}"))[1:]
        level = next(row for row in stated if row[:2] == ["within the interval", "90 %"])
        assert level[2].startswith(f"{held.sum()} of {exact.sum()} (")
    if kind == "bounds":
        count = (np.isinf(high) & np.isfinite(low)).sum()
        assert f"held out, not by {count} labels that are only bounds." in text
    if kind == "limits":
        p = frame["p_above"].astype(float)
        above = frame["y"] == ">2"
        groups = [(p >= a) & (p < b) for a, b in itertools.pairwise(EDGES)]
        expected = [
            ["above 2", f"{shown(100 * p[g].mean())} %", f"{(g & above).sum()} of {g.sum()}"]
            for g in groups
            if g.any()
        ]
        found = [[*row[:2], row[2].split(" (")[0]] for row in stated if row[0] == "above 2"]
        assert found == expected
        assert any(row[0] == "below -2" for row in stated)
    else:
        assert len(stated) == 6 or kind in ("poles", "logarithm")


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
    trained: Callable[..., tuple[Path, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, text = trained("several", "--ignore", "温度")
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


def test_the_rows_that_went_worst_are_found_in_the_file(
    trained: Callable[..., tuple[Path, str]],
) -> None:
    folder, text = trained("limits")
    lines = (folder.parent / "data.csv").read_text(encoding="utf-8").splitlines()
    head, *rows = rows_of(text, "Rows that went worst: y")
    assert head == ["line", "sample", "y", "predicted", "90 % interval"]
    assert len(rows) == 10
    frame = pd.read_csv(folder / "predictions.csv", dtype=str, keep_default_na=False)
    ends = np.array([ends_of(cell) for cell in frame["y"]])
    value = frame["prediction"].astype(float).clip(-2, 2)
    frame["missed"] = np.abs(value - value.clip(*ends.T))
    worst = frame.sort_values("missed", ascending=False, kind="stable").head(10)
    assert [row[1] for row in rows] == [*worst["sample"]]
    for row, (_, cells) in zip(rows, worst.iterrows(), strict=True):
        assert lines[int(row[0]) - 1].startswith(f"{row[1]},")
        assert row[2] == cells["y"]
        assert row[3] == shown(float(cells["prediction"]))


def test_the_column_that_decides_matters_most(trained: Callable[..., tuple[Path, str]]) -> None:
    _, text = trained("limits")
    rows = rows_of(text, "What matters for y")[1:]
    assert [row[0] for row in rows[:2]] == ["$a_1$", "напряжение"]
    assert float(rows[0][1].split()[0]) > 0.3


def test_rows_that_repeat_those_trained_on_are_counted_first(tmp_path: Path) -> None:
    table("plain").to_csv(tmp_path / "test.csv", index=False)
    frame = table("limits")
    frame["y"] = table("plain")["Re_$y_1$"]
    frame.iloc[[*range(7), 8]].to_csv(tmp_path / "test.csv", index=False)
    _, text = train(tmp_path, "limits", "--test", str(tmp_path / "test.csv"), epochs=1)
    first = text.split("\n\n")[1]
    assert "But 8 of these 8 rows have the features of rows trained on" in first
    frame["$a_1$"] = 7.0
    frame.head(5).to_csv(tmp_path / "test.csv", index=False)
    (tmp_path / "other").mkdir()
    _, text = train(tmp_path / "other", "limits", "--test", str(tmp_path / "test.csv"), epochs=1)
    assert "rows trained on" not in text.split("\n\n")[1]


def test_predictions_whose_target_is_known_are_scored_and_drawn(
    trained: Callable[..., tuple[Path, str]], tmp_path: Path
) -> None:
    folder, _ = trained("limits")
    run = Run.read(folder)
    low = np.array([[0.0], [1.0], [2.0], [NAN]])
    measured = Measured(low, np.where(low == 2, INF, low), np.isnan(low[:, 0]), None, [])
    value = np.array([[0.5], [NAN], [1.0], [0.0]])
    found = Predictions(value, value - 1, value + 1, 0 * value, 0 * value)
    said = report.check(run, measured, found, tmp_path / "p.png")
    assert "all 2 measured values" in said
    assert re.search(r"'no number' for a measured value +1 of 2 .* 0 of 2 ", said)
    assert re.search(r"contradicted a label such as '>2' +1 of 1 ", said)
    assert "gradient boosting" not in said
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
