"""SCMRegressor with its defaults on nine tables, beside a guess and trees: prints their errors.

Mean absolute errors of rows that no fit has seen, over all whose target is finite, by mean over the
splits. A prediction that is no number counts as the bound that it is beyond, or as the median.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.multioutput import MultiOutputRegressor

from learning.data import Array, assay
from zeroproof.sklearn import SCMRegressor

Rows: TypeAlias = NDArray[np.int64]
TREES = {
    "boosting": (HistGradientBoostingClassifier, HistGradientBoostingRegressor),
    "forest": (RandomForestClassifier, RandomForestRegressor),
}


@dataclass(frozen=True)
class Data:
    """Rows; ``y`` is ±∞ beyond the bounds, if there are some, and else at poles."""

    x: Array
    y: Array
    bounds: tuple[float, float] | None = None


def moonshot(random: np.random.Generator) -> Data:
    """The assay that the package ships."""
    table = assay()
    return Data(table.x.double().numpy(), table.y.double().numpy(), (table.lower, table.upper))


def diabetes(random: np.random.Generator) -> Data:
    """scikit-learn's diabetes."""
    return Data(*load_diabetes(return_X_y=True))


def sensor(random: np.random.Generator) -> Data:
    """Concentration by the reading of a sensor that saturates, and its temperature."""
    x = random.uniform([0.0, 15.0], [1.0, 35.0], (600, 2))
    full = 0.9 + 0.01 * (x[:, 1] - 25)
    y = 10 * x[:, 0] / np.maximum(full - x[:, 0], 1e-9) * (1 + 0.01 * random.normal(size=600))
    return Data(x, np.where(y > 200, np.inf, y))


def ratio(random: np.random.Generator) -> Data:
    """The quotient of two small numbers, beyond ±100 too large to be reported."""
    x = random.uniform(-0.01, 0.01, (500, 2))
    y = x[:, 0] / x[:, 1] * (1 + 0.01 * random.normal(size=500))
    return Data(x, np.where(np.abs(y) > 100, np.sign(y) * np.inf, y))


def time_to_event(random: np.random.Generator) -> Data:
    """Days until an event, seen for two years, by drug or placebo, age and two more columns."""
    x = np.c_[random.integers(0, 2, 400), random.normal(60, 12, 400), random.normal(size=(400, 2))]
    scale = 300 * np.exp(0.6 * x[:, 0] - 0.02 * (x[:, 1] - 60) + 0.2 * x[:, 2])
    y = scale * random.weibull(1.2, 400)
    return Data(x, np.where(y > 730, np.inf, y), (-np.inf, 730.0))


def wide(random: np.random.Generator) -> Data:
    """300 features, of which ten count, and 480 rows."""
    x = random.normal(size=(480, 300))
    y = x[:, :10] @ np.linspace(2, 0.2, 10) + x[:, 0] * x[:, 1] + random.normal(size=480)
    return Data(x, y)


def small(random: np.random.Generator) -> Data:
    """40 rows."""
    x = random.uniform(-1, 1, (40, 5))
    y = 2 * x[:, 0] + np.sin(3 * x[:, 1]) + 0.3 * random.normal(size=40)
    return Data(x, y)


def large(random: np.random.Generator) -> Data:
    """200,000 rows."""
    return Data(*make_friedman1(200_000, noise=1.0, random_state=int(random.integers(2**31))))


def resonator(random: np.random.Generator) -> Data:
    """Re and Im of a driven resonator's response by frequency, stiffness and damping."""
    x = random.uniform([0.2, 0.8, 0.02], [2.0, 1.2, 0.1], (600, 3))
    response = 1 / (x[:, 1] - x[:, 0] ** 2 + 1j * x[:, 2] * x[:, 0])
    response *= 1 + 0.01 * random.normal(size=600)
    return Data(x, np.c_[response.real, response.imag])


TABLES: dict[str, Callable[[np.random.Generator], Data]] = {
    f.__name__: f
    for f in (moonshot, diabetes, sensor, ratio, time_to_event, wide, small, resonator, large)
}


def by_estimator(data: Data, train: Rows, test: Rows, seed: int) -> tuple[Array, Array, Array]:
    """Predict by SCMRegressor, with 90 % intervals; what is beyond a bound is an interval."""
    x, y, unseen = data.x[train], data.y[train], data.x[test]
    model = SCMRegressor(limits=data.bounds, random_state=seed)
    if data.bounds is None:
        model.fit(x, y)
    else:
        low, high = data.bounds
        model.fit(x, np.where(y == np.inf, high, y), y_upper=np.where(y == -np.inf, low, y))
    return model.predict(unseen), *model.predict_interval(unseen, 0.9)


def by_trees(name: str, data: Data, train: Rows, test: Rows, seed: int) -> Array:
    """Predict by trees untuned: a classifier of infinite targets, and a regressor of numbers."""
    classifier, regressor = TREES[name]
    x, y, unseen = data.x[train], data.y[train], data.x[test]
    model = regressor(random_state=seed)
    if y.ndim > 1:
        model = MultiOutputRegressor(model)
    finite = np.isfinite(y).reshape(len(y), -1).all(axis=1)
    found: Array = model.fit(x[finite], y[finite]).predict(unseen)
    if not finite.all():
        kind = classifier(random_state=seed).fit(x, np.where(finite, 0.0, np.sign(y)))
        sides = kind.predict(unseen)
        found = np.where(sides == 0, found, np.copysign(np.inf, sides))
    return found


def errors(data: Data, seed: int) -> dict[str, float]:
    """Return every method's error, and the estimator's seconds and intervals, on one split."""
    order = np.random.default_rng(seed).permutation(len(data.x))
    test, train = np.split(order, [len(order) // 4])
    y = data.y[test]
    seen = data.y[train]
    middle = np.array([np.median(c[np.isfinite(c)]) for c in seen.reshape(len(seen), -1).T])
    started = time.perf_counter()
    value, *ends = by_estimator(data, train, test, seed)
    seconds, finite = time.perf_counter() - started, np.isfinite(y)
    found = {"SCMRegressor": value}
    found |= {name: by_trees(name, data, train, test, seed) for name in TREES}
    found["guess"] = np.broadcast_to(middle if y.ndim > 1 else middle[0], y.shape)
    low, high = data.bounds or (np.nan, np.nan)
    numbers = {"seconds": seconds, "held": ((ends[0] <= y) & (y <= ends[1]))[finite].mean()}
    for name, value in found.items():
        value = np.where(value == np.inf, high, np.where(value == -np.inf, low, value))
        value = np.where(np.isnan(value), middle if y.ndim > 1 else middle[0], value)
        numbers[name] = float(np.abs(value - y)[finite].mean())
    return numbers


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="learning.tables", description=__doc__)
    parser.add_argument("--only", default=",".join(TABLES), help="as in wide,small")
    parser.add_argument("--splits", type=int, default=5)
    options = parser.parse_args()
    names = ["SCMRegressor", "boosting", "forest", "guess"]
    print(f"| | {' | '.join(names)} | to the best other | 90 % hold | seconds |\n|{'---|' * 8}")
    for table in options.only.split(","):
        splits = range(options.splits)
        rows = [errors(TABLES[table](np.random.default_rng(seed)), seed) for seed in splits]
        mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        share = mean["SCMRegressor"] / min(mean[name] for name in names[1:])
        numbers = " | ".join(f"{mean[name]:.3g}" for name in names)
        cells = f"{numbers} | {share:.2f} | {mean['held']:.3f} | {mean['seconds']:.0f}"
        print(f"| {table} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
