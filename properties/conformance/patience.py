"""How long a subject may take to answer."""

from __future__ import annotations

import signal
from typing import Final

GRACE: Final = 60  # seconds beyond --seconds, as the first input may have to compile


class NoAnswer(BaseException):
    """A subject has not answered in time.

    It is no ``Exception``, so that no clause takes it for a refusal.
    """


def answer_within(seconds: float) -> None:
    """Raise :class:`NoAnswer` in so many seconds, unless this is called again; 0 is never.

    It is raised again after as many more, as Python drops what is raised in a ``__del__`` or in
    a callback of the garbage collector.
    """

    def give_up(*_: object) -> None:
        raise NoAnswer(f"no answer in {seconds:g} seconds")

    signal.signal(signal.SIGALRM, give_up)
    seconds = min(seconds, 1e6)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
