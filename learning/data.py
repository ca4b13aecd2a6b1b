"""Curves with poles, the assay that the package ships, and scikit-learn's diabetes."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import gamma
from sklearn.datasets import load_diabetes
from torch import Tensor

from zeroproof import Interval

Array: TypeAlias = NDArray[np.float64]

CURVES: dict[str, Callable[[Array], Array]] = {
    "1/(x−.3)": lambda x: 1 / (x - 0.3),
    "tan 2.2x": lambda x: np.tan(2.2 * x),
    "1/(x−.2)²": lambda x: 1 / (x - 0.2) ** 2,
    "Γ(3.5x)": lambda x: gamma(3.5 * x),
    "3 poles": lambda x: 1 / (x + 0.6) + 0.5 / (x - 0.1) - 0.3 / (x - 0.7),
}
GRID = np.linspace(-0.9995, 0.9995, 4000) + 1.3e-5
POINTS, LARGEST = 160, 200.0


def sample_curve(name: str, seed: int, noise: float) -> tuple[Tensor, Tensor]:
    """Return 160 points of [−1, 1] and their labels, infinite beyond ±200."""
    random = np.random.default_rng(1000 + seed)
    x = random.uniform(-1, 1, POINTS)
    y = CURVES[name](x) * (1 + noise * random.standard_normal(POINTS))
    y = np.where(np.abs(y) > LARGEST, np.sign(y) * np.inf, y)
    return torch.tensor(x[:, None]).float(), torch.tensor(y).float()


def chordal_error(name: str, predicted: Array) -> dict[str, float]:
    """Return median and mean sine of the angle between predicted and true lines, on the grid."""
    sines = np.abs(np.sin(np.arctan(predicted) - np.arctan(CURVES[name](GRID))))
    return {"median": float(np.median(sines)), "mean": float(np.mean(sines))}


@dataclass(frozen=True)
class Censored:
    """A table whose targets are known between two bounds only.

    Args:
        x: features, ``(rows, columns)``.
        y: targets, ±∞ beyond the bounds.
        truth: what was measured, where it is known beyond the bounds, too; else ``y``.
        lower, upper: the bounds.
        unit, centre: what 1 and 0 of the targets are in the table's units.
    """

    x: Tensor
    y: Tensor
    truth: Tensor
    lower: float
    upper: float
    unit: float = 1.0
    centre: float = 0.0

    def rows(self, chosen: Tensor | slice) -> Censored:
        """Return some of the rows."""
        return replace(self, x=self.x[chosen], y=self.y[chosen], truth=self.truth[chosen])

    def scaled(self, train: Tensor) -> Censored:
        """Standardise the features, and centre the targets in units of 1.5 robust deviations.

        All as the rows ``train`` have it. A robust deviation is the interquartile range of the
        finite targets over 1.349, which large values near a pole leave alone.
        """
        mean, std, y = self.x[train].mean(0), self.x[train].std(0), self.y[train]
        quartiles = torch.quantile(y[y.isfinite()], torch.tensor([0.25, 0.5, 0.75]))
        low, centre, high = quartiles.tolist()
        unit = 1.5 * (high - low) / 1.349
        names = "y", "truth", "lower", "upper"
        targets = {name: (getattr(self, name) - centre) / unit for name in names}
        return replace(self, x=(self.x - mean) / std, unit=unit, centre=centre, **targets)

    def split(self, seed: int, *shares: float) -> list[Censored]:
        """Return parts of these shares, and the rest; scaled as the first one has it."""
        order = torch.randperm(len(self.y), generator=torch.Generator().manual_seed(seed))
        cuts = [round(sum(shares[: i + 1]) * len(order)) for i in range(len(shares))]
        parts = order.tensor_split(cuts)
        return [self.scaled(parts[0]).rows(part) for part in parts]

    def points(self) -> tuple[Tensor, Tensor]:
        """Return features and targets, those beyond a bound as the points ±∞."""
        return self.x, self.y

    def intervals(self) -> tuple[Tensor, Interval]:
        """Return features and targets, those beyond a bound as intervals with an infinite end."""
        lower = self.y.masked_fill(self.y == math.inf, self.upper)
        return self.x, Interval(lower, self.y.masked_fill(self.y == -math.inf, self.lower))


def assay() -> Censored:
    """COVID Moonshot: log10 IC50 in µM from inhibition at twelve doses."""
    text = (files("zeroproof.data") / "moonshot.csv").read_text(encoding="utf-8")
    rows = list(csv.reader(text.splitlines()))[1:]
    x = torch.tensor([[float(cell) for cell in row[2:]] for row in rows])
    beyond = {">": math.inf, "<": -math.inf}
    y = torch.tensor([beyond[row[1][0]] if row[1][0] in beyond else float(row[1]) for row in rows])
    return Censored(x, y, y, math.log10(0.05), math.log10(99.5))


def diabetes() -> Censored:
    """scikit-learn's diabetes, its progression after a year censored below 60 and above 200."""
    x, y = load_diabetes(return_X_y=True)
    truth = torch.tensor(y).float()
    seen = truth.masked_fill(truth > 200, math.inf).masked_fill(truth < 60, -math.inf)
    return Censored(torch.tensor(x).float(), seen, truth, 60.0, 200.0)
