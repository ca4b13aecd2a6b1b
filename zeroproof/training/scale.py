"""The loss scale of float16."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zeroproof.training.transfer import Number, bounded

INITIAL, GROWTH, BACKOFF, INTERVAL, LARGEST = 2.0**16, 2.0, 0.5, 2000, 2.0**127


class LossScale:
    """A factor on the loss that keeps float16 gradients from underflow.

    It grows after ``INTERVAL`` applied updates in a row and falls after one whose gradient
    overflowed, as that of ``torch.amp.GradScaler`` does; but never below 1, where it would only
    lose gradients, and not for a loss that is itself not finite, which says nothing about it.

    Args:
        device: where to keep it, for updates whose outcome is known there first; None keeps a
            Python number.

    Meets: AMP-2, STEP-3.
    """

    def __init__(self, device: torch.device | None) -> None:
        self.value: Number = INITIAL
        if device is not None:
            self.value = torch.full((), INITIAL, device=device)
        self._streak: Any = 0  # a tensor, once it is added to one

    def update(self, applied: Any, overflowed: Any) -> Any:
        """Take an update's outcome, bools or tensors; return whether it made the scale fall."""
        before, streak = self.value, _where(overflowed, 0, self._streak + applied)
        grown = _where(streak >= INTERVAL, before * GROWTH, before)
        self.value = bounded(_where(overflowed, before * BACKOFF, grown), 1.0, LARGEST)
        self._streak = streak % INTERVAL
        return self.value < before

    def state_dict(self) -> dict[str, float]:
        """Return scale and streak as numbers."""
        return {"scale": float(self.value), "streak": int(self._streak)}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Put back what :meth:`state_dict` returned."""
        scale, self._streak = state["scale"], int(state["streak"])
        self.value = self.value.new_tensor(scale) if isinstance(self.value, Tensor) else scale


def _where(condition: Tensor | bool, chosen: Any, other: Any) -> Any:
    if isinstance(condition, Tensor):
        return torch.where(condition, chosen, other)
    return chosen if condition else other
