"""TAU by ``zeroproof``."""

from __future__ import annotations

import random
from collections.abc import Hashable

import torch

from zeroproof.training.gap import perturbed_threshold


class ZeroProofThresholds:
    """``zeroproof.training.gap``."""

    def draw(self, tau_min: float, tau_max: float, seed: int | None, count: int) -> list[float]:
        """Return draws of one generator, or of none."""
        source = None if seed is None else torch.Generator().manual_seed(seed)
        return [perturbed_threshold(tau_min, tau_max, generator=source) for _ in range(count)]

    def global_random_state(self) -> Hashable:
        """Return the states of torch and Python."""
        return bytes(torch.get_rng_state().tolist()), random.getstate()
