"""Read a table as people have it: numbers, intervals, categories, and what each column is for."""

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
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

Array: TypeAlias = NDArray[np.float64]

BLANKS = {"", "na", "n/a", "n.a.", "#n/a", "#na", "<na>", "null", "none", "-", "--", "?", "."}
# One sign for each meaning; full-width letters come from Japanese keyboards.
SIGNS: dict[int, str] = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
SIGNS |= dict.fromkeys(map(ord, "−‐‑‒–—"), "-")
SIGNS |= dict.fromkeys(map(ord, "\xa0\u2007\u2009\u202f"), " ")
SIGNS |= {ord(a): b for a, b in zip("’∞≤≥⩽⩾", ("'", "inf", "<=", ">=", "<=", ">="), strict=True)}
NUMBER = r"(?:[+-]? ?(?:(?:[1-9]\d?\d?(?:[o ']\d\d\d?)*[o ']\d{3}|\d+)(?:[d]\d*)?|[d]\d+)"
NUMBER += r"(?:e[+-]?\d+)?|[+-]?inf(?:inity)?)"
CELL = rf"(?P<sign>[<>]=?|=[<>])? ?(?P<low>{NUMBER})(?: ?(?:-|\.\.|to) ?(?P<high>{NUMBER}))?"
UNIT = rf"(?P<about>[~≈±]|ca\.?)? ?(?P<number>{NUMBER}) ?(?P<unit>[^\s\d.,][^\d]{{,11}}[23]?)?"
# What is a number with this decimal sign alone; 1.234 may be one with either.
PROOF = r"^[<>=≤≥ ]*[+−-]?(?:0*[d]\d+|\d+[d](?:\d?\d?|\d{4,})|\d{4,}[d]\d{3}|\d+[d]\d+(?=[eE])"
PROOF += "|[1-9]\\d?\\d?(?:(?:[o ’'\xa0\u2009\u202f]\\d{3})+[d]\\d+|(?:[o]\\d{3}){2,}))"
PROOF += r"(?:[eE][+-]?\d+)?(?=$| ?[-–] ?[+-]?\d)"
COUNTER = re.compile(r"(?i:(^|[\W_])(id|idx|index|row|uid)|^(#|nr|no)\.?|^unnamed: \d+)$|[a-z]ID$")
DATE = (
    r"\d{4}-\d\d(?:-\d.*)?|\d{1,4}([-/.])\d\d?\1\d{1,4}.*|\d\d?:\d\d.*|\d\d?\.?[ -][A-Z][a-z]{2}.*"
)


def _by_decimal(pattern: str) -> dict[str, re.Pattern[str]]:
    """Return a pattern for each decimal sign, ``[d]``, beside the other one, ``o``."""
    return {
        d: re.compile(
            pattern.replace("[d]", f"[{d}]").replace("[o", f"[{o}"), re.ASCII | re.MULTILINE
        )
        for d, o in (".,", ",.")
    }


