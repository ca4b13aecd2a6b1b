"""Learn a resonator's reactance through its poles: ``python examples/resonator.py``.

Simulated: a lossless cavity whose three resonances move with a bias voltage. A network analyser
measures the phase of its reflection, with noise of 2 degrees, and the reactance X = 1/tan(phase/2)
is infinite at each resonance. The fit takes X, however large; no point is left out or clipped.
The noise is Gaussian, whose tails are lighter than those of the fit's distribution, so that the
intervals are wider than they need be.
"""

from __future__ import annotations

import argparse
import math

import torch
from torch import Tensor

from zeroproof import (
    LossConfig,
    ProjectiveMLP,
    SCMTrainer,
    SCMTrainingLoss,
    TensorBatches,
    TrainingConfig,
    lift_targets,
)
from zeroproof.inference import central_interval
from zeroproof.losses import chordal_loss

RESONANCES = ((3.1, 4.0), (5.2, 2.0), (8.4, 6.0))  # in GHz at no bias, and their strengths
NOISE = math.radians(2.0)  # of the phase, which is twice the angle of the line of X


def measure(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return frequencies with biases, and the exact and the measured X."""
    f, bias = torch.rand(2, count, generator=generator) * torch.tensor([[9.0], [2.0]]) + 1.0
    poles = [(f0 * (0.9 + 0.1 * bias), strength) for f0, strength in RESONANCES]
    X = sum((s * f / (f0.square() - f.square()) for f0, s in poles), -2.0 / f)
    noise = NOISE / 2 * torch.randn(count, generator=generator)
    return torch.stack([f, bias], dim=1), X, torch.tan(torch.atan(X) + noise)


def fit(x: Tensor, y: Tensor, epochs: int, seed: int) -> ProjectiveMLP:
    """Train on what was measured."""
    torch.manual_seed(seed)
    model = ProjectiveMLP(x.shape[1])
    loader = TensorBatches(x, y, batch_size=100, seed=seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))

    def narrowing(epoch: int) -> dict[str, float]:  # so that no pole is missed
        return {"resolution": 0.3 * 0.01 ** min(1.0, epoch / (0.6 * epochs))}

    config = TrainingConfig(max_epochs=epochs, loss_curriculum=narrowing, progress=True)
    loss = SCMTrainingLoss(LossConfig(fit="likelihood"))
    SCMTrainer(model, optimizer, loss, loader, scheduler=schedule, config=config).fit()
    return model


def angles(P: Tensor, Q: Tensor, y: Tensor) -> Tensor:
    """Return the angles between lines, in degrees of phase."""
    terms = torch.stack([chordal_loss(*row) for row in zip(P, Q, *lift_targets(y), strict=True)])
    return 2 * torch.rad2deg(terms.sqrt().asin())


def main() -> None:
    """Fit, and report on points that the fit has not seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(options.seed)
    (x, _, y), (held_out, exact, measured) = measure(1500, generator), measure(500, generator)
    scale = torch.tensor([3 / 4.5, 3.0]), torch.tensor([5.5, 2.0])  # to [−3, 3]
    model = fit((x - scale[1]) * scale[0], y, options.epochs, options.seed)
    with torch.no_grad():
        P, Q = model.eval()((held_out - scale[1]) * scale[0])
    for name, truth in (("exact", exact), ("measured", measured)):
        error = angles(P, Q, truth)
        print(f"phase against the {name} one: median error {error.median():.2f} degrees")
    beyond = exact.abs() > 10
    worst = angles(P, Q, exact)[beyond].median()
    print(f"near a pole, where |X| > 10: {beyond.sum()} points, median error {worst:.2f} degrees")
    low, high = central_interval(P, Q, 0.9)
    above, below = measured >= low, measured <= high
    holds = torch.where(low <= high, above & below, above | below)  # or runs through infinity
    print(f"90% intervals hold {holds.float().mean():.3f} of what was measured")


if __name__ == "__main__":
    main()
