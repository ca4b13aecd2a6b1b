"""Run something without leaving a trace in model, loss or random state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from zeroproof.training.checkpoint import random_state, restore_random_state


@contextmanager
def undisturbed_eval(modules: Sequence[nn.Module], *loaders: object) -> Iterator[None]:
    """Put modules in eval mode without gradients; afterwards everything is as it was.

    Restored, also on exceptions: each submodule's mode, buffers, the global random states, and
    the generators of ``loaders``. Meets: VAL-2.
    """
    submodules = [m for module in modules for m in module.modules()]
    modes = [(m, m.training) for m in submodules]
    buffers = [
        (m, name, buffer, buffer.clone())
        for m in submodules
        for name, buffer in m.named_buffers(recurse=False)
    ]
    random = [random_state(loader) for loader in loaders]
    try:
        for module in modules:
            module.eval()
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for m, name, buffer, value in buffers:
                buffer.copy_(value)
                setattr(m, name, buffer)  # a forward may have put another tensor there
        for state, loader in zip(random, loaders, strict=True):
            restore_random_state(state, loader)
