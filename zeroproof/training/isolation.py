"""Run something without leaving a trace in model, loss or random state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from zeroproof.training.checkpoint import random_state, restore_random_state


@contextmanager
def undisturbed_eval(modules: Sequence[nn.Module], loader: object) -> Iterator[None]:
    """Put modules in eval mode without gradients; afterwards everything is as it was.

    Restored, also on exceptions: each submodule's mode, buffers, and every random state, that
    of ``loader`` included. Meets: VAL-2.
    """
    modes = [(m, m.training) for module in modules for m in module.modules()]
    buffers = [(b, b.clone()) for module in modules for b in module.buffers()]
    random = random_state(loader)
    try:
        for module in modules:
            module.eval()
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
        restore_random_state(random, loader)
