"""Read a table as people have it, and say what each of its columns is used for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from zeroproof.command.cells import BLANK, BLANKS, TEXT, THOUSANDS, UNITS, Array, Mask
from zeroproof.command.file import Table as Table
from zeroproof.command.file import UserError as UserError
from zeroproof.command.file import read_table as read_table

Names: TypeAlias = Sequence[str]
Range: TypeAlias = tuple[float, float] | None

COUNTER = re.compile(r"(?i:(^|[\W_])(id|idx|index|row|uid)|^(#|nr|no)\.?|^unnamed: \d+)$|[a-z]ID$")
MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
DATE = rf"\d{{4}}-\d\d(-\d.*)?|\d{{1,4}}([-/.])\d\d?\2\d{{1,4}}.*|\d\d?\.?[ -]{MONTH}.*"
DATE += r"|\d\d:\d\d|\d\d?:\d\d(:\d\d.*| ?[AaPp][Mm])"  # and 1:10 is a dilution


@dataclass(frozen=True)
class Column:
    """How a column is used: target, number, category, group or ignored; the note is for people."""

    name: str
    role: str
    note: str


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
    limits: Range
    notes: list[str]

    def rows(self, chosen: Any) -> Measured:
        """Return some rows, by their numbers or by a mask."""
        parts = {name: getattr(self, name)[chosen] for name in ("lower", "upper", "missing")}
        return replace(self, **parts)


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
    units = sample.str.extract(UNITS[table.decimals[name]])[["about", "unit"]]
    units = units.melt()["value"].value_counts()
    table.refuse(name, (kind == TEXT) & (2 * units.max() > len(sample)), "")
    return "ignored", f"names or free text: {len(distinct)} values in {count} rows"


def choose_columns(
    table: Table, targets: Names, *, group: str | None = None, use: Names = (), ignore: Names = ()
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


def targets(table: Table, names: Names, *, range: Range = None, log: bool = False) -> Measured:
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
    found = np.stack([_target(table, name, range, notes) for name in names], axis=-1)
    lower, upper, kind = found
    missing = (kind == BLANK).any(axis=1)
    if missing.all():
        raise UserError(f"{table.path}: no row has a value of {' and '.join(names)}")
    if missing.any():
        notes.append(f"rows without a target, which are left out: {missing.sum()}")
    limits = range if range or len(names) > 1 else _limits(lower[:, 0], upper[:, 0], notes)
    for name, ends in zip(names, upper.T, strict=True) if log else ():
        remedy = "it has no logarithm; write a number above 0, or train without --log-target"
        table.refuse(name, ends <= 0, remedy)
    if log:
        lower, upper = _log10(lower), _log10(upper)
        limits = limits and (float(_log10(limits[0])), float(_log10(limits[1])))
    lower[missing] = upper[missing] = np.nan
    return Measured(lower, upper, missing, limits, notes)


def _log10(ends: Any) -> Any:
    with np.errstate(divide="ignore"):
        return np.log10(np.maximum(ends, 0.0))


def _target(table: Table, name: str, range: Range, notes: list[str]) -> Array:
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
    notes += [f"{name}: {sentence}" for sentence in said]
    return found


def _limits(lower: Array, upper: Array, notes: list[str]) -> Range:
    """Return what the instrument reports, if cells such as >50 agree about it."""
    highs = np.unique(lower[np.isposinf(upper) & np.isfinite(lower)])
    lows = np.unique(upper[np.isneginf(lower) & np.isfinite(upper)])
    if not len(lows) + len(highs):
        return None
    low, high = max([*lows, -np.inf]), min([*highs, np.inf])
    numbers = lower[(lower == upper) & np.isfinite(lower)]
    room = 0.01 * np.ptp(numbers) if len(numbers) else 0.0  # the ends may be rounded
    within = (low - room <= numbers) & (numbers <= high + room)
    if max(len(lows), len(highs)) == 1 and low < high and within.sum() >= 0.99 * len(within):
        return float(low), float(high)
    notes.append(
        "cells such as >5 differ, or numbers lie beyond: give --range for what can be known"
    )
    return None
