"""What the command cannot use gets one line that says what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command_helpers import GOOD, write
from zeroproof.command import train
from zeroproof.command.main import main
from zeroproof.training import NonFiniteError, SCMTrainer

# A table, more arguments, and what is said; tests/test_command_tables.py has what reading refuses.
REFUSED: dict[str, tuple[str, list[str], str]] = {
    "missing column": (GOOD.replace("a,y", "a,z"), [], "no column 'y'"),
    "no finite target": ("a,y\n" + "1,inf\n2,nan\n" * 9, [], "a target has no finite number"),
    "too few rows": ("a,y\n1,2\n2,3\n", [], "2 rows have a target; 5 are needed"),
    "blank targets": ("a,y\n1,2\n" + "2,\n" * 20, [], "1 rows have a target; 5 are needed"),
    "no such group": (GOOD, ["--group", "who"], "no column 'who'"),
    "few groups": (
        "a,who,y\n" + "".join(f"{i},{i % 3},{i}\n" for i in range(30)),
        ["--group", "who"],
        "3 groups by 'who' have a target; 5 are needed",
    ),
    "no such test": (GOOD, ["--test", "none.csv"], "none.csv"),
    "no targets": ("a,y\n" + "".join(f"{i},\n" for i in range(9)), [], "no row has a value of y"),
    "logarithm": (GOOD, ["--log-target"], "line 2: column 'y' holds '0'"),
    "device": (GOOD, ["--device", "toaster"], "device"),
    "intervals": (
        "a,y,z\n" + "".join(f"{i},>{i},{i}\n" for i in range(30)),
        ["--target", "z", "--shared-denominator"],
        "with --shared-denominator no target may be an interval",
    ),
    "no epochs": (GOOD, ["--epochs", "0"], "--epochs must be ≥ 1"),
    "no rows of an update": (GOOD, ["--batch-size", "0"], "--batch-size must be ≥ 1"),
    "a seed below 0": (GOOD, ["--seed", "-1"], "Seed must be between 0 and"),
    "a large seed": (GOOD, ["--seed", "4294967296"], "Seed must be between 0 and"),
    "no rate": (GOOD, ["--lr", "0"], "--lr must be in (0, 1000], got 0.0"),
    "no number": (GOOD, ["--lr", "nan"], "--lr must be in (0, 1000], got nan"),
    "huge features": (
        "a,y\n" + "\n".join(f"{i}e307,{i}" for i in range(-9, 9)),
        [],
        "'-5e307', '-4e307'; take a larger unit, or train with --ignore 'a'",
    ),
    "huge targets": (
        "a,y\n" + "\n".join(f"{i},{i}e307" for i in range(-9, 9)),
        [],
        "'-5e307', '-4e307'; take a larger unit, or train with --log-target",
    ),
    "one value": ("a,y\n" + "".join(f"{i},>50\n" for i in range(20)), [], "'y' is the same in all"),
    "beyond the range": (GOOD, ["--range", "1e4:1e5"], "'y' is the same in all"),
    "a huge rate": (GOOD, ["--lr", "1001"], "--lr must be in (0, 1000]"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_trained_on_gets_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    text, more, message = REFUSED[kind]
    path = tmp_path / "bad.csv"
    path.write_text(text)
    out = tmp_path / "run"
    assert main(["train", str(path), "--target", "y", "--out", str(out), *more]) == 2
    shown = capsys.readouterr().err
    assert re.fullmatch(r"zeroproof: .*\n", shown)
    assert message in shown
    assert not out.exists() or not [*out.iterdir()], "so that another try may use the folder"


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
    assert "No such file" in one_line("train", str(tmp_path / "no.csv"), "--target", "y")
    assert "Is a directory" in one_line("train", str(tmp_path), "--target", "y")
    missing = one_line("train", str(data))
    assert "--target is missing: name the column to learn; there are name, a, b" in missing
    assert "data.csv/run" in one_line(*good, "--out", f"{data}/run")
    out = run("run")
    narrow = write(tmp_path / "narrow.csv", [["a"], [1]])
    assert "no column 'b'" in one_line("predict", str(out), str(narrow), "--out", "x.csv")
    nowhere = str(tmp_path / "none" / "p.csv")
    assert "none" in one_line("predict", str(out), str(data), "--out", nowhere)
    picture = str(tmp_path / "p.png")
    assert "name the table" in one_line("predict", str(out), str(data), "--out", picture)
    (out / "model.joblib").write_bytes(b"junk")
    made = str(tmp_path / "p.csv")
    assert "holds no run to read" in one_line("predict", str(out), str(data), "--out", made)
    (out / "model.joblib").unlink()
    assert "model.joblib" in one_line("predict", str(out), str(data), "--out", made)


@pytest.mark.parametrize(
    "option",
    [
        ("--epochs", "many"),
        ("--lr", "fast"),
        ("--range", "2:1"),
        ("--range", "a:1"),
        ("--range", "-3"),
        ("--range", "nan:1"),
        ("--range", "0,1:5"),
    ],
)
def test_what_is_no_number_or_range_is_refused(
    option: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["train", *option])
    shown = capsys.readouterr().err
    assert f"argument {option[0]}" in shown
    assert option[0] != "--range" or "must be LOW:HIGH" in shown


def test_a_target_that_cannot_be_scored_is_no_error(
    run: Callable[..., Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run("run")
    new = write(tmp_path / "new.csv", [["a", "b", "y"], [0.1, 0.9, ""], [0.2, -0.5, "NA"]])
    assert main(["predict", str(out), str(new), "--out", str(tmp_path / "p.csv")]) == 0
    assert "not scored: " in capsys.readouterr().out
    assert not (tmp_path / "p.png").exists()
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 3


def test_weights_that_overflow_are_no_bug(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def step(*parts: object) -> None:
        raise NonFiniteError("lower the learning rate")

    monkeypatch.setattr(SCMTrainer, "fit", step)
    assert main(["train", str(data), "--target", "y", "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == "zeroproof: lower the learning rate\n"


@pytest.mark.parametrize("place", ["features", "fit", "write_predictions"])
def test_a_bug_keeps_its_traceback(
    data: Path,
    tmp_path: Path,
    plain_report: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
) -> None:
    def broken(*parts: object) -> None:
        raise ValueError("shapes differ")

    monkeypatch.setattr(train, place, broken)
    out = tmp_path / "run"
    with pytest.raises(ValueError, match="shapes differ"):
        main(["train", str(data), "--target", "y", "--epochs", "1", "--out", str(out)])
    shown = capsys.readouterr().err
    trained = place == "write_predictions"
    assert shown.endswith(f"continue with: zeroproof train --resume --out {out}\n") == trained
    assert trained or not out.exists() or not [*out.iterdir()], "so that another try may use it"


def test_what_is_missing_of_the_package_itself_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(train, "predict")
    with pytest.raises(ImportError, match="cannot import name 'predict'"):
        main(["predict", "run", "new.csv", "--out", "p.csv"])
