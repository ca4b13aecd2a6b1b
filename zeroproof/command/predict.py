"""``zeroproof predict``: a run's predictions for a table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from zeroproof.command.options import Options
from zeroproof.command.report import check
from zeroproof.command.run import Predictions, Run
from zeroproof.command.table import Table, UserError, read_table, targets
from zeroproof.sklearn.fitting import Array

ADDED = "prediction", "bottom", "lower", "upper", "p_below", "p_above", "guess", "boosting"


def predict(folder: Path, data: Path, out: Path, *, force: bool) -> str:
    """Write predictions for a table, score and draw them where it has targets; return a summary.

    Raises:
        UserError: the run, the table or the output file do not allow it.
    """
    picture = out.with_suffix(".png")
    for path in (out, picture):
        if path.exists() and (not force or path.resolve() == data.resolve()):
            remedy = "give another --out" if force else "add --force, or give another --out"
            raise UserError(f"{path} is there already; {remedy}")
    run, table = Run.read(folder), read_table(data)
    check_names(table, run.options)
    found = run.predict(table)
    write_predictions(out, run, table, found)
    none = int((~np.isfinite(found.value)).any(axis=1).sum())
    text = f"{len(table.lines)} rows, {none} of them without a number, written to {out}"
    if hashlib.sha256(data.read_bytes()).hexdigest() == run.data_sha256:
        text += "; most of them were trained on"
    if not {*run.options.target} <= {*table.cells}:
        return text
    try:
        measured = targets(table, run.options.target, **run.options.unit)
    except UserError as error:
        return f"{text}; not scored: {error}"
    return f"{text}, drawn in {picture}\n{check(run, measured, found, picture)}"


def added_columns(options: Options, names: Sequence[str]) -> list[list[str]]:
    """Return names of columns that predictions have, for each target."""
    several = len(options.target) > 1
    return [
        [f"{target}_{name}" if several else name for name in names] for target in options.target
    ]


def check_names(table: Table, options: Options) -> None:
    """Raise UserError for a column that has the name of one that predictions add."""
    for names in added_columns(options, ADDED):
        if taken := [name for name in names if name in table.cells]:
            raise UserError(f"{table.path}: predictions add a column {taken[0]!r}; rename this one")


def write_predictions(
    path: Path, run: Run, table: Table, found: Predictions, rivals: Iterable[Array] = ()
) -> None:
    """Write a table's columns, and those of predictions in the table's own unit."""
    frame, own = table.cells.copy(), run.in_own_unit
    value, bottom = own(found.value), (~np.isfinite(found.value)).astype(int)
    columns = [value, bottom, own(found.lower), own(found.upper), found.p_below, found.p_above]
    columns += [own(rival) for rival in rivals]
    for output, names in enumerate(added_columns(run.options, ADDED[: len(columns)])):
        for name, column in zip(names, columns, strict=True):
            frame[name] = column[:, output]
    style = {"sep": ";", "decimal": ","} if table.decimal == "," else {}
    frame.to_csv(path, index=False, float_format="%.9g", **style)
