"""A process that carries out what a subject is asked to do by a library of this Python's path.

It reads pickled requests and writes pickled answers, each a pair: whether it is an error, and what
was returned or raised. The first thing it writes is what it found.
"""

from __future__ import annotations

import contextvars
import os
import pickle
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any

import torch

from properties.assertions import Unsupported
from properties.subjects.third_party.wire import Found, Kept, Place, Request, portable


class Service:
    """Answers for a subject, in threads and contexts that mirror those of who asks."""

    def __init__(self, subject: object) -> None:
        self._subject = subject
        self._kept: list[Any] = []
        self._entered: set[int] = set()
        self._threads: dict[int, ThreadPoolExecutor] = {}
        self._contexts: dict[Place, contextvars.Context] = {}

    def found(self) -> Found:
        """Say what there is."""
        names = [name for name in dir(self._subject) if not name.startswith("_")]
        offered = {name: getattr(self._subject, name) for name in names}
        methods = frozenset(name for name, value in offered.items() if callable(value))
        path = import_module("zeroproof").__file__
        attributes = {name: value for name, value in offered.items() if name not in methods}
        return Found(str(path), methods, attributes)

    def answer(self, request: Request) -> tuple[bool, Any]:
        """Do what a request asks, where it asks for it."""
        number = request.place.thread
        if number == 0:
            return self._in_context(request)
        if number not in self._threads:
            self._threads[number] = ThreadPoolExecutor(max_workers=1)
        return self._threads[number].submit(self._in_context, request).result()

    def _in_context(self, request: Request) -> tuple[bool, Any]:
        if not request.place.task:
            return self._call(request)
        # A task starts with a copy of the context in which it was made.
        if request.place not in self._contexts:
            self._contexts[request.place] = contextvars.copy_context()
        return self._contexts[request.place].run(self._call, request)

    def _call(self, request: Request) -> tuple[bool, Any]:
        try:
            if isinstance(request.method, Kept):
                result = self._use(request.method, *request.arguments)
            else:
                method: Callable[..., Any] = getattr(self._subject, request.method)
                result = method(*request.arguments, **dict(request.options))
        except (Exception, Unsupported) as error:
            return True, portable(error)
        if isinstance(result, AbstractContextManager):
            return False, self._keep(result, "context")
        return False, self._keep(result, "function") if callable(result) else result

    def _keep(self, thing: Any, kind: Any) -> Kept:
        self._kept.append(thing)
        return Kept(len(self._kept) - 1, kind)

    def _use(self, kept: Kept, *arguments: Any) -> Any:
        thing = self._kept[kept.number]
        if kept.kind == "function":
            return thing(*arguments)
        if kept.number not in self._entered:
            self._entered.add(kept.number)
            thing.__enter__()
        else:
            (error,) = arguments
            thing.__exit__(type(error) if error else None, error, None)
        return None


def main() -> None:
    """Serve requests until the input ends."""
    # Whatever else is printed must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    torch.set_num_threads(1)
    module, name = sys.argv[1].split(":")
    service = Service(getattr(import_module(module), name)())
    first: object = service.found()
    while True:
        pickle.dump(first, answers)
        answers.flush()
        try:
            request: Request = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        first = service.answer(request)


if __name__ == "__main__":
    main()
