"""Move an arm through full stretch: ``python examples/arm_at_full_stretch.py``.

A planar arm of two links of length 1 moves its hand by ``dx`` if its joints turn by ``J⁻¹ dx``.
At full stretch, where ``sin q₂ = 0``, J has no inverse, and both joint velocities have a pole at
the same place: they share a denominator. The network sees joint velocities alone, no Jacobian.
Damped least squares knows J, but near full stretch it gives most of a movement up.

Five seeds take three minutes on one core. Measured: .11, .020, .0056 and .0025 of a movement in the
four bands of ``|sin q₂|``, against .66, .35, .060 and .0036. In the last band, where J is harmless,
two of the five seeds are worse than damped least squares.
"""

from __future__ import annotations

import argparse
from statistics import median

import torch
from torch import Tensor

from zeroproof import (
    LossConfig,
    ProjectiveMLP,
    SCMTrainer,
    SCMTrainingLoss,
    TensorBatches,
    TrainingConfig,
)

BANDS = ((0.0, 0.02), (0.02, 0.1), (0.1, 0.3), (0.3, 1.0))  # of |sin q₂|
DAMPING = 0.03


def draw(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return joint angles, the elbow at most 1.5 rad from full stretch, and unit movements."""
    q1, q2, way = (2 * torch.rand(3, count, generator=generator, dtype=torch.float64) - 1).unbind()
    q1, q2, way = torch.pi * q1, 1.5 * q2, torch.pi * way
    return torch.stack([q1, q2], 1), torch.stack([way.cos(), way.sin()], 1)


def jacobian(q: Tensor) -> Tensor:
    """Return how the hand moves with each joint, ``(count, 2, 2)``."""
    q1, q12 = q[:, 0], q.sum(1)
    upper, whole = torch.stack([-q1.sin(), q1.cos()], 1), torch.stack([-q12.sin(), q12.cos()], 1)
    return torch.stack([upper + whole, whole], 2)


def features(q: Tensor, dx: Tensor) -> Tensor:
    """Return what the network is shown."""
    return torch.cat([q[:, :1].cos(), q[:, :1].sin(), 2 * q[:, 1:], dx], 1).float()


def fit(count: int, epochs: int, seed: int) -> ProjectiveMLP:
    """Train on joint velocities."""
    q, dx = draw(count, torch.Generator().manual_seed(seed))
    velocity = torch.linalg.solve(jacobian(q), dx)
    loader = TensorBatches(features(q, dx), velocity.float(), batch_size=256, seed=seed)
    torch.manual_seed(seed)
    model = ProjectiveMLP(5, 2, hidden=(128, 128, 128), shared_denominator=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    steps = epochs * len(loader)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    exact = LossConfig(fit="likelihood", resolution=0.0, first_resolution=0.0)  # as labels are
    config = TrainingConfig(max_epochs=epochs, seed=seed)
    loss = SCMTrainingLoss(exact)
    SCMTrainer(model, optimizer, loss, loader, scheduler=schedule, config=config).fit()
    return model


def damped(J: Tensor, dx: Tensor) -> Tensor:
    """Return the velocities of damped least squares, ``Jᵀ(JJᵀ + λ²)⁻¹ dx``."""
    Jt = J.transpose(1, 2)
    inner = J @ Jt + DAMPING**2 * torch.eye(2, dtype=J.dtype)
    velocity: Tensor = Jt @ torch.linalg.solve(inner, dx.unsqueeze(2))
    return velocity.squeeze(2)


def missed(J: Tensor, velocity: Tensor, dx: Tensor) -> Tensor:
    """Return how far the hand ends up from where it should."""
    moved = (J @ velocity.double().unsqueeze(2)).squeeze(2)
    distance: Tensor = torch.linalg.vector_norm(moved - dx, dim=1)
    return distance


def main() -> None:
    """Train with several seeds, and print the median errors in each band."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--count", type=int, default=8000)
    options = parser.parse_args()
    q, dx = draw(20_000, torch.Generator().manual_seed(10_000))
    J, distance = jacobian(q), q[:, 1].sin().abs()
    columns = [missed(J, damped(J, dx), dx)]
    for seed in range(options.seeds):
        model = fit(options.count, options.epochs, seed)
        with torch.no_grad():
            P, Q = model(features(q, dx))
        columns.append(missed(J, P / Q, dx))
    print(f"median distance of the hand from dx, and its median over {options.seeds} seeds")
    print("|sin q2|      damped least squares   likelihood")
    for low, high in BANDS:
        inside = (distance >= low) & (distance < high)
        known, *learned = (column[inside].median().item() for column in columns)
        print(f"{low:4} to {high:4} {known:18.4f} {median(learned):14.4f}")


if __name__ == "__main__":
    main()
