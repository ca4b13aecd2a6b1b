"""How a run's predictions compare with what was measured, and with those of rivals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.inspection import permutation_importance
from sklearn.pipeline import make_pipeline

from zeroproof.command.run import Predictions, Run
from zeroproof.command.table import Measured
from zeroproof.sklearn.fitting import Array, finite_part

DRAWS = 1000  # of the bootstrap
SHUFFLED, SHUFFLES = 300, 400  # rows and predictions of them that importance takes: a few seconds
LEVELS, BINS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95), (0.1, 0.3, 0.5, 0.7, 0.9)


def shown(number: float) -> str:
    """Write a number for people, to three digits."""
    if not math.isfinite(number):
        return "no number" if math.isnan(number) else "∞" if number > 0 else "−∞"
    if number and not 1e-4 <= abs(number) < 1e7:
        return f"{number:.3g}".replace("-", "−")
    text = np.format_float_positional(number, 3, unique=False, fractional=False, trim="-")
    return text.replace("-", "−")


@dataclass(frozen=True)
class Rate:
    """So many of so many."""

    count: int
    of: int

    @classmethod
    def among(cls, what: NDArray[np.bool_], rows: NDArray[np.bool_]) -> Rate:
        """Count what is true among rows."""
        return cls(int((what & rows).sum()), int(rows.sum()))

    @property
    def interval(self) -> tuple[float, float]:
        """The exact 95 % interval of the share."""
        if not self.of:
            return 0.0, 1.0
        low, high = binomtest(self.count, self.of).proportion_ci(method="exact")
        return float(low), float(high)

    def __str__(self) -> str:
        low, high = (f"{100 * end:.3g}" for end in self.interval)
        return f"{self.count} of {self.of} ({low} to {high} %)" if self.of else "none to judge"


@dataclass(frozen=True)
class Mean:
    """A mean with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, draws: Array) -> Mean:
        """Take the mean of the rows, which comes first, and means of rows resampled."""
        known = draws[np.isfinite(draws)] if np.isfinite(draws[0]) else draws[:1]
        return cls(float(draws[0]), *np.quantile(known, [0.025, 0.975]).tolist())

    def __str__(self) -> str:
        text = f"{shown(self.value)} ({shown(self.low)} to {shown(self.high)})"
        return "none to judge" if math.isnan(self.value) else text


@dataclass(frozen=True)
class Rival:
    """Another method's predictions, (rows, outputs): numbers, or ±∞ or NaN for no number."""

    name: str
    value: Array


@dataclass(frozen=True)
class Score:
    """How one target was predicted; where methods are told apart, by their names, "model" first.

    Args:
        target: its name, in the learned unit.
        measured: number of rows whose label is a number, or lies between two.
        errors: mean absolute error of these rows; what is no number counts as the limit that it
            is beyond, or as the median of the training.
        answered: the same, of those answered with a number.
        best: the rival with the least error.
        ratio: the model's error by that rival's.
        rates: how often labels are contradicted, by the kind of label.
        held: how often the 90 % interval holds an exact label.
        beyond: "below" or "above", the mean stated probability to lie beyond what is reported, and
            how often it was so; for each range of probability.
    """

    target: str
    measured: int
    errors: dict[str, Mean]
    answered: dict[str, Mean]
    best: str
    ratio: Mean
    rates: dict[str, dict[str, Rate]]
    held: Rate
    beyond: list[tuple[str, float, Rate]]


def known_numbers(measured: Measured) -> list[tuple[NDArray[np.bool_], Array]]:
    """Return for each target which rows have a number, or else a bound, and these."""
    known, ends = numbers(measured), finite_part(measured.lower, measured.upper)
    known |= np.isfinite(ends) & ~known.any(axis=0)
    return [(rows, column[rows]) for rows, column in zip(known.T, ends.T, strict=True)]


def guess(run: Run, rows: int) -> Rival:
    """Return the medians of what was trained on, for so many rows."""
    return Rival("guess", np.tile(run.medians, (rows, 1)))


