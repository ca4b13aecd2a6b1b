"""Calls a user's hook without letting it disturb what goes on around it."""

from __future__ import annotations

import ctypes
import random
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

WORDS = 624
"""Numbers of 32 bits in the state of a Mersenne twister, NumPy's global generator."""


class GuardedHook:
    """Calls a hook; what it can change without meaning to is afterwards as it was.

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
        self._before: _Surroundings | None = None  # while the hook is at work

    def __call__(self, record: dict[str, float]) -> None:
        """Call the hook; an exception of the hook is raised."""
        if self._hook is None:
            return
        outer, self._before = self._before, _Surroundings(self._modules, self._parameters)
        try:
            self._hook(record)
        finally:
            self._before.restore()
            self._before = outer

    def undisturb_random(self) -> None:
        """Set random states back to those that count after the hook, if it is at work."""
        if self._before is not None:
            self._before.restore_random()

    def refuse(self, call: str) -> None:
        """Raise RuntimeError if it is the hook that makes a call."""
        if self._before is not None:
            raise RuntimeError(
                f"log_hook called {call}, which would change the run that waits for the hook; let "
                "the hook raise an error, which ends fit(), and call it then"
            )


class _Surroundings:
    """What a hook can change without meaning to, at a moment."""

    def __init__(self, modules: Sequence[nn.Module], parameters: Sequence[nn.Parameter]) -> None:
        self._modes = [(module, module.training) for module in modules]
        self._gradients = [(parameter, parameter.grad) for parameter in parameters]
        self._grad, self._dtype = torch.is_grad_enabled(), torch.get_default_dtype()
        self._torch, self._python = torch.get_rng_state(), random.getstate()
        used: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        self._cuda = torch.cuda.get_rng_state_all() if used else []
        self._numpy = _NumPyState.current()

    def restore(self) -> None:
        """Change it back to what it was."""
        self.restore_random()
        for module, training in self._modes:
            if module.training != training:  # to set it takes 2 µs
                module.training = training
        for parameter, gradient in self._gradients:
            if parameter.grad is not gradient:
                parameter.grad = gradient
        torch.set_grad_enabled(self._grad)
        if torch.get_default_dtype() != self._dtype:
            torch.set_default_dtype(self._dtype)

    def restore_random(self) -> None:
        """Change the random states back to what they were."""
        torch.set_rng_state(self._torch)
        if self._cuda:
            torch.cuda.set_rng_state_all(self._cuda)
        random.setstate(self._python)
        self._numpy.restore()


class _NumPyState:
    """The state of NumPy's global generator.

    To ask NumPy for it takes 30 µs, a third of a compiled update, so it is asked again only where
    the bytes of the generator have changed.
    """

    _latest: ClassVar[_NumPyState | None] = None

    def __init__(self) -> None:
        self._state, self._bytes = dict[str, Any](), b""
        if "numpy" not in sys.modules:
            return
        self._state = sys.modules["numpy"].random.get_state(legacy=False)
        own = self._state["state"]
        # A saved Gaussian is not in the bytes.
        if self._state["bit_generator"] == "MT19937" and not self._state["has_gauss"]:
            self._bytes = own["key"].tobytes() + int(own["pos"]).to_bytes(4, sys.byteorder)

    @classmethod
    def current(cls) -> _NumPyState:
        """Return the state at this moment."""
        if cls._latest is None or not cls._latest._holds():
            cls._latest = cls()
        return cls._latest

    def _holds(self) -> bool:
        """Tell whether it is certainly the state still."""
        return self._bytes != b"" and self._bytes == _bytes()

    def restore(self) -> None:
        """Change the generator back, unless it is as it was."""
        if self._state and not self._holds():
            sys.modules["numpy"].random.set_state(self._state)


def _bytes() -> bytes:
    """Return the memory of NumPy's generator, if it is the usual one."""
    numpy: Any = sys.modules.get("numpy")
    generator: Any = getattr(getattr(numpy, "random", None), "get_bit_generator", lambda: None)()
    if type(generator).__name__ != "MT19937":
        return b""
    return ctypes.string_at(generator.ctypes.state_address, 4 * WORDS + 4)
