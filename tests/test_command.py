"""The command, as its users meet it."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import zeroproof
from tests.command_helpers import GOOD, described, same_model, write
from zeroproof.command import train
from zeroproof.command.main import _parser, main
from zeroproof.command.run import Run
from zeroproof.utils.logging import read_jsonl


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


def test_an_old_encoding_of_the_terminal_stops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(GOOD)
    options = ["--target", "y", "--epochs", "1", "--out", str(tmp_path / "run")]
    command = [sys.executable, "-m", "zeroproof", "train", str(path), *options]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    subprocess.run(command, env=environment, check=True, capture_output=True)


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
