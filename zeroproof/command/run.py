"""A run's folder: what was chosen and found, and how to predict with it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from zeroproof.command.options import Options, UserError
from zeroproof.command.table import Column, Table
from zeroproof.sklearn.fitting import Array


@dataclass(frozen=True)
class Predictions:
    """Predictions of rows, in the learned unit; arrays (rows, outputs)."""

    value: Array  # the median of what a row may be; NaN at a pole, ±∞ beyond the limits
    lower: Array  # ends of the central 90 % interval
    upper: Array
    p_below: Array  # probability to lie below, and above, what ``Run.reported`` says
    p_above: Array


@dataclass(frozen=True)
class Run:
    """A run, with all that it takes to predict or to continue; numbers in the learned unit."""

    version: str
    options: Options
    data_sha256: str
    decimal: str  # the table's decimal sign, for tables that leave it open
    columns: list[Column]
    rows: tuple[int, int]  # trained on, and held out
    reported: list[tuple[float, float]]  # for each output: the limits, or the ends of the numbers
    medians: list[float]  # for each output, of the numbers trained on
    limits: tuple[float, float] | None  # predictions beyond are ±∞
    notes: list[str]  # for the report
    best_epoch: int = 0  # whose weights are kept, from 1
    history: dict[str, list[float]] = field(default_factory=dict)  # loss and val_loss by epoch
    encoder: Any = None  # a transformer from features to numbers
    model: Any = None  # a SCMRegressor, once training is finished
    guessed: str = ""  # a cell whose decimal sign no cell of the table tells, and how it is read

    def predict(self, X: Any) -> Predictions:
        """Predict for rows of features, a data frame."""
        x = self.encoder.transform(X)
        low, high = np.array(self.reported).T[:, None]
        found = (
            self.model.predict(x),
            *self.model.predict_interval(x, 0.9),
            self.model.predict_probability(x, -np.inf, low),
            self.model.predict_probability(x, high, np.inf),
        )
        return Predictions(*(part.reshape(len(x), -1) for part in found))

    def in_own_unit(self, values: Array) -> Array:
        """Bring values from the learned unit to that of the table; ±∞, beyond limits, stays."""
        if not self.options.log_target:
            return values
        with np.errstate(over="ignore"):
            return np.where(np.isneginf(values), values, 10.0**values)

    def write(self, folder: Path) -> None:
        """Write all to ``model.joblib``, and what people can read to ``config.json``."""
        shown = {n: v for n, v in vars(self).items() if n not in ("limits", "encoder", "model")}
        ends = self.options.range and ":".join(map(str, self.options.range))  # JSON has no ∞
        shown["options"] = {**vars(self.options), "range": ends}
        text = json.dumps(shown, default=vars, indent=2, ensure_ascii=False)
        joblib.dump(self, folder / ".model.joblib")
        os.replace(folder / ".model.joblib", folder / "model.joblib")  # whole, also after a kill
        (folder / "config.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Read a run, finished or not; UserError if that cannot be."""
        try:
            return cls(**vars(joblib.load(folder / "model.joblib")))
        except Exception as error:  # unpickling raises anything
            raise UserError(f"{folder} holds no run to read ({error}); train again") from error


def write_predictions(
    path: Path, run: Run, table: Table, found: Predictions, rivals: Mapping[str, Array]
) -> None:
    """Write a table's columns, and those of predictions in the table's own unit.

    A name that is taken ends with ``_predicted``, as often as it takes.
    """
    bottom, own = (~np.isfinite(found.value)).astype(int), run.in_own_unit
    parts = {"prediction": own(found.value), "bottom": bottom}
    parts |= {"lower": own(found.lower), "upper": own(found.upper)}
    parts |= {"p_below": found.p_below, "p_above": found.p_above}
    parts |= {name: own(value) for name, value in rivals.items()}
    names = run.options.target
    prefixes = [f"{name}_" for name in names] if len(names) > 1 else [""]
    added = {p + n: part[:, i] for i, p in enumerate(prefixes) for n, part in parts.items()}
    frame = pd.DataFrame(added, table.cells.index)
    frame = table.cells.join(frame.rename(columns=partial(_free, table.cells)))
    style = {"sep": ";", "decimal": ","} if table.decimal == "," else {}
    frame.to_csv(path, index=False, float_format="%.9g", **style)


def _free(taken: Any, name: str) -> str:
    while name in taken:
        name += "_predicted"
    return name
