"""Ctrl-C and SIGTERM, noted when they arrive and raised between updates."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class DeferredSignals:
    """Defers SIGINT and SIGTERM to the end of the update, unless the program has its own handlers.

    A second signal is raised at once. Handlers belong to the main thread; in another thread
    nothing changes.

    Meets: RES-4.
    """

    _defaults = ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL))

    def __init__(self) -> None:
        self.received = 0
        self._taken: list[tuple[signal.Signals, object]] = []

    def __enter__(self) -> DeferredSignals:
        """Install the handlers."""
        self.received = 0
        if threading.current_thread() is threading.main_thread():
            for number, default in self._defaults:
                if signal.getsignal(number) is default:
                    signal.signal(number, self._note)
                    self._taken.append((number, default))
        return self

    def __exit__(self, *error: object) -> None:
        """Restore the handlers from before."""
        while self._taken:
            number, default = self._taken.pop()
            signal.signal(number, default)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            raise_signal(number)
        self.received = number


def raise_signal(number: int) -> None:
    """Raise KeyboardInterrupt for SIGINT, SystemExit for another signal."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
