"""A run's folder: what was chosen and found, and how to predict with it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from zeroproof.command.table import Column, Table, UserError, features
from zeroproof.sklearn.fitting import Array


@dataclass(frozen=True)
class Options:
    """What the user chose; None where the estimator decides."""

    data: str
    target: list[str]
    test: str | None = None
    group: str | None = None
    log_target: bool = False
    range: tuple[float, float] | None = None
    use: list[str] = field(default_factory=list)
    ignore: list[str] = field(default_factory=list)
    shared_denominator: bool = False
    epochs: int | None = None
    batch_size: int | None = None
    lr: float = 3e-3
    seed: int = 0
    device: str = "cpu"
    amp: str = "off"


@dataclass(frozen=True)
class Predictions:
    """Predictions of rows; arrays (rows, outputs).

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
    limits: tuple[float, float] | None
    notes: list[str]
    best_epoch: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    encoder: Any = None
    model: Any = None

    def learned(self, X: Any) -> Predictions:
        """Predict for the encoder's columns, in the learned unit."""
        x = self.encoder.transform(X)
        low, high = np.array(self.reported).T[:, None]
        found = (
            self.model.predict(x),
            *self.model.predict_interval(x, 0.9),
            self.model.predict_probability(x, -np.inf, low),
            self.model.predict_probability(x, high, np.inf),
        )
        return Predictions(*(part.reshape(len(x), -1) for part in found))

    def in_own_unit(self, found: Predictions) -> Predictions:
        """Bring values and intervals to the unit of the table."""
        if not self.options.log_target:
            return found
        with np.errstate(over="ignore"):
            names = "value", "lower", "upper"
            return replace(found, **{name: 10.0 ** getattr(found, name) for name in names})

    def predict(self, table: Table) -> Predictions:
        """Predict for a table's rows, in the table's unit; UserError for a missing column."""
        return self.in_own_unit(self.learned(features(table, self.columns)))

    def write(self, folder: Path) -> None:
        """Write ``config.json``, and the model if there is one."""
        values = {f: v for f, v in vars(self).items() if f not in ("encoder", "model")}
        values |= {"options": asdict(self.options), "columns": [asdict(c) for c in self.columns]}
        # JSON has no ∞.
        limits = [x if np.isfinite(x) else str(x) for x in self.limits or ()]
        text = json.dumps(values | {"limits": limits or None}, indent=2, allow_nan=False)
        (folder / "config.json").write_text(text + "\n", encoding="utf-8")
        if self.model is not None:
            joblib.dump((self.encoder, self.model), folder / "model.joblib")

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Read a run; one that is not finished has no model.

        Raises UserError if there is none, or it is damaged.
        """
        path = folder / "config.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            values["options"] = Options(**values["options"])
            values["columns"] = [Column(**column) for column in values["columns"]]
            for name in ("limits", "rows"):
                values[name] = values[name] and tuple(float(x) for x in values[name])
            values["reported"] = [tuple(ends) for ends in values["reported"]]
            run = cls(**values)
            if not run.best_epoch:
                return run
            encoder, model = joblib.load(folder / "model.joblib")
        except OSError as error:
            name = Path(error.filename or "config.json").name
            raise UserError(f"{folder} holds no run ({error.strerror}: {name})") from error
        except Exception as error:  # unpickling raises anything
            raise UserError(f"the run in {folder} cannot be read ({error})") from error
        return replace(run, encoder=encoder, model=model)