CELLS, UNITS, PROOFS = map(_by_decimal, (CELL, UNIT, PROOF))


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
        decimal: the decimal sign of most cells.
        decimals: that of each column.
    """

    path: Path
    cells: Any
    lines: list[int]
    decimal: str
    decimals: dict[str, str]

    def rows(self, chosen: Any) -> Table:
        """Return some rows, by their numbers or by a mask."""
        kept = np.arange(len(self.lines))[chosen]
        cells = self.cells.iloc[kept].reset_index(drop=True)
        return replace(self, cells=cells, lines=[self.lines[row] for row in kept])

    def check(self, names: Sequence[str]) -> None:
        """Raise UserError for names that are no columns."""
        known = list(self.cells)
        for name in (name for name in names if name not in known):
            close = difflib.get_close_matches(name, known, 1, 0.5)
            meant = f"did you mean {close[0]!r}? " if close else ""
            rest = ", …" if len(known) > 30 else ""
            raise UserError(
                f"{self.path}: no column {name!r}; {meant}columns are {', '.join(known[:30])}{rest}"
            )

    def refuse(self, name: str, row: int, remedy: str) -> UserError:
        """Return the error about a cell."""
        cell = self.cells[name].iloc[row]
        found = UNITS[self.decimals[name]].fullmatch(cell)
        if found and (found["about"] or found["unit"]):
            remedy = f"write {found['number']}, without {found['about'] or found['unit']!r}"
        return UserError(
            f"{self.path}, line {self.lines[row]}: column {name!r} holds {cell!r}; {remedy}"
        )


@dataclass(frozen=True)
class Measured:
    """Targets of each row, in the unit that is learned.

    Args:
        lower, upper: (rows, outputs); equal for a number, both ±∞ for a point at infinity, both
            NaN for a pole without a sign.
        missing: rows without a target in any output, (rows,).
        limits: what the instrument can report.
        notes: sentences for the report.
    """

    lower: Array
    upper: Array
    missing: NDArray[np.bool_]
    limits: tuple[float, float] | None
    notes: list[str]

    def rows(self, chosen: Any) -> Measured:
        """Return some rows, by their numbers or by a mask."""
        parts = (part[chosen] for part in (self.lower, self.upper, self.missing))
        return Measured(*parts, self.limits, self.notes)


def _text(path: Path) -> str:
    """Return a file's text, whichever encoding it has."""
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read ({reason})") from error
    if data[:4] in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        raise UserError(
            f"{path}: is a workbook or an archive; save its sheet as CSV, and give that"
        )
    zeros = data[1:2000:2].count(0), data[:2000:2].count(0)
    wide = "utf-16-le" if zeros[0] > zeros[1] else "utf-16-be"
    encodings = [wide] if any(zeros) else ["utf-8-sig", "cp1252"]
    for encoding in ["utf-16"] if data[:2] in (b"\xff\xfe", b"\xfe\xff") else encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise UserError(f"{path}: is no text that can be read; save the table as CSV in UTF-8")


def _records(text: str, delimiter: str, most: int | None = None) -> list[tuple[int, list[str]]]:
    lines = islice(io.StringIO(text, newline=""), most)
    # Not strict where the lines may end inside quotes.
    strict = most is None
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=strict)
    records = ((reader.line_num, [cell.strip() for cell in row]) for row in reader)
    return [(line, row) for line, row in records if any(row)]


def _delimiter(path: Path, text: str) -> str:
    """Return the sign between columns: the one by which most lines have as many cells."""
    if said := re.match(r'"?sep=(.)"?[\r\n]', text):
        return said[1]
    found = []
    for rank, delimiter in enumerate(",|;\t"):
        first, *rest = [row for _, row in _records(text, delimiter, 200)] or [[]]
        widths = [len(row) for row in rest]
        usual = max(set(widths), key=widths.count, default=0)
        blank = all(not row[-1] for row in rest if len(row) == usual)
        fits = usual in (len(first), len(first) + blank, len(first) - (first[-1:] == [""]))
        if usual > 1:
            share = round(widths.count(usual) / len(widths), 1)
            found.append(
                (fits, share, rank, delimiter, f"{usual} cells, but this one {len(first)}")
            )
    if found and not max(found)[0]:
        raise UserError(
            f"{path}, line 1: most lines have {max(found)[-1]}; the first must name each column, "
            "with nothing above it, and decimal commas need ; or a tab between cells"
        )
    return max(found)[-2] if found else ","


