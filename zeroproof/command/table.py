"""Read a table as people have it; say what each column is for; return features and targets."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from zeroproof.command.cells import Array, decimal_sign, delimiter, parse
from zeroproof.command.options import UserError, one_line

Names: TypeAlias = Sequence[str]
Range: TypeAlias = tuple[float, float] | None

BLANKS = ["", "na", "n/a", "#n/a", "<na>", "null", "none", "nan", ".", "-", "–", "—", "−", "?"]
COUNTER = re.compile(r"(?i:(^|[\W_])(id|index|row|nr|no|#)\.?|^unnamed: \d+)$|[a-z]ID$")
DATE = r"\d{4}-\d\d|\d{1,4}([-/.])\d\d?\1\d{1,4}.*|\d\d?\.?[ -][A-Z][a-z]{2,8}\.?[ -]\d{2,4}.*"
LARGEST = 1e150  # so that squares are finite
CATEGORIES, SHARE = 20, 0.01  # of a column, and the share of the rows that makes one
UNITLESS = "write a number without ~, % or unit, or leave it blank"


@dataclass(frozen=True)
class Table:
    """A table as text: stripped cells, by the (last) line of each row and the column's name."""

    path: Path
    sha256: str
    cells: Any
    decimal: str
    certain: bool  # whether the cells tell the decimal sign
    above: int  # lines that are left out above the names of the columns
    _parsed: dict[str, Array] = field(default_factory=dict)

    def rows(self, chosen: Any) -> Table:
        """Return some rows, by their numbers or by a mask."""
        parsed = {name: ends[:, chosen] for name, ends in self._parsed.items()}
        return replace(self, cells=self.cells.iloc[chosen], _parsed=parsed)

    def parse(self, name: str) -> Array:
        """Return both ends of each cell of a column, (2, rows); NaN where it is no number."""
        if name not in self._parsed:
            self._parsed[name] = parse(self.cells[name], self.decimal)
        return self._parsed[name]

    def check(self, names: Names) -> None:
        """Raise UserError for a name that is no column."""
        if unknown := [name for name in names if name not in self.cells]:
            alike = partial(SequenceMatcher, None, unknown[0].lower())
            names = sorted(self.cells, key=lambda name: -alike(name.lower()).ratio())[:30]
            there = f"no column {unknown[0]!r}; there are {', '.join(names)}"
            remedy = "the first line names the columns, in UTF-8, with , ; | or a tab between them"
            raise UserError(f"{self.path}: {there}; {remedy}")

    def refuse(self, name: str, wrong: Array, remedy: str) -> None:
        """Raise UserError about cells that are wrong and not blank, if there are any."""
        cells = self.cells[name][wrong & ~self.is_blank(name)]
        if len(cells):
            holds = f"column {name!r} holds {', '.join(map(repr, cells.unique()[:6]))}"
            raise UserError(f"{self.path}, line {cells.index[0]}: {holds}; {remedy}")

    def is_blank(self, name: str) -> Array:
        """Say which cells of a column are blank or NaN."""
        return np.asarray(self.cells[name].str.lower().isin(BLANKS))


@dataclass(frozen=True)
class Column:
    """How a column is used: target, number, category, group or ignored; the note is for people."""

    name: str
    role: str
    note: str


@dataclass(frozen=True)
class Measured:
    """Targets of each row, (rows, outputs), in the unit that is learned.

    Ends are equal for a number, both ∞ or -∞ for a point there, NaN for a pole or if missing.
    """

    lower: Array
    upper: Array
    missing: Array  # (rows,): without a target in some output
    limits: Range  # what the instrument can report
    notes: list[str]

    def rows(self, chosen: Any) -> Measured:
        """Return some rows, by their numbers or by a mask."""
        parts = {name: getattr(self, name)[chosen] for name in ("lower", "upper", "missing")}
        return replace(self, **parts)


def _text(path: Path, data: bytes) -> str:
    """Return a file's text."""
    marked = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    for encoding in ("utf-16" if marked else "utf-8-sig", "cp1252"):
        with suppress(UnicodeDecodeError):
            text = data.decode(encoding)
            if "\0" not in text:
                text = re.sub("\r\n?", "\n", text)
                return re.sub(r'^"?sep=."?\n', "\n", text)  # which Excel writes
    raise UserError(f"{path}: no text; unpack it, or save the workbook's sheet as CSV UTF-8")


