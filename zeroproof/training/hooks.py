"""Calls a user's hook so that it disturbs nothing around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from zeroproof.training.parts import random_state, restore_random_state


class GuardedHook:
    """Calls a hook, and restores what it may have changed by accident.

    These are the random states of torch, CUDA, Python and NumPy, gradient mode and default dtype,
    and modes and gradients of modules.

    Args:
        hook: called with a record; None does nothing.
        modules: those that a hook may evaluate.

    Meets: LOG-3.

    Example:
        >>> hook, state = GuardedHook(lambda record: print(len(record))), torch.get_rng_state()
        >>> hook({})
        0
        >>> GuardedHook(lambda record: torch.manual_seed(len(record)))({"loss": 1.0})
        >>> torch.equal(torch.get_rng_state(), state)
        True
    """

    def __init__(
        self, hook: Callable[[dict[str, float]], None] | None, modules: Iterable[nn.Module] = ()
    ) -> None:
        self._hook = hook
        self._modules = list(dict.fromkeys(m for module in modules for m in module.modules()))
        self._parameters = [p for m in self._modules for p in m.parameters(recurse=False)]
        self._random: dict[str, Any] | None = None  # while the hook is at work

    def __call__(self, record: dict[str, float]) -> None:
        """Call the hook; an exception of the hook is raised."""
        if self._hook is None:
            return
        outer, self._random = self._random, random_state(None, quick=True)
        modes = [module.training for module in self._modules]
        gradients = [parameter.grad for parameter in self._parameters]
        before = torch.is_grad_enabled(), torch.get_default_dtype(), modes, gradients
        try:
            self._hook(record)
        finally:
            self.undisturb_random()
            self._random = outer
            self._restore(*before)

    def _restore(
        self, enabled: bool, dtype: torch.dtype, modes: list[bool], gradients: list[Tensor | None]
    ) -> None:
        torch.set_grad_enabled(enabled)
        torch.set_default_dtype(dtype)
        for module, training in zip(self._modules, modes, strict=True):
            if module.training != training:  # to set it takes 2 µs
                module.training = training
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient

    def undisturb_random(self) -> None:
        """If the hook is running, restore the random states from before it."""
        if self._random is not None:
            restore_random_state(self._random, None)

    def refuse(self, call: str, *, ranks: int = 0) -> None:
        """Raise RuntimeError if the hook makes a call; with ``ranks``, if there are several."""
        if self._random is None or ranks == 1:
            return
        why = "every rank must make; only rank 0 has a hook" if ranks else "would change the run"
        raise RuntimeError(
            f"log_hook called {call}, which {why}; let the hook raise an error, which ends fit(), "
            "and call it then"
        )
