"""The command, as its users meet it."""

from __future__ import annotations

import csv
import importlib.util
import io
import itertools
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import zeroproof
from zeroproof.command import report, train
from zeroproof.command.main import _parser, main
from zeroproof.command.run import Options, Predictions, Quality, Run, Scale, choose_threshold
from zeroproof.command.table import read_table
from zeroproof.inference import Decoded
from zeroproof.training.checkpoint import read_checkpoint
from zeroproof.utils.logging import read_jsonl


def write(path: Path, rows: list[list[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """120 rows of 1/(a − b), with labels inf, −inf or nan where a is near b."""
    generator = torch.Generator().manual_seed(0)
    rows: list[list[Any]] = [["name", "a", "b", "constant", "y"]]
    for i in range(120):
        a, b = (torch.rand(2, generator=generator) * 2 - 1).tolist()
        gap = a - b
        label = f"{1 / gap:.6f}" if abs(gap) > 0.3 else ["nan", "inf" if gap > 0 else "-INF"][i % 2]
        rows.append([f"row {i}", a, b, 7, label])
    return write(tmp_path / "data.csv", rows)


@pytest.fixture
def run(tmp_path: Path, data: Path) -> Callable[..., Path]:
    """Train a few epochs into a folder of the given name, and return it."""

    def train_into(name: str, *options: str, epochs: int = 3) -> Path:
        out = tmp_path / name
        common = ["--target", "y", "--out", str(out), "--epochs", str(epochs)]
        assert main(["train", str(data), *common, *options]) == 0
        return out

    return train_into


def model_of(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = read_checkpoint(folder / "checkpoint.pt")["model"]
    return state


def same_model(a: Path, b: Path) -> bool:
    ours, theirs = model_of(a), model_of(b)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_training_leaves_a_folder_that_says_what_was_done(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = run("run", "--batch-size", "32", "--lr", "0.02", "--seed", "4")
    shown = capsys.readouterr()
    assert "coverage=" in shown.err
    assert "false finite" in shown.out
    config = json.loads((out / "config.json").read_text())
    assert config["version"] == zeroproof.__version__
    assert config["features"] == ["a", "b", "constant"]
    assert config["options"]["batch_size"] == 32
    assert '\n  "features": [\n    "a"' in (out / "config.json").read_text(), "for people, too"
    assert 0 < config["tau_infer"] < 1
    records = read_jsonl(out / "metrics.jsonl")
    assert sum("val_loss" in r for r in records) == 3
    training = [r for r in records if "loss" in r]
    assert len(training) == 3 * 3, "96 rows in batches of 32"
    assert training[0]["lr"] == pytest.approx(0.02, rel=0.1)
    assert (out / "plot.png").read_bytes().startswith(b"\x89PNG")
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "seed 4" in text
    assert "![training and validation](plot.png)" in text
    assert "No target of the validation part is singular" not in text
    (seconds,) = re.findall(r"trained in\s+(\S+) s", text)
    assert 0 <= float(seconds) < 600
    assert "checkpoint.pt, plot.png" in shown.out
    assert {r["tau_train"] for r in training} == {0.1}
    assert training[-1]["lr"] < 0.02 / 4


def test_predictions_stand_beside_the_tables_columns_and_agree_with_the_report(
    run: Callable[..., Path], data: Path, tmp_path: Path
) -> None:
    out = run("run", epochs=60)
    assert main(["predict", str(out), str(data), "--out", str(tmp_path / "pred.csv")]) == 0
    with (tmp_path / "pred.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with data.open(newline="", encoding="utf-8") as file:
        original = list(csv.DictReader(file))
    added = ["prediction", "bottom", "orientation", "denominator"]
    assert list(rows[0]) == [*original[0], *added]
    assert [{k: r[k] for k in original[0]} for r in rows] == original
    tau = Run.read(out).tau_infer
    assert tau is not None
    for row in rows:
        bottom = row["bottom"] == "1"
        assert bottom == (float(row["denominator"]) < tau)
        assert (row["prediction"] == "") == bottom
        assert row["orientation"] in (("-1", "1") if bottom else ("0",))
    targets = torch.tensor([float(r["y"]) for r in rows], dtype=torch.float64)
    _, held_out = train.split(targets, seed=0)
    held = [rows[i] for i in held_out.tolist()]
    finite = [r for r in held if math.isfinite(float(r["y"]))]
    singular = [r for r in held if not math.isfinite(float(r["y"]))]
    errors = [abs(float(r["prediction"]) - float(r["y"])) for r in finite if r["prediction"]]
    text = (out / "report.md").read_text()
    for name, value in (
        ("false finite", 100 * sum(r["bottom"] == "0" for r in singular) / len(singular)),
        ("false bottom", 100 * sum(r["bottom"] == "1" for r in finite) / len(finite)),
        ("absolute error", sum(errors) / len(errors)),
    ):
        shown = re.search(rf"{name}.*\| ([\d.]+)", text)
        assert shown is not None
        assert float(shown[1]) == pytest.approx(value, rel=1e-3, abs=0.005)
    assert f"{len(finite)} finite, {len(singular)} singular" in text
    assert {"0", "1"} == {r["bottom"] for r in rows}


def test_a_table_to_predict_for_needs_no_target(run: Callable[..., Path], tmp_path: Path) -> None:
    out = run("run")
    new = write(tmp_path / "new.csv", [["b", "constant", "a"], [0.5, 7, -0.5], [0.1, 7, 0.2]])
    assert main(["predict", str(out), str(new), "--out", str(tmp_path / "p.csv")]) == 0
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "option",
    [
        ("--seed", "1"),
        ("--lr", "0.001"),
        ("--batch-size", "16"),
        ("--epochs", "4"),
        ("--amp", "bf16"),
        ("--amp", "fp16"),
        ("--head", "free"),
    ],
)
def test_every_option_changes_the_model(run: Callable[..., Path], option: tuple[str, str]) -> None:
    assert not same_model(run("plain"), run("changed", *option))


def test_the_targets_unit_changes_only_the_values(
    run: Callable[..., Path], data: Path, tmp_path: Path
) -> None:
    def predicted(name: str) -> list[dict[str, str]]:
        out = run(name, epochs=20)
        assert main(["predict", str(out), str(data), "--out", str(tmp_path / "p.csv")]) == 0
        with (tmp_path / "p.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    plain = predicted("plain")
    shifted = [[r["name"], r["a"], r["b"], r["constant"], 8 * float(r["y"]) + 4096] for r in plain]
    write(data, [["name", "a", "b", "constant", "y"], *shifted])
    for one, other in zip(plain, predicted("shifted"), strict=True):
        assert (one["bottom"], one["orientation"]) == (other["bottom"], other["orientation"])
        assert float(one["denominator"]) == pytest.approx(float(other["denominator"]), rel=1e-2)
        if one["prediction"]:
            value = 8 * float(one["prediction"]) + 4096
            assert float(other["prediction"]) == pytest.approx(value, rel=1e-3)


def test_the_same_options_give_the_same_model(run: Callable[..., Path]) -> None:
    first, second = run("first"), run("second", "--device", "cpu")
    assert same_model(first, second)
    assert (first / "metrics.jsonl").read_text() == (second / "metrics.jsonl").read_text()


@pytest.mark.parametrize("saves", ["always", "once"])
def test_an_interrupted_run_goes_on_exactly(
    run: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    data: Path,
    saves: str,
) -> None:
    whole = run("whole", epochs=6)
    monkeypatch.setattr(train, "SECONDS_BETWEEN_CHECKPOINTS", -1 if saves == "always" else 1e9)
    keep = train.Keeper.__call__

    def interrupt(self: Any, metrics: dict[str, float]) -> None:
        keep(self, metrics)
        if metrics["epoch"] == 4:
            raise KeyboardInterrupt

    out = whole.parent / "run"
    options = [str(data), "--target", "y", "--epochs", "6", "--out", str(out)]
    with monkeypatch.context() as patch:
        patch.setattr(train.Keeper, "__call__", interrupt)
        assert main(["train", *options]) == 130
    shown = capsys.readouterr().err
    assert shown.endswith(
        f"zeroproof: interrupted; go on with: zeroproof train --resume --out {out}\n"
    )
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"loss": 0.')  # a process killed in the middle of a line
    assert read_checkpoint(out / "checkpoint.pt")["counters"]["epoch"] == (
        4 if saves == "always" else 1
    )
    assert main(["predict", str(out), str(data), "--out", str(out / "p.csv")]) == 2
    assert "is not finished; go on with train --resume" in capsys.readouterr().err
    trained: list[float] = []

    def note(self: Any, metrics: dict[str, float]) -> None:
        trained.append(metrics["epoch"])
        keep(self, metrics)

    with monkeypatch.context() as patch:
        patch.setattr(train.Keeper, "__call__", note)
        assert main(["train", "--resume", "--out", str(out)]) == 0
    assert min(trained) == (4 if saves == "always" else 1), "what is done is not done again"
    assert same_model(out, whole)
    for name in ("metrics.jsonl", "config.json"):
        assert (out / name).read_text() == (whole / name).read_text()
    model = model_of(out)
    assert main(["train", "--resume", "--out", str(out)]) == 0, "a finished run is reported again"
    assert all(torch.equal(v, model[k]) for k, v in model_of(out).items())


def test_resume_refuses_another_run(
    run: Callable[..., Path], data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = run("run")

    def refused(*options: str) -> str:
        capsys.readouterr()
        assert main(["train", "--out", str(out), *options]) == 2
        return capsys.readouterr().err

    assert "holds a run with other data or options" in refused("--resume", "--epochs", "9")
    assert "add --resume to go on" in refused(str(data), "--target", "y")
    data.write_text(data.read_text() + "row 120,0.1,0.9,7,1.0\n")
    assert "holds a run with other data or options" in refused("--resume")
    assert "config.json" in refused("--resume", "--out", str(tmp_path / "nothing"))
    (out / "checkpoint.pt").unlink()
    assert "holds no checkpoint yet" in refused("--resume")
    (out / "config.json").write_text("{")
    assert "is damaged" in refused("--resume")


GOOD = "a,y\n" + "".join(f"{i},{i * i}\n" for i in range(20))

BAD_FILES = {
    "missing column": (GOOD.replace("a,y", "a,z"), "no column 'y'; columns are a, z"),
    "text in a feature": (GOOD.replace("7,49", "seven,49"), "line 9: column 'a' holds 'seven'"),
    "empty feature cell": (GOOD.replace("7,49", ",49"), "line 9: column 'a' holds '', not a fini"),
    "nan in a feature": (GOOD.replace("7,49", "nan,49"), "line 9: column 'a' holds 'nan'"),
    "text in the target": (
        GOOD.replace("7,49", "7,>49"),
        "line 9: column 'y' holds '>49', not a number, inf, -inf or nan",
    ),
    "no finite target": ("a,y\n" + "1,inf\n2,nan\n" * 9, "no finite target"),
    "too few rows": ("a,y\n1,2\n2,3\n", "too few rows: 2 finite targets"),
    "no feature": ("name,y\n" + "x,1\n" * 9, "no column of numbers beside the target 'y'"),
    "empty file": ("", "the file is empty"),
    "header only": ("a,y\n", "there is a header but no rows"),
    "ragged": (GOOD + "1,2,3\n", "line 22: 3 cells, but the header has 2"),
    "ragged at once": ("a,y\n1\n" + GOOD[4:], "line 2: 1 cells, but the header has 2"),
    "twice the same name": ("a,a,y\n1,2,3\n", "column 'a' stands twice in the header"),
    "not text": ("\ud800", "cannot be read as a CSV table"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_gets_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    text, message = BAD_FILES[kind]
    path = tmp_path / "bad.csv"
    path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    out = tmp_path / "run"
    assert main(["train", str(path), "--target", "y", "--out", str(out)]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("zeroproof: ")
    assert shown.count("\n") == 1
    assert message in shown
    assert not out.exists()


def test_files_and_folders_that_cannot_be_used_are_named(
    tmp_path: Path, data: Path, run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    def one_line(*arguments: str) -> str:
        capsys.readouterr()
        assert main(list(arguments)) == 2
        shown = capsys.readouterr().err
        assert re.fullmatch(r"zeroproof: .*\n", shown)
        return shown

    good = ("train", str(data), "--target", "y", "--epochs", "1")
    assert "table (No such file" in one_line("train", str(tmp_path / "no.csv"), "--target", "y")
    assert "Is a directory" in one_line("train", str(tmp_path), "--target", "y")
    assert "--target is missing" in one_line("train", str(data))
    assert "data.csv/run cannot be written" in one_line(*good, "--out", f"{data}/run")
    assert "device" in one_line(*good, "--out", str(tmp_path / "d"), "--device", "toaster")
    assert not (tmp_path / "d").exists()
    out = run("run")
    narrow = write(tmp_path / "narrow.csv", [["a"], [1]])
    assert "no column 'b'" in one_line("predict", str(out), str(narrow), "--out", "x.csv")
    taken = write(tmp_path / "taken.csv", [["a", "b", "constant", "bottom"], [1, 2, 7, 0]])
    assert "column 'bottom' is one that" in one_line("predict", str(out), str(taken), "--out", "x")
    nowhere = str(tmp_path / "none" / "p.csv")
    assert "cannot be written" in one_line("predict", str(out), str(data), "--out", nowhere)
    (out / "checkpoint.pt").write_bytes(b"junk")
    assert "cannot be read as a checkpoint" in one_line(
        "predict", str(out), str(data), "--out", str(tmp_path / "p.csv")
    )


@pytest.mark.parametrize(
    "option",
    [
        ("--epochs", "0"),
        ("--epochs", "9223372036854775808"),
        ("--batch-size", "0"),
        ("--seed", "-1"),
        ("--lr", "-1"),
        ("--lr", "0"),
        ("--lr", "inf"),
        ("--lr", "nan"),
    ],
)
def test_numbers_out_of_range_are_refused(
    option: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["train", *option])
    assert f"argument {option[0]}" in capsys.readouterr().err


def test_spreadsheets_habits_are_read(tmp_path: Path) -> None:
    lines = ["\ufeffname,a,y", '"one, two",1e0,+inf', "", "x, 2 ,-Infinity", 'y,3,"NaN"']
    lines += [f"z,{i},{i}" for i in range(4, 12)]
    path = tmp_path / "sheet.csv"
    path.write_bytes("\r\n".join(lines).encode())
    out = tmp_path / "run"
    arguments = ["train", str(path), "--target", "y", "--out", str(out), "--epochs", "1"]
    assert main(arguments) == 0
    assert Run.read(out).features == ["a"]


def test_without_singular_targets_the_report_says_so(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(GOOD)
    out = tmp_path / "run"
    assert main(["train", str(path), "--target", "y", "--out", str(out), "--epochs", "1"]) == 0
    text = (out / "report.md").read_text()
    assert "No target of the validation part is singular" in text
    assert "false finite) | none to judge" in text


def test_without_matplotlib_the_remedy_is_named(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report.importlib.util, "find_spec", lambda name: None)
    out = run("run")
    assert "pip install 'zeroproof-scm[plot]'" in capsys.readouterr().out
    assert not (out / "plot.png").exists()
    assert "plot.png" not in (out / "report.md").read_text()
    assert importlib.util.find_spec("matplotlib") is None


def predictions(value: Any, denominator: Any) -> Predictions:
    """Predictions decoded at threshold 0."""
    numbers = torch.tensor(value, dtype=torch.float64)
    size = torch.tensor(denominator, dtype=torch.float64)
    nowhere = torch.zeros(len(numbers), dtype=torch.bool)
    return Predictions(Decoded(numbers, size == 0, nowhere), torch.sign(numbers), size)


@pytest.mark.parametrize("seed", range(20))
def test_the_threshold_has_the_smallest_cost_of_all(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    size = torch.rand(12, generator=generator).mul(8).round().div(8).tolist()  # some are equal
    value = torch.rand(12, generator=generator).tolist()
    y = [(0.0, math.inf, math.nan)[i % 3] if i < 7 else 0.5 for i in range(12)]
    unit = 0.25

    def cost(tau: float) -> float:
        finite = [
            1.0 if d < tau else abs(v - m) / unit
            for v, d, m in zip(value, size, y, strict=True)
            if math.isfinite(m)
        ]
        singular = [d >= tau for d, m in zip(size, y, strict=True) if not math.isfinite(m)]
        return sum(finite) / len(finite) + sum(singular) / len(singular)

    edges = sorted({0.0, 1.0, *size})
    middles = {(a + b) / 2: b - a for a, b in itertools.pairwise(edges)}
    least = min(map(cost, middles))
    widest = max(width for tau, width in middles.items() if cost(tau) < least + 1e-9)
    chosen = choose_threshold(predictions(value, size), torch.tensor(y, dtype=torch.float64), unit)
    assert cost(chosen) == pytest.approx(least)
    assert middles[chosen] == widest


def test_one_singular_measurement_weighs_as_much_as_all_finite_ones() -> None:
    some = predictions([0.2, 0.2, 0.2, 9.0], [0.2, 0.3, 0.9, 0.5])
    y = torch.tensor([0.0, 0.0, 0.0, math.inf], dtype=torch.float64)
    assert choose_threshold(some, y, 1.0) == pytest.approx(0.7)


def test_without_singular_measurements_the_threshold_lies_below_every_denominator() -> None:
    some = predictions([1.0, 2.0], [0.5, 0.25])
    assert choose_threshold(some, torch.zeros(2, dtype=torch.float64), 1.0) == 0.125


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


def test_the_scale_is_that_of_the_training_part() -> None:
    x = torch.tensor([[1.0, 7.0], [3.0, 7.0]], dtype=torch.float64)
    y = torch.tensor([10.0, -10.0, math.inf], dtype=torch.float64)
    scale = Scale.of(x, y)
    assert scale == Scale([2.0, 7.0], [1.0, 1.0], 0.0, 10.0)
    assert scale.features(torch.tensor([[4.0, 8.0]])).tolist() == [[2.0, 1.0]]
    assert scale.targets(y).tolist() == [1.0, -1.0, math.inf]
    assert scale.values(torch.tensor([0.5])).tolist() == [5.0]
    assert Scale.of(x * 1e-200, y).std == [1.0, 1.0], "a deviation that underflows"


def test_a_column_is_numeric_if_most_of_its_cells_are(tmp_path: Path) -> None:
    rows = [["half", "most", "digits"], ["1", "1", "1_0"], ["2", "x", "2_0"], ["x", " 3 ", "3_0"]]
    rows.append(["y", "-inf", "4_0"])
    table = read_table(write(tmp_path / "data.csv", rows))
    assert table.numeric_columns() == ["most"]
    assert table.lines == [2, 3, 4, 5]


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


def test_the_shipped_data_is_the_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--out", str(tmp_path / "run"), "--epochs", "40"]) == 0
    assert "181 finite and 86 singular" in capsys.readouterr().out
    quality = (tmp_path / "run" / "report.md").read_text()
    error = re.search(r"mean absolute error of log10_ic50_uM \| ([\d.]+)", quality)
    assert error is not None
    assert float(error[1]) < 0.3


def test_the_command_says_what_it_is_and_what_it_needs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments, status, shown in (
        (["--version"], 0, zeroproof.__version__),
        (["--help"], 0, "usage: zeroproof "),
        ([], 2, "required: command"),
        (["predict", "run", "data.csv"], 2, "required: --out"),
        (["train", "--head", "best"], 2, "argument --head"),
        (["train", "--amp", "fp8"], 2, "argument --amp"),
    ):
        with pytest.raises(SystemExit, match=str(status)):
            main(arguments)
        both = capsys.readouterr()
        assert shown in (both.err if status else both.out)


def test_the_command_is_also_a_module() -> None:
    command = [sys.executable, "-m", "zeroproof", "--version"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == zeroproof.__version__


def test_a_constant_is_no_scale(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a,y\n" + "0.1,0.1\n" * 126)  # whose computed deviation is 1.4e-17
    out = tmp_path / "run"
    assert main(["train", str(path), "--target", "y", "--out", str(out), "--epochs", "1"]) == 0
    assert (Run.read(out).scale.std, Run.read(out).scale.target_std) == ([1.0], 1.0)


@pytest.mark.parametrize("column", ["a", "y"])
def test_numbers_without_a_deviation_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str
) -> None:
    path = tmp_path / "data.csv"
    rows = [f"{i}e307,{i}" if column == "a" else f"{i},{i}e307" for i in range(-9, 9)]
    path.write_text("a,y\n" + "\n".join(rows))
    assert main(["train", str(path), "--target", "y", "--out", str(tmp_path / "run")]) == 2
    assert f"column {column!r} has numbers too large" in capsys.readouterr().err


def test_a_run_goes_on_from_another_folder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--target", "y", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert main(["train", data.name, *options]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["train", str(data), "--resume", *options]) == 0


def test_an_interrupt_before_the_first_checkpoint_promises_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(self: Any, metrics: dict[str, float]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train.Keeper, "__call__", interrupt)
    assert main(["train", str(data), "--target", "y", "--out", str(tmp_path / "run")]) == 130
    assert capsys.readouterr().err.endswith("zeroproof: interrupted; start again\n")


def test_a_checkpoint_of_another_shape_is_one_line(
    run: Callable[..., Path], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run("run")
    text = (out / "config.json").read_text()
    (out / "config.json").write_text(text.replace("64,", "32,", 1))
    assert main(["predict", str(out), str(data), "--out", str(out / "p.csv")]) == 2
    assert "does not fit config.json" in capsys.readouterr().err


def test_an_old_encoding_of_the_terminal_stops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(GOOD)
    options = ["--target", "y", "--epochs", "1", "--out", str(tmp_path / "run")]
    command = [sys.executable, "-m", "zeroproof", "train", str(path), *options]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    subprocess.run(command, env=environment, check=True, capture_output=True)


def test_without_singular_targets_no_row_held_out_is_bottom(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(100, 2, generator=generator).tolist()  # errors beyond one deviation
    path = write(tmp_path / "data.csv", [["a", "y"], *noise])
    out = tmp_path / "run"
    assert main(["train", str(path), "--target", "y", "--out", str(out), "--epochs", "1"]) == 0
    assert "(false bottom) | 0.00 %" in (out / "report.md").read_text()


def test_the_help_names_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "passes over the data (500)" in shown
    assert "rows a step (128)" in shown


def test_the_smallest_and_large_numbers_are_options() -> None:
    given = _parser().parse_args(["train", "--batch-size", "1", "--seed", "0", "--amp", "off"])
    assert (given.batch_size, given.seed, given.amp) == (1, 0, "off")
    assert given.out == Path("zeroproof-run")
    given = _parser().parse_args(["train", "some.csv", "--seed", "123456"])
    assert (given.data, given.seed) == (Path("some.csv"), 123456)


def test_what_a_terminal_cannot_write_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(written, encoding="ascii"))
    assert main(["predict", "⊥", "data.csv", "--out", "out.csv"]) == 2
    sys.stderr.flush()
    assert written.getvalue().startswith(b"zeroproof: ? holds no run")


def test_a_table_keeps_its_cells_and_loses_its_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes('\ufeffa,y\r\n"1\r\n2",3\r\n'.encode())
    table = read_table(path)
    assert table.header == ["a", "y"]
    assert table.rows == [["1\r\n2", "3"]]


def described(data: Path, **options: Any) -> tuple[Run, tuple[torch.Tensor, torch.Tensor]]:
    chosen: dict[str, Any] = {"epochs": 2, "batch_size": 50, "lr": 0.5, "seed": 3, "device": "cpu"}
    chosen |= {"data": str(data), "target": "y", "amp": "off", "head": "free"} | options
    table = read_table(data)
    y = table.numbers("y", finite=False)
    run = train.describe(Options(**chosen), table, y, torch.arange(len(y)))
    return run, (run.scale.features(table.matrix(run.features)), run.scale.targets(y))


@pytest.mark.parametrize(("amp", "mixed"), [("off", False), ("bf16", True), ("fp16", True)])
def test_a_trainer_has_the_options_of_its_run(
    data: Path, tmp_path: Path, amp: str, mixed: bool
) -> None:
    run, part = described(data, amp=amp)
    trainer = train.new_trainer(run, part, part, train.Keeper(tmp_path, 2))
    assert trainer.config.mixed_precision == mixed
    assert trainer.config.amp_dtype == (amp if mixed else None)
    assert (trainer.config.seed, trainer.config.max_epochs) == (3, 2)
    schedule = trainer.scheduler.scheduler
    assert isinstance(schedule, torch.optim.lr_scheduler.CosineAnnealingLR)
    assert schedule.T_max == 2 * 3, "120 rows in batches of 50"


def test_the_threshold_is_chosen_among_all_predictions(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Predictions] = []

    def choose(predictions: Predictions, y: torch.Tensor, unit: float) -> float:
        seen.append(predictions)
        return 0.25

    monkeypatch.setattr(train, "choose_threshold", choose)
    run, _ = described(data, epochs=1)
    train.train(run.options, tmp_path / "new" / "folder", resume=False)
    assert not seen[0].decoded.bottom.any()
    assert Run.read(tmp_path / "new" / "folder").tau_infer == 0.25


def test_a_run_goes_on_with_its_data_under_another_name_in_a_folder_that_is_there(
    data: Path, tmp_path: Path
) -> None:
    run, _ = described(data, epochs=1)
    out = tmp_path / "empty"
    out.mkdir()
    train.train(run.options, out, resume=False)
    moved = data.rename(tmp_path / "moved.csv")
    elsewhere, _ = described(moved, epochs=1)
    before = model_of(out)
    train.train(elsewhere.options, out, resume=True)
    assert Run.read(out).options.data == str(moved)
    assert all(torch.equal(value, before[name]) for name, value in model_of(out).items())