def read_table(
    path: Path, needed: Names = (), decimal: str | None = None, known: Names = ()
) -> Table:
    """Read a delimited text file; its first line with all that is ``needed`` names the columns.

    ``decimal`` is the decimal sign unless columns that are ``known`` tell. Without it what is
    needed tells, or any other cell, or else the delimiter.

    Raises:
        UserError: the file is no such table.
    """
    text = _text(path, data := path.read_bytes())
    between, has = delimiter(text, needed), {*needed}.issubset
    reader = csv.reader(io.StringIO(text), delimiter=between, skipinitialspace=True, strict=True)
    try:
        records = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:  # unless it is strict, an open quote swallows rows
        where = f"{path}, line {reader.line_num}"
        raise UserError(f'{where}: a quote (") is not closed or not doubled ({error})') from error
    records = [(line, cells) for line, cells in records if any(cells)]
    above = next((i for i, (_, cells) in enumerate(records) if has(map(one_line, cells))), 0)
    if len(records) < above + 2:
        raise UserError(f"{path}: there are no rows below the names of the columns")
    (first, cells), *records = records[above:]
    names = [one_line(name) or f"Unnamed: {i}" for i, name in enumerate(cells)]
    for line, cells in records:
        if len(cells) != len(names):
            raise UserError(
                f"{path}, line {line}: {len(cells)} cells, but line {first} names {len(names)} "
                "columns; delete lines above the names, and what is no row of the table; decimal "
                "commas need ; between cells"
            )
    if repeated := [*pd.Index(names)[pd.Index(names).duplicated()]]:
        raise UserError(f"{path}, line {first}: {repeated[0]!r} names two columns; rename one")
    frame = pd.DataFrame.from_dict(dict(records), orient="index", dtype=object, columns=names)
    own = frame[[name for name in known or needed or frame if name in frame]]
    sign, certain = decimal_sign(own, decimal or ("," if between == ";" else "."))
    if not (certain or decimal):
        sign, certain = decimal_sign(frame, sign)
    return Table(path, hashlib.sha256(data).hexdigest(), frame, sign, certain, above)


def _feature(table: Table, name: str, lower: Array, upper: Array) -> tuple[Array, str]:
    """Return a column of finite numbers and NaN, and what to say about it."""
    low, high = np.where(np.isinf(lower), upper, lower), np.where(np.isinf(upper), lower, upper)
    values, remedy = low / 2 + high / 2, f"train with --ignore {name!r}"
    table.refuse(name, ~np.isfinite(values), f"{UNITLESS}, or {remedy}")
    table.refuse(name, np.abs(values) > LARGEST, f"take a larger unit, or {remedy}")
    blank, between = np.isnan(values).sum(), (lower < upper).sum()
    notes = [f"{blank} of {len(values)} blank, filled with the median"] if blank else []
    notes += [f"{between} such as >5, used by their finite end or middle"] if between else []
    return values, "; ".join(notes)


def _role(table: Table, name: str, *, forced: bool) -> tuple[str, str]:
    """Return what a column is used for, and how, or why not."""
    lower, upper = table.parse(name)
    values = table.cells[name][~table.is_blank(name)]
    distinct = values.drop_duplicates()
    if len(distinct) == 0 or (len(distinct) == 1 and len(values) == len(lower) and not forced):
        return "ignored", "no two cells differ"
    if 2 * (lower == upper).sum() > len(values):
        numbers, note = _feature(table, name, lower, upper)
        whole = np.unique(numbers[numbers == np.round(numbers)])
        counts = COUNTER.search(name) and len(whole) == len(numbers)
        return ("ignored", "numbers the rows") if counts and not forced else ("number", note)
    if distinct.head(200).str.fullmatch(DATE).mean() > 0.9 and not forced:
        return "ignored", "dates or times; to use them, count the days or hours from a start"
    note = f"{len(distinct)} values, such as {one_line(values.iloc[0])[:40]}"
    if distinct.str.match(r"[<>~+-]? ?\d").all():
        note += "; numbers must stand without units"
    if 2 * values.duplicated(keep=False).sum() < len(values) and not forced:
        return "ignored", f"names or free text: {note}"
    often = (values.value_counts() >= SHARE * len(lower)).sum()
    if not often and not forced:
        return "ignored", f"{note}, each in less than {100 * SHARE:g} % of the rows"
    if often < len(distinct) or often > CATEGORIES:
        note += f"; all but the {min(often, CATEGORIES - 1)} most frequent count as one"
    return "category", note


