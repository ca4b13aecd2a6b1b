"""LIFT and TAU by ``zeroproof.training``."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import Any

import torch

from properties.tensors import to_array, to_tensor
from spec import Array
from spec.lifting import Effects

training: Any = import_module("zeroproof.training")
inference: Any = import_module("zeroproof.inference")


class Targets:
    """``lift_targets`` and ``perturbed_threshold``; nothing tells ±∞ from NaN once lifted."""

    @contextmanager
    def using_default_dtype(self, dtype: str) -> Iterator[None]:
        """Set torch's default dtype for the while."""
        before = torch.get_default_dtype()
        torch.set_default_dtype(getattr(torch, dtype))
        try:
            yield
        finally:
            torch.set_default_dtype(before)

    def lift(self, y: Array) -> tuple[Array, Array]:
        """Return ``(Y_n, Y_d)``."""
        Y_n, Y_d = training.lift_targets(to_tensor(y))
        return to_array(Y_n), to_array(Y_d)

    def lift_effects(self, y: Array) -> Effects:
        """Lift a leaf, and write over the results."""
        tensor = to_tensor(y).requires_grad_()
        lifted = training.lift_targets(tensor)
        for part in lifted:
            part.detach().fill_(7.0)
        return Effects(to_array(tensor), any(part.requires_grad for part in lifted))

    def unlift(self, y: Array) -> Array:
        """Lift and decode strictly."""
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

    def global_random_state(self) -> Hashable:
        """Return the states of torch and Python."""
        return bytes(torch.get_rng_state().tolist()), random.getstate()
