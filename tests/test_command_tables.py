"""The command reads tables as people have them."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from zeroproof.command.table import (
    Column,
    Measured,
    Table,
    UserError,
    choose_columns,
    encoder,
    features,
    read_table,
    targets,
)

INF, NAN = np.inf, np.nan
XLSX = b"PK\x03\x04" + bytes(30)


def read(path: Path, text: str | bytes, decimal: str | None = None) -> Table:
    path = path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path, decimal)


def ends(measured: Measured) -> list[tuple[float, float]]:
    return list(zip(measured.lower[:, 0].tolist(), measured.upper[:, 0].tolist(), strict=True))


def column(path: Path, cells: list[str], **options: object) -> Measured:
    text = "a|y\n" + "".join(f"{i}|{cell}\n" for i, cell in enumerate(cells))
    return targets(read(path, text), ["y"], **options)  # type: ignore[arg-type]


FILES = {
    "commas": "a,y\n1.5,2\n2.5,-3e2\n",
    "semicolons and decimal commas": "a;y\n1,5;2\n2,5;-3e2\n",
    "semicolons and decimal points": "a;y\n1.5;2\n2.5;-300\n",
    "a comma in a name": "a, µM;b;y\n1,5;0;2\n2,5;0;-3E+02\n".replace("a, µM", '"a"'),
    "tabs and decimal commas": "a\ty\n1,5\t2\n2,5\t-300,0\n",
    "bars": "a|y\n1.5|2\n2.5|-300\n",
    "quotes and spaces": 'a , "y"\n "1.5" , "2"\n "2.5",  -300\n',
    "a mark for bytes, CRLF and blank lines": "\ufeffa,y\r\n1.5,2\r\n\r\n,\r\n2.5,-300\r\n\r\n",
    "CR": "a,y\r1.5,2\r2.5,-300",
    "Excel's first line": '"sep=;"\r\na;y\r\n1,5;2\r\n2,5;-300\r\n',
    "delimiters at the end": "a,y,\n1.5,2,\n2.5,-300,\n",
    "delimiters at the end, but of the header": "a,y\n1.5,2,,\n2.5,-300,\n",
    "a delimiter at the end of the header": "a,y,\n1.5,2\n2.5,-300\n",
    "UTF-16": "a\ty\n1.5\t2\n2.5\t-300\n".encode("utf-16"),
    "UTF-16 without a mark": "a\ty\n1.5\t2\n2.5\t-300\n".encode("utf-16-le"),
    "UTF-16, the other end first": "a\ty\n1.5\t2\n2.5\t-300\n".encode("utf-16-be"),
    "cp1252": "µ;a;y\n5 µ;1,5;2\n5 µ;2,5;-300\n".encode("cp1252"),
    "gzip": gzip.compress(b"a,y\n1.5,2\n2.5,-300\n"),
    "full-width digits": "a,y\n１．５,２\n２.５,－300\n",
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
    assert table.lines == [5, 6]
    assert read(tmp_path, ",a\n0,x\n").cells.columns.tolist() == ["Unnamed: 0", "a"]


ERRORS = {
    "nothing": ("", "the file is empty"),
    "no rows": ("a,y\n", "there are no rows"),
    "few cells": ("a,b,y\n1,2,3\n\n1,2\n", "line 4: 2 cells, but line 1 names 3"),
    "many cells": ("a,y\n1,2\n1,2,3\n", "line 3: 3 cells, but line 1 names 2"),
    "a title": ("Plate 7\n\na,b,y\n1,2,3\n", "line 3: 3 cells, but line 1 names 1"),
    "comments": ("# of May, 2020\n# X\na,b,y\n1,2,3\n", "names 2 .* nothing above it"),
    "decimal commas": ("a,y\n1,5,2,5\n", "decimal commas need ; between cells"),
    "a name twice": ("a,y,a\n1,2,3\n", "line 1 names two columns 'a'"),
    "no names": ("1.5,2\n2.5,3\n", r"no column 'y'.*names must stand above the numbers"),
    "blanks between cells": ("a y\n1 2\n", r"no column 'y'.*put , ; \| or a tab between cells"),
    "an open quote": ('a,y\n1,"2\n3,4\n', "quote"),
    "a workbook": (XLSX, "save its sheet as CSV"),
    "an image": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "save the table as CSV"),
    "half a gzip": (gzip.compress(b"a,y\n1,2\n" * 99)[:20], "cannot be read"),
    "bytes of no encoding": (b"a,y\n\x81,2\n", "save the table as CSV in UTF-8"),
    "a similar name": ("Y,z\n1,2\n", "no column 'y'; columns are Y, z"),
    "a name nearly right": ("yy,z\n1,2\n", "did you mean 'yy'?"),
}


@pytest.mark.parametrize(("text", "message"), ERRORS.values(), ids=ERRORS)
def test_a_file_that_is_no_table(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=r"^[^\n]*table.csv[^\n]*$") as caught:
        targets(read(tmp_path, text), ["y"])
    assert re.search(message, str(caught.value))


def test_a_path_that_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(UserError, match=r"cannot be read \((Is a dir|No such file)"):
            read_table(path)


CELLS = {
    "5": (5, 5),
    "+.5": (0.5, 0.5),
    "−5.": (-5, -5),
    "–1e−3": (-0.001, -0.001),
    "1,234.5": (1234.5, 1234.5),
    "12,34,567.5": (1234567.5, 1234567.5),
    "1 234.5": (1234.5, 1234.5),
    "1\u202f234": (1234, 1234),
    "1\xa0234\u2009567": (1234567, 1234567),
    "1’234.5": (1234.5, 1234.5),
    "1'234": (1234, 1234),
    ">50": (50, INF),
    "> -1.5": (-1.5, INF),
    "≥ 50": (50, INF),
    ">=5e1": (50, INF),
    "⩾1,000": (1000, INF),
    "<0.05": (-INF, 0.05),
    "≤−1": (-INF, -1),
    "＜５": (-INF, 5),
    "10-20": (10, 20),
    "10–20.5": (10, 20.5),
    "10 — 20": (10, 20),
    "10 to 20": (10, 20),
    "1..2": (1, 2),
    "-5 - -2": (-5, -2),
    "−5–−2": (-5, -2),
    "1e-3-2e-3": (0.001, 0.002),
    "1,000-2,000": (1000, 2000),
    "5-inf": (5, INF),
    "inf": (INF, INF),
    "+inf": (INF, INF),
    "-Infinity": (-INF, -INF),
    "∞": (INF, INF),
    "−∞": (-INF, -INF),
    "0.1": (0.1, 0.1),
    "123456789.123456789": (123456789.123456789,) * 2,
}


def test_targets_are_numbers_intervals_and_points(tmp_path: Path) -> None:
    found = column(tmp_path, list(CELLS))
    assert dict(zip(CELLS, ends(found), strict=True)) == CELLS
    assert not found.missing.any()
    assert found.notes[:2] == [
        "y: thousands marked by a point or comma: 4, such as 1,234.5",
        "y: intervals: 18, such as >50",
    ]


def test_poles_and_missing_targets_are_nan(tmp_path: Path) -> None:
    blanks = ["", "NA", "n/a", "null", "None", "-", "—", "?", "#N/A"]
    found = column(tmp_path, ["1", "nan", "NaN", *blanks])
    assert found.missing.tolist() == [False] * 3 + [True] * len(blanks)
    assert np.isnan(found.lower[1:]).all()
    assert np.isnan(found.upper[1:]).all()
    assert found.notes == [
        "y: points at infinity: 2, such as nan",
        "rows without a target, which are left out: 9",
    ]
    some = found.rows([0, 4])
    assert (some.missing.tolist(), some.lower[0, 0]) == ([False, True], 1.0)
    with pytest.raises(UserError, match="no row has a value of y"):
        column(tmp_path, ["", "NA"])


WRONG = {
    "high": "write a number, >5, <5, 2-5, inf, -inf, nan for a pole, or leave it blank",
    "5 %": "write 5, without '%'",
    "~5.5": "write 5.5, without '~'",
    "5 mM": "write 5, without 'mM'",
    "5g/cm3": "write 5, without 'g/cm3'",
    "20-10": "write a number",
    ">5-6": "write a number",
    "<inf": "write a number",
    "1e999": "write a number",
    "1_000": "write a number",
    "0x1F": "write a number",
    "1,23": "write a number",
    "0,123": "write a number",
    "1.2.3": "write a number",
    "1/2": "write a number",
    "2020-01-02": "write a number",
    "10²": "write a number",
}


@pytest.mark.parametrize(("cell", "remedy"), WRONG.items())
def test_a_target_that_is_none(tmp_path: Path, cell: str, remedy: str) -> None:
    message = rf"table.csv, line 4: column 'y' holds {re.escape(repr(cell))}; {re.escape(remedy)}"
    with pytest.raises(UserError, match=message):
        column(tmp_path, ["1.5", "2.5", cell, "x"])


DECIMALS = {  # the column y, the file, its values
    "the column": ("a;y\n1,5;1.234\n2,5;0.5\n", [1.234, 0.5]),
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
    "an exponent": ("a;y\n1;1.234e5\n2;2.500\n", [123400, 2.5]),
    "names of substances": ('n;y\n"1,2-x";1.5\n"2,5-d";2.500\n', [1.5, 2.5]),
}


@pytest.mark.parametrize(("text", "values"), DECIMALS.values(), ids=DECIMALS)
def test_the_decimal_sign_is_found(tmp_path: Path, text: str, values: list[float]) -> None:
    found = targets(read(tmp_path, text), ["y"])
    known = np.where(np.isfinite(found.upper), found.upper, found.lower)
    assert known[:, 0].tolist() == values


def test_the_decimal_sign_can_be_given(tmp_path: Path) -> None:
    for decimal, value in ((".", 1234.0), (",", 1.234)):
        table = read(tmp_path, "a\ty\n0.5\t1,234\n", decimal)
        assert (ends(targets(table, ["y"])), table.decimal) == ([(value, value)], decimal)


LIMITS = {  # cells, and what an instrument that reports them can report
    "numbers": (["1", "2", "inf"], None),
    "one end": (["1", ">50", "≥50", "50", "49"], (-INF, 50)),
    "the other end": (["1", "<0.5", "2-3"], (0.5, INF)),
    "both": (["1", "<0.5", ">50"], (0.5, 50)),
    "rounded": (["0", "100", ">99.5"], (-INF, 99.5)),
    "several": (["1", ">50", ">60"], None),
    "numbers beyond": (["1", ">50", "60"], None),
    "one beyond in a hundred": ([*map(str, range(99)), "180", ">100"], (-INF, 100)),
    "crossed": ([">5", "<6"], None),
}


@pytest.mark.parametrize(("cells", "limits"), LIMITS.values(), ids=LIMITS)
def test_limits_are_where_cells_agree(
    tmp_path: Path, cells: list[str], limits: tuple[float, float] | None
) -> None:
    found = column(tmp_path, cells)
    assert found.limits == limits
    assert any("--range" in note for note in found.notes) == (
        limits is None and any("<" in cell or ">" in cell for cell in cells)
    )


def test_a_range_says_what_the_instrument_reports(tmp_path: Path) -> None:
    cells = ["1", "5", "50", "60", "inf", "-inf", ">70", "<60", "nan", "10-60", ""]
    found = column(tmp_path, cells, range=(5.0, 50.0))
    below, above = (-INF, 5.0), (50.0, INF)
    assert ends(found)[:8] == [below, below, above, above, above, below, above, (-INF, 60.0)]
    assert np.isnan(found.lower[8, 0])
    assert ends(found)[9] == (10.0, 60.0)
    assert found.limits == (5.0, 50.0)
    assert "y: numbers at or beyond the range: 6, such as 1" in found.notes
    found = column(tmp_path, cells, range=(5.0, INF))
    assert ends(found)[3:6] == [(60.0, 60.0), (INF, INF), below]
    assert found.limits == (5.0, INF)


def test_logarithms(tmp_path: Path) -> None:
    found = column(tmp_path, ["100", ">1000", "<1", "0-10", "inf", "nan", ""], log=True)
    assert ends(found)[:5] == [(2, 2), (3, INF), (-INF, 0), (-INF, 1), (INF, INF)]
    assert np.isnan(found.lower[5:]).all()
    assert found.limits == (0.0, 3.0)
    assert column(tmp_path, ["0", "5"], log=True, range=(1.0, 100.0)).limits == (0.0, 2.0)
    for cell in ("0", "-1", "-inf", "<0", "-3 - -2"):
        with pytest.raises(UserError, match=f"line 3: column 'y' holds '{cell}'; it has no log"):
            column(tmp_path, ["1", cell], log=True)


def test_several_targets(tmp_path: Path) -> None:
    table = read(tmp_path, "a,y,z\n1,2,>3\n2,,4\n3,inf,5\n")
    found = targets(table, ["z", "y"])
    assert found.lower[[0, 2]].tolist() == [[3, 2], [5, INF]]
    assert found.upper[[0, 2]].tolist() == [[INF, 2], [5, INF]]
    assert found.missing.tolist() == [False, True, False]
    assert np.isnan([found.lower[1], found.upper[1]]).all()
    assert found.limits is None
    assert targets(table, ["z", "y"], range=(0, 9)).limits == (0.0, 9.0)


ROLES = {  # cells of a column of this name, its role, and a part of the note
    "x": (["1", "2.5", "3", "4"], "number", "^$"),
    "some": (["1", "", "NA", "nan"], "number", "3 of 4 blank, filled with the median"),
    "bound": (["1", ">5", "2", "4"], "number", "finite end or middle: 1, such as >5"),
    "rank": (["1", "2", "3", "4"], "number", "^$"),
    "one": (["5", "5", "5", "5"], "ignored", "always 5"),
    "often": (["5", "5", "5", ""], "number", "1 of 4 blank"),
    "none": (["", "NA", "-", "?"], "ignored", "all cells are blank"),
    "drug": (["a", "b", "a", "b"], "category", "2 values"),
    "gap": (["a", "", "a", "b"], "category", "2 values; 1 of 4 blank"),
    "flag": (["True", "False", "True", "False"], "category", "2 values"),
    "age": (["20-30", "30-40", "20-30", "30-40"], "category", "2 values"),
    "smiles": (["CCO", "CC", "C1CC1", "CCO"], "category", "3 values"),
    "name": (["CHEM-1", "CHEM-2", "CHEM-3", "CHEM-4"], "ignored", "4 values in 4 rows"),
    "id": (["1", "2", "3", "4"], "ignored", "numbers the rows"),
    "Compound ID": (["17", "4", "3", "99"], "ignored", "numbers the rows"),
    "sampleID": (["17", "4", "3", "99"], "ignored", "numbers the rows"),
    "": (["0", "1", "2", "3"], "ignored", "numbers the rows"),
    "row": (["1", "1", "2", "2"], "number", "^$"),
    "acid": (["1", "2", "3", "4"], "number", "^$"),
    "idle": (["1", "2", "3", "4"], "number", "^$"),
    "index": (["1.5", "1.6", "1.7", "1.8"], "number", "^$"),
    "day": (["2020-01-02", "2020-01-03", "2020-01-02", "2020-01-03"], "ignored", "dates"),
    "day2": (["1.2.2020", "13.2.2020", "2.12.20", "1.1.2021"], "ignored", "dates"),
    "day3": (["3 Jan 2020", "13-Feb-20", "2 March 2020", "1 May 2021"], "ignored", "dates"),
    "time": (["12:30", "1:45:10", "12:31", "12:32"], "ignored", "dates or times"),
}


def table_of(path: Path, columns: dict[str, list[str]]) -> Table:
    rows = [list(columns), *map(list, zip(*columns.values(), strict=True))]
    return read(path, "".join("|".join(row) + "\n" for row in rows))


def test_each_column_has_a_role(tmp_path: Path) -> None:
    cells = {name: cells for name, (cells, _, _) in ROLES.items()}
    table = table_of(tmp_path, cells | {"y": ["1", "2", "3", "4"], "plate": ["a", "a", "b", "c"]})
    found = choose_columns(table, ["y"], group="plate", ignore=["x"])
    assert [column.name for column in found] == list(table.cells)
    expected = {name or "Unnamed: 16": role for name, (_, role, _) in ROLES.items()}
    expected |= {"x": "ignored", "y": "target", "plate": "group"}
    assert {column.name: column.role for column in found} == expected
    for column, (_, _, note) in zip(found, ROLES.values(), strict=False):
        assert column.name == "x" or re.search(note, column.note), column


def test_columns_can_be_forced(tmp_path: Path) -> None:
    names = ["name", "id", "day", "one"]
    cells = {name: ROLES[name][0] for name in names} | {"y": ["1", "2", "3", "4"]}
    found = choose_columns(table_of(tmp_path, cells), ["y"], use=names)
    roles = ["category", "number", "category", "number", "target"]
    assert [column.role for column in found] == roles


CHOICES = {  # of a table with columns a, y and t
    "an unknown column": ({"use": ["b"]}, "no column 'b'; columns are a, y, t"),
    "another": ({"group": "b"}, "no column 'b'"),
    "a part too many": ({"ignore": ["y"]}, "column 'y' is named twice"),
    "nothing left": ({"ignore": ["a"], "group": "t"}, "no column is left .*a: --ignore; t: rows"),
}


@pytest.mark.parametrize(("options", "message"), CHOICES.values(), ids=CHOICES)
def test_choices_that_cannot_be(
    tmp_path: Path, options: dict[str, list[str]], message: str
) -> None:
    table = read(tmp_path, "a,y,t\n1,2,x\n2,3,x\n3,4,y\n5,6,y\n")
    with pytest.raises(UserError, match=message):
        choose_columns(table, ["y"], **options)  # type: ignore[arg-type]


FEATURES = {  # cells, and what to do
    "a word": (["1", "2", "x"], "write a finite number, leave it blank, or .*--ignore 'b c'"),
    "infinity": (["1", "2", "inf"], "write a finite number"),
    "a percentage": (["1", "2", "3 %"], "write 3, without '%'"),
    "units": (["1 mM", "2 mM", "3 mM"], "write 1, without 'mM'"),
    "two decimal signs": (["1.5", "2.5", "3,5"], "write a finite number"),
}


@pytest.mark.parametrize(("cells", "remedy"), FEATURES.values(), ids=FEATURES)
def test_a_feature_that_is_none(tmp_path: Path, cells: list[str], remedy: str) -> None:
    table = table_of(tmp_path, {"b c": cells, "y": ["1", "2", "3"]})
    with pytest.raises(UserError, match=rf"line \d: column 'b c' holds '.*'; {remedy}"):
        choose_columns(table, ["y"])


def test_features_of_another_file_are_encoded(tmp_path: Path) -> None:
    x = [str(i) for i in range(10)]
    cells = {"x": [*x[:9], ""], "drug": [*"ababababa", ""], "none": ["1", *[""] * 9], "y": x}
    table = table_of(tmp_path, cells)
    columns = choose_columns(table, ["y"])
    frame = features(table, columns)
    assert list(frame) == ["x", "none", "drug"]
    assert frame["x"].dtype == frame["none"].dtype == np.float64
    assert frame["drug"].tolist() == [*"ababababa", None]
    known = encoder(columns).fit(frame)
    assert np.isfinite(known.transform(frame)).all()
    other = read(tmp_path, "drug;x\nnew;1,5\nNA;>2,5\na;\n")
    with pytest.raises(UserError, match="no column 'none'; columns are drug, x"):
        features(other, columns)
    other = read(tmp_path, "drug;x;none\nnew;1,5;\nNA;>2,5;1\na;;\n")
    # x, none, whether each was blank; a, b and blank
    assert known.transform(features(other, columns)).tolist() == [
        [1.5, 1, 0, 1, 0, 0, 0],
        [2.5, 1, 0, 0, 0, 0, 1],
        [4, 1, 1, 1, 1, 0, 0],
    ]
    assert known.transform(features(table.rows([9]), columns)).tolist() == [[4, 1, 1, 1, 0, 0, 1]]


def test_rare_categories_count_as_one(tmp_path: Path) -> None:
    values = [f"v{i // 2}" for i in range(80)]
    table = table_of(tmp_path, {"a": values, "y": [str(i) for i in range(80)]})
    columns = choose_columns(table, ["y"])
    found = encoder(columns).fit_transform(features(table, columns))
    assert found.shape == (80, 20)
    assert (found.sum(axis=1) == 1).all()


def test_some_rows_of_a_table(tmp_path: Path) -> None:
    table = read(tmp_path, "a,y\n1,2\n\n3,4\nx,z\n")
    some = table.rows(np.array([False, True, True]))
    assert (some.cells["a"].tolist(), some.lines) == (["3", "x"], [4, 5])
    assert some.cells.index.tolist() == [0, 1]
    with pytest.raises(UserError, match="line 5: column 'y' holds 'z'"):
        targets(some, ["y"])
    assert ends(targets(table.rows([1]), ["y"])) == [(4.0, 4.0)]


def test_a_long_table_is_that_of_a_short_one(tmp_path: Path) -> None:
    rows = "".join(f"{i % 7},5;{i},25;{'x' * 9}\n" for i in range(20_000))
    table = read(tmp_path, f"a;y;n\n{rows}1.234;>2;x\n")
    assert features(table, choose_columns(table, ["y"]))["a"].iloc[-1] == 1234
    assert targets(table, ["y"]).lower[-2:, 0].tolist() == [19999.25, 2]