def read_table(path: Path, decimal: str | None = None) -> Table:
    """Read a delimited text file whose first line names the columns.

    Args:
        path: the file, in any usual encoding, perhaps compressed by gzip.
        decimal: the decimal sign; None finds that of each column by its cells, then by those of
            the other columns, then by the delimiter.

    Raises:
        UserError: the file is no such table.
    """
    text = _text(path)
    try:
        delimiter = _delimiter(path, text)
        records = _records(text, delimiter)
    except csv.Error as error:
        raise UserError(f'{path}: a quote (") is not closed or not doubled ({error})') from error
    records = records[1:] if text.lstrip('"').startswith("sep=") else records
    if len(records) < 2:
        raise UserError(f"{path}: {'there are no rows' if records else 'the file is empty'}")
    header = [" ".join(name.split()) for name in records[0][1]]
    rows = [row if any(row[len(header) :]) else row[: len(header)] for _, row in records[1:]]
    lines = [line for line, _ in records[1:]]
    for line, row in zip(lines, rows, strict=True):
        if len(row) != len(header):
            raise UserError(
                f"{path}, line {line}: {len(row)} cells, but there are {len(header)} columns"
            )
    cells = pd.DataFrame(rows, dtype=str)
    # A column without a name and cells is a delimiter at the end of the lines.
    cells = cells.loc[:, [bool(name) or cells[i].ne("").any() for i, name in enumerate(header)]]
    names = [header[i] or f"Unnamed: {i}" for i in cells]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{path}: column {repeated[0]!r} stands twice in line 1; rename one")
    if all(CELLS["."].fullmatch(name) for name in names):
        raise UserError(f"{path}, line 1: numbers, where the names of the columns must stand")
    cells.columns = pd.Index(names)
    votes = {name: _votes("\n".join(cells[name])) for name in names}
    total = sum(votes.values()) or (-1 if delimiter == ";" else 1)
    usual = decimal or (".,"[total < 0])
    decimals = {
        name: decimal or (usual if not vote else ".,"[vote < 0]) for name, vote in votes.items()
    }
    return Table(path, cells, lines, usual, decimals)


def _votes(text: str) -> int:
    """Return how many more lines are numbers with a decimal point than with a decimal comma."""
    point, comma = (len(PROOFS[sign].findall(text)) for sign in ".,")
    return point - comma


def _ends(cell: str, decimal: str) -> tuple[float, float, float]:
    """Return lower and upper end, and 0 for a number or interval, 1 for a blank, 2 for text."""
    text, nan, inf = " ".join(cell.translate(SIGNS).lower().split()), np.nan, np.inf
    if text in BLANKS or text == "nan":
        return nan, nan, float(text != "nan")
    match = CELLS[decimal].fullmatch(text)
    if match is None:
        return nan, nan, 2.0
    digits = str.maketrans(decimal, ".", " '" + ".,".replace(decimal, ""))
    low, high = (float((match[end] or match["low"]).translate(digits)) for end in ("low", "high"))
    sign = match["sign"]
    if low > high or (sign and (match["high"] or np.isinf(low))):
        return nan, nan, 2.0
    if sign:
        return (low, inf, 0.0) if ">" in sign else (-inf, low, 0.0)
    return (low, high, 0.0) if "inf" in text or np.isfinite(low) else (nan, nan, 2.0)


