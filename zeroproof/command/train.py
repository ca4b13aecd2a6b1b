"""``zeroproof train``: from a table to a run's folder."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

import zeroproof
from zeroproof.command.options import Options
from zeroproof.command.predict import check_names, write_predictions
from zeroproof.command.report import write_report
from zeroproof.command.run import Run
from zeroproof.command.scores import boosting, known_numbers
from zeroproof.command.table import (
    Column,
    Measured,
    Table,
    UserError,
    choose_columns,
    encoder,
    features,
    read_table,
    targets,
)
from zeroproof.sklearn import SCMRegressor
from zeroproof.sklearn.fitting import finite_part
from zeroproof.utils.logging import JsonlLogger, Terminal

SHIPPED_TARGET = "log10_ic50_uM"
FOLDS = 5  # of which one is held out
LEAST, LARGEST = 10, 1e100  # rows; number
FILES = ["config.json", "checkpoints", "metrics.jsonl", "model.joblib", "predictions.csv"]
FILES += ["report.md", "report.html", "plot.png"]


@dataclass(frozen=True)
class Part:
    """Rows of a table, with their targets and features."""

    table: Table
    measured: Measured
    X: Any

    def rows(self, chosen: Any) -> Part:
        """Return some rows."""
        return Part(self.table.rows(chosen), self.measured.rows(chosen), self.X.iloc[chosen])


def train(given: dict[str, Any], folder: Path, *, resume: bool) -> str:
    """Train, predict for the rows held out, fill the folder; return a summary for people.

    Args:
        given: options by name, as far as they were given.
        folder: where a run is made, or continued.
        resume: whether it is continued.

    Raises:
        UserError: the table, the options or the folder do not allow it.
    """
    before = Run.read(folder, finished=False) if resume else None
    options = _new(given, folder) if before is None else _resumed(given, before)
    run, train, held = prepare(options)
    if before is not None and run.data_sha256 != before.data_sha256:
        raise UserError(f"{options.data} is not the table with which {folder} was trained")
    try:
        torch.empty(0, device=options.device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {options.device}: {error}") from error
    folder.mkdir(parents=True, exist_ok=True)
    (run if before is None else replace(before, options=options)).write(folder)
    run = fit(run, train, folder)
    if before is not None and run.history == before.history:
        run = replace(run, seconds=before.seconds)  # nothing was left to train
    run.write(folder)
    X, X_held = (run.encoder.transform(part.X) for part in (train, held))
    rivals = {"guess": np.tile(run.medians, (len(X_held), 1))}
    rivals["boosting"] = boosting(X, train.measured, X_held, options.seed)
    found = run.predict(held.table)
    write_predictions(folder / "predictions.csv", run, held.table, found, rivals.values())
    return write_report(folder, run, held.table, held.measured, found, rivals)


def _new(given: dict[str, Any], folder: Path) -> Options:
    if there := [name for name in FILES if (folder / name).exists()]:
        raise UserError(
            f"{folder} holds a run already ({there[0]}); add --resume to continue it, or give "
            "another --out"
        )
    if "data" not in given:
        shipped = resources.files(zeroproof) / "data" / "moonshot.csv"
        return Options(**{"data": str(shipped), "target": [SHIPPED_TARGET], **given})
    if "target" not in given:
        names = ", ".join([*read_table(Path(given["data"])).cells][:30])
        raise UserError(f"--target is missing: name the column to learn; there are {names}")
    return Options(**given)


def _resumed(given: dict[str, Any], before: Run) -> Options:
    """Return the options of a run, of which only a larger number of epochs may be new."""
    for name, value in given.items():
        old = getattr(before.options, name)
        if name not in ("data", "epochs") and value != old:
            raise UserError(
                f"--{name.replace('_', '-')} {value} differs from the run's {old}; --resume takes "
                "no other option than more --epochs: give another --out for another run"
            )
    done, epochs = len(before.history.get("loss", [])), given.get("epochs")
    if epochs is not None and epochs < (least := max(done, before.options.epochs or 1)):
        raise UserError(f"--epochs {epochs} is less than the {least} of the run; give more")
    if epochs is not None and epochs > done >= before.best_epoch + SCMRegressor().n_iter_no_change:
        raise UserError(
            f"the run stopped by itself after {done} epochs, the best of which was number "
            f"{before.best_epoch}; more would not help"
        )
    return replace(before.options, **given)


def prepare(options: Options) -> tuple[Run, Part, Part]:
    """Return the run that is to be trained, and the rows to train on and to judge by."""
    path, names = Path(options.data), options.target
    table = read_table(path)
    check_names(table, options)
    given: dict[str, Any] = {"use": options.use, "ignore": options.ignore, "group": options.group}
    columns = choose_columns(table, names, **given)
    train = read_part(table, columns, options)
    if options.test:
        held = read_part(read_table(Path(options.test)), columns, options)
    else:
        train, held = (train.rows(rows) for rows in split(train, options))
    lower, upper, limits = train.measured.lower, train.measured.upper, train.measured.limits
    if options.shared_denominator and len(names) > 1 and (lower < upper).any():
        raise UserError("--shared-denominator goes with numbers alone, not with cells such as >5")
    reported = list[tuple[float, float]]()
    for name, ends in zip(names, finite_part(lower, upper).T, strict=True):
        if not (finite := ends[np.isfinite(ends)].tolist()):
            raise UserError(f"{path}: column {name!r} has no finite number to learn from")
        low, high = limits or (-np.inf, np.inf)
        least, most = min(finite), max(finite)
        reported.append((low if low > -np.inf else least, high if high < np.inf else most))
    run = Run(
        version=zeroproof.__version__,
        options=options,
        data_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        columns=columns,
        rows=(len(train.X), len(held.X)),
        reported=reported,
        medians=[float(np.median(label)) for _, label in known_numbers(train.measured)],
        limits=limits,
        notes=train.measured.notes,
    )
    return run, train, held


def read_part(table: Table, columns: Sequence[Column], options: Options) -> Part:
    """Return a table's rows that have a target."""
    measured = targets(table, options.target, **options.unit)
    rows = np.flatnonzero(~measured.missing)
    part = Part(table, measured, features(table, columns)).rows(rows)
    if len(rows) < LEAST and table.path == Path(options.data):
        raise UserError(f"{table.path}: only {len(rows)} rows have a target; {LEAST} are needed")
    ends = finite_part(part.measured.lower, part.measured.upper)
    labels = zip(options.target, np.where(np.isinf(ends), 0.0, ends).T, strict=True)
    for name, column in [*part.X.select_dtypes("number").items(), *labels]:
        if (abs(column) > LARGEST).any():
            raise UserError(f"{table.path}: column {name!r} has numbers beyond {LARGEST}")
    return part


