"""A decimal sign that no cell tells is guessed aloud, and no other table contradicts the guess."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="the command needs scikit-learn")

from tests.command_helpers import read
from zeroproof.command.main import main
from zeroproof.command.options import Options, UserError
from zeroproof.command.train import prepare

ROWS = [(1 + i * i % 7 + 0.111, 1 + i % 9 + 0.509) for i in range(40)]


def table(path: Path, sign: str, digits: int = 3, name: str = "table.csv") -> Path:
    text = "x;y\n" + "".join(f"{x:.{digits}f};{y:.{3 if digits else 0}f}\n" for x, y in ROWS)
    (path / name).write_text(text.replace(".", sign))
    return path / name


def notes(path: Path, test: Path | None = None) -> list[str]:
    test_file = None if test is None else str(test)
    return prepare(Options(str(path), ["y"], test=test_file))[0].notes


def test_the_notes_say_how_a_cell_is_read_that_leaves_the_sign_open(tmp_path: Path) -> None:
    for sign, value in ((".", "1111"), (",", "1.111")):
        (note,) = (note for note in notes(table(tmp_path, sign)) if "is read as" in note)
        assert note.startswith(f"'1{sign}111' is read as {value}, since no cell tells ")
        assert "another number of decimals" in note
    assert not any("is read as" in note for note in notes(table(tmp_path, ".", digits=4)))
    whole = tmp_path / "whole.csv"
    whole.write_text("n;x;y\n" + "".join(f"1.234;{i};{i % 7}\n" for i in range(40)))
    assert not any("is read as" in note for note in notes(whole)), "a column that is not used"


def test_predict_refuses_a_table_that_shows_another_sign_than_was_guessed(
    run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, made = run("run", table=table(tmp_path, ".")), tmp_path / "p.csv"
    assert "'1.111' is read as 1111" in capsys.readouterr().out
    new = table(tmp_path, ".", digits=4, name="new.csv")
    assert main(["predict", str(out), str(new), "--out", str(made)]) == 2
    shown = capsys.readouterr().err
    message = r"new.csv has the decimal sign '\.', but .* '1\.111' is read as 1111, with ','; "
    assert re.search(message, shown)
    assert not made.exists()
    for good in (table(tmp_path, "."), table(tmp_path, ",", digits=4)):
        assert main(["predict", str(out), str(good), "--out", str(made), "--force"]) == 0
    assert len(read(made, ";")) == 40
    with pytest.raises(UserError, match=r"new.csv has the decimal sign '\.', but"):
        notes(table(tmp_path, "."), test=new)


@pytest.mark.parametrize("digits", [4, 0])
def test_another_sign_is_no_contradiction_where_none_was_guessed(
    run: Callable[..., Path], tmp_path: Path, digits: int
) -> None:
    out, made = run("run", table=table(tmp_path, ".", digits)), tmp_path / "p.csv"
    for sign in ".,":
        new = table(tmp_path, sign, digits=4, name="new.csv")
        assert main(["predict", str(out), str(new), "--out", str(made), "--force"]) == 0
