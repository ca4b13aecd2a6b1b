"""Fit curves across their poles, and compare fits and heads.

Trains the same small network on four curves, five seeds each, and prints the median chordal
error (the mean sine of the angle between predicted and true lines) on a fine grid:

    python examples/fit_poles.py --fits chordal likelihood --heads free
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from zeroproof.layers import ProjectiveMLP
from zeroproof.losses import LossConfig, SCMTrainingLoss, chordal_loss
from zeroproof.training.targets import lift_targets
from zeroproof.training.trainer import SCMTrainer, TrainingConfig


def gamma(x: Tensor) -> Tensor:
    """Γ(3x − 1) on [−1, 1], across its poles at 1/3, 0, −1/3, −2/3 and −1."""
    z = 3 * x.double() - 1
    reflected = torch.pi / (torch.sin(torch.pi * z) * torch.lgamma(1 - z).exp())
    return torch.where(z < 0.5, reflected, torch.lgamma(z).exp()).float()


CURVES: dict[str, Callable[[Tensor], Tensor]] = {
    "1/(x-0.3)": lambda x: 1 / (x - 0.3),
    "tan 2.2x": lambda x: torch.tan(2.2 * x),
    "1/(x-0.2)^2": lambda x: 1 / (x - 0.2).square(),
    "gamma(3x-1)": gamma,
}
FITS = "chordal", "implicit", "likelihood"


def chordal_error(curve: str, fit: str, head: str, seed: int, epochs: int) -> float:
    """Train once and return the mean sine of the angle on a grid."""
    torch.manual_seed(seed)
    x = torch.rand(512, 1) * 2 - 1
    loader = [(x, CURVES[curve](x[:, 0]))]
    model = ProjectiveMLP(1, head=head)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    config = TrainingConfig(max_epochs=epochs, seed=seed)
    loss = SCMTrainingLoss(LossConfig(fit=fit))
    SCMTrainer(model, optimizer, loss, loader, scheduler=scheduler, config=config).fit()
    grid = torch.linspace(-0.999, 0.999, 1999)
    with torch.no_grad():
        P, Q = model(grid[:, None])
    Y_n, Y_d = lift_targets(CURVES[curve](grid))
    sines = [chordal_loss(*point).sqrt() for point in zip(P, Q, Y_n, Y_d, strict=True)]
    return torch.stack(sines).mean().item()


def main() -> None:
    """Parse the options, train, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--curves", nargs="+", choices=CURVES, default=list(CURVES))
    parser.add_argument("--fits", nargs="+", choices=FITS, default=["chordal"])
    parser.add_argument(
        "--heads", nargs="+", choices=["free", "gated", "pole"], default=["free", "gated", "pole"]
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2000)
    options = parser.parse_args()
    print(f"{'curve':12} {'fit':9} {'head':6} median chordal error of {options.seeds} seeds")
    for curve in options.curves:
        for fit in options.fits:
            for head in options.heads:
                errors = [
                    chordal_error(curve, fit, head, seed, options.epochs)
                    for seed in range(options.seeds)
                ]
                print(f"{curve:12} {fit:9} {head:6} {median(errors):.1e}", flush=True)


if __name__ == "__main__":
    main()
