"""Two pictures: a curve with poles and its 90 % band, and predictions with their intervals."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import torch

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.figure import Figure

from learning import censored, curves
from learning.data import GRID, sample_curve
from learning.fits import network, train_projective
from learning.jobs import Job
from zeroproof.inference import central_interval

INK, BAND, LABEL = "#7b2233", "#d9a6ae", "#14506e"


def draw(folder: Path, *, quick: bool = False) -> None:
    """Fit the first sample of a curve and the first split of diabetes, and draw both."""
    draw_curve(folder / "curve.svg", quick=quick)
    draw_predictions(folder / "predictions.svg", quick=quick)


def draw_curve(path: Path, *, quick: bool) -> None:
    """Draw three poles, as a fit to labels with 2 % noise has them."""
    x, y = sample_curve("3 poles", 0, 0.02)
    schedule = curves.QUICK if quick else curves.SCHEDULE
    model = network(1, 0)
    train_projective(model, (x, y), schedule, 0, curves.FITS["likelihood"])
    grid = GRID[::8]
    with torch.no_grad():
        P, Q = model(torch.tensor(grid[:, None]).float())
        low, high = (end.numpy() for end in central_interval(P, Q, 0.9))
    figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
    # Where an interval runs through infinity it covers all but the part between its ends.
    wraps = low > high
    top, bottom = np.full_like(low, 1e3), np.full_like(low, -1e3)
    for under, over, where in ((low, high, ~wraps), (low, top, wraps), (bottom, high, wraps)):
        axes.fill_between(grid, under, over, where=where, color=BAND, lw=0)
    value = (P / Q).numpy()
    axes.plot(grid, np.where(np.abs(value) < 100, value, np.nan), color=INK, lw=1.2, label="fit")
    axes.scatter(x[:, 0], y, s=6, color=LABEL, zorder=3, label="labels")
    axes.set(ylim=(-20, 20), xlabel="x", title="Three poles, and 90 % intervals")
    axes.legend(frameon=False)
    _save(figure, path)


def draw_predictions(path: Path, *, quick: bool) -> None:
    """Draw predicted against measured progression, with 50 % and 90 % intervals."""
    task = censored.task_of(Job("diabetes", "", (0,), quick))
    found, test = censored.likelihood(task), task.test
    limits = 0.0, 360.0
    truth, value, lower, upper = (
        torch.as_tensor(y).mul(test.unit).add(test.centre).clamp(*limits)
        for y in (test.truth, found.value, test.lower, test.upper)
    )
    figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
    for level, width in ((0.9, 1.0), (0.5, 3.0)):
        low, high = found.ends[level]
        # An interval that runs through infinity has no upper end here.
        high = high.masked_fill(low > high, torch.inf)
        low, high = ((end * test.unit + test.centre).clamp(*limits) for end in (low, high))
        axes.vlines(truth, low, high, color=BAND, lw=width, label=f"{level:.0%} interval")
    axes.scatter(truth, value.clamp(lower, upper), s=9, color=INK, zorder=3, label="predicted")
    axes.axline((100, 100), slope=1, color=LABEL, lw=0.8)
    for span in ((limits[0], lower), (upper, limits[1])):
        axes.axvspan(*span, color="0.94", zorder=0)
    axes.set(xlim=(20, 350), ylim=limits, ylabel="predicted", title="Diabetes, rows not seen")
    axes.set_xlabel("measured; labels of the grey parts only said < 60 or > 200")
    axes.legend(frameon=False, loc="upper left", fontsize="small")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with matplotlib.rc_context({"svg.hashsalt": path.stem}):  # the same file each time
        figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
