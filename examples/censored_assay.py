"""Fit an assay that saturates, and ask how sure the fit is: ``python examples/censored_assay.py``.

COVID Moonshot: log10 of the IC50 of 1,333 compounds, from their inhibition at twelve doses. A third
of the labels only say "more than the top dose" or "less than the lowest". Such a label is an
interval with an infinite end; no threshold is tuned, and a prediction outside the doses says so.
"""

from __future__ import annotations

import argparse
import csv
import math
from importlib.resources import files

import torch
from torch import Tensor

from zeroproof import (
    Interval,
    LossConfig,
    ProjectiveMLP,
    SCMTrainer,
    SCMTrainingLoss,
    TensorBatches,
    TrainingConfig,
    lift_targets,
)
from zeroproof.inference import central_interval, probability

LOWEST, TOP = math.log10(0.05), math.log10(99.5)  # doses, in log10 µM


def read() -> tuple[Tensor, Tensor]:
    """Return features and targets; a target is ±∞ where the assay says ">1.998" or "<-1.301"."""
    text = (files("zeroproof.data") / "moonshot.csv").read_text(encoding="utf-8")
    rows = list(csv.reader(text.splitlines()))[1:]
    x = torch.tensor([[float(cell) for cell in row[2:]] for row in rows])
    beyond = {">": math.inf, "<": -math.inf}
    y = torch.tensor([beyond[row[1][0]] if row[1][0] in beyond else float(row[1]) for row in rows])
    return x, y


def fit(x: Tensor, y: Tensor, epochs: int, seed: int) -> ProjectiveMLP:
    """Train on the intervals that the assay's labels say."""
    interval = Interval(y.masked_fill(y == math.inf, TOP), y.masked_fill(y == -math.inf, LOWEST))
    loader = TensorBatches(x, scaled(interval), batch_size=64, seed=seed)
    torch.manual_seed(seed)
    model = ProjectiveMLP(x.shape[1])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-4)
    steps = epochs * len(loader)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    loss = SCMTrainingLoss(LossConfig(fit="likelihood"))
    config = TrainingConfig(max_epochs=epochs, seed=seed, progress=True)
    SCMTrainer(model, optimizer, loss, loader, scheduler=schedule, config=config).fit()
    return model


def scaled(y: Interval) -> Interval:
    """Bring log10 µM to units of the doses' range, centred."""
    return Interval(*((end - (TOP + LOWEST) / 2) / (TOP - LOWEST) * 6 for end in y))


def unscaled(y: Tensor) -> Tensor:
    """Undo :func:`scaled`."""
    return y / 6 * (TOP - LOWEST) + (TOP + LOWEST) / 2


def main() -> None:
    """Fit three quarters of the compounds, and report on the others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    x, y = read()
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(options.seed))
    held_out, training = order[: len(y) // 4], order[len(y) // 4 :]
    mean, std = x[training].mean(0), x[training].std(0)
    x = (x - mean) / std
    model = fit(x[training], y[training], options.epochs, options.seed)
    with torch.no_grad():
        P, Q = model.eval()(x[held_out])
    value, truth = unscaled(P / Q), y[held_out]
    inside, finite = (value >= LOWEST) & (value <= TOP), truth.isfinite()
    print(f"held out: {finite.sum()} compounds with a number, {(~finite).sum()} without")
    print(f"without a number, but predicted one: {inside[~finite].float().mean():.4f}")
    print(f"with a number, but predicted none: {(~inside)[finite].float().mean():.4f}")
    both = inside & finite
    print(f"mean absolute error, log10: {(value - truth)[both].abs().mean():.4f}")
    for level in (0.5, 0.9):
        low, high = (unscaled(end) for end in central_interval(P, Q, level))
        above, below = truth >= low, truth <= high
        holds = torch.where(low <= high, above & below, above | below)  # or runs through infinity
        print(f"{level:.0%} intervals hold {holds[finite].float().mean():.3f} of the numbers")
    ends = scaled(Interval(torch.full_like(P, TOP), torch.full_like(P, math.inf)))
    expected, seen = (
        probability(P, Q, *lift_targets(ends)).mean(),
        (truth == math.inf).float().mean(),
    )
    print(f"more than the top dose: probability {expected:.3f}, seen {seen:.3f}")


if __name__ == "__main__":
    main()
