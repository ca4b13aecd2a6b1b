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
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from zeroproof.command.cells import BLANKS, CELLS, UNITS, Array, parse, proofs

Mask: TypeAlias = NDArray[np.bool_]

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
    """A table as text.

    Args:
        path: where it came from, for messages.
        cells: stripped text, "" where blank, as a data frame.
        lines: number of each row's last line in the file.
        decimal: the decimal sign of most columns.
        decimals: that of each column.
        parsed: both ends and the kind of each column's cells, (3, rows).
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
        """Raise UserError for names that are no columns."""
        known = list(self.cells)
        for name in (name for name in names if name not in known):
            close = difflib.get_close_matches(name, known, 1, 0.5)
            meant = f"did you mean {close[0]!r}? " if close else ""
            there = ", ".join(known[:30]) + (", …" if len(known) > 30 else "")
            there += "; cells are separated by , ; | or a tab" if len(known) == 1 else ""
            raise UserError(f"{self.path}: no column {name!r}; {meant}columns are {there}")

    def refusal(self, name: str, wrong: Mask, remedy: str) -> UserError:
        """Return an error about the first cell that is wrong."""
        row = int(wrong.argmax())
        cell = self.cells[name].iloc[row]
        unit = UNITS[self.decimals[name]].fullmatch(cell)
        if unit and (extra := unit["about"] or unit["unit"]):
            remedy = f"write {unit['number']}, without {extra!r}"
        where = f"{self.path}, line {self.lines[row]}"
        return UserError(f"{where}: column {name!r} holds {cell!r}; {remedy}")

    def count(self, name: str, what: str, chosen: Mask) -> list[str]:
        """Return a sentence about some cells, if there are any."""
        found = self.cells[name][chosen]
        return [f"{what}: {len(found)}, such as {found.iloc[0]}"] if len(found) else []

    def thousands(self, name: str) -> list[str]:
        """Return a sentence about 1.234 if it was read as 1234."""
        other = ".,".replace(self.decimals[name], "")
        found = self.cells[name].str.fullmatch(rf"\D?[1-9]\d?\d?[{other}]\d{{3}}")
        return self.count(name, f"{other!r} read as separator of thousands", found.to_numpy(bool))


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
    encodings = (
        ["utf-16-le" if low > high else "utf-16-be"] if low + high else ["utf-8-sig", "cp1252"]
    )
    for encoding in ["utf-16"] if data[:2] in (b"\xff\xfe", b"\xfe\xff") else encodings:
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


def _delimiter(path: Path, text: str) -> str:
    """Return the sign between columns: the one by which most lines have as many cells."""
    if said := re.match(r'"?sep=(.)"?[\r\n]', text):
        return said[1]
    found = []
    for rank, delimiter in enumerate(",|;\t"):
        records = _records(text[:200_000], delimiter, strict=False)[
            : -1 if text[200_000:] else None
        ]
        first, *rest = [row for _, row in records] or [[]]
        widths = [len(row) for row in rest]
        usual = max(widths, key=widths.count, default=0)
        blank_end = all(not row[-1] for row in rest if len(row) == usual)
        fits = usual in (len(first), len(first) + blank_end, len(first) - (first[-1:] == [""]))
        if usual > 1:
            wrong = f"most lines have {usual} cells, this one has {len(first)}"
            found.append(
                (fits, round(widths.count(usual) / len(widths), 1), rank, delimiter, wrong)
            )
    fits, *_, delimiter, wrong = max(found, default=(True, ",", ""))
    if not fits:
        raise UserError(
            f"{path}, line 1: {wrong}; it must name each column, with nothing above it "
            "(with decimal commas, separate cells by ; or a tab)"
        )
    return delimiter


def _frame(path: Path, records: list[tuple[int, list[str]]]) -> tuple[Any, list[int]]:
    """Return the cells below the header, and their lines."""
    if len(records) < 2:
        raise UserError(f"{path}: {'there are no rows' if records else 'the file is empty'}")
    header = [" ".join(name.split()) for name in records[0][1]]
    size = len(header)
    rows = [row if any(row[size:]) else row[:size] for _, row in records[1:]]
    lines = [line for line, _ in records[1:]]
    for line, row in zip(lines, rows, strict=True):
        if len(row) != size:
            raise UserError(f"{path}, line {line}: {len(row)} cells, but line 1 names {size}")
    cells = pd.DataFrame(rows, dtype=object)
    # A column without a name and cells comes from a delimiter at the end of lines.
    cells = cells.loc[:, [bool(header[i]) or cells[i].ne("").any() for i in cells]]
    names = [header[i] or f"Unnamed: {i}" for i in cells]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{path}: column {repeated[0]!r} stands twice in the header; rename one")
    if all(CELLS["."].fullmatch(name) for name in names):
        raise UserError(f"{path}, line 1: numbers, where names of columns must stand; add them")
    cells.columns = pd.Index(names)
    return cells, lines


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
        delimiter = _delimiter(path, text)
        records = _records(text, delimiter)
    except csv.Error as error:
        raise UserError(f'{path}: a quote (") is not closed or not doubled ({error})') from error
    cells, lines = _frame(path, records[re.match('"?sep=', text) is not None :])
    votes = {name: proofs(cells[name]) for name in cells}
    total = sum(int(np.sign(vote)) for vote in votes.values()) or (-1 if delimiter == ";" else 1)
    usual = decimal or (".,"[total < 0])
    decimals = {
        name: decimal or (".,"[vote < 0] if vote else usual) for name, vote in votes.items()
    }
    parsed = {name: parse(cells[name], decimals[name]) for name in cells}
    return Table(path, cells, lines, usual, decimals, parsed)


def _feature(table: Table, name: str) -> tuple[Array, list[str]]:
    """Return a column of finite numbers and NaN, and what to say about it."""
    lower, upper, kind = table.parsed[name]
    wrong = (kind == 2) | ((lower == upper) & np.isinf(lower))
    if wrong.any():
        leave = f"write a finite number, leave it blank, or train with --ignore {shlex.quote(name)}"
        raise table.refusal(name, wrong, leave)
    notes = table.thousands(name)
    notes += table.count(name, "used by their finite end or middle", lower < upper)
    if absent := int(np.isnan(lower).sum()):
        notes.append(f"{absent} of {len(lower)} blank, filled with the median")
    ends = np.stack([lower, upper])
    ends = np.where(np.isinf(ends), ends[::-1], ends)
    return (ends / 2).sum(axis=0), notes


def _role(table: Table, name: str, *, forced: bool) -> tuple[str, str]:
    """Return what a column is used for, and how, or why not."""
    lower, upper, kind = table.parsed[name]
    values = table.cells[name][(kind == 2) | ~np.isnan(lower)]
    distinct, count, rows = values.nunique(), len(values), len(lower)
    if distinct == 0 or (distinct == 1 and count == rows and not forced):
        return "ignored", f"always {values.iloc[0]}" if distinct else "all cells are blank"
    if 2 * (lower == upper).sum() > count:
        numbers, notes = _feature(table, name)
        whole = (numbers == np.round(numbers)).all()
        if whole and distinct == rows and COUNTER.search(name) and not forced:
            return "ignored", "numbers the rows"
        return "number", "; ".join(notes)
    sample = values.drop_duplicates().head(200)
    if sample.str.fullmatch(DATE).mean() > 0.9 and not forced:
        return "ignored", "dates or times; to use them, count the days or hours from a start"
    if forced or 2 * values.duplicated(keep=False).sum() >= count:
        blank = f"; {rows - count} of {rows} blank, which count as a value" if count < rows else ""
        return "category", f"{distinct} values{blank}"
    units = sample.str.extract(UNITS[table.decimals[name]])["unit"].value_counts()
    if 2 * units.max() > len(sample):
        raise table.refusal(name, kind == 2, "")
    return "ignored", f"names or free text: {distinct} values in {count} rows"


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
    parts = dict.fromkeys(targets, ("target", "")) | dict.fromkeys(ignore, ("ignored", "--ignore"))
    given = [*targets, *ignore, *use]
    if group is not None:
        given, parts[group] = [*given, group], ("group", "rows of a group stay together")
    table.check(given)
    if twice := [name for name in given if given.count(name) > 1]:
        raise UserError(f"column {twice[0]!r} is named twice by --target, --group, --use, --ignore")
    roles = {
        name: parts.get(name) or _role(table, name, forced=name in use) for name in table.cells
    }
    columns = [Column(name, *role) for name, role in roles.items()]
    if not {"number", "category"} & {column.role for column in columns}:
        why = "; ".join(f"{c.name}: {c.note}" for c in columns if c.role == "ignored")
        raise UserError(f"{table.path}: no column is left to learn from ({why}); see --use")
    return columns


def features(table: Table, columns: Sequence[Column]) -> Any:
    """Return the features of each row, as a data frame.

    Numbers are float64, NaN where missing; categories are text, None where missing.

    Raises:
        UserError: a column that is not in this file, or a cell that cannot be used.
    """
    names = {role: [c.name for c in columns if c.role == role] for role in ("number", "category")}
    table.check([*names["number"], *names["category"]])
    texts = table.cells[names["category"]]
    found = {name: _feature(table, name)[0] for name in names["number"]}
    found |= {
        name: texts[name].where(~texts[name].str.lower().isin(BLANKS | {"nan"}), None)
        for name in texts
    }
    return pd.DataFrame(found)


def encoder(columns: Sequence[Column]) -> Any:
    """Return the transformer from features to finite numbers; rare categories count as one."""
    names = {role: [c.name for c in columns if c.role == role] for role in ("number", "category")}
    rare = {"handle_unknown": "infrequent_if_exist", "max_categories": 20, "min_frequency": 0.01}
    median = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    one_hot = OneHotEncoder(sparse_output=False, **rare)
    return ColumnTransformer(
        [("numbers", median, names["number"]), ("categories", one_hot, names["category"])]
    )


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
    missing = (found[2] == 1).any(axis=1)
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
    if (kind == 2).any():
        remedy = "write a number, >5, <5, 2-5, inf, -inf, nan for a pole, or leave it blank"
        raise table.refusal(name, kind == 2, remedy)
    said = table.thousands(name) + table.count(name, "intervals", lower < upper)
    if range is not None:
        exact, below, above = lower == upper, upper <= range[0], lower >= range[1]
        lower[below], upper[below] = -np.inf, range[0]
        lower[above], upper[above] = range[1], np.inf
        beyond = exact & (lower < upper)
        said += table.count(name, "numbers at or beyond an end of the range", beyond)
    points = (kind == 0) & ~(lower < upper) & ~np.isfinite(lower)
    said += table.count(name, "points at infinity", points)
    if log and (upper <= 0).any():
        remedy = "it has no logarithm; write a number above 0, or train without --log-target"
        raise table.refusal(name, upper <= 0, remedy)
    if log:
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
    if len(lows) > 1 or len(highs) > 1 or low >= high or within.sum() < 0.99 * len(within):
        notes.append(
            "cells such as >5 differ, or numbers lie beyond them, so that no prediction is beyond "
            "what the instrument reports; --range says what it does"
        )
        return None
    return float(low), float(high)
