"""What a contestant is to the worker that times it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

Work = Callable[[], object]
Job = Callable[[int], Work]  # of a number of steps: prepares, and returns what is timed
Taken = ParamSpec("Taken")
Given = TypeVar("Given")


class Unavailable(Exception):
    """A contestant that this machine or version does not have; the message says why."""


def compiled(function: Callable[Taken, Given]) -> Callable[Taken, Given]:
    """Compile a function, for the very shapes that it is called with."""
    return torch.compile(function, dynamic=False)
