"""The command reads tables as people write them, and scales their columns."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from tests.command_helpers import write
from zeroproof.command.main import main
from zeroproof.command.run import Run, Scale
from zeroproof.command.table import read_table


def test_spreadsheets_habits_are_read(tmp_path: Path) -> None:
    lines = ["\ufeffname,a,y", '"one, two",1e0,+inf', "", "x, 2 ,-Infinity", 'y,3,"NaN"']
    lines += [f"z,{i},{i}" for i in range(4, 12)]
    path = tmp_path / "sheet.csv"
    path.write_bytes("\r\n".join(lines).encode())
    out = tmp_path / "run"
    arguments = ["train", str(path), "--target", "y", "--out", str(out), "--epochs", "1"]
    assert main(arguments) == 0
    assert Run.read(out).features == ["a"]


def test_a_column_is_numeric_if_most_of_its_cells_are(tmp_path: Path) -> None:
    rows = [["half", "most", "digits"], ["1", "1", "1_0"], ["2", "x", "2_0"], ["x", " 3 ", "3_0"]]
    rows.append(["y", "-inf", "4_0"])
    table = read_table(write(tmp_path / "data.csv", rows))
    assert table.numeric_columns() == ["most"]
    assert table.lines == [2, 3, 4, 5]


def test_a_table_keeps_its_cells_and_loses_its_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes('\ufeffa,y\r\n"1\r\n2",3\r\n'.encode())
    table = read_table(path)
    assert table.header == ["a", "y"]
    assert table.rows == [["1\r\n2", "3"]]


def test_the_scale_is_that_of_the_training_part() -> None:
    x = torch.tensor([[1.0, 7.0], [3.0, 7.0]], dtype=torch.float64)
    y = torch.tensor([10.0, -10.0, math.inf], dtype=torch.float64)
    scale = Scale.of(x, y)
    assert scale == Scale([2.0, 7.0], [1.0, 1.0], 0.0, 10.0)
    assert scale.features(torch.tensor([[4.0, 8.0]])).tolist() == [[2.0, 1.0]]
    assert scale.targets(y).tolist() == [1.0, -1.0, math.inf]
    assert scale.values(torch.tensor([0.5])).tolist() == [5.0]
    assert Scale.of(x * 1e-200, y).std == [1.0, 1.0], "a deviation that underflows"


def test_a_constant_is_no_scale(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a,y\n" + "0.1,0.1\n" * 126)  # whose computed deviation is 1.4e-17
    out = tmp_path / "run"
    assert main(["train", str(path), "--target", "y", "--out", str(out), "--epochs", "1"]) == 0
    assert (Run.read(out).scale.std, Run.read(out).scale.target_std) == ([1.0], 1.0)
