"""Signals that ask a run to end: noted when they arrive, and raised between updates."""

from __future__ import annotations

import functools
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

CHILD: int = getattr(signal, "SIGCHLD", 0)  # Windows has none
# A closed terminal sends SIGHUP, which Windows lacks.
STOPPING = *filter(None, [getattr(signal, "SIGHUP", None)]), signal.SIGINT, signal.SIGTERM
PATIENCE = 1.0
"""Seconds in which a second SIGINT, or the death of a worker, belongs to the same signal."""
TORCH = "torch.utils.data._utils.signal_handling"


class DeferredSignals:
    """Defers signals to the end of the update, unless the program has its own handlers.

    They are SIGINT, SIGTERM and SIGHUP. A second SIGINT is raised at once, unless it comes within
    a second: launchers pass on the Ctrl-C that the terminal has already sent to this process.
    torch raises an error for a loader's dead worker at any moment; here it is raised while a batch
    is fetched, never in an update. Handlers belong to the main thread; in another one nothing
    changes.

    Args:
        save: called before a signal is raised instead of an error, with whether a batch was then
            being fetched.
        alone: whether there is one rank; of several, one must not end after the last update.

    Meets: RES-4, RES-9.
    """

    def __init__(self, save: Callable[[bool], None], *, alone: bool = True) -> None:
        self._save, self._alone = save, alone
        self._taken, self._depth = dict[int, Any](), 0
        self._reset()

    def _reset(self) -> None:
        self.received, self._since = 0, 0.0
        self._fetching = self._missed_death = self._worker_died = False

    def __enter__(self) -> DeferredSignals:
        """Install the handlers; a block inside another one leaves that to it."""
        self._depth += 1
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
                if signal.getsignal(number) is default:
                    self._taken[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise a signal, also instead of an error that came after it; restore the handlers."""
        fetching, self._fetching = self._fetching, False
        try:
            until = time.monotonic() + PATIENCE
            while self._worker_died and not self.received and time.monotonic() < until:
                time.sleep(0.01)  # What killed the worker may be on its way to this process.
            if self.received and (isinstance(error, Exception) or (error and fetching)):
                self._save(fetching)
                raise_signal(self.received, error)
            if self.received and error is None and self._alone:  # after the last update
                raise_signal(self.received)
        finally:
            self._depth -= 1
            if not self._depth:
                for number, handler in self._taken.items():  # SIGCHLD's last
                    late = number == CHILD and self.received
                    signal.signal(number, _patient(handler) if late else handler)
                self._taken.clear()
            self._reset()

    def watch(self, batches: Iterable[Any], *, breaks_off: bool = False) -> Iterator[Any]:
        """Iterate over a loader, whose workers' deaths are raised here.

        With ``breaks_off`` a signal ends it by RuntimeError.
        """
        iterator = iter(batches)
        while True:
            if breaks_off and self.received:
                raise RuntimeError("a signal broke it off")
            self._fetching = True
            if self._missed_death:
                self._note_death(CHILD, None)
            batch = next(iterator, self)
            self._fetching = False
            if batch is self:
                return
            if self._taken and CHILD:
                handler = signal.getsignal(CHILD)  # torch's came with the workers
                if getattr(handler, "__module__", "") == TORCH:
                    self._taken[CHILD] = signal.signal(CHILD, self._note_death)
            yield batch

    def _note_death(self, number: int, frame: FrameType | None) -> None:
        self._missed_death = not self._fetching
        if self._fetching and not self._worker_died:  # a second would interrupt the first's cleanup
            try:
                self._taken[number](number, frame)
            except Exception:
                self._worker_died = True
                raise

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self.received:
            self.received, self._since = number, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._since > PATIENCE:
            raise_signal(number)


def _patient(handler: Callable[[int, FrameType | None], None]) -> Any:
    """Return torch's handler, which for a second ignores workers that the same signal kills."""
    until = time.monotonic() + PATIENCE

    @functools.wraps(handler)
    def handle(number: int, frame: FrameType | None) -> None:
        if time.monotonic() > until:
            handler(number, frame)

    return handle


def raise_signal(number: int, cause: BaseException | None = None) -> None:
    """Raise KeyboardInterrupt for SIGINT, SystemExit for another signal."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt from cause
    raise SystemExit(128 + number) from cause
