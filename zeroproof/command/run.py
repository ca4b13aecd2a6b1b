"""A run's folder: what was chosen and found, and how to predict with it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from zeroproof.command.options import Options
from zeroproof.command.table import Column, Table, UserError, features
from zeroproof.sklearn.fitting import Array


@dataclass(frozen=True)
class Predictions:
    """Predictions of rows, in the learned unit; arrays (rows, outputs).

    Args:
        value: the median of what a row may be; NaN at a pole, ±∞ beyond the limits.
        lower, upper: the central 90 % interval.
        p_below, p_above: probability below, and above, what ``Run.reported`` says.
    """

    value: Array
    lower: Array
    upper: Array
    p_below: Array
    p_above: Array


@dataclass(frozen=True)
class Run:
    """A run. ``config.json`` holds all but encoder and model, which are in ``model.joblib``.

    Args:
        version: of the package.
        options: what the user chose.
        data_sha256: of the table's file.
        columns: every column of the table, and how it is used.
        rows: numbers of rows trained on, and held out.
        reported: for each output the ends of what the instrument reports; where it has none, the
            smallest and the largest number that was trained on. In the learned unit, which is
            log10 with ``--log-target``.
        medians: for each output that of the numbers trained on, which a guess would say.
        limits: predictions beyond are ±∞; in the learned unit.
        notes: sentences for the report.
        best_epoch: the epoch whose weights are kept, from 1; 0 while the run is not finished.
        history: ``loss`` and ``val_loss`` of each epoch.
        seconds: of training, since the run was last started.
        encoder: a fitted transformer of scikit-learn, from ``features`` to numbers.
        model: a fitted :class:`~zeroproof.sklearn.SCMRegressor`.
    """

    version: str
    options: Options
    data_sha256: str
    columns: list[Column]
    rows: tuple[int, int]
    reported: list[tuple[float, float]]
    medians: list[float]
    limits: tuple[float, float] | None
    notes: list[str]
    best_epoch: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    encoder: Any = None
    model: Any = None

    def predict(self, table: Table) -> Predictions:
        """Predict for a table's rows, in the learned unit; UserError for a missing column."""
        x = self.encoder.transform(features(table, self.columns))
        low, high = np.array(self.reported).T[:, None]
        found = (
            self.model.predict(x),
            *self.model.predict_interval(x, 0.9),
            self.model.predict_probability(x, -np.inf, low),
            self.model.predict_probability(x, high, np.inf),
        )
        return Predictions(*(part.reshape(len(x), -1) for part in found))

    def in_own_unit(self, values: Array) -> Array:
        """Bring values from the learned unit to that of the table."""
        with np.errstate(over="ignore"):
            return 10.0**values if self.options.log_target else values

    def write(self, folder: Path) -> None:
        """Write the model, if there is one, and then ``config.json``, each whole or not at all."""
        if self.model is not None:
            _write(folder / "model.joblib", lambda p: joblib.dump((self.encoder, self.model), p))
        values = {f: v for f, v in vars(self).items() if f not in ("encoder", "model")}
        values |= {"options": asdict(self.options), "columns": [asdict(c) for c in self.columns]}
        text = json.dumps(_plain(values), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        _write(folder / "config.json", lambda path: path.write_text(text, encoding="utf-8"))

    @classmethod
    def read(cls, folder: Path, *, finished: bool = True) -> Run:
        """Read a run, with its model if it must be finished; UserError if that cannot be."""
        path = folder / "config.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            options = values["options"]
            options["range"] = _ends(options["range"])
            values |= {"options": Options(**options), "limits": _ends(values["limits"])}
            values["columns"] = [Column(**column) for column in values["columns"]]
            values["reported"] = [_ends(ends) for ends in values["reported"]]
            run = cls(**values | {"rows": tuple(values["rows"])})
            if finished and run.best_epoch:
                encoder, model = joblib.load(folder / "model.joblib")
                return replace(run, encoder=encoder, model=model)
        except OSError as error:
            name = Path(error.filename or path).name
            raise UserError(f"{folder} holds no run ({error.strerror}: {name})") from error
        except Exception as error:  # unpickling raises anything
            raise UserError(
                f"the run in {folder} cannot be read by this version ({error!r}); train again"
            ) from error
        if finished:
            remedy = f"continue it: zeroproof train --resume --out {folder}"
            raise UserError(f"the run in {folder} is not finished; {remedy}")
        return run


def _ends(values: Any) -> tuple[float, float] | None:
    return values and (float(values[0]), float(values[1]))


def _plain(value: Any) -> Any:
    """Return what JSON can hold, which has no ∞."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def _write(path: Path, write: Callable[[Path], Any]) -> None:
    part = path.with_name(f".{path.name}.part")
    write(part)
    os.replace(part, path)
