"""How a run's predictions compare with what was measured, and with those of rivals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.inspection import permutation_importance
from sklearn.pipeline import make_pipeline

from zeroproof.command.run import Predictions, Run
from zeroproof.command.table import Measured
from zeroproof.sklearn.fitting import Array, finite_part

WORDS = {"guess": "guessing the median", "boosting": "gradient boosting"}
MISSED = "gave a 90 % interval that misses the measured value"
SILENT = "said 'no number' for a measured value"
DRAWS = 1000  # of the bootstrap
SHUFFLED, SHUFFLES = 300, 400  # rows and predictions of them that importance takes: a few seconds
LEVELS, BINS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95), (0.1, 0.3, 0.5, 0.7, 0.9)
Rivals: TypeAlias = Mapping[str, NDArray[np.float64]]
Mask: TypeAlias = NDArray[np.bool_]


def shown(number: float) -> str:
    """Write a number for people, to three digits."""
    if not math.isfinite(number):
        return "no number" if math.isnan(number) else "∞" if number > 0 else "−∞"
    return f"{float(f'{number:.3g}'):.7g}".replace("-", "−")  # 1230, not 1.23e+03


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, from so many rows; and as text for people."""

    value: float
    low: float
    high: float
    rows: int
    text: str

    def __str__(self) -> str:
        return self.text


Stated: TypeAlias = list[tuple[str, float, Estimate]]


def rate(what: Mask, rows: Mask) -> Estimate:
    """Count what is true among rows; the interval of the share is exact."""
    count, of = int((what & rows).sum()), int(rows.sum())
    if not of:
        return Estimate(math.nan, 0.0, 1.0, 0, "none to judge")
    low, high = map(float, binomtest(count, of).proportion_ci(method="exact"))
    text = f"{count} of {of} ({100 * low:.3g} to {100 * high:.3g} %)"
    return Estimate(count / of, low, high, of, text)


def mean(numbers: Array, by: Array | None = None) -> Estimate:
    """Take a mean, divided by another of the same rows if given; the interval resamples rows."""
    random, rows = np.random.default_rng(0), len(numbers)
    by = np.ones(rows) if by is None else by
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.sum(numbers) / np.sum(by)
        if math.isnan(value):
            return Estimate(math.nan, math.nan, math.nan, rows, "none to judge")
        draws = (random.integers(rows, size=rows) for _ in range(DRAWS))
        found = [value, *(np.sum(numbers[draw]) / np.sum(by[draw]) for draw in draws)]
    low, high = map(float, np.nanquantile(found, [0.025, 0.975], method="nearest"))
    text = f"{shown(value)} ({shown(low)} to {shown(high)})"
    return Estimate(float(value), low, high, rows, text)


@dataclass(frozen=True)
class Score:
    """How one target was predicted."""

    target: str  # in the learned unit
    best: int  # the table's column of the rival with the least error
    ratio: Estimate  # of the model's mean error and that rival's
    table: Any  # data frame of estimates: two kinds of mean error, and mistakes, by method

    def __str__(self) -> str:
        return str(self.table.to_string(index=False))


def known_numbers(measured: Measured) -> list[tuple[Mask, Array]]:
    """Return for each target which rows have a number, or else a bound, and these."""
    known, ends = is_number(measured), finite_part(measured.lower, measured.upper)
    known |= np.isfinite(ends) & ~known.any(axis=0)
    return [(rows, column[rows]) for rows, column in zip(known.T, ends.T, strict=True)]


def boosting(X: Array, train: Measured, X_held: Array, seed: int) -> Array:
    """Train gradient boosting, untuned: a classifier of what is no number, and a regressor."""
    found, fit = [], {"random_state": seed}
    least, most = train.limits or (-math.inf, math.inf)
    for i, (number, label) in enumerate(known_numbers(train)):
        low, high = train.lower[:, i], train.upper[:, i]
        unit = np.std(label) or 1.0  # with many rows it stops by a tolerance that has none
        model = HistGradientBoostingRegressor(**fit).fit(X[number], label / unit)
        value = unit * model.predict(X_held)
        # Bounds within the limits belong to no kind: what they bound may be a number.
        kinds = np.select([number, low >= most, high <= least, np.isnan(low)], [0, 1, 2, 3], 4)
        known = (kinds < 4) & (np.bincount(kinds)[kinds] > 1)
        if known.any() and np.ptp(kinds[known]):
            model = HistGradientBoostingClassifier(**fit).fit(X[known], kinds[known])
            value = np.choose(model.predict(X_held), [value, np.inf, -np.inf, np.nan])
        found.append(value)
    return np.stack(found, axis=1)


def is_number(measured: Measured) -> Mask:
    """Return which labels are a number, or lie between two."""
    return np.isfinite(measured.lower) & np.isfinite(measured.upper)


def missed(run: Run, measured: Measured, value: Array) -> Array:
    """Return distances to the labels, (rows, outputs); ∞ or NaN where a label has no finite end.

    What is no number counts as the limit that it is beyond, or as the median of the training.
    """
    value = np.clip(value, *(run.limits or (-np.inf, np.inf)))
    value = np.where(np.isfinite(value), value, run.medians)
    return abs(value - value.clip(measured.lower, measured.upper))


