"""LIFT and TAU by ``zeroproof.training``."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any

import torch

from properties.subjects.tensors import OnTensors
from properties.tensors import to_array, to_tensor
from spec import Array

training: Any = import_module("zeroproof.training")
inference: Any = import_module("zeroproof.inference")


class Targets(OnTensors):
    """``lift_targets`` and ``perturbed_threshold``; nothing tells ±∞ from NaN once lifted."""

    _lifted = staticmethod(training.lift_targets)

    def unlift(self, y: Array) -> Array:
        config = inference.InferenceConfig(tau_infer=0.5)
        lifted = training.lift_targets(to_tensor(y))
        return to_array(inference.strict_inference(*lifted, config=config).decoded)

    def draw(self, tau_min: float, tau_max: float, seed: int | None, count: int) -> list[float]:
        """Return draws; whoever wants to repeat them seeds torch, here for the while only."""
        scope: AbstractContextManager[object] = nullcontext()
        if seed is not None:
            scope = torch.random.fork_rng(devices=[])
        with scope:
            if seed is not None:
                torch.manual_seed(seed)
            return [training.perturbed_threshold(tau_min, tau_max) for _ in range(count)]
