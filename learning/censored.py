"""Two tables whose labels are censored: an assay, and scikit-learn's diabetes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from learning.data import Censored, assay, diabetes
from learning.fits import (
    Loss,
    Schedule,
    WithConstants,
    classified,
    gaussian,
    network,
    squares,
    tobit,
    train_plain,
    train_projective,
)
from learning.jobs import Job, Row
from zeroproof import LossConfig, lift_targets
from zeroproof.inference import central_interval, choose_threshold, probability, unit_denominator

SCHEDULES = {
    "assay": Schedule(epochs=300, batch=64, rate=3e-3, decay=1e-4),
    "diabetes": Schedule(epochs=100, batch=64, rate=3e-3, decay=1e-4),
}
LEVELS = 0.5, 0.9


@dataclass(frozen=True)
class Prediction:
    """What a method says of rows.

    Args:
        value: the number, or ±∞ beyond a bound.
        above: the probability of more than the upper bound, or what grows with it.
        ends: lower and upper ends of the central intervals, by their level.
    """

    value: Tensor
    above: Tensor
    ends: dict[float, tuple[Tensor, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """What a method is given: rows to train on, to choose an epoch by, and to predict.

    Without rows to choose by, the last epoch counts.
    """

    train: Censored
    choose: Censored | None
    test: Censored
    schedule: Schedule
    seed: int

    def plain(self, loss: Loss, outputs: int, constants: int = 0) -> Tensor:
        """Train a plain network on points; return its outputs of the rows to predict."""
        body = network(self.test.x.shape[1], self.seed).body
        model = nn.Sequential(body, nn.Linear(64, outputs), WithConstants(constants))
        choose = self.choose.points() if self.choose else None
        train_plain(model, self.train.points(), self.schedule, self.seed, loss, choose)
        with torch.no_grad():
            out: Tensor = model(self.test.x)
        return out

    def bounded(self, value: Tensor) -> Tensor:
        """Return ±∞ for values beyond the bounds."""
        value = value.masked_fill(value > self.test.upper, torch.inf)
        return value.masked_fill(value < self.test.lower, -torch.inf)


def likelihood(task: Task) -> Prediction:
    """Intervals, by the projective likelihood; no threshold."""
    model = network(task.test.x.shape[1], task.seed)
    loss, choose = LossConfig(fit="likelihood"), task.choose.intervals() if task.choose else None
    train_projective(model, task.train.intervals(), task.schedule, task.seed, loss, choose)
    with torch.no_grad():
        P, Q = model(task.test.x)
    upper, endless = (torch.full_like(P, end) for end in (task.test.upper, torch.inf))
    above = probability(P, Q, lift_targets(upper), lift_targets(endless))
    ends = {level: central_interval(P, Q, level) for level in LEVELS}
    return Prediction(task.bounded(P / Q), above, ends)


def chordal(task: Task) -> Prediction:
    """What 0.4 did: ∞ is a point, and a threshold is chosen on rows that the fit has not seen."""
    train, choose = task.train, task.choose
    if choose is None:
        cut = len(train.y) * 4 // 5
        train, choose = train.rows(slice(cut)), train.rows(slice(cut, None))
    model = network(task.test.x.shape[1], task.seed, "gated")
    loss, epoch_by = LossConfig(fit="chordal"), choose.points() if task.choose else None
    train_projective(model, train.points(), task.schedule, task.seed, loss, epoch_by)
    with torch.no_grad():
        P, Q = model(choose.x)
        tau = choose_threshold(P, Q, choose.y, unit=1.0)
        P, Q = model(task.test.x)
    value = torch.where(unit_denominator(P, Q) < tau, P.sign() * torch.inf, P / Q)
    return Prediction(value, torch.atan2(P, Q))


def classifier_and_regressor(task: Task) -> Prediction:
    """One network that classifies (below, number, above), and regresses the numbers."""
    out = task.plain(classified, 4)
    return Prediction(_value(out[:, :3].argmax(1), out[:, 3]), out[:, :3].softmax(1)[:, 2])


def _value(kind: Tensor, number: Tensor) -> Tensor:
    return torch.where(kind == 1, number, (kind - 1) * torch.inf)


def censored_gaussian(task: Task, *, shared: bool) -> Prediction:
    """Tobit's model, of one deviation for all rows, or one for each."""
    test = task.test
    mean, deviation = gaussian(
        task.plain(tobit(test.lower, test.upper), 2 - shared, constants=int(shared))
    )
    ends = dict[float, tuple[Tensor, Tensor]]()
    for level in LEVELS:
        half = deviation * NormalDist().inv_cdf(0.5 + level / 2)
        ends[level] = mean - half, mean + half
    above = torch.special.ndtr((mean - test.upper) / deviation)
    return Prediction(task.bounded(mean), above, ends)


