"""What the command says about a run: each number recomputed, each word held to what it means."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.report_helpers import rows_of, table, train
from zeroproof.command import page, report
from zeroproof.command.run import Predictions, Run
from zeroproof.command.scores import shown
from zeroproof.command.table import Measured

INF, NAN = math.inf, math.nan
EDGES = (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, str]]:
    """Train once for each choice of options; tests only read the folder."""
    return functools.cache(lambda *options: train(tmp_path_factory.mktemp("trained"), *options))


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
                name: frame[prefix + name].replace("", "nan").astype(float)
                for name in ("prediction", "guess", "boosting", "lower", "upper")
            }
            columns = {n: part.where(part == -INF, log(part)) for n, part in columns.items()}
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
