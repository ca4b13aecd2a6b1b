"""What goes between a subject here and its library in another process."""

from __future__ import annotations

import asyncio
import itertools
import threading
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

_numbers = itertools.count(1)
_thread = threading.local()
_tasks: WeakKeyDictionary[asyncio.Task[Any], int] = WeakKeyDictionary()


@dataclass(frozen=True)
class Place:
    """Where a call is made: the numbers of a thread, 0 for the main one, and of a task, or 0."""

    thread: int
    task: int

    @staticmethod
    def here() -> Place:
        """Return the place of the caller."""
        if not hasattr(_thread, "number"):
            main = threading.current_thread() is threading.main_thread()
            _thread.number = 0 if main else next(_numbers)
        try:
            task = asyncio.current_task()
        except RuntimeError:  # no event loop
            task = None
        number = _tasks.setdefault(task, next(_numbers)) if task else 0
        return Place(_thread.number, number)


@dataclass(frozen=True)
class Request:
    """A call of a method of the subject, or of what it kept; made at a place."""

    place: Place
    method: str | Kept
    arguments: tuple[Any, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Kept:
    """Something that cannot travel: a function to call, or a context to enter and to leave."""

    number: int
    kind: Literal["function", "context"]


@dataclass(frozen=True)
class Found:
    """The first word of a worker: where its library lies, and what its subject offers.

    Offered are methods by their names, and plain attributes.
    """

    path: str
    methods: frozenset[str]
    attributes: dict[str, Any]


def portable(error: BaseException) -> BaseException:
    """Return an error that both sides know: itself, or the nearest kind of Python's own."""
    known = ("builtins", "properties.assertions")
    kind = next(k for k in type(error).__mro__ if k.__module__ in known)
    if kind in (Exception, BaseException):
        return RuntimeError(repr(error))
    try:
        made: BaseException = kind(str(error))
    except TypeError:  # kinds that want more than a message
        return RuntimeError(repr(error))
    return made