def boosting(X: Array, train: Measured, X_held: Array, seed: int) -> Rival:
    """Train gradient boosting, untuned: a classifier of what is no number, and a regressor."""
    found, fit = [], {"random_state": seed}
    least, most = train.limits or (-math.inf, math.inf)
    for i, (number, label) in enumerate(known_numbers(train)):
        low, high = train.lower[:, i], train.upper[:, i]
        value = HistGradientBoostingRegressor(**fit).fit(X[number], label).predict(X_held)
        # Bounds within the limits belong to no kind: what they bound may be a number.
        kinds = np.select([number, low >= most, high <= least, np.isnan(low)], [0, 1, 2, 3], 4)
        known = (kinds < 4) & (np.bincount(kinds)[kinds] > 1)
        if known.any() and np.ptp(kinds[known]):
            model = HistGradientBoostingClassifier(**fit).fit(X[known], kinds[known])
            value = np.choose(model.predict(X_held), [value, np.inf, -np.inf, np.nan])
        found.append(value)
    return Rival("boosting", np.stack(found, axis=1))


def fill(run: Run, value: Array) -> Array:
    """Replace what is no number by the limit that it is beyond, or the median of the training."""
    value = np.clip(value, *(run.limits or (-np.inf, np.inf)))
    return np.where(np.isfinite(value), value, run.medians)


def missed(run: Run, measured: Measured, value: Array) -> Array:
    """Return distances to the labels, (rows, outputs); NaN where a label has no finite end."""
    value = fill(run, value)
    with np.errstate(invalid="ignore"):
        distance = abs(value - value.clip(measured.lower, measured.upper))
    return np.where(np.isfinite(distance), distance, np.nan)


def numbers(measured: Measured) -> NDArray[np.bool_]:
    """Return which labels are a number, or lie between two."""
    return np.isfinite(measured.lower) & np.isfinite(measured.upper)


def scores(
    run: Run, measured: Measured, predictions: Predictions, rivals: Sequence[Rival]
) -> list[Score]:
    """Compare the predictions of each target with labels, all in the learned unit."""
    found, raw = [], {"model": predictions.value} | {r.name: r.value for r in rivals}
    for i, target in enumerate(run.options.target):
        low, high = measured.lower[:, i], measured.upper[:, i]
        number = numbers(measured)[:, i]
        error = np.stack([missed(run, measured, value)[number, i] for value in raw.values()])
        values = {name: value[:, i] for name, value in raw.items()}
        every, answered = _bootstrap(error, np.isfinite([v[number] for v in values.values()]))
        best = 1 + int(np.argmin(every[0, 1:]))
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = Mean.of(every[:, 0] / every[:, best])
        inside = (predictions.lower[:, i] <= low) & (high <= predictions.upper[:, i])
        found.append(
            Score(
                f"log10 of {target}" if run.options.log_target else target,
                int(number.sum()),
                {name: Mean.of(draws) for name, draws in zip(values, every.T, strict=True)},
                {name: Mean.of(draws) for name, draws in zip(values, answered.T, strict=True)},
                [*values][best],
                ratio,
                _rates(run, low, high, values),
                Rate.among(inside, number & (low == high)),
                _beyond(run.reported[i], low, high, predictions, i),
            )
        )
    return found


