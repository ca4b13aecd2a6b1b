"""What is said where the cells of a table do not tell its decimal sign."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from zeroproof.command.cells import open_cell, parse
from zeroproof.command.options import UserError
from zeroproof.command.table import Column, Table

DOUBT = (
    "since no cell tells the decimal sign; if that is wrong, write one with another number of "
    "decimals"
)


def guessed(table: Table, columns: Sequence[Column]) -> str:
    """Say how the first ambiguous cell is read; empty if none is."""
    used = [column.name for column in columns if column.role in ("target", "number")]
    cell = "" if table.certain else open_cell(table.cells[used])
    if not cell:
        return ""
    ends = parse(pd.Series([cell]), table.decimal)
    return f"{cell!r} is read as {ends[np.isfinite(ends)][0]:.10g}"


def check_sign(table: Table, decimal: str, guess: str) -> None:
    """Raise UserError for a table whose cells tell another decimal sign than was guessed."""
    if guess and table.certain and table.decimal != decimal:
        raise UserError(
            f"{table.path} has the decimal sign {table.decimal!r}, but in the run's table, whose "
            f"cells did not tell it, {guess}, with {decimal!r}; use one sign in both: train again "
            "on a table in which a number has other than three decimals"
        )