def scores(run: Run, measured: Measured, found: Predictions, rivals: Rivals) -> list[Score]:
    """Compare the predictions of each target with labels, all in the learned unit."""
    answers, judged = [found.value, *rivals.values()], []
    for i, target in enumerate(run.options.target):
        low, high, number = measured.lower[:, i], measured.upper[:, i], is_number(measured)[:, i]
        wrong = [missed(run, measured, answer)[number, i] for answer in answers]
        best = 1 + int(np.argmin([w.sum() for w in wrong[1:]]))
        columns = [_judge(run, measured, answer, i) for answer in answers]
        outside = (low < found.lower[:, i]) | (found.upper[:, i] < high)
        columns[0][MISSED] = rate(outside, number & (low == high))
        name = f"log10 of {target}" if run.options.log_target else target
        table = pd.DataFrame(columns, index=["this model", *map(WORDS.get, rivals)]).T.fillna("")
        table = table.reset_index(names=name, allow_duplicates=True)
        judged.append(Score(name, 1 + best, mean(wrong[0], wrong[best]), table))
    return judged


def _judge(run: Run, measured: Measured, answer: Array, i: int) -> dict[str, Estimate]:
    """Return errors and mistakes of one method for target i, by what they are in words."""
    low, high, value = measured.lower[:, i], measured.upper[:, i], answer[:, i]
    number, pole = is_number(measured)[:, i], ~np.isfinite(low) & ~(low < high)
    error, said = missed(run, measured, answer)[:, i], np.isfinite(value)
    judged = {
        f"mean absolute error, all {number.sum()} measured values": mean(error[number]),
        "the same, where answered with a number": mean(error[number & said]),
        SILENT: rate(~said, number),
    }
    if pole.any():
        judged["said a number where the label is inf or nan"] = rate(said, pole)
    for side, end, other in (("<", high, low), (">", low, high)):
        if (rows := np.isfinite(end) & np.isinf(other)).any():
            (bound,) = run.in_own_unit(np.quantile(end[rows], [0.5], method="nearest"))
            words = f"contradicted a label such as '{side}{bound:.6g}'"
            judged[words] = rate((value < low) | (value > high), rows)
    return judged


def stated(run: Run, X: Any, measured: Measured, found: Predictions) -> list[Stated]:
    """Return what was stated of each target, how probable it was, and how often it came true."""
    exact = np.isfinite(measured.lower) & (measured.lower == measured.upper)
    points: list[Stated] = [[] for _ in exact.T]
    encoded = run.encoder.transform(X)
    for level in LEVELS:
        start, end = (e.reshape(exact.shape) for e in run.model.predict_interval(encoded, level))
        inside = (start <= measured.lower) & (measured.upper <= end)
        for i in np.flatnonzero(exact.any(axis=0)):
            held = rate(inside[:, i], exact[:, i])
            points[i].append(("within the interval", level, held))
    beyond = (_beyond(run, measured, found, column, i) for i, column in enumerate(exact.T))
    return [within + outside for within, outside in zip(points, beyond, strict=True)]


def _beyond(run: Run, measured: Measured, found: Predictions, exact: Mask, i: int) -> Stated:
    """Return how often target i lay beyond what is reported, by bins of its probability.

    Nothing where no label does.
    """
    low, high, (least, most) = measured.lower[:, i], measured.upper[:, i], run.reported[i]
    points: Stated = []
    for name, p, beyond, other in (
        (f"below {least:.6g}", found.p_below, (high <= least) & (low < least), low >= least),
        (f"above {most:.6g}", found.p_above, (low >= most) & (high > most), high <= most),
    ):
        if (beyond & ~exact).any():
            bins = np.where(beyond | other, np.digitize(p[:, i], BINS), -1)
            for rows in (bins == number for number in np.unique(bins[bins >= 0])):
                points.append((name, float(p[rows, i].mean()), rate(beyond, rows)))
    return points


def importance(run: Run, X: Any, measured: Measured) -> list[list[tuple[str, float, float]]]:
    """Return for each target how much its mean absolute error rises when a column is shuffled.

    Columns with mean and deviation, the most important first; nothing if there are too many.
    """
    rows = np.random.default_rng(0).permutation(np.flatnonzero(is_number(measured).all(axis=1)))
    rows, repeats = rows[:SHUFFLED], min(5, SHUFFLES // X.shape[1])
    if not len(rows) or not repeats:
        return []
    part = measured.rows(rows)

    def score(model: Any, X: Any, y: None) -> dict[int, float]:
        value = model.predict(X).reshape(part.lower.shape)
        return dict(enumerate(-missed(run, part, value).mean(axis=0)))

    options = {"scoring": score, "n_repeats": repeats, "random_state": 0}
    model = make_pipeline(run.encoder, run.model)
    found = permutation_importance(model, X.iloc[rows], None, **options).values()
    rises = [zip(X, by.importances_mean, by.importances_std, strict=True) for by in found]
    return [sorted(columns, key=lambda column: -column[1]) for columns in rises]
