"""The training problem that every trainer gets: a model, data and an optimizer.

Imports nothing but torch, since the workers of other packages use it, too.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]
BATCHES = 8


class MLP(nn.Module):
    """1-64-64-2 (other widths by choice); the outputs are ``P`` and ``Q``, each ``(batch,)``."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        hidden = (nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.layers = nn.Sequential(*hidden, nn.Linear(width, 2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(P, Q)``."""
        P, Q = self.layers(x).unbind(-1)
        return P, Q


class Feed:
    """A loader that yields ``steps`` batches, which lie on the device already."""

    def __init__(self, size: int, device: str) -> None:
        generator = torch.Generator().manual_seed(0)
        x = torch.rand(BATCHES, size, 1, generator=generator) * 2 - 1
        self.batches: list[Batch] = [(b.to(device), targets(b[:, 0]).to(device)) for b in x]
        self.steps = BATCHES

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        return (self.batches[step % BATCHES] for step in range(self.steps))


def targets(x: Tensor) -> Tensor:
    """Return ``1 / x``, with ±∞ near the pole and NaN at it: 4 % of the targets are singular."""
    y = torch.where(x.abs() < 0.04, torch.copysign(x.new_full((), torch.inf), x), 1 / x)
    return y.masked_fill(x.abs() < 0.01, torch.nan)


def start(
    width: int, device: str, *, fused: bool = False
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return a model, the same for all, and its optimizer, with default settings or fused."""
    torch.manual_seed(0)
    model = MLP(width).to(device)
    return model, torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused or None)
