"""What the command cannot use gets one line that says what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command_helpers import GOOD, write
from zeroproof.command.main import main

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


@pytest.mark.parametrize("column", ["a", "y"])
def test_numbers_without_a_deviation_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str
) -> None:
    path = tmp_path / "data.csv"
    rows = [f"{i}e307,{i}" if column == "a" else f"{i},{i}e307" for i in range(-9, 9)]
    path.write_text("a,y\n" + "\n".join(rows))
    assert main(["train", str(path), "--target", "y", "--out", str(tmp_path / "run")]) == 2
    assert f"column {column!r} has numbers too large" in capsys.readouterr().err


def test_a_checkpoint_of_another_shape_is_one_line(
    run: Callable[..., Path], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run("run")
    text = (out / "config.json").read_text()
    (out / "config.json").write_text(text.replace("64,", "32,", 1))
    assert main(["predict", str(out), str(data), "--out", str(out / "p.csv")]) == 2
    assert "does not fit config.json" in capsys.readouterr().err