def split(part: Part, options: Options) -> Any:
    """Return the rows to train on and those held out, the same share of every kind of target."""
    lower, upper = part.measured.lower, part.measured.upper
    number = (lower == upper) & np.isfinite(lower)
    tests = number, np.isnan(lower), lower == np.inf, upper == -np.inf, upper == np.inf
    kinds = np.select(tests, range(5), np.where(lower == -np.inf, 5, 6))
    kind = np.unique(kinds, axis=0, return_inverse=True)[1].ravel()
    kind[np.bincount(kind)[kind] < FOLDS] = np.bincount(kind).argmax()  # of which there are few
    chance = {"shuffle": True, "random_state": options.seed}
    if options.group is None:
        return next(StratifiedKFold(FOLDS, **chance).split(kind, kind))
    groups = part.table.cells[options.group]
    if (number := groups.nunique()) < 4:  # the estimator, too, leaves out groups
        raise UserError(f"--group {options.group}: {number} groups are there; 4 are needed")
    return next(StratifiedGroupKFold(min(FOLDS, number), **chance).split(kind, kind, groups))


def fit(run: Run, train: Part, folder: Path) -> Run:
    """Train, or continue, and return the finished run."""
    options, measured = run.options, train.measured
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
        "log_hook": epoch_log(model, folder / "metrics.jsonl"),
    }
    if options.amp != "off":
        model.trainer_options |= {"mixed_precision": True, "amp_dtype": options.amp}
    groups = None if options.group is None else train.table.cells[options.group].to_numpy()
    encoded, started = encoder(run.columns).fit(train.X), time.monotonic()
    try:
        model.fit(encoded.transform(train.X), measured.lower, measured.upper, groups=groups)
    except (ValueError, RuntimeError) as error:
        raise UserError(str(error)) from error
    found = {"best_epoch": model.best_epoch_, "history": model.history_, "encoder": encoded}
    model.trainer_options = None  # which no file can hold
    return replace(run, seconds=time.monotonic() - started, model=model, **found)


def epoch_log(model: SCMRegressor, path: Path) -> Callable[[dict[str, float]], None]:
    """Return a log hook that writes each epoch's losses; without a terminal, some of them there."""
    written = 0

    def hook(record: dict[str, float]) -> None:
        nonlocal written
        if "val_loss" not in record:
            return
        if not written:  # of a continued run all epochs are written again
            path.unlink(missing_ok=True)
        losses = zip(
            *(model.history_[name][written:] for name in ("loss", "val_loss")), strict=True
        )
        with JsonlLogger(path) as log:
            for loss, val_loss in losses:
                written += 1
                log({"epoch": written, "loss": loss, "val_loss": val_loss})
        if not os.isatty(2) and str(written).rstrip("0") in ("1", "2", "5"):
            Terminal().write(f"epoch {written}: loss {loss:.4f}, of rows left out {val_loss:.4f}\n")

    return hook
