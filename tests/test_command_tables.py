"""The command says what each column is used for, and encodes it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.table_helpers import read, table_of
from zeroproof.command.options import UserError
from zeroproof.command.table import Column, choose_columns, encoder, features

ROLES = {  # cells of a column of this name, its role, and a part of the note
    "x": (["1", "2.5", "3", "4"], "number", "^$"),
    "some": (["1", "", "NA", "nan"], "number", "3 of 4 blank, filled with the median"),
    "bound": (
        ["1", ">5", "2", "4"],
        "number",
        "^1 such as >5, used by their finite end or middle$",
    ),
    "rank": (["1", "2", "3", "4"], "number", "^$"),
    "one": (["5", "5", "5", "5"], "ignored", "no two cells differ"),
    "often": (["5", "5", "5", ""], "number", "1 of 4 blank"),
    "none": (["", "NA", "-", "?"], "ignored", "no two cells differ"),
    "drug": (["a", "b", "a", "b"], "category", "2 values"),
    "lot": (["7", "a", "7", "a"], "category", "2 values"),
    "gap": (["a", "", "a", "b"], "category", "2 values, such as a"),
    "flag": (["True", "False", "True", "False"], "category", "2 values"),
    "age": (["20-30", "30-40", "20-30", "30-40"], "category", "2 values"),
    "smiles": (["CCO", "CC", "C1CC1", "CCO"], "category", "3 values"),
    "name": (
        ["CHEM-1", "CHEM-2", "CHEM-3", "CHEM-4"],
        "ignored",
        "text: 4 values, such as CHEM-1$",
    ),
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
    "time": (["2020-01-02 12:30", "2020-01-02T12:31", "2020-02", "2020-03"], "ignored", "dates or"),
    "dilution": (["1:10", "1:20", "1:10", "1:20"], "category", "2 values"),
    "wait": (
        ["2 Days", "3 Days", "2 Days", "3 Days"],
        "category",
        "2 values, such as 2 Days; numbers must stand without units",
    ),
    "width": (["1 %", "2 %", "3 %", "4 %"], "ignored", "4 values, .*; numbers must stand without"),
    "text": (["a\u2028b " * 99, "c", "d", "e"], "ignored", "such as (a b ){10}$"),
}


def test_each_column_has_a_role(tmp_path: Path) -> None:
    cells = {name: cells for name, (cells, _, _) in ROLES.items()}
    table = table_of(tmp_path, cells | {"y": ["1", "2", "3", "4"], "plate": ["a", "a", "b", "c"]})
    found = choose_columns(table, ["y"], group="plate", ignore=["x"])
    assert [column.name for column in found] == list(table.cells)
    expected = {name or "Unnamed: 17": role for name, (_, role, _) in ROLES.items()}
    expected |= {"x": "ignored", "y": "target", "plate": "group"}
    assert {column.name: column.role for column in found} == expected
    for column, (_, _, note) in zip(found, ROLES.values(), strict=False):
        assert column.name == "x" or re.search(note, column.note), column


def test_columns_can_be_forced(tmp_path: Path) -> None:
    names = ["name", "id", "day", "one"]
    cells = {name: ROLES[name][0] for name in names} | {"y": ["1", "2", "3", "4"]}
    found = choose_columns(table_of(tmp_path, cells), ["y"], group="y", use=names, ignore=["y"])
    roles = ["category", "number", "category", "number", "target"]
    assert [column.role for column in found] == roles


CHOICES = {  # of a table with columns a, y and t
    "an unknown column": ({"use": ["b"]}, "no column 'b'.*; there are a, y, t"),
    "another": ({"group": "b"}, "no column 'b'"),
    "nothing left": ({"ignore": ["a"], "group": "t"}, "left .*a: --ignore; y: target; t: rows"),
}


@pytest.mark.parametrize(("options", "message"), CHOICES.values(), ids=CHOICES)
def test_choices_that_cannot_be(
    tmp_path: Path, options: dict[str, list[str]], message: str
) -> None:
    table = read(tmp_path, "a,y,t\n1,2,x\n2,3,x\n3,4,y\n5,6,y\n")
    with pytest.raises(UserError, match=message):
        choose_columns(table, ["y"], **options)  # type: ignore[arg-type]


FEATURES = {  # cells, of which the last is refused
    "a word": ["1", "2", "x"],
    "infinity": ["1", "2", "inf"],
    "units": ["1", "2", "3 %"],
    "two decimal signs": ["1.5", "2.5", "3,5"],
}


@pytest.mark.parametrize("cells", FEATURES.values(), ids=FEATURES)
def test_a_feature_that_is_none(tmp_path: Path, cells: list[str]) -> None:
    table = table_of(tmp_path, {"b c": cells, "y": ["1", "2", "3"]})
    remedy = "write a number without ~, % or unit, or leave it blank, or train with --ignore 'b c'"
    with pytest.raises(UserError, match=f"line 4: column 'b c' holds '{cells[2]}'; {remedy}"):
        choose_columns(table, ["y"])


def test_features_of_another_file_are_encoded(tmp_path: Path) -> None:
    x = [str(i) for i in range(10)]
    cells = {"x": [*x[:9], ""], "drug": [*"ababababa", ""], "none": ["1", *[""] * 9], "y": x}
    table = table_of(tmp_path, cells)
    columns = choose_columns(table, ["y"])
    frame = features(table, columns)
    assert list(frame) == ["x", "drug", "none"]
    assert frame["x"].dtype == frame["none"].dtype == np.float64
    assert frame["drug"].tolist() == [*"ababababa", ""]
    known = encoder(columns).fit(frame)
    assert np.isfinite(known.transform(frame)).all()
    assert np.isfinite(encoder(columns).fit_transform(frame[1:])).all(), "a column is all blank"
    other = read(tmp_path, "drug;x\nnew;1,5\nNA;>2,5\na;\n")
    with pytest.raises(UserError, match="there are drug, x"):
        features(other, columns)
    other = read(tmp_path, "drug;x;none\nnew;1,5;\nNA;>2,5;1\na;;\n")
    # x, none, whether each was blank; blank, a and b
    assert known.transform(features(other, columns)).tolist() == [
        [1.5, 1, 0, 1, 0, 0, 0],
        [2.5, 1, 0, 0, 1, 0, 0],
        [4, 1, 1, 1, 0, 1, 0],
    ]
    assert known.transform(features(table.rows([9]), columns)).tolist() == [[4, 1, 1, 1, 1, 0, 0]]


def test_bounds_and_intervals_count_as_numbers(tmp_path: Path) -> None:
    cells = ["1", "<5", "2-4", ">7", "8", "9", "3"]
    found = features(table_of(tmp_path, {"x": cells}), [Column("x", "number", "")])
    assert found["x"].tolist() == [1, 5, 3, 7, 8, 9, 3]


def test_rare_categories_count_as_one_and_the_note_says_so(tmp_path: Path) -> None:
    values = [f"v{i // 2}" for i in range(80)]
    table = table_of(tmp_path, {"a": values, "y": [str(i) for i in range(80)]})
    columns = choose_columns(table, ["y"])
    found = encoder(columns).fit_transform(features(table, columns))
    assert found.shape == (80, 20)
    assert (found.sum(axis=1) == 1).all()
    assert columns[0].note == "40 values, such as v0; all but the 19 most frequent count as one"
    values = [*"aaaaaaaaaab", *[f"v{i // 2}" for i in range(389)]]
    table = table_of(tmp_path, {"a": values, "y": [str(i) for i in range(400)]})
    (column, _) = choose_columns(table, ["y"])
    assert column.note.endswith("; all but the 1 most frequent count as one")
    assert encoder([column]).fit_transform(features(table, [column])).shape == (400, 2)


def test_a_category_that_tells_no_rows_apart_is_left_out(tmp_path: Path) -> None:
    cells = {"a": [f"v{i // 2}" for i in range(600)], "y": [str(i) for i in range(600)]}
    with pytest.raises(UserError, match="a: 300 values, such as v0, each in less than 1 % of"):
        choose_columns(table_of(tmp_path, cells), ["y"])


def test_other_cells_that_cannot_be_used_are_named_at_once(tmp_path: Path) -> None:
    table = table_of(
        tmp_path, {"a": [*"123456", "ND", "LOD", "ND", "n.d.", ""], "y": [*"12345678901"]}
    )
    with pytest.raises(UserError, match=r"line 8: column 'a' holds 'ND', 'LOD', 'n.d.'; write"):
        choose_columns(table, ["y"])
