"""A subject whose library runs in a process of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from multiprocessing import Pipe
from typing import Any

from benchmarks.packages import ROOT, environment, fetch
from spec.carriers import Elementwise
from spec.formats import FORMATS

FOLDER = ROOT / "build" / "packages"


class LostError(BaseException):
    """The worker has ended; no ``Exception``, so that no clause takes it for a refusal."""


def place() -> tuple[str, str]:
    """Return the names of this thread and of its async task, which Python numbers."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop
        task = None
    return threading.current_thread().name, task.get_name() if task else ""


class Remote:
    """Offers what the worker's subject offers, each call carried out there.

    A thread or a task that calls has a context of its own in the worker, so that a context variable
    of the library is as local there as it would be here.

    Raises:
        FetchError: the package cannot be installed.
    """

    kinds = tuple(FORMATS)

    def __init__(self, requirement: str, adapter: str) -> None:
        self._requirement, self._adapter = requirement, adapter
        self._package = fetch(requirement, FOLDER).resolve()
        self._turn = threading.Lock()
        self._start()

    def _start(self) -> None:
        self._connection, theirs = Pipe()
        with theirs:
            worker = ["-m", "properties.subjects.third_party.adapters.worker", self._adapter]
            self._process = subprocess.Popen(
                # What a library warns of is its users' business.
                [sys.executable, "-W", "ignore", *worker, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdout=2,  # what it prints is no output of this process
                cwd=self._package,
                env=environment(self._package) | {"OMP_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C is for this process alone
            )
        self._methods: frozenset[str] = self._read()

    def _read(self) -> Any:
        try:
            return self._connection.recv()
        except (EOFError, ConnectionError):
            status = self._process.wait()
            lost = f"the worker of {self._requirement} ended with status {status}; see above"
            raise LostError(lost) from None

    def _ask(self, number: int, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of what the worker keeps by a number; its errors are raised here."""
        try:
            with self._turn:
                self._connection.send((place(), number, method, arguments, options))
                kind, answer = self._read()
        except BaseException:
            # Its next answer would be to this request.
            self._process.kill()
            self._process.wait()
            raise
        if kind == "error":
            raise answer
        if kind == "context":
            return self._context(answer)
        return partial(self._ask, answer, "__call__") if kind == "function" else answer

    @contextmanager
    def _context(self, number: int) -> Iterator[None]:
        self._ask(number, "__enter__")
        try:
            yield
        except BaseException as error:
            known = RuntimeError(repr(error))  # on both sides
            self._ask(number, "__exit__", RuntimeError, known, None)
            raise
        self._ask(number, "__exit__", None, None, None)

    def meadow(self, kind: str) -> Elementwise:
        """Return the meadow of a format, whose elements are computed with there."""
        return Elementwise(self, kind)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and self._process.poll() is not None:
            self._start()
        if name.startswith("_") or name not in self._methods:
            lacking = f"{self._requirement} does not offer {name}"
            raise AttributeError(lacking, name=name, obj=self)
        return partial(self._ask, 0, name)


remote = cache(Remote)  # equal subjects share a process
