"""What a table or a run holds beside the usual: other signs, blanks, two roles, broken runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the command needs scikit-learn")

from tests.command_helpers import GOOD
from zeroproof.command import train as training
from zeroproof.command.main import main
from zeroproof.command.options import Options, UserError
from zeroproof.command.table import choose_columns, features, read_table, targets
from zeroproof.command.train import prepare
from zeroproof.training.trainer import NonFiniteError


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_only_columns_that_are_needed_tell_a_new_tables_decimal_sign(tmp_path: Path) -> None:
    path = write(tmp_path / "new.csv", "time;x\n14.30;1,234\n15.45;2,345\n")
    assert read_table(path, ["x"], ",", ["x", "y"]).decimal == ","
    path = write(tmp_path / "first.csv", "time;x;y\n2.1;1,23;1,5\n2.2;1,24;2,5\n2.3;3,1;4,5\n")
    assert read_table(path, ["y"]).decimal == ","


def test_blank_cells_are_no_group(tmp_path: Path) -> None:
    rows = [f"{i},{i * i},{'' if i % 2 else i % 6}\n" for i in range(40)]
    path = write(tmp_path / "t.csv", "a,y,g\n" + "".join(rows))
    with pytest.raises(UserError, match="20 of 40 cells of the --group column 'g' are blank"):
        prepare(Options(str(path), ["y"], group="g"))


def test_blank_categories_are_one(tmp_path: Path) -> None:
    rows = [f"{('yes', '', 'NA')[i % 3]},{i}\n" for i in range(30)]
    table = read_table(write(tmp_path / "t.csv", "c,y\n" + "".join(rows)), ["y"])
    assert set(features(table, choose_columns(table, ["y"]))["c"]) == {"yes", ""}


def test_a_number_too_large_for_a_float_is_no_pole(tmp_path: Path) -> None:
    for cell in ("1e400", ">1e400"):
        table = read_table(write(tmp_path / "t.csv", GOOD + f"3,{cell}\n"), ["y"])
        with pytest.raises(UserError, match=r"holds '>?1e400'"):
            targets(table, ["y"])


def test_whole_numbers_alone_number_the_rows(tmp_path: Path) -> None:
    rows = [f"{1.01 * i:.2f},{i},{i * i}\n" for i in range(20)]
    table = read_table(write(tmp_path / "t.csv", "NO,nr,y\n" + "".join(rows)), ["y"])
    roles = {column.name: column.role for column in choose_columns(table, ["y"])}
    assert (roles["NO"], roles["nr"]) == ("number", "ignored")


def test_a_run_that_failed_at_once_leaves_its_folder_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaking(*given: Any) -> None:
        (tmp_path / "run" / "metrics.jsonl").write_text("{}\n")
        raise NonFiniteError("too large a rate")

    monkeypatch.setattr(training, "fit", breaking)
    data, out = write(tmp_path / "t.csv", GOOD), tmp_path / "run"
    assert main(["train", str(data), "--target", "y", "--out", str(out)]) == 2
    assert "too large a rate" in capsys.readouterr().err
    assert not [*out.iterdir()]


def test_errors_name_the_arguments_as_they_are_given(tmp_path: Path) -> None:
    data = str(write(tmp_path / "t.csv", GOOD))
    for name, option in (("epochs", "--epochs"), ("lr", "--lr"), ("batch_size", "--batch-size")):
        with pytest.raises(UserError, match=f"^{option} "):
            prepare(Options(data, ["y"], **{name: -1}))
    assert np.isfinite(prepare(Options(data, ["y"]))[1][1].lower).all()
