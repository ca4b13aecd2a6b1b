"""What a run leaves for people: a report and a picture."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zeroproof.command.run import Predictions, Quality, Run
from zeroproof.utils.logging import read_jsonl

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"


def _percent(fraction: float) -> str:
    return "none to judge" if math.isnan(fraction) else f"{100 * fraction:.2f} %"


def _rows(run: Run, quality: Quality) -> list[tuple[str, str]]:
    error = "none to judge" if math.isnan(quality.error) else f"{quality.error:.4g}"
    return [
        ("singular, decoded as finite (false finite)", _percent(quality.false_finite)),
        ("finite, decoded as ⊥ (false bottom)", _percent(quality.false_bottom)),
        (f"mean absolute error of {run.options.target}", error),
        ("orientation right, of ±∞ decoded as ⊥", _percent(quality.orientation)),
        ("threshold tau_infer (unit gauge)", f"{run.tau_infer:.4g}"),
    ]


def summary(folder: Path, run: Run, quality: Quality, *, plotted: bool) -> str:
    """Return the numbers and the files, in a few lines."""
    lines = [f"Validation: {quality.finite} finite and {quality.singular} singular targets"]
    lines += [f"  {name:44} {value}" for name, value in _rows(run, quality)]
    picture = "plot.png" if plotted else "no picture: pip install 'zeroproof-scm[plot]'"
    return "\n".join([*lines, f"In {folder}: report.md, metrics.jsonl, checkpoint.pt, {picture}"])


def write_report(folder: Path, run: Run, quality: Quality, training: int, seconds: float) -> None:
    """Write ``report.md``."""
    options = run.options
    table = "\n".join(f"| {name} | {value} |" for name, value in _rows(run, quality))
    only_finite = (
        ""
        if quality.singular
        else "\nNo target of the validation part is singular, so the threshold lies below every "
        "denominator seen there: no row of it decodes as ⊥.\n"
    )
    picture = "![training and validation](plot.png)\n" if (folder / "plot.png").exists() else ""
    (folder / "report.md").write_text(
        f"""# {options.target}, learned from {Path(options.data).name}

| on the validation part | |
|---|---|
{table}
{only_finite}
- {training} rows trained on; held out: {quality.finite} finite, {quality.singular} singular
  ({quality.oriented} of them ±∞).
- {len(run.features)} features: {", ".join(run.features)}.
- MLP {run.hidden} with the "{options.head}" head, {options.epochs} epochs in
  batches of {options.batch_size}, learning rate {options.lr:g}, seed {options.seed},
  device {options.device}, mixed precision {options.amp}; trained in
  {seconds:.1f} s since the last start.

A prediction is a tuple (P, Q) for P/Q, in standard deviations of the target from its mean. Where
its unit denominator |Q|/‖(P, Q)‖ lies below the threshold it decodes to ⊥, not a number, and the
sign of P tells which infinity is near. The threshold was chosen on the validation part, so expect
a little more of each error on new data: it makes the sum of two mean costs smallest, that of a
singular target (1 if decoded to a number) and that of a finite one (its absolute error in
standard deviations, or 1 if decoded to ⊥).

{picture}""",
        encoding="utf-8",
    )


def write_plot(folder: Path, run: Run, predictions: Predictions, measured: Tensor) -> bool:
    """Write ``plot.png`` if matplotlib is there, and tell whether."""
    if importlib.util.find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.5), layout="constrained")
    grid = figure.add_gridspec(2, 5)
    records = read_jsonl(folder / "metrics.jsonl")
    _draw_curves(figure.add_subplot(grid[0, :2]), figure.add_subplot(grid[1, :2]), records)
    _draw_predictions(figure.add_subplot(grid[:, 2:]), run, predictions, measured)
    figure.savefig(folder / "plot.png", dpi=130)
    return True


def _draw_curves(above: Any, below: Any, records: list[dict[str, float]]) -> None:
    training = [r for r in records if "loss" in r]
    validation = [r for r in records if "val_loss" in r]
    epochs = [r["epoch"] + 1 for r in validation]

    losses: dict[float, list[float]] = {}
    for record in training:
        losses.setdefault(record["epoch"] + 1, []).append(record["loss"])
    means = [torch.tensor(values).nanmean().item() for values in losses.values()]
    above.plot(list(losses), means, color=GREY, lw=1, label="training")
    above.plot(epochs, [r["val_loss"] for r in validation], color=BLUE, label="validation")
    above.set(yscale="log", ylabel="loss", title="Training")
    for name, colour, label in (
        ("val_coverage_finite", BLUE, "finite targets decoded to a number"),
        ("val_bottom_recall", ORANGE, "singular targets decoded to ⊥"),
    ):
        below.plot(epochs, [r[name] for r in validation], color=colour, label=label)
    below.set(ylim=(-0.03, 1.03), xlabel="epoch", ylabel="validation, at the training threshold")
    for axes in (above, below):
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)


def _draw_predictions(axes: Any, run: Run, predictions: Predictions, measured: Tensor) -> None:
    """Draw predicted against measured, with bands at the edges for ±∞ and ⊥."""
    value, bottom, _ = predictions.decoded
    finite = measured.isfinite()
    known = torch.cat([measured[finite], value[~bottom]])
    low, high = known.min().item(), known.max().item()
    band = 0.12 * ((high - low) or 1.0)
    generator = torch.Generator().manual_seed(0)

    def place(numbers: Tensor, singular: Tensor, sign: Tensor) -> Tensor:
        """Put what is not a number into the band below or above the numbers."""
        edge = torch.where(sign < 0, low - band, high + band)
        jitter = 0.7 * band * (torch.rand(len(numbers), generator=generator) - 0.5)
        return torch.where(singular, edge + jitter, numbers)

    x = place(measured, ~finite, torch.nan_to_num(measured.sign(), nan=1.0))
    y = place(value, bottom, predictions.sign)
    for chosen, colour, marker, label in (
        (finite & ~bottom, BLUE, "o", "a number, as measured"),
        (~finite & bottom, GREEN, "^", "⊥, as measured"),
        (finite & bottom, ORANGE, "X", "⊥, though measured (false bottom)"),
        (~finite & ~bottom, ORANGE, "s", "a number, though singular (false finite)"),
    ):
        label = f"{label}: {int(chosen.sum())}"
        style = {"c": colour, "marker": marker, "alpha": 0.6, "linewidths": 0, "label": label}
        axes.scatter(x[chosen].tolist(), y[chosen].tolist(), s=28, **style)
    for edge in (low - band, high + band):
        for shade in (axes.axvspan, axes.axhspan):
            shade(edge - band / 2, edge + band / 2, color=GREY, alpha=0.12, lw=0)
    axes.plot([low, high], [low, high], color=GREY, lw=0.8, zorder=0)
    name = run.options.target
    limits = (low - 1.6 * band, high + 1.6 * band)
    axes.set(xlim=limits, ylim=limits, xlabel=f"measured {name}", ylabel=f"predicted {name}")
    for axis, words in ((axes.xaxis, ("−∞", "∞, nan")), (axes.yaxis, ("⊥ (−)", "⊥ (+)"))):
        ticks = [t for t in axis.get_major_locator().tick_values(low, high) if low <= t <= high]
        places = [low - band, *ticks, high + band]
        axis.set_ticks(places, [words[0], *(f"{t:g}".replace("-", "−") for t in ticks), words[1]])
    axes.set_title("Validation: predicted against measured")
    axes.legend(loc="upper left", bbox_to_anchor=(0.09, 0.89), frameon=True)
