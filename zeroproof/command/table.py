"""Read a table as people have it, and say what each of its columns is used for."""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import re
import shlex
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from zeroproof.command.cells import (
    BLANK,
    BLANKS,
    CELLS,
    TEXT,
    THOUSANDS,
    UNITS,
    Array,
    Mask,
    parse,
    proofs,
)

COUNTER = re.compile(r"(?i:(^|[\W_])(id|idx|index|row|uid)|^(#|nr|no)\.?|^unnamed: \d+)$|[a-z]ID$")
DATE = r"\d{4}-\d\d(-\d.*)?|\d{1,4}([-/.])\d\d?\2\d{1,4}.*|\d\d?:\d\d.*|\d\d?\.?[ -][A-Z][a-z]{2}.*"


class UserError(Exception):
    """Something that the user can mend; the message is one line."""


@dataclass(frozen=True)
class Column:
    """How a column is used: target, number, category, group or ignored; the note is for people."""

    name: str
    role: str
    note: str


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
            there = ", ".join(known[:30]) + (", …" if len(known) > 30 else "")
            there += "; cells are separated by , ; | or a tab" if len(known) == 1 else ""
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


@dataclass(frozen=True)
class Measured:
    """Targets of each row, in the unit that is learned.

    Args:
        lower: (rows, outputs); ±∞ for a point at infinity or an open end, NaN for a pole.
        upper: likewise; equal to ``lower`` for a number.
        missing: rows without a target in some output, (rows,).
        limits: what the instrument can report.
        notes: sentences for the report.
    """

    lower: Array
    upper: Array
    missing: Mask
    limits: tuple[float, float] | None
    notes: list[str]

    def rows(self, chosen: Any) -> Measured:
        """Return some rows, by their numbers or by a mask."""
        parts = {name: getattr(self, name)[chosen] for name in ("lower", "upper", "missing")}
        return replace(self, **parts)


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
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=strict)
    return [(reader.line_num, row) for cells in reader if any(row := [*map(str.strip, cells)])]


def _delimiter(text: str) -> str:
    """Return the sign between cells: the one by which most lines fit the header."""

    def fit(delimiter: str) -> tuple[float, int, int]:
        records = _records(text[:200_000], delimiter, strict=False)
        header, *rows = [row for _, row in records[: -1 if text[200_000:] else None]] or [[]]
        size = len(header) - (header[-1:] == [""])
        fits = sum(len(row) >= size and not any(row[size:]) for row in rows)
        share = round(fits / max(len(rows), 1), 1) if size > 1 else 0.0
        # Where none fits, as below a title, it is the one with most cells.
        cells = 0 if share else max(map(len, rows), default=0)
        return share, cells, ",|;\t".index(delimiter)

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
        raise UserError(f"{path}: column {repeated[0]!r} stands twice in the header; rename one")
    if all(CELLS["."].fullmatch(name) for name in names):
        raise UserError(f"{path}, line {first}: numbers, where names of columns must stand")
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


def _feature(table: Table, name: str) -> tuple[Array, list[str]]:
    """Return a column of finite numbers and NaN, and what to say about it."""
    lower, upper, kind = table.parsed[name]
    remedy = f"write a finite number, leave it blank, or train with --ignore {shlex.quote(name)}"
    table.refuse(name, (kind == TEXT) | ((lower == upper) & np.isinf(lower)), remedy)
    notes = table.count(name, "thousands marked by a point or comma", kind == THOUSANDS)
    notes += table.count(name, "used by their finite end or middle", lower < upper)
    if absent := int(np.isnan(lower).sum()):
        notes.append(f"{absent} of {len(lower)} blank, filled with the median")
    low, high = np.where(np.isinf(lower), upper, lower), np.where(np.isinf(upper), lower, upper)
    return low / 2 + high / 2, notes


def _role(table: Table, name: str, *, forced: bool) -> tuple[str, str]:
    """Return what a column is used for, and how, or why not."""
    lower, upper, kind = table.parsed[name]
    values = table.cells[name][(kind == TEXT) | ~np.isnan(lower)]
    count, rows = len(values), len(lower)
    if count == 0 or (count == rows and not forced and (values == values.iloc[0]).all()):
        return "ignored", f"always {values.iloc[0]}" if count else "all cells are blank"
    if 2 * (lower == upper).sum() > count:
        numbers, notes = _feature(table, name)
        if COUNTER.search(name) and not forced and len(np.unique(np.round(numbers))) == rows:
            return "ignored", "numbers the rows"
        return "number", "; ".join(notes)
    distinct = values.drop_duplicates()
    sample = distinct.head(200)
    if sample.str.fullmatch(DATE).mean() > 0.9 and not forced:
        return "ignored", "dates or times; to use them, count the days or hours from a start"
    if forced or 2 * values.duplicated(keep=False).sum() >= count:
        blank = f"; {rows - count} of {rows} blank, which count as a value" if count < rows else ""
        return "category", f"{len(distinct)} values{blank}"
    units = sample.str.extract(UNITS[table.decimals[name]])["unit"].value_counts()
    table.refuse(name, (kind == TEXT) & (2 * units.max() > len(sample)), "")
    return "ignored", f"names or free text: {len(distinct)} values in {count} rows"


