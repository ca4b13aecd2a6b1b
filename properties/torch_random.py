"""torch's global random state, one per example."""

from __future__ import annotations

import torch
from hypothesis import register_random
from torch import Tensor


class TorchRandom:
    """torch's global random state, as Hypothesis seeds and restores it around each example."""

    def seed(self, value: int) -> None:
        torch.manual_seed(value)

    def getstate(self) -> Tensor:
        return torch.get_rng_state()

    def setstate(self, state: Tensor) -> None:
        torch.set_rng_state(state)


# Hypothesis holds only a weak reference.
TORCH_RANDOM = TorchRandom()
register_random(TORCH_RANDOM)