def choose_columns(
    table: Table, targets: Names, *, group: str | None = None, use: Names = (), ignore: Names = ()
) -> list[Column]:
    """Say how each column of a training file is used, in its order.

    Columns to ``use`` are features, whatever they look like; rows of a ``group`` stay together.

    Raises:
        UserError: a name is no column, a cell cannot be used, or nothing is left to learn from.
    """
    groups = [] if group is None else [group]
    table.check([*targets, *groups, *use, *ignore])
    roles = dict.fromkeys(ignore, ("ignored", "--ignore"))
    roles |= dict.fromkeys(groups, ("group", "rows of a group stay together"))
    roles |= dict.fromkeys(targets, ("target", ""))
    roles = {n: roles.get(n) or _role(table, n, forced=n in use) for n in table.cells}
    if not {"number", "category"} & {role for role, _ in roles.values()}:
        why = "; ".join(f"{name}: {note or role}" for name, (role, note) in roles.items())
        raise UserError(f"{table.path}: no column is left to learn from ({why}); see --use")
    return [Column(name, *role) for name, role in roles.items()]


def features(table: Table, columns: Sequence[Column]) -> Any:
    """Return numbers, NaN where missing, and categories as text, in a data frame.

    Raises:
        UserError: a column is not in this file, or a cell cannot be used.
    """
    used = {c.name: c.role for c in columns if c.role in ("number", "category")}
    table.check([*used])
    found: dict[str, Any] = {
        name: np.where(table.is_blank(name), "", table.cells[name]) for name in used
    }
    for name in (name for name, role in used.items() if role == "number"):
        found[name], _ = _feature(table, name, *table.parse(name))
    return pd.DataFrame(found)


def encoder(columns: Sequence[Column]) -> Any:
    """Return the transformer from features to finite numbers; rare categories count as one."""
    numbers, categories = ([c.name for c in columns if c.role == r] for r in ("number", "category"))
    rare = {"max_categories": CATEGORIES, "min_frequency": SHARE}
    encode = OneHotEncoder(handle_unknown="infrequent_if_exist", sparse_output=False, **rare)
    fill = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    return make_column_transformer((fill, numbers), (encode, categories))


def targets(table: Table, names: Names, *, range: Range = None, log: bool = False) -> Measured:
    """Return the targets of each row, or their log10; ``range`` is in the file's unit.

    Raises:
        UserError: no such column, a cell that is no target or has no logarithm, or no target.
    """
    table.check(names)
    lower, upper = np.stack([_target(table, name, range, log=log) for name in names], axis=-1)
    missing = np.any([table.is_blank(n) & (table.cells[n].str.lower() != "nan") for n in names], 0)
    if missing.all():
        raise UserError(f"{table.path}: no row has a value of {' and '.join(names)}")
    lower[missing] = upper[missing] = np.nan
    points = ~(lower < upper) & ~np.isfinite(lower) & ~missing[:, None]
    notes = [f"{missing.sum()} rows have no target, and are left out"] if missing.any() else []
    notes += [f"{(lower < upper).sum()} targets are intervals, {points.sum()} are at infinity"]
    limits: Any = range if range or len(names) > 1 else _limits(lower[:, 0], upper[:, 0])
    if log:
        with np.errstate(divide="ignore"):
            lower, upper = np.log10(np.maximum([lower, upper], 0))
            limits = limits and tuple(np.log10(np.maximum(limits, 0)).tolist())
    return Measured(lower, upper, missing, limits, notes)


def _target(table: Table, name: str, range: Range, *, log: bool) -> Array:
    """Return both ends of each cell, (2, rows); NaN for a pole and where it is blank."""
    lower, upper = ends = table.parse(name).copy()
    also = "< and the limit of detection, 2-5, >5, inf, -inf, and nan for a pole, may stand here"
    remedy = f"{UNITLESS}; {also} too"
    table.refuse(name, np.isnan(lower), remedy)
    if range is not None:
        below, above = upper <= range[0], lower >= range[1]
        lower[below], upper[below] = -np.inf, range[0]
        lower[above], upper[above] = range[1], np.inf
    if log:
        remedy = "it has no logarithm; write a number above 0, or train without --log-target"
        table.refuse(name, upper <= 0, remedy)
    else:
        size = np.where(np.isfinite(ends), np.abs(ends), 0.0).max(axis=0)
        table.refuse(name, size > LARGEST, "take a larger unit, or train with --log-target")
    return ends


def _limits(lower: Array, upper: Array) -> Range:
    """Return what the instrument reports, if cells such as >50 agree about it."""
    lows = np.unique(upper[np.isneginf(lower) & np.isfinite(upper)])
    highs = np.unique(lower[np.isposinf(upper) & np.isfinite(lower)])
    low, high = max(lows, default=-np.inf), min(highs, default=np.inf)
    numbers = lower[(lower == upper) & np.isfinite(lower)]
    room = 0.01 * np.ptp(numbers) if len(numbers) else 0.0  # the ends may be rounded
    beyond = (numbers < low - room) | (numbers > high + room)
    agree = max(len(lows), len(highs)) == 1 and low < high and beyond.sum() <= 0.01 * len(beyond)
    return (float(low), float(high)) if agree else None
