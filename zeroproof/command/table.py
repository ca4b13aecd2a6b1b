"""Read a CSV file into features and targets, or say in one line what is wrong with it."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float64
from torch import Tensor


class UserError(Exception):
    """Something that the user can mend; the message is one line."""


@dataclass(frozen=True)
class Table:
    """A table as text.

    Args:
        path: where it came from, for messages.
        header: names of the columns.
        rows: cells of each row, as many as the header has.
        lines: number of each row's last line in the file.
    """

    path: Path
    header: list[str]
    rows: list[list[str]]
    lines: list[int]

    def column(self, name: str) -> list[str]:
        """Return a column's cells; UserError if there is no such column."""
        if name not in self.header:
            raise UserError(
                f"{self.path}: no column {name!r}; columns are {', '.join(self.header)}"
            )
        index = self.header.index(name)
        return [row[index].strip() for row in self.rows]

    def numbers(self, name: str, *, finite: bool) -> Float64[Tensor, " rows"]:
        """Return a column as numbers; UserError names the first cell that is not one."""
        values = []
        for line, cell in zip(self.lines, self.column(name), strict=True):
            value = _number(cell)
            if value is None or (finite and not math.isfinite(value)):
                wanted = "a finite number" if finite else "a number, inf, -inf or nan"
                raise UserError(
                    f"{self.path}, line {line}: column {name!r} holds {cell!r}, not {wanted}"
                )
            values.append(value)
        return torch.tensor(values, dtype=torch.float64)

    def matrix(self, names: list[str]) -> Float64[Tensor, "rows features"]:
        """Return columns of finite numbers side by side."""
        return torch.stack([self.numbers(name, finite=True) for name in names], dim=1)

    def numeric_columns(self) -> list[str]:
        """Return the columns of which most cells are numbers; the others are text."""
        counts = {
            name: sum(_number(cell) is not None for cell in self.column(name))
            for name in self.header
        }
        return [name for name, count in counts.items() if 2 * count > len(self.rows)]


def _number(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)  # Python's 1_000 is no number in a table
    except ValueError:
        return None


def read_table(path: Path) -> Table:
    """Read a CSV file with a header line; UserError if it is no rectangular table."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            numbered = [(reader.line_num, row) for row in reader if any(c.strip() for c in row)]
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: cannot be read as a CSV table ({reason})") from error
    if not numbered:
        raise UserError(f"{path}: the file is empty")
    header = [name.strip() for name in numbered[0][1]]
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise UserError(f"{path}: column {repeated[0]!r} stands twice in the header")
    if len(numbered) == 1:
        raise UserError(f"{path}: there is a header but no rows")
    for line, row in numbered[1:]:
        if len(row) != len(header):
            raise UserError(
                f"{path}, line {line}: {len(row)} cells, but the header has {len(header)}"
            )
    return Table(path, header, [row for _, row in numbered[1:]], [line for line, _ in numbered[1:]])
