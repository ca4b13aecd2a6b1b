"""Profiles of the search, and one random state per example."""

from __future__ import annotations

import os

import torch
from hypothesis import HealthCheck, Verbosity, register_random, settings
from torch import Tensor

_EXAMPLES = 100


class TorchRandom:
    """torch's global random state, as Hypothesis seeds and restores it around each example."""

    def seed(self, value: int) -> None:
        """Seed the global generator."""
        torch.manual_seed(value)

    def getstate(self) -> Tensor:
        """Return the global state."""
        return torch.get_rng_state()

    def setstate(self, state: Tensor) -> None:
        """Put a global state back."""
        torch.set_rng_state(state)


# Hypothesis holds only a weak reference.
_torch_random = TorchRandom()
register_random(_torch_random)

# A first call into torch may take seconds, which says nothing about the example.
_slow = [HealthCheck.too_slow]
settings.register_profile("dev", max_examples=_EXAMPLES, deadline=None, suppress_health_check=_slow)
settings.register_profile(
    "ci",
    max_examples=_EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=True,
    suppress_health_check=_slow,
)
settings.register_profile(
    "nightly",
    max_examples=50 * _EXAMPLES,
    deadline=None,
    print_blob=True,
    verbosity=Verbosity.normal,
    suppress_health_check=_slow,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