def _parse(table: Table, name: str) -> tuple[Array, Array, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return ends, where a cell is blank, and where it is text; all NaN for the cell nan."""
    cells, decimal = table.cells[name], table.decimals[name]
    # Plain numbers by pandas, which is fast; the rest once for each text.
    plain = cells if decimal == "." else cells.str.replace(".", "x").str.replace(",", ".")
    found = np.zeros((len(cells), 3))
    found[:, :2] = pd.to_numeric(plain, errors="coerce").to_numpy(np.float64)[:, None]
    odd = ~np.isfinite(found[:, 0])
    codes, texts = pd.factorize(cells[odd])
    found[odd] = np.array([_ends(text, decimal) for text in texts]).reshape(-1, 3)[codes]
    return found[:, 0], found[:, 1], found[:, 2] == 1, found[:, 2] == 2


def _such_as(table: Table, name: str, chosen: NDArray[np.bool_]) -> str:
    """Return "3 cells such as >5"."""
    count, example = chosen.sum(), table.cells[name].iloc[int(chosen.argmax())]
    return f"{count} cells such as {example}" if count > 1 else f"one cell, {example},"


def _thousands(table: Table, name: str, lower: Array) -> list[str]:
    """Return a sentence about cells that may have been meant otherwise, 1.234 for 1234."""
    other = ".,".replace(table.decimals[name], "")
    marked = table.cells[name].str.fullmatch(rf"\D?\d{{1,3}}[{other}]\d{{3}}").to_numpy(bool)
    if not marked.any():
        return []
    example = lower[marked.argmax()]
    return [f"{_such_as(table, name, marked)} read as {example:g}"]


def _feature(table: Table, name: str) -> tuple[Array, list[str]]:
    """Return a column of finite numbers and NaN, and what to say about it."""
    lower, upper, blank, text = _parse(table, name)
    infinite = (lower == upper) & np.isinf(lower)
    if (text | infinite).any():
        row = int((text | infinite).argmax())
        left_out = (
            f"write a finite number, leave it blank, or train with --ignore {shlex.quote(name)}"
        )
        raise table.refuse(name, row, left_out)
    notes = _thousands(table, name, lower)
    interval = lower < upper
    if interval.any():
        notes.append(f"{_such_as(table, name, interval)} used by their finite end or middle")
    if absent := int(np.isnan(lower).sum()):
        notes.append(f"{absent} of {len(lower)} blank, filled with the median")
    with np.errstate(invalid="ignore"):
        middle = np.where(interval, lower / 2 + upper / 2, lower)
    return np.where(np.isinf(middle), np.where(np.isinf(lower), upper, lower), middle), notes


def _role(table: Table, name: str, *, forced: bool) -> tuple[str, str]:
    """Return what a column is used for, and how or why not."""
    lower, upper, blank, text = _parse(table, name)
    cells = table.cells[name]
    present = text | ~np.isnan(lower)
    values = cells[present]
    if values.empty:
        return "ignored", "all cells are blank"
    distinct, count = values.nunique(), len(values)
    if not forced and distinct == 1 and present.all():
        return "ignored", f"always {values.iloc[0]}"
    if 2 * ((lower == upper) & present).sum() > count:
        numbers, notes = _feature(table, name)
        whole = np.array_equal(numbers, np.round(numbers))
        if not forced and COUNTER.search(name) and whole and distinct == len(cells):
            return "ignored", "numbers the rows"
        return "number", "; ".join(notes)
    sample = values.drop_duplicates().head(200)
    if not forced and sample.str.fullmatch(DATE).mean() > 0.9:
        return "ignored", "dates or times; to use them, count days or hours from a start"
    repeated = values.duplicated(keep=False).sum()
    if forced or 2 * repeated >= count:
        blanks = (
            f"; blank in {len(cells) - count}, a value of its own" if count < len(cells) else ""
        )
        return "category", f"{distinct} values{blanks}"
    units = sample.str.extract(UNITS[table.decimals[name]])["unit"].dropna()
    if 2 * (units == units.mode().get(0)).sum() > len(sample):
        raise table.refuse(name, int(text.argmax()), "")
    return "ignored", f"names or free text: {distinct} values in {count} rows"


def choose_columns(
    table: Table,
    targets: Sequence[str],
    *,
    group: str | None = None,
    use: Sequence[str] = (),
    ignore: Sequence[str] = (),
) -> list[Column]:
    """Say how each column of a table is used, in its order.

    Args:
        table: the training file.
        targets: columns to learn.
        group: a column whose rows stay together in a split.
        use: columns that are features, whatever they look like.
        ignore: columns that are not.

    Raises:
        UserError: a name that is no column or is given twice, a cell that cannot be used, or no
            column to learn from.
    """
    given = [*targets, *([] if group is None else [group]), *use, *ignore]
    table.check(given)
    if twice := [name for name in given if given.count(name) > 1]:
        raise UserError(f"{table.path}: column {twice[0]!r} is given two parts; give it one")
    fixed = dict.fromkeys(targets, ("target", "learned")) | dict.fromkeys(
        ignore, ("ignored", "as told")
    )
    if group is not None:
        fixed[group] = "group", "its rows stay together"
    columns = [
        Column(name, *(fixed[name] if name in fixed else _role(table, name, forced=name in use)))
        for name in table.cells
    ]
    if not {"number", "category"} & {column.role for column in columns}:
        why = "; ".join(f"{c.name}: {c.note}" for c in columns if c.role == "ignored")
        raise UserError(f"{table.path}: no column is left to learn from ({why}); see --use COL")
    return columns


def features(table: Table, columns: Sequence[Column]) -> Any:
    """Return the features of each row, as a data frame.

    Numbers are float64, NaN where missing; categories are text, None where missing.

    Raises:
        UserError: a column that is not in this file, or a cell that cannot be used.
    """
    used = [column for column in columns if column.role in ("number", "category")]
    table.check([column.name for column in used])
    found = {}
    for column in used:
        if column.role == "number":
            found[column.name] = _feature(table, column.name)[0]
        else:
            cells = table.cells[column.name].astype(object)
            found[column.name] = cells.where(~cells.str.lower().isin(BLANKS | {"nan"}), None)
    return pd.DataFrame(found)


def encoder(columns: Sequence[Column]) -> Any:
    """Return the transformer from features to finite numbers."""
    rare = {"handle_unknown": "infrequent_if_exist", "max_categories": 20, "min_frequency": 0.01}
    median = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    parts = {"number": median, "category": OneHotEncoder(sparse_output=False, **rare)}
    names = {role: [column.name for column in columns if column.role == role] for role in parts}
    return ColumnTransformer([(role, part, names[role]) for role, part in parts.items()])


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
    parts = [_target(table, name, range, log, notes) for name in names]
    lower, upper = (np.stack(ends, axis=1) for ends in list(zip(*parts, strict=True))[:2])
    missing = np.any([part[2] for part in parts], axis=0)
    lower[missing] = upper[missing] = np.nan
    if missing.all():
        raise UserError(f"{table.path}: no row has a value of {', '.join(names)}")
    if missing.any():
        notes.append(f"{missing.sum()} rows have no target and were left out")
    limits = None
    if range is not None:
        low, high = (float(end) for end in _log10(np.array(range), log))
        limits = low, high
    elif len(names) == 1:
        limits = _limits(lower[:, 0], upper[:, 0], notes)
    return Measured(lower, upper, missing, limits, notes)


def _log10(ends: Array, log: bool) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(ends <= 0, -np.inf, np.log10(ends)) if log else ends


def _target(
    table: Table,
    name: str,
    range: tuple[float, float] | None,
    log: bool,
    notes: list[str],
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return ends and where there are none, and add sentences."""
    lower, upper, blank, text = _parse(table, name)
    if text.any():
        remedy = "write a number, >5, <5, 2-5, inf, -inf, nan for a pole, or leave it blank"
        raise table.refuse(name, int(text.argmax()), remedy)
    said = _thousands(table, name, lower)
    if (interval := lower < upper).any():
        said.append(f"{_such_as(table, name, interval)} {'are intervals'}")
    if range is not None:
        above, below = lower >= min(range[1], 1e308), upper <= max(range[0], -1e308)
        if (beyond := (above | below) & (lower == upper)).any():
            said.append(f"{_such_as(table, name, beyond)} lie beyond the range")
        lower, upper = np.where(above, range[1], lower), np.where(above, np.inf, upper)
        lower, upper = np.where(below, -np.inf, lower), np.where(below, range[0], upper)
    if (point := ~blank & ~(lower < upper) & ~np.isfinite(lower)).any():
        said.append(f"{_such_as(table, name, point)} are points at infinity")
    if log and (upper <= 0).any():
        raise table.refuse(name, int((upper <= 0).argmax()), "which has no logarithm")
    notes += [f"{name}: {sentence}" for sentence in said]
    return _log10(lower, log), _log10(upper, log), blank


def _limits(lower: Array, upper: Array, notes: list[str]) -> tuple[float, float] | None:
    """Return what the instrument reports, if cells such as >50 agree about it."""
    highs = np.unique(lower[np.isposinf(upper) & np.isfinite(lower)])
    lows = np.unique(upper[np.isneginf(lower) & np.isfinite(upper)])
    numbers = lower[(lower == upper) & np.isfinite(lower)]
    if not len(highs) + len(lows):
        return None
    low, high = (*lows, -np.inf)[0], (*highs, np.inf)[0]
    room = 0.01 * np.ptp(numbers) if len(numbers) else 0.0
    if max(len(highs), len(lows)) > 1 or ((numbers < low - room) | (numbers > high + room)).any():
        notes.append(
            "Cells such as >5 differ or have numbers beyond, so that predictions have no limits"
        )
        return None
    return float(low), float(high)
