"""What the command line says, needs and never overwrites."""

from __future__ import annotations

import io
import math
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import zeroproof
from tests.command_helpers import read
from zeroproof.command.main import main
from zeroproof.command.options import Options, given_options, parser


def test_nothing_is_overwritten_unasked(
    run: Callable[..., Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, made = run("run"), tmp_path / "p.csv"
    command = ["predict", str(out), str(data), "--out"]
    assert main([*command, str(made)]) == 0
    before = made.read_text()
    made.write_text("mine")
    assert main([*command, str(made)]) == 2
    assert "overwrite by --force" in capsys.readouterr().err
    assert made.read_text() == "mine"
    assert main([*command, str(made), "--force"]) == 0
    assert made.read_text() == before
    table = data.read_text()
    capsys.readouterr()
    for force in ([], ["--force"]):
        assert main([*command, str(data), *force]) == 2
        shown = capsys.readouterr().err
        assert f"{data} is the table to predict for; give another --out" in shown
        assert "by --force" not in shown
    assert data.read_text() == table


def test_the_shipped_data_is_the_default(tmp_path: Path, plain_report: None) -> None:
    assert main(["train", "--out", str(tmp_path / "run"), "--epochs", "12", "--lr", "0.01"]) == 0
    rows = read(tmp_path / "run" / "predictions.csv")
    assert len(rows) == 267
    known = [row for row in rows if row["log10_ic50_uM"].replace(".", "").lstrip("-").isdigit()]
    assert 180 <= len(known) <= 182
    known = [row for row in known if row["bottom"] == "0"]
    assert len(known) > 160
    errors = [abs(float(row["prediction"]) - float(row["log10_ic50_uM"])) for row in known]
    assert np.mean(errors) < 0.3


def test_the_command_says_what_it_is_and_what_it_needs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments, status, shown in (
        (["--version"], 0, zeroproof.__version__),
        (["--help"], 0, "usage: zeroproof "),
        ([], 2, "required: command"),
        (["predict", "run", "data.csv"], 2, "required: --out"),
        (["train", "--range", "5"], 2, "argument --range: "),
        (["train", "--help"], 0, f"learning rate at the start ({Options.lr})"),
    ):
        with pytest.raises(SystemExit, match=str(status)):
            main(arguments)
        both = capsys.readouterr()
        assert shown in " ".join((both.err if status else both.out).split())


def test_without_the_extra_the_command_says_what_to_install() -> None:
    script = "import sys; sys.modules['pandas'] = None; from zeroproof.command.main import main; "
    command = [sys.executable, "-c", script + "sys.exit(main(['train']))"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert re.fullmatch("zeroproof: .*pandas.*\n", done.stderr)
    assert "pip install 'zeroproof-scm[apps]'" in done.stderr


def test_the_command_is_also_a_module(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["zeroproof", "--version"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("zeroproof", run_name="__main__")
    assert capsys.readouterr().out.strip() == zeroproof.__version__


def test_what_was_not_given_is_none() -> None:
    given = vars(parser().parse_args(["train", "--no-log-target", "--range=:5"]))
    assert given["log_target"] is False
    assert given["range"] == (-math.inf, 5.0)
    assert given["out"] == Path("zeroproof-run")
    assert [given[name] for name in ("data", "target", "epochs", "lr", "seed")] == 5 * [None]


def test_names_of_columns_may_be_given_with_other_blanks_and_twice() -> None:
    arguments = ["--target", " dose  (mM)\n", "--target", "dose (mM)", "--group", "a\tb"]
    given = given_options(parser().parse_args(["train", *arguments]))
    assert (given["target"], given["group"]) == (["dose (mM)"], "a b")


def test_what_a_terminal_cannot_write_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(written, encoding="ascii"))
    assert main(["predict", "⊥", "data.csv", "--out", "out.csv"]) == 2
    sys.stderr.flush()
    assert written.getvalue().startswith(b"zeroproof: ? holds no run")


def config(path: Path, text: str) -> dict[str, object]:
    (path / "options.json").write_text(text)
    command = ["train", "--config", str(path / "options.json")]
    return given_options(parser().parse_args(command))


@pytest.mark.parametrize("name", ["log_target", "shared_denominator"])
def test_a_switch_in_a_file_is_true_or_false(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    for value in (True, False):
        assert config(tmp_path, f'{{"{name}": {str(value).lower()}}}') == {name: value}
    assert config(tmp_path, f'{{"{name}": null}}') == {}
    for text in ('"false"', '"no"', "0", "1", "[true]"):
        with pytest.raises(SystemExit, match="2"):
            config(tmp_path, f'{{"{name}": {text}}}')
        shown = " ".join(capsys.readouterr().err.split())
        assert f"options.json: {name} must be true or false, got {text}" in shown


def test_a_list_in_a_file_may_be_null_one_name_or_a_number(tmp_path: Path) -> None:
    assert config(tmp_path, '{"use": null, "target": null, "ignore": []}') == {"ignore": []}
    assert config(tmp_path, '{"use": " a  b", "ignore": [2020, "c"]}') == {
        "use": ["a b"],
        "ignore": ["2020", "c"],
    }
