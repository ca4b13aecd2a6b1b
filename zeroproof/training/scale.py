"""The loss scale of float16."""

from __future__ import annotations

import torch
from torch import Tensor

INITIAL, GROWTH, BACKOFF, INTERVAL = 2.0**16, 2.0, 0.5, 2000


class LossScale:
    """A factor on the loss that keeps float16 gradients from underflow, kept on the device.

    It grows after ``INTERVAL`` applied updates in a row and falls after one whose gradient
    overflowed, as that of ``torch.amp.GradScaler`` does; but never below 1, where it would only
    lose gradients, and not for a loss that is itself not finite, which says nothing about it.

    Args:
        device: where the losses live.

    Meets: AMP-2, STEP-3.
    """

    def __init__(self, device: torch.device) -> None:
        self.value = torch.full((), INITIAL, device=device)
        self._streak = torch.zeros((), dtype=torch.int32, device=device)

    def update(self, applied: Tensor, overflowed: Tensor) -> Tensor:
        """Take an update's outcome; return whether it made the scale fall."""
        falls = overflowed & (self.value > 1)
        streak = torch.where(applied, self._streak + 1, torch.where(falls, 0, self._streak))
        grows = streak >= INTERVAL
        value = torch.where(falls, (self.value * BACKOFF).clamp(min=1.0), self.value)
        value = torch.where(grows, value * GROWTH, value)
        self.value = torch.where(torch.isfinite(value), value, self.value)
        self._streak = torch.where(grows, 0, streak)
        return falls

    def state_dict(self) -> dict[str, float]:
        """Return scale and streak as numbers."""
        return {"scale": self.value.item(), "streak": self._streak.item()}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Put back what :meth:`state_dict` returned."""
        self.value.fill_(state["scale"])
        self._streak.fill_(int(state["streak"]))
