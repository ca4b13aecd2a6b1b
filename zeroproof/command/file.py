"""Read a table from a file: delimited text, with any usual signs and in any usual encoding."""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zeroproof.command.cells import CELLS, UNITS, Array, Mask, parse, proofs


class UserError(Exception):
    """Something that the user can mend; the message is one line."""


@dataclass(frozen=True)
class Table:
    """A table as text, and as numbers.

    Args:
        path: where it came from, for messages.
        cells: stripped text, "" where blank, as a data frame.
        lines: number of each row's last line in the file.
        decimal: the decimal sign of most columns.
        decimals: that of each column.
        parsed: lower ends, upper ends and kinds of each column's cells, (3, rows).
    """

    path: Path
    cells: Any
    lines: list[int]
    decimal: str
    decimals: dict[str, str]
    parsed: dict[str, Array]

    def rows(self, chosen: Any) -> Table:
        """Return some rows, by their numbers or by a mask."""
        kept = np.arange(len(self.lines))[chosen]
        cells = self.cells.iloc[kept].reset_index(drop=True)
        parsed = {name: part[:, kept] for name, part in self.parsed.items()}
        return replace(self, cells=cells, lines=[self.lines[i] for i in kept], parsed=parsed)

    def check(self, names: Sequence[str]) -> None:
        """Raise UserError for a name that is no column."""
        known = list(self.cells)
        for name in (name for name in names if name not in known):
            close = difflib.get_close_matches(name, known, 1, 0.5)
            meant = f"did you mean {close[0]!r}? " if close else ""
            there = ", ".join(known[:30]) + (", ..." if len(known) > 30 else "")
            there += " (put , ; | or a tab between cells)" if len(known) == 1 else ""
            if all(CELLS["."].fullmatch(column) for column in known):
                there += " (names must stand above the numbers)"
            there += "" if there.isascii() else " (if garbled, save the file in UTF-8)"
            raise UserError(f"{self.path}: no column {name!r}; {meant}columns are {there}")

    def refuse(self, name: str, wrong: Mask, remedy: str) -> None:
        """Raise UserError about the first cell that is wrong, if any is."""
        if wrong.any():
            row = int(wrong.argmax())
            cell, where = self.cells[name].iloc[row], f"{self.path}, line {self.lines[row]}"
            unit = UNITS[self.decimals[name]].fullmatch(cell)
            if unit and (extra := unit["about"] or unit["unit"]):
                remedy = f"write {unit['number']}, without {extra!r}"
            raise UserError(f"{where}: column {name!r} holds {cell!r}; {remedy}")

    def count(self, name: str, what: str, chosen: Mask) -> list[str]:
        """Return a sentence about some cells, if there are any."""
        found = self.cells[name][chosen]
        return [f"{what}: {len(found)}, such as {found.iloc[0]}"] if len(found) else []


def _text(path: Path) -> str:
    """Return a file's text, whichever encoding it has."""
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read ({reason})") from error
    if data[:4] in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        raise UserError(f"{path}: a workbook or an archive; save its sheet as CSV, and give that")
    low, high = data[1:2000:2].count(0), data[:2000:2].count(0)  # zeros of UTF-16
    encodings = ["utf-8-sig", "cp1252"]
    if low + high:
        marked = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        encodings = ["utf-16" if marked else "utf-16-le" if low > high else "utf-16-be"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise UserError(f"{path}: not a text that can be read; save the table as CSV in UTF-8")


def _records(text: str, delimiter: str, *, strict: bool = True) -> list[tuple[int, list[str]]]:
    strict = strict and text.count('"') % 2 == 1  # then one may be open, and swallow rows
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=strict)
    return [(reader.line_num, row) for cells in reader if any(row := [*map(str.strip, cells)])]


def _delimiter(text: str) -> str:
    """Return the sign between cells: the one by which most lines fit the header."""

    def fit(delimiter: str) -> tuple[float, int, int]:
        records = _records(sample, delimiter, strict=False)
        header, *rows = [row for _, row in records[: -1 if sample != text else None]] or [[]]
        size = len(header) - (header[-1:] == [""])
        fits = sum(len(row) >= size and not any(row[size:]) for row in rows)
        share = round(fits / max(len(rows), 1), 1) if size > 1 else 0.0
        # Where none fits, as below a title, it is the one with most cells.
        cells = 0 if share else max(map(len, rows), default=0)
        return share, cells, ",|;\t".index(delimiter)

    sample = text[: 200_000 + 3 * text.find("\n")]
    said = re.match(r'"?sep=(.)"?[\r\n]', text)
    return said[1] if said else max(",|;\t", key=fit)


def _frame(path: Path, records: list[tuple[int, list[str]]]) -> Any:
    """Return the cells below the header."""
    if len(records) < 2:
        raise UserError(f"{path}: {'there are no rows' if records else 'the file is empty'}")
    (first, header), *records = records
    size = len(header) - (header[-1] == "")
    for line, row in records:
        if len(row) < size or any(row[size:]):
            raise UserError(
                f"{path}, line {line}: {len(row)} cells, but line {first} names {size} columns; it "
                "must name each, with nothing above it; decimal commas need ; between cells"
            )
    names = [" ".join(name.split()) or f"Unnamed: {i}" for i, name in enumerate(header[:size])]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{path}: line {first} names two columns {repeated[0]!r}; rename one")
    return pd.DataFrame([row[:size] for _, row in records], columns=names, dtype=object)


def read_table(path: Path, decimal: str | None = None) -> Table:
    """Read a delimited text file whose first line names the columns.

    Args:
        path: the file, in any usual encoding, perhaps compressed by gzip.
        decimal: the decimal sign; None finds that of each column by its cells, else by those of
            other columns, else by the delimiter.

    Raises:
        UserError: the file is no such table.
    """
    text = _text(path)
    try:
        delimiter = _delimiter(text)
        records = _records(text, delimiter)[bool(re.match('"?sep=', text)) :]
    except csv.Error as error:
        raise UserError(f'{path}: a quote (") is not closed or not doubled ({error})') from error
    cells = _frame(path, records)
    votes = {name: proofs(cells[name]) for name in cells}
    total = sum(map(np.sign, votes.values())) or (-1 if delimiter == ";" else 1)
    signs = {name: decimal or ("," if (vote or total) < 0 else ".") for name, vote in votes.items()}
    parsed = {name: parse(cells[name], signs[name]) for name in cells}
    usual = decimal or ("," if total < 0 else ".")
    return Table(path, cells, [line for line, _ in records[1:]], usual, signs, parsed)
