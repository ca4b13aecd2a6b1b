"""What a contestant is to the worker that times it."""

from __future__ import annotations

from collections.abc import Callable

Work = Callable[[], object]
Job = Callable[[int], Work]  # of a number of steps: prepares, and returns what is timed


class Unavailable(Exception):
    """A contestant that this machine or version does not have; the message says why."""
