"""Reports of runs: the threshold chosen, the quality of predictions, and the picture."""

from __future__ import annotations

import csv
import importlib.util
import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.command_helpers import GOOD, described, write
from zeroproof.command import report, train
from zeroproof.command.main import main
from zeroproof.command.run import Options, Predictions, Quality, Run, Scale
from zeroproof.inference import Decoded
from zeroproof.utils.logging import read_jsonl


def predictions(value: Any, denominator: Any) -> Predictions:
    """Predictions decoded at threshold 0."""
    numbers = torch.tensor(value, dtype=torch.float64)
    size = torch.tensor(denominator, dtype=torch.float64)
    nowhere = torch.zeros(len(numbers), dtype=torch.bool)
    return Predictions(Decoded(numbers, size == 0, nowhere), torch.sign(numbers), size)


def test_the_threshold_is_chosen_from_the_tuples_of_standardised_targets(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []

    def choose(*given: torch.Tensor, unit: float) -> float:
        seen.extend(given)
        return 0.25

    monkeypatch.setattr(train, "choose_threshold", choose)
    run, _ = described(data, epochs=1)
    train.train(run.options, tmp_path / "new" / "folder", resume=False)
    P, Q, y = seen
    assert P.shape == Q.shape == y.shape
    assert y[y.isfinite()].abs().max() < 10, "in deviations"
    assert Run.read(tmp_path / "new" / "folder").tau_infer == 0.25


def test_the_quality_of_predictions_by_hand() -> None:
    value, bottom = [1.0, 2.0, 3.0, 0.0, 4.0, 0.0, 0.0], [0, 0, 1, 1, 0, 1, 1]
    sign = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, -1.0, 1.0], dtype=torch.float64)
    y = torch.tensor([1.5, 4.0, 3.0, math.inf, math.inf, math.inf, math.nan], dtype=torch.float64)
    decoded = predictions(value, [1.0 - b for b in bottom]).decoded
    quality = Quality.of(Predictions(decoded, sign, sign), y)
    assert (quality.finite, quality.singular, quality.oriented) == (3, 4, 3)
    assert quality.false_finite == 1 / 4
    assert quality.false_bottom == pytest.approx(1 / 3)
    assert quality.error == pytest.approx((0.5 + 2.0) / 2)
    assert quality.orientation == 1 / 2
    right = Quality.of(Predictions(decoded, sign.abs(), sign), y)
    assert right.orientation == 1.0
    nothing = Quality.of(Predictions(decoded._replace(bottom=y == y), sign, sign), y)
    assert math.isnan(nothing.error)
    options = Options("data.csv", "y", 1, 1, 0.1, 0, "cpu", "off", "free")
    run = Run("0", options, "", ["a"], Scale([0.0], [1.0], 0.0, 1.0), tau_infer=0.5)
    told = report.summary(Path("run"), run, nothing, plotted=True)
    assert re.search(r"mean absolute error of y +none to judge", told)