def _bootstrap(error: Array, answered: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return mean errors, (draws, methods), of all rows and of answered ones.

    The first draw has every row once, the others are resampled.
    """
    rows, random = error.shape[1], np.random.default_rng(0)
    every, known = np.full((2, DRAWS + 1 if rows else 1, len(error)), np.nan)
    for draw in range(len(every) if rows else 0):
        drawn = random.integers(rows, size=rows) if draw else np.arange(rows)
        weight = np.bincount(drawn, minlength=rows)
        with np.errstate(invalid="ignore"):
            every[draw] = error @ weight / rows
            known[draw] = (error * answered) @ weight / (answered @ weight)
    return every, known


def _rates(
    run: Run, low: Array, high: Array, values: dict[str, Array]
) -> dict[str, dict[str, Rate]]:
    number, pole = np.isfinite(low) & np.isfinite(high), ~np.isfinite(low) & ~(low < high)
    kinds: dict[str, tuple[Any, Callable[[Array], Any]]] = {
        "said 'no number' for a measured value": (number, lambda v: ~np.isfinite(v)),
        "said a number where the label is inf or nan": (pole, np.isfinite),
    }
    for side, end, other in (("<", high, low), (">", low, high)):
        rows = np.isfinite(end) & np.isinf(other)
        bounds = np.unique(end[rows])
        bound = run.in_own_unit(bounds[len(bounds) // 2 :])[:1]
        label = "".join(f"'{side}{number:.6g}'" for number in bound)
        words = f"contradicted a label such as {label}"
        if len(bounds) == 1 and run.limits and bounds[0] == run.limits[side == ">"]:
            words = f"said a number where the label is {label}"
        kinds[words] = rows, lambda v: (v < low) | (v > high)
    return {
        words: {name: Rate.among(wrong(v), rows) for name, v in values.items()}
        for words, (rows, wrong) in kinds.items()
        if rows.any() or rows is number
    }


def _beyond(
    reported: tuple[float, float], low: Array, high: Array, predictions: Predictions, output: int
) -> list[tuple[str, float, Rate]]:
    found, exact = [], np.isfinite(low) & (low == high)
    inside = (reported[0] <= low) & (high <= reported[1])
    below, above = (high <= reported[0]) & ~inside, (low >= reported[1]) & ~inside
    for side, p, beyond in (
        ("below", predictions.p_below[:, output], below),
        ("above", predictions.p_above[:, output], above),
    ):
        known = (inside | below | above) & (beyond & ~exact).any()
        bins = np.digitize(p, BINS)
        for number in np.unique(bins[known]):
            rows = known & (bins == number)
            found.append((side, float(p[rows].mean()), Rate.among(beyond, rows)))
    return found


def calibration(run: Run, X: Any, measured: Measured) -> list[list[tuple[float, Rate]]]:
    """Return for each target how often intervals of several levels hold an exact label."""
    exact = numbers(measured) & (measured.lower == measured.upper)
    encoded, found = run.encoder.transform(X), []
    for level in LEVELS:
        low, high = (end.reshape(exact.shape) for end in run.model.predict_interval(encoded, level))
        held = (low <= measured.lower) & (measured.upper <= high)
        found.append([(level, Rate.among(h, e)) for h, e in zip(held.T, exact.T, strict=True)])
    return [list(rates) for rates in zip(*found, strict=True)]


def importance(run: Run, X: Any, measured: Measured) -> list[tuple[str, float, float]]:
    """Return how much the error rises when a column is shuffled, in % of that of a guess.

    Columns with mean and deviation, the most important first; none where there are too many.
    """
    rows = np.random.default_rng(0).permutation(np.flatnonzero(numbers(measured).any(axis=1)))
    rows, repeats = rows[:SHUFFLED], min(5, SHUFFLES // X.shape[1])
    if not len(rows) or not repeats:
        return []
    X, measured, known = X.iloc[rows], measured.rows(rows), numbers(measured)[rows]
    guessed = guess_error(run, measured)

    def score(model: Any, X: Any, y: None) -> float:
        error = missed(run, measured, model.predict(X).reshape(known.shape))
        return -100 * float((error / guessed)[known].mean())

    options = {"scoring": score, "n_repeats": repeats, "random_state": 0}
    found = permutation_importance(make_pipeline(run.encoder, run.model), X, None, **options)
    columns = zip(X.columns, found.importances_mean, found.importances_std, strict=True)
    return sorted(((str(name), *sizes) for name, *sizes in columns), key=lambda row: -row[1])


def guess_error(run: Run, measured: Measured) -> Array:
    """Return the mean error of guessing the median, for each target; 1 where there is none."""
    number = numbers(measured)
    error = np.where(number, missed(run, measured, guess(run, len(number)).value), 0.0).sum(axis=0)
    return np.where(error > 0, error / np.maximum(number.sum(axis=0), 1), 1.0)