def clipped(task: Task) -> Prediction:
    """Least squares on targets that are clipped to the bounds."""
    loss = squares(lambda y: y.clamp(task.test.lower, task.test.upper))
    value = task.plain(loss, 1)[:, 0]
    return Prediction(value, value)


def trees(task: Task, classifier: Callable[..., Any], regressor: Callable[..., Any]) -> Prediction:
    """scikit-learn's classifier of the kind (below, number, above), and regressor of numbers."""
    parts, test = [task.train, *([task.choose] if task.choose else [])], task.test.x.numpy()
    x, y = (torch.cat([getattr(part, name) for part in parts]).numpy() for name in ("x", "y"))
    seen = np.isfinite(y)
    shares = classifier(random_state=task.seed).fit(x, np.where(seen, 1, 1 + np.sign(y)))
    shares = torch.tensor(shares.predict_proba(test))
    numbers = regressor(random_state=task.seed).fit(x[seen], y[seen]).predict(test)
    return Prediction(_value(shares.argmax(1), torch.tensor(numbers).float()), shares[:, 2])


METHODS: dict[str, Callable[[Task], Prediction]] = {
    "likelihood": likelihood,
    "chordal, ∞ as a point": chordal,
    "Tobit MLP": partial(censored_gaussian, shared=True),
    "Tobit MLP, a deviation for each row": partial(censored_gaussian, shared=False),
    "MLP, classifier and regressor": classifier_and_regressor,
    "MLP, clipped targets": clipped,
    "gradient boosting": partial(
        trees, classifier=HistGradientBoostingClassifier, regressor=HistGradientBoostingRegressor
    ),
    "random forest": partial(
        trees, classifier=RandomForestClassifier, regressor=RandomForestRegressor
    ),
}


def task_of(job: Job) -> Task:
    """Return the split of a job: no part of it depends on a fit."""
    schedule, (seed,) = SCHEDULES[job.table], job.seeds
    if job.quick:
        schedule = replace(schedule, epochs=5)
    if job.table == "assay":
        train, test = assay().split(seed, 0.75)
        return Task(train, None, test, schedule, seed)
    train, choose, test = diabetes().split(seed, 0.6, 0.2)
    return Task(train, choose, test, schedule, seed)


def measure(job: Job) -> list[Row]:
    """Try every method on one split."""
    task = task_of(job)
    return [
        Row(job.table, "", name, task.seed, numbers(method(task), task.test))
        for name, method in METHODS.items()
    ]


def numbers(found: Prediction, test: Censored) -> dict[str, float]:
    """Return what can be said of a prediction."""
    seen, bottom, above = test.y.isfinite(), found.value.isinf(), test.y == torch.inf
    both = seen & ~bottom
    bounds = test.lower, test.upper
    clipped = found.value.clamp(*bounds)
    numbers = {
        "false_finite": share(~bottom[~seen]),
        "false_bottom": share(bottom[seen]),
        "mae": test.unit * (found.value - test.y)[both].abs().mean().item(),
        "clipped_mae": test.unit * (clipped - test.truth.clamp(*bounds)).abs().mean().item(),
        "auc": float(roc_auc_score(above, found.above)),
    }
    for level, (low, high) in found.ends.items():
        over, under = test.truth >= low, test.truth <= high
        holds = torch.where(low <= high, over & under, over | under)  # or runs through infinity
        numbers[f"holds_{level:.0%}"] = share(holds[test.truth.isfinite()])
    if found.ends:
        numbers |= {"above": found.above.mean().item(), "seen_above": share(above)}
        for third, rows in enumerate(found.above.argsort().chunk(3)):
            numbers[f"above_{third}"] = found.above[rows].mean().item()
            numbers[f"seen_above_{third}"] = share(above[rows])
    return numbers


def share(flags: Tensor) -> float:
    """Return the share that is true."""
    return flags.double().mean().item()
