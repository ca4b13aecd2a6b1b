"""A subject whose library runs in a process of its own."""

from __future__ import annotations

import atexit
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.packages import ROOT, environment, fetch
from properties.subjects.public.wire import Found, Kept, Place, Request, portable

FOLDER = ROOT / "build" / "packages"


class LostError(BaseException):
    """There is no worker; no ``Exception``, so that no clause takes it for a refusal."""


class Worker:
    """The process. It answers one request at a time, whoever asks."""

    def __init__(self, package: Path, adapter: str) -> None:
        flags = ["-W", "ignore"]  # what a library warns of is its users' business
        self._process = subprocess.Popen(
            [sys.executable, *flags, "-m", "properties.subjects.public.worker", adapter],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=package,
            env=environment(package) | {"OMP_NUM_THREADS": "1"},
        )
        self._turn = threading.Lock()
        atexit.register(self.close)
        found: Found = self._read()
        self.found = found
        if package not in Path(found.path).parents:
            self.close()
            raise LostError(f"zeroproof was imported from {found.path}, not {package}")

    def _read(self) -> Any:
        assert self._process.stdout is not None
        try:
            return pickle.load(self._process.stdout)
        except EOFError:
            self.close()
            status = self._process.returncode
            raise LostError(f"a worker ended with status {status}; see above") from None

    def ask(self, method: str | Kept, *arguments: Any, **options: Any) -> Any:
        """Call a method, or what was kept; its errors are raised here."""
        assert self._process.stdin is not None
        request = Request(Place.here(), method, arguments, tuple(options.items()))
        with self._turn:
            pickle.dump(request, self._process.stdin)
            self._process.stdin.flush()
            failed, answer = self._read()
        if failed:
            raise answer
        if isinstance(answer, Kept):
            return self._context(answer) if answer.kind == "context" else self._function(answer)
        return answer

    def _function(self, kept: Kept) -> Callable[..., Any]:
        return lambda *arguments: self.ask(kept, *arguments)

    @contextmanager
    def _context(self, kept: Kept) -> Iterator[None]:
        self.ask(kept, None)
        try:
            yield
        except BaseException as error:
            self.ask(kept, portable(error))
            raise
        else:
            self.ask(kept, None)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@cache
def _worker(requirement: str, adapter: str) -> Worker:
    return Worker(fetch(requirement, FOLDER).resolve(), adapter)


class Remote:
    """Offers what the worker's subject offers, each call carried out there.

    A thread or a task that calls has its like in the worker, so that what is local to one here is
    local to one there. Equal subjects share a process.
    """

    def __init__(self, name: str, requirement: str, adapter: str) -> None:
        self._name, self._made = name, (requirement, adapter)

    def __repr__(self) -> str:
        return f"{self._name}()"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        worker = _worker(*self._made)
        if name in worker.found.attributes:
            return worker.found.attributes[name]
        if name not in worker.found.methods:
            raise AttributeError(f"{self._made[0]} does not offer {name}")
        return lambda *arguments, **options: worker.ask(name, *arguments, **options)
