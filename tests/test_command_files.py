"""The command reads files as people have them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.table_helpers import ends, read
from zeroproof.command import cells
from zeroproof.command.options import Options, UserError
from zeroproof.command.table import Column, choose_columns, features, targets
from zeroproof.command.train import prepare

FILES = {
    "commas": "a,y\n1.5,2\n2.5,-3e2\n",
    "semicolons and decimal commas": "a;y\n1,5;2\n2,5;-3e2\n",
    "semicolons and decimal points": "a;y\n1.5;2\n2.5;-300\n",
    "tabs and decimal commas": "a\ty\n1,5\t2\n2,5\t-300,0\n",
    "bars": "a|y\n1.5|2\n2.5|-300\n",
    "quotes and spaces": 'a , "y"\n "1.5", "2"\n "2.5",  -300 \n',
    "a mark for bytes, CRLF and blank lines": "\ufeffa,y\r\n1.5,2\r\n\r\n,\r\n2.5,-300\r\n\r\n",
    "CR": "a,y\r1.5,2\r2.5,-300",
    "Excel's first line": '"sep=;"\r\na;y\r\n1,5;2\r\n2,5;-300\r\n',
    "delimiters at the end": "a,y,\n1.5,2,\n2.5,-300,\n",
    "UTF-16": "a\ty\n1.5\t2\n2.5\t-300\n".encode("utf-16"),
    "UTF-16, the other end first": "\ufeffa\ty\n1.5\t2\n2.5\t-300\n".encode("utf-16-be"),
    "cp1252": "µ;a;y\n5 µ;1,5;2\n5 µ;2,5;–300\n".encode("cp1252"),
    "commas in names and in cells": 'a;b, µM, %;y\n1,5;"2;5, x";2\n2,5;3,5;-300\n',
    "semicolons in cells": 'n,a,y\n"b;c",1.5,2\n"b;d",2.5,-300\n',
    "a line in a cell": 'n,a,y\n"x\r\n, z",1.5,2\nx,2.5,-300\n',
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_files_as_people_have_them(tmp_path: Path, text: str | bytes) -> None:
    table = read(tmp_path, text)
    assert ends(targets(table, ["y"])) == [(2, 2), (-300, -300)]
    found = features(table, [Column("a", "number", "")])
    assert (list(found), found["a"].tolist()) == (["a"], [1.5, 2.5])


def test_names_and_lines_are_those_of_the_file(tmp_path: Path) -> None:
    text = '"濃度\n(µM)";$y_1;,;Название\n\n"x\ny";1;2;да\n1;2;3;нет\n'
    table = read(tmp_path, text.encode("utf-16"))
    assert list(table.cells) == ["濃度 (µM)", "$y_1", ",", "Название"]
    assert table.cells["Название"].tolist() == ["да", "нет"]
    assert [*table.cells.index] == [5, 6]
    assert read(tmp_path, ",a\n0,x\n").cells.columns.tolist() == ["Unnamed: 0", "a"]


ABOVE = {  # a file, and the lines above the names of its columns
    "a plate reader's": ("Plate;7\nDate:;12.05.2024\n\nwell;a;y\nA1;1,5;2\nA2;2,5;3\n", 2),
    "a title": ("Plate 7\n\nwell;a;y\nA1;1,5;2\nA2;2,5;3\n", 1),
    "cells as many": ("Plate 7,,\n,,\nof y,a,\nwell, a ,y\nA1,1.5,2\nA2,2.5,3\n", 2),
    "a title above names in quotes": (
        'Report\n"n","a","y"\n"x, z","1.5","2"\n"x","2.5","3"\n',
        1,
    ),
    "a title above names in quotes: semicolons": (
        'Report, 2 parts\n"n";"a";"y"\n"x";"1,5";"2"\n"x\nz";"2,5";"3"\n',
        1,
    ),
    "names in a title": (
        '"of a;y";b\nn;a;y\n"x";"1,5";"2"\n"x;z";"2,5";"3"\n',
        1,
    ),
    "names in quotes": ('"a","y","n"\n1.5,2,key; x\n2.5,3,day; y\n', 0),
    "none": ("well,a,y\ny,1.5,2\na,2.5,3\n", 0),
}


@pytest.mark.parametrize(("text", "above"), ABOVE.values(), ids=ABOVE)
def test_the_first_line_with_all_that_is_needed_names_the_columns(
    tmp_path: Path, text: str, above: int
) -> None:
    table = read(tmp_path, text, None, "y", "a")
    assert table.above == above
    assert ends(targets(table, ["y"])) == [(2, 2), (3, 3)]
    assert features(table, [Column("a", "number", "")])["a"].tolist() == [1.5, 2.5]


def test_names_that_are_needed_and_stand_last_have_no_rows(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no rows below the names"):
        read(tmp_path, "a,b\n1,2\na,y\n", None, "y")


ERRORS = {
    "nothing": ("", "there are no rows"),
    "no rows": ("a,y\n", "there are no rows"),
    "few cells": ("a,b,y\n1,2,3\n\n1,2\n", "line 4: 2 cells, but line 1 names 3"),
    "many cells": ("a,y\n1,2\n1,2,3\n", "line 3: 3 cells, but line 1 names 2"),
    "a title": (
        "Plate 7\n\na,b,y\n1,2,3\n",
        "line 1 names 1 columns; delete lines above the names",
    ),
    "comments": ("# of May, 2020\n# X\na,b,y\n1,2,3\n", "line 2: 1 cells, but line 1 names 2 "),
    "decimal commas": ("a,y\n1,5,2,5\n", "decimal commas need ; between cells"),
    "a name twice": ("a,y,a\n1,2,3\n", "line 1: 'a' names two columns; rename one"),
    "no names": (
        "1.5,2\n2.5,3\n",
        "no column 'y'.*the first line names the columns, in UTF-8",
    ),
    "blanks between cells": ("a y\n1 2\n", r"no column 'y'.*with , ; \| or a tab between them"),
    "an open quote": ('a,y\n1,"2\n3,4\n', "quote"),
    "two open quotes": ('n,y\n"x,2\nz,3\n"x,4\n', "line 4: a quote"),
    "a workbook": (
        b"PK\x03\x04" + bytes(30),
        "no text; unpack it, or save the workbook's sheet as CSV",
    ),
    "UTF-16 without a mark": ("a,y\n1,2\n".encode("utf-16-le"), "save .* as CSV UTF-8"),
    "an encoding of China": ("浓度（µM）,y\n1,2\n".encode("gb18030"), "save .* as CSV UTF-8"),
    "a similar name": (
        ",".join(map(str, range(40))) + ",Y2\n" + "1," * 40 + "1\n",
        "; there are Y2, 0, 1, ",
    ),
}


@pytest.mark.parametrize(("text", "message"), ERRORS.values(), ids=ERRORS)
def test_a_file_that_is_no_table(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=r"^[^\n]*table.csv[^\n]*$") as caught:
        targets(read(tmp_path, text), ["y"])
    assert re.search(message, str(caught.value))


DECIMALS = {  # the column y, the file, its values
    "the other columns": ("a;y\n1.5;1.234\n2.5;2.500\n", [1.234, 2.5]),
    "the other columns: commas": ('a\ty\n"1,5"\t1.234\n2,5\t2.500\n', [1234, 2500]),
    "semicolons": ("a;y\n1;1.234\n2;2.500\n", [1234, 2500]),
    "semicolons: commas": ("a;y\n1;1,234\n2;2,500\n", [1.234, 2.5]),
    "commas": ('a,y\n1,"1,234"\n2,"2,500"\n', [1234, 2500]),
    "tabs": ("a\ty\n1\t1,234\n2\t2.500\n", [1234, 2.5]),
    "a long number": ("a;y\n1;1234.567\n2;2.500\n", [1234.567, 2.5]),
    "millions": ("a;y\n1;1,234,567\n2;2.500\n", [1234567, 2.5]),
    "both signs": ('a,y\n1,"1.234,5"\n2,>2.500\n', [1234.5, 2500]),
    "a bound": ('a,y\n1,"<0,5"\n2,2.500\n', [0.5, 2500]),
    "an interval": ('a,y\n1,"1,5 - 2,5"\n2,2.500\n', [2.5, 2500]),
    "names of substances": ('n;y\n"1,2-x";1.5\n"2,5-d";2.500\n', [1.5, 2.5]),
}


@pytest.mark.parametrize(("text", "values"), DECIMALS.values(), ids=DECIMALS)
def test_the_decimal_sign_is_found(tmp_path: Path, text: str, values: list[float]) -> None:
    found = targets(read(tmp_path, text), ["y"])
    known = np.where(np.isfinite(found.upper), found.upper, found.lower)
    assert known[:, 0].tolist() == values


def test_the_decimal_sign_can_be_given_where_cells_do_not_tell(tmp_path: Path) -> None:
    for decimal, value in ((".", 1234.0), (",", 1.234)):
        table = read(tmp_path, "a\ty\n5\t1,234\n", decimal)
        assert (ends(targets(table, ["y"])), table.decimal) == ([(value, value)], decimal)
    assert read(tmp_path, "a\ty\n0.5\t1,234\n", ",").decimal == "."


def test_some_rows_of_a_table(tmp_path: Path) -> None:
    table = read(tmp_path, "a,y\n1,2\n\n3,4\nx,z\n")
    some = table.rows(np.array([False, True, True]))
    assert (some.cells["a"].tolist(), [*some.cells.index]) == (["3", "x"], [4, 5])
    with pytest.raises(UserError, match="line 5: column 'y' holds 'z'"):
        targets(some, ["y"])
    assert ends(targets(table.rows([1]), ["y"])) == [(4.0, 4.0)]


def test_a_long_table_is_that_of_a_short_one(tmp_path: Path) -> None:
    rows = "".join(f"{i % 7},5;{i},25;{'x' * 9}\n" for i in range(20_000))
    table = read(tmp_path, f"a;y;n\n{rows}1.234;>2;x\n")
    assert features(table, choose_columns(table, ["y"]))["a"].iloc[-1] == 1234
    assert targets(table, ["y"]).lower[-2:, 0].tolist() == [19999.25, 2]


@pytest.mark.parametrize("sign", ",'’ \xa0\u2009\u202f")
def test_a_sign_between_thousands_takes_no_slow_way(
    monkeypatch: pytest.MonkeyPatch, sign: str
) -> None:
    monkeypatch.setattr(cells, "_ends", None)
    texts = pd.Series([f"-1{sign}234{sign}567.5", f"12{sign}345", "1e3"])
    assert cells.parse(texts, ".").tolist() == [[-1234567.5, 12345, 1000]] * 2


def test_a_file_is_read_once_and_each_feature_parsed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,y\n" + "".join(f"{i},{i}.5\n" for i in range(20)))
    read_bytes, seen = Path.read_bytes, list[Path]()
    monkeypatch.setattr(Path, "read_bytes", lambda path: seen.append(path) or read_bytes(path))
    run, (train, _), _ = prepare(Options(str(path), ["y"]))
    assert seen == [path]
    monkeypatch.setattr("zeroproof.command.table.parse", None)
    assert len(features(train, run.columns)) == run.rows[0] == 16