def test_without_singular_targets_the_report_says_so(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(GOOD)
    out = tmp_path / "run"
    assert main(["train", str(path), "--target", "y", "--out", str(out), "--epochs", "1"]) == 0
    text = (out / "report.md").read_text()
    assert "No target of the validation part is singular" in text
    assert "false finite) | none to judge" in text


def test_without_singular_targets_no_row_held_out_is_bottom(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(100, 2, generator=generator).tolist()  # errors beyond one deviation
    path = write(tmp_path / "data.csv", [["a", "y"], *noise])
    out = tmp_path / "run"
    assert main(["train", str(path), "--target", "y", "--out", str(out), "--epochs", "1"]) == 0
    assert "(false bottom) | 0.00 %" in (out / "report.md").read_text()


def test_without_matplotlib_the_remedy_is_named(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report.importlib.util, "find_spec", lambda name: None)
    out = run("run")
    assert "pip install 'zeroproof-scm[plot]'" in capsys.readouterr().out
    assert not (out / "plot.png").exists()
    assert "plot.png" not in (out / "report.md").read_text()
    assert importlib.util.find_spec("matplotlib") is None


def test_the_picture_shows_every_epoch_and_every_row_held_out(
    run: Callable[..., Path], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure

    figures: list[Any] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: figures.append(self))
    records = read_jsonl(run("run", "--batch-size", "32", epochs=20) / "metrics.jsonl")
    curves, rates, points = figures[0].axes

    losses, val_losses = curves.lines
    assert curves.get_yscale() == "log"
    epochs = [[r["loss"] for r in records if "loss" in r and r["epoch"] == e] for e in range(20)]
    assert losses.get_ydata() == pytest.approx([sum(e) / 3 for e in epochs], rel=1e-5)
    validation = [r for r in records if "val_loss" in r]
    for line, name in zip(
        (val_losses, *rates.lines),
        ("val_loss", "val_coverage_finite", "val_bottom_recall"),
        strict=True,
    ):
        assert list(line.get_ydata()) == [r[name] for r in validation]
    for line in (losses, val_losses, *rates.lines):
        assert list(line.get_xdata()) == list(range(1, 21))
    assert rates.get_ylim() == (-0.03, 1.03)
    assert all(axes.get_legend() for axes in (curves, rates, points))
    assert points.get_title() == "Validation: predicted against measured"
    assert (points.get_xlabel(), points.get_ylabel()) == ("measured y", "predicted y")

    cells = []
    for axes in (curves, rates, points):
        spec = axes.get_subplotspec()
        cells += list(itertools.product(spec.rowspan, spec.colspan))
    grid = points.get_subplotspec().get_gridspec()
    assert sorted(cells) == list(itertools.product(range(grid.nrows), range(grid.ncols)))
    assert len(curves.get_subplotspec().colspan) < len(points.get_subplotspec().colspan)

    with data.open(newline="", encoding="utf-8") as file:
        y = torch.tensor([float(r["y"]) for r in csv.DictReader(file)], dtype=torch.float64)
    held_out = y[train.split(y, seed=0)[1]]
    low, high = points.lines[0].get_xdata()
    assert list(points.lines[0].get_ydata()) == [low, high]
    at: dict[str, Any] = {}
    for shown in points.collections:
        assert isinstance(shown, PathCollection)
        name, count = str(shown.get_label()).split(": ")
        at[name] = shown.get_offsets()
        assert len(at[name]) == int(count)
    measured, predicted = torch.tensor([p for some in at.values() for p in some.tolist()]).T
    assert len(measured) == len(held_out)

    def inside(numbers: torch.Tensor) -> torch.Tensor:
        return (numbers >= low - 1e-6) & (numbers <= high + 1e-6)

    finite = held_out[held_out.isfinite()].sort().values
    assert torch.allclose(measured[inside(measured)].sort().values, finite.float())
    assert (measured < low - 1e-6).sum() == (held_out == -torch.inf).sum() > 0
    for name, is_number, decoded in (
        ("a number, as measured", True, True),
        ("⊥, as measured", False, False),
        ("⊥, though measured (false bottom)", True, False),
        ("a number, though singular (false finite)", False, True),
    ):
        x, y = torch.from_numpy(at[name]).T
        assert (inside(x) == is_number).all()
        assert (inside(y) == decoded).all()
    for numbers, limits, axis, words in (
        (measured, points.get_xlim(), points.xaxis, ("−∞", "∞, nan")),
        (predicted, points.get_ylim(), points.yaxis, ("⊥ (−)", "⊥ (+)")),
    ):
        assert limits[0] < numbers.min() < numbers.max() < limits[1]
        first, *between, last = zip(
            axis.get_ticklocs(), (t.get_text() for t in axis.get_ticklabels()), strict=True
        )
        assert limits[0] < first[0] < low < high < last[0] < limits[1]
        band = last[0] - high
        assert band == pytest.approx(0.12 * (high - low))
        assert limits == pytest.approx((low - 1.6 * band, high + 1.6 * band))
        assert (first[1], last[1]) == words
        assert len(between) > 1
        spans = {
            (patch.get_x(), patch.get_width())
            if axis is points.xaxis
            else (patch.get_y(), patch.get_height())
            for patch in points.patches
        } - {(0.0, 1.0)}  # of those across the other axis
        assert sorted(x + width / 2 for x, width in spans) == pytest.approx([first[0], last[0]])
        for x, width in spans:
            assert x + width < low or high < x
        outside = [n for n in numbers.tolist() if not low - 1e-6 <= n <= high + 1e-6]
        assert all(any(x <= n <= x + width for x, width in spans) for n in outside)
        for place, text in between:
            assert float(text.replace("−", "-")) == pytest.approx(place)
            assert low <= place <= high
