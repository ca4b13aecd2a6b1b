"""A process that carries out what a subject is asked to do by a library of this Python's path.

It tells the names of the subject's methods, and then answers requests until the connection ends.
A request calls a method of what is kept by a number; 0 is the subject. If this returns a function
or a context, which cannot travel, that is kept, too.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from contextvars import Context, copy_context
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from properties.assertions import Unsupported
from properties.subjects.third_party.adapters import subjects


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


class Service:
    """Answers for a subject, in contexts that mirror those of who asks."""

    def __init__(self, subject: object) -> None:
        self._kept: list[Any] = [subject]
        self._contexts: dict[tuple[str, str], Context] = {}

    def methods(self) -> frozenset[str]:
        return frozenset(name for name in dir(self._kept[0]) if not name.startswith("_"))

    def answer(self, place: tuple[str, str], *request: Any) -> tuple[str, Any]:
        """Do what a request asks, where it asks for it."""
        try:
            return self._context_of(*place).run(self._call, *request)
        except (Exception, Unsupported) as error:
            return "error", portable(error)

    def _call(self, number: int, name: str, arguments: Any, options: Any) -> tuple[str, Any]:
        found = getattr(self._kept[number], name)(*arguments, **options)
        context = isinstance(found, AbstractContextManager)
        if not (context or callable(found)):
            return "value", found
        self._kept.append(found)
        return "context" if context else "function", len(self._kept) - 1

    def _context_of(self, thread: str, task: str) -> Context:
        """Return a thread's context, or a task's, which starts as a copy of its thread's."""
        if (thread, task) not in self._contexts:
            made = self._context_of(thread, "").copy() if task else copy_context()
            self._contexts[thread, task] = made
        return self._contexts[thread, task]


def main(adapter: str, descriptor: str) -> None:
    """Serve requests until the connection ends."""
    path = str(import_module("zeroproof").__file__)
    if Path.cwd() not in Path(path).parents:
        raise ImportError(f"zeroproof was imported from {path}, not {Path.cwd()}")
    torch.set_num_threads(1)
    service = Service(getattr(subjects, adapter)())
    with Connection(int(descriptor)) as connection:
        connection.send(service.methods())
        while True:
            try:
                request = connection.recv()
            except EOFError:
                return
            connection.send(service.answer(*request))


if __name__ == "__main__":
    main(*sys.argv[1:])
