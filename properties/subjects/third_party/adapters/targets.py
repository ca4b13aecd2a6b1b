"""LIFT and TAU by ``zeroproof.training``."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch

from properties.subjects.tensors import OnTensors

training: Any = import_module("zeroproof.training")


class Targets(OnTensors):
    """``lift_targets`` and ``perturbed_threshold``; nothing tells ±∞ from NaN once lifted."""

    _lifted = staticmethod(training.lift_targets)

    def draw(self, tau_min: float, tau_max: float, seed: int | None, count: int) -> list[float]:
        """Return draws; whoever wants to repeat them seeds torch, here for the while only."""
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            return [training.perturbed_threshold(tau_min, tau_max) for _ in range(count)]
