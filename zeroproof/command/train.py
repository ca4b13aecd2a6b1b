"""``zeroproof train`` and ``zeroproof predict``: from a table to a run, and to predictions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pandas.util import hash_pandas_object as hash_rows
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

import zeroproof
from zeroproof.command.options import Options, UserError
from zeroproof.command.report import check, write_report
from zeroproof.command.run import Run, write_predictions
from zeroproof.command.scores import boosting, known_numbers
from zeroproof.command.signs import DOUBT, check_sign, guessed
from zeroproof.command.table import (
    Column,
    Measured,
    Table,
    choose_columns,
    encoder,
    features,
    read_table,
    targets,
)
from zeroproof.sklearn import SCMRegressor
from zeroproof.sklearn.fitting import Array
from zeroproof.training import CheckpointError, NonFiniteError
from zeroproof.training.checkpoint import checkpoints
from zeroproof.utils.checks import check_integer, check_number
from zeroproof.utils.logging import JsonlLogger, Terminal

FOLDS = 5  # one of which is held out


def train(given: dict[str, Any], folder: Path, *, resume: bool) -> str:
    """Make or continue a run by what options were given; return a summary for people.

    Raises:
        UserError: the table, the options or the folder do not allow it.
    """
    before = Run.read(folder) if resume else None
    options = _new(given, folder) if before is None else _resumed(given, before)
    run, train, held = prepare(options)
    X, X_held = (features(table, run.columns) for table, _ in (train, held))
    if before is not None and run.data_sha256 != before.data_sha256:
        raise UserError(f"{options.data} is not the table with which {folder} was trained")
    folder.mkdir(parents=True, exist_ok=True)
    replace(before or run, options=options).write(folder)
    try:
        run = fit(run, X, *train, folder)
    except Exception as error:
        if before is None and not checkpoints(folder / "checkpoints"):  # it may be used again
            for name in ("config.json", "model.joblib", "metrics.jsonl"):
                (folder / name).unlink(missing_ok=True)
        if isinstance(error, (NonFiniteError, CheckpointError, torch.OutOfMemoryError)):
            raise UserError(str(error)) from error
        raise
    run.write(folder)
    x, x_held = (run.encoder.transform(part) for part in (X, X_held))
    rivals = {"guess": np.tile(run.medians, (len(x_held), 1))}
    rivals["boosting"] = boosting(x, train[1], x_held, options.seed)
    found = run.predict(X_held)
    write_predictions(folder / "predictions.csv", run, held[0], found, rivals)
    repeats = int(hash_rows(X_held, index=False).isin(hash_rows(X, index=False)).sum())
    said = write_report(folder, run, X_held, *held, found, rivals, repeats)
    return "\n".join([said, *run.notes, *by_role(run.columns)])


def _new(given: dict[str, Any], folder: Path) -> Options:
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} holds files already; give another --out, or --resume its run")
    if "data" not in given:
        shipped = str(resources.files(zeroproof) / "data" / "moonshot.csv")
        return Options(**{"data": shipped, "target": ["log10_ic50_uM"], **given})
    if "target" not in given:
        names = ", ".join([*read_table(Path(given["data"])).cells][:30])
        raise UserError(f"--target is missing: name the column to learn; there are {names}")
    return Options(**given)


def _resumed(given: dict[str, Any], before: Run) -> Options:
    """Return the options of a run, of which more epochs may be new, and where its files are."""
    changed = {n: v for n, v in given.items() if v != getattr(before.options, n)}
    for name in changed.keys() - {"data", "epochs", "test" if before.options.test else ""}:
        raise UserError(
            f"--{name.replace('_', '-')} {changed[name]} differs from the run's "
            f"{getattr(before.options, name)}; give another --out for another run"
        )
    done, best = len(before.history.get("loss", [])), before.best_epoch
    stopped = done >= best + SCMRegressor().n_iter_no_change
    if done and "epochs" in changed and (stopped or changed["epochs"] < done):
        ended = f"the run ended after {done} epochs, of which number {best} was the best"
        raise UserError(f"--epochs {changed['epochs']} has no effect: {ended}")
    return replace(before.options, **given)


def prepare(options: Options) -> tuple[Run, tuple[Table, Measured], tuple[Table, Measured]]:
    """Return the run that is to be trained, and the rows to train on and to judge by."""
    check_options(options)
    table = read_table(Path(options.data), options.target)
    given: dict[str, Any] = {"use": options.use, "ignore": options.ignore, "group": options.group}
    columns = choose_columns(table, options.target, **given)
    if options.group is not None and (blank := table.is_blank(options.group).sum()):
        raise UserError(
            f"{table.path}: {blank} of {len(table.cells)} cells of the --group column "
            f"{options.group!r} are blank; name their groups, or leave these rows out"
        )
    train = labelled(table, options)
    rows, what = train[0].cells.iloc[:, 0], "rows"
    if options.group is not None:
        rows, what = train[0].cells[options.group].unique(), f"groups by {options.group!r}"
    if len(rows) < FOLDS:
        raise UserError(f"{table.path}: {len(rows)} {what} have a target; {FOLDS} are needed")
    guess = guessed(table, columns)
    if options.test:
        test = read_table(Path(options.test), options.target, table.decimal, named(columns))
        check_sign(test, table.decimal, guess)
        held = labelled(test, options)
    else:
        train, held = split(*train, options)
    labels = check_labels(train[1], options)
    notes = ["numbers have a decimal comma"] * (table.decimal == ",") + train[1].notes
    notes += [f"{guess}, {DOUBT}"] * bool(guess)
    notes += [f"{table.above} lines above the names of columns are left out"] * bool(table.above)
    notes += [f"--test: {note}" for note in held[1].notes if options.test]
    limits = train[1].limits or (-np.inf, np.inf)
    ends = [np.where(np.isfinite(limits), limits, (n.min(), n.max())).tolist() for n in labels]
    run = Run(
        version=zeroproof.__version__,
        options=options,
        data_sha256=table.sha256,
        decimal=table.decimal,
        columns=columns,
        rows=(len(train[0].cells), len(held[0].cells)),
        reported=[(low, high) for low, high in ends],
        medians=[float(np.median(numbers)) for numbers in labels],
        limits=train[1].limits,
        notes=notes,
        guessed=guess,
    )
    return run, train, held


def check_labels(measured: Measured, options: Options) -> list[Array]:
    """Return the numbers of each target; UserError if there is nothing to learn."""
    lower, upper = measured.lower, measured.upper
    if options.shared_denominator and (lower < upper).any():
        raise UserError("with --shared-denominator no target may be an interval or bound")
    for i, name in enumerate(options.target):
        if len(np.unique(np.c_[lower[:, i], upper[:, i]], axis=0)) < 2:
            raise UserError(f"{name!r} is the same in all rows trained on: nothing to learn")
    labels = [numbers for _, numbers in known_numbers(measured)]
    if not all(map(len, labels)):
        raise UserError(f"{options.data}: a target has no finite number to learn from")
    return labels


def named(columns: Sequence[Column]) -> list[str]:
    """Return the names of the columns that are not ignored."""
    return [column.name for column in columns if column.role != "ignored"]


def by_role(columns: Sequence[Column]) -> list[str]:
    """Return how every column is used, or why it is not, one line for each use."""
    names: dict[str, list[str]] = {}
    for column in columns:
        note = f" ({column.note})" if column.note else ""
        names.setdefault(column.role, []).append(column.name + note)
    return [f"{role}: {', '.join(of_it)}" for role, of_it in names.items()]


def labelled(table: Table, options: Options) -> tuple[Table, Measured]:
    """Return the rows that have a target."""
    measured = targets(table, options.target, range=options.range, log=options.log_target)
    return table.rows(~measured.missing), measured.rows(~measured.missing)


def check_options(options: Options) -> None:
    """Raise UserError for a number that cannot be, or a device that is not in this machine."""
    try:
        check_number("--lr", options.lr, "(0, 1000]")
        for name, number in (("--epochs", options.epochs), ("--batch-size", options.batch_size)):
            check_integer(name, 1 if number is None else number, 1)
        np.random.RandomState(options.seed)
    except ValueError as error:
        raise UserError(str(error)) from error
    try:
        torch.zeros(1, device=options.device).item()
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {options.device} cannot be used ({error}); use cpu") from error


def split(table: Table, measured: Measured, options: Options) -> list[tuple[Table, Measured]]:
    """Return rows to train on and to hold out, the same share of every kind of target.

    Groups differ in size, and so do folds of them; the one nearest to a fifth is held out.
    """
    ends = [np.where(np.isfinite(end), 0.0, end) for end in (measured.lower, measured.upper)]
    kinds = pd.DataFrame(np.hstack([*ends, measured.lower < measured.upper]))
    kind = kinds.groupby([*kinds], dropna=False).ngroup().to_numpy(copy=True)
    kind[np.bincount(kind)[kind] < FOLDS] = np.bincount(kind).argmax()  # of which there are few
    groups = None if options.group is None else table.cells[options.group]
    splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
    folds = splitter(FOLDS, shuffle=True, random_state=options.seed).split(kind, kind, groups)
    fold = min(folds, key=lambda fold: abs(FOLDS * len(fold[1]) - len(kind)))
    return [(table.rows(rows), measured.rows(rows)) for rows in fold]


def fit(run: Run, X: Any, table: Table, measured: Measured, folder: Path) -> Run:
    """Train, or continue, and return the finished run."""
    options = run.options
    model = SCMRegressor(
        max_epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.lr,
        shared_denominator=options.shared_denominator,
        limits=run.limits,
        random_state=options.seed,
    )
    model.trainer_options = {
        "device": options.device,
        "checkpoint_dir": folder / "checkpoints",
        "progress": os.isatty(2),
        "log_hook": partial(log_epoch, folder / "metrics.jsonl"),
    }
    groups = None if options.group is None else table.cells[options.group].to_numpy()
    encoded = encoder(run.columns).fit(X)
    model.fit(encoded.transform(X), measured.lower, measured.upper, groups=groups)
    model.trainer_options = None  # so that a refit of the saved model does not resume this run
    best, history = model.best_epoch_, model.history_
    return replace(run, encoder=encoded, model=model, best_epoch=best, history=history)


def log_epoch(path: Path, record: dict[str, float]) -> None:
    """Add an epoch's losses to a file; where there is no terminal, show some of them."""
    if "val_loss" in record:
        epoch, loss, val_loss = int(record["epoch"]) + 1, record["loss"], record["val_loss"]
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        part = path.with_suffix(".part")
        part.write_bytes(b"".join(lines[: epoch - 1]))  # later ones were made before a resume
        with JsonlLogger(part) as log:
            log({"epoch": epoch, "loss": loss, "val_loss": val_loss})
        os.replace(part, path)
        if not os.isatty(2) and str(epoch).rstrip("0") in ("1", "2", "5"):
            Terminal().write(f"epoch {epoch}: loss {loss:.4f}, of rows left out {val_loss:.4f}\n")