def choose_columns(
    table: Table,
    targets: Sequence[str],
    *,
    group: str | None = None,
    use: Sequence[str] = (),
    ignore: Sequence[str] = (),
) -> list[Column]:
    """Say how each column of a training file is used, in its order.

    Args:
        table: the file.
        targets: columns to learn.
        group: a column whose equal rows stay together in a split.
        use: columns that are features, whatever they look like.
        ignore: columns that are not.

    Raises:
        UserError: a name that is no column or is given twice, a cell that cannot be used, or no
            column to learn from.
    """
    groups = [] if group is None else [group]
    parts = dict.fromkeys(targets, ("target", "")) | dict.fromkeys(ignore, ("ignored", "--ignore"))
    parts |= dict.fromkeys(groups, ("group", "rows of a group stay together"))
    given = [*targets, *groups, *use, *ignore]
    table.check(given)
    if twice := [name for name in given if given.count(name) > 1]:
        raise UserError(f"column {twice[0]!r} is named twice by --target, --group, --use, --ignore")
    roles = {n: parts.get(n) or _role(table, n, forced=n in use) for n in table.cells}
    if not {"number", "category"} & {role for role, _ in roles.values()}:
        why = "; ".join(f"{name}: {note}" for name, (role, note) in roles.items() if note)
        raise UserError(f"{table.path}: no column is left to learn from ({why}); see --use")
    return [Column(name, *role) for name, role in roles.items()]


def _names(columns: Sequence[Column], role: str) -> list[str]:
    return [column.name for column in columns if column.role == role]


def features(table: Table, columns: Sequence[Column]) -> Any:
    """Return the features of each row, as a data frame.

    Numbers are float64, NaN where missing; categories are text, None where missing.

    Raises:
        UserError: a column that is not in this file, or a cell that cannot be used.
    """
    numbers, categories = _names(columns, "number"), _names(columns, "category")
    table.check(numbers + categories)
    found = {name: _feature(table, name)[0] for name in numbers}
    for name in categories:
        cells = table.cells[name]
        found[name] = cells.where(~cells.str.lower().isin(BLANKS | {"nan"}), None)
    return pd.DataFrame(found)


def encoder(columns: Sequence[Column]) -> Any:
    """Return the transformer from features to finite numbers; rare categories count as one."""
    rare = {"handle_unknown": "infrequent_if_exist", "max_categories": 20, "min_frequency": 0.01}
    number = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    category = OneHotEncoder(sparse_output=False, **rare)
    parts = {"number": number, "category": category}
    return ColumnTransformer([(role, part, _names(columns, role)) for role, part in parts.items()])


def targets(
    table: Table,
    names: Sequence[str],
    *,
    range: tuple[float, float] | None = None,
    log: bool = False,
) -> Measured:
    """Return the targets of each row.

    Args:
        table: any file with these columns.
        names: the columns.
        range: what the instrument can report, in the unit of the file.
        log: whether log10 is learned.

    Raises:
        UserError: no such column, a cell that is no target, no logarithm, or no target at all.
    """
    table.check(names)
    notes: list[str] = []
    found = np.stack([_target(table, name, range, log, notes) for name in names], axis=-1)
    missing = (found[2] == BLANK).any(axis=1)
    found[:2, missing] = np.nan
    if missing.all():
        raise UserError(f"{table.path}: no row has a value of {' and '.join(names)}")
    if missing.any():
        notes.append(f"rows without a target, which are left out: {missing.sum()}")
    limits = None
    if range is not None:
        low, high = _log10(np.array(range)) if log else range
        limits = float(low), float(high)
    elif len(names) == 1:
        limits = _limits(found[0, :, 0], found[1, :, 0], notes)
    return Measured(found[0], found[1], missing, limits, notes)


def _log10(ends: Array) -> Array:
    return np.log10(ends, out=np.full_like(ends, -np.inf), where=~(ends <= 0))


def _target(
    table: Table, name: str, range: tuple[float, float] | None, log: bool, notes: list[str]
) -> Array:
    """Return both ends and the kind of each cell, (3, rows), and add to the notes."""
    lower, upper, kind = found = table.parsed[name].copy()
    remedy = "write a number, >5, <5, 2-5, inf, -inf, nan for a pole, or leave it blank"
    table.refuse(name, kind == TEXT, remedy)
    said = table.count(name, "thousands marked by a point or comma", kind == THOUSANDS)
    said += table.count(name, "intervals", lower < upper)
    if range is not None:
        exact, below, above = lower == upper, upper <= range[0], lower >= range[1]
        lower[below], upper[below] = -np.inf, range[0]
        lower[above], upper[above] = range[1], np.inf
        said += table.count(name, "numbers at or beyond the range", exact & (lower < upper))
    points = (kind != BLANK) & ~(lower < upper) & ~np.isfinite(lower)
    said += table.count(name, "points at infinity", points)
    if log:
        remedy = "it has no logarithm; write a number above 0, or train without --log-target"
        table.refuse(name, upper <= 0, remedy)
        found[:2] = _log10(found[:2])
    notes += [f"{name}: {sentence}" for sentence in said]
    return found


def _limits(lower: Array, upper: Array, notes: list[str]) -> tuple[float, float] | None:
    """Return what the instrument reports, if cells such as >50 agree about it."""
    highs = np.unique(lower[np.isposinf(upper) & np.isfinite(lower)])
    lows = np.unique(upper[np.isneginf(lower) & np.isfinite(upper)])
    if not len(lows) + len(highs):
        return None
    low, high = max([*lows, -np.inf]), min([*highs, np.inf])
    numbers = lower[(lower == upper) & np.isfinite(lower)]
    room = 0.01 * np.ptp(numbers) if len(numbers) else 0.0  # the ends may be rounded
    within = (low - room <= numbers) & (numbers <= high + room)
    if max(len(lows), len(highs)) == 1 and low < high and within.all():
        return float(low), float(high)
    notes.append(
        "cells such as >5 differ, or numbers lie beyond: give --range for what can be known"
    )
    return None
