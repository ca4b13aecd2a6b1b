"""The loss scale of float16."""

from __future__ import annotations

import torch
from torch import Tensor

INITIAL, GROWTH, BACKOFF, INTERVAL, LARGEST = 2.0**16, 2.0, 0.5, 2000, 2.0**127


class LossScale:
    """A factor on the loss that keeps float16 gradients from underflow, on the device.

    As that of ``torch.amp.GradScaler``; but it never falls below 1, where it would only lose
    gradients, and a loss that is itself not finite does not lower it: no scale has caused that.

    Meets: AMP-2, AMP-6, STEP-3.
    """

    def __init__(self, device: torch.device) -> None:
        self.value = torch.full((), INITIAL, device=device)
        self.streak = torch.full((), 0.0, device=device)

    def update(self, applied: Tensor, overflowed: Tensor) -> Tensor:
        """Take an update's outcome; return whether it made the scale fall."""
        streak = torch.where(overflowed, 0.0, self.streak + applied)
        grown = torch.where(streak >= INTERVAL, self.value * GROWTH, self.value)
        value = torch.where(overflowed, self.value * BACKOFF, grown).clamp(1.0, LARGEST)
        fell = value < self.value
        self.value.copy_(value)  # in place: a CUDA graph knows addresses
        self.streak.copy_(streak % INTERVAL)
        return fell

    def state_dict(self) -> dict[str, float]:
        """Return scale and streak as numbers."""
        return {"scale": float(self.value), "streak": int(self.streak)}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.value.fill_(state["scale"])
        self.streak.fill_(state["streak"])