def predict(folder: Path, data: Path, out: Path, *, force: bool) -> str:
    """Write predictions for a table, score and draw them where it has targets; return a summary.

    Raises:
        UserError: the run, the table or the output file do not allow it.
    """
    if (picture := out.with_suffix(".png")) == out:
        raise UserError(f"{out} is where the picture goes; name the table otherwise")
    for path in (out, picture):
        if path.resolve() == data.resolve():
            raise UserError(f"{path} is the table to predict for; give another --out")
        if path.exists() and not force:
            raise UserError(f"{path} is there already; give another --out, or overwrite by --force")
    run = Run.read(folder)
    used = [column.name for column in run.columns if column.role in ("number", "category")]
    table = read_table(data, used, run.decimal, named(run.columns))
    check_sign(table, run.decimal, run.guessed)
    if run.model is None:
        remedy = f"continue it: zeroproof train --resume --out {folder}"
        raise UserError(f"the run in {folder} is not finished; {remedy}")
    found, options = run.predict(features(table, run.columns)), run.options
    write_predictions(out, run, table, found, {})
    none = int((~np.isfinite(found.value)).any(axis=1).sum())
    text = f"{len(table.cells)} rows, {none} of them without a number, written to {out}"
    if table.sha256 == run.data_sha256:
        text += "; most of them were trained on"
    if not {*options.target} <= {*table.cells}:
        return text
    try:
        measured = targets(table, options.target, range=options.range, log=options.log_target)
    except UserError as error:
        return f"{text}; not scored: {error}"
    return f"{text}, drawn in {picture}\n{check(run, measured, found, picture)}"
