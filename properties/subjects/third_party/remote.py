"""A subject whose library runs in a process of its own."""

from __future__ import annotations

import atexit
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.packages import ROOT, environment, fetch
from properties.subjects.third_party.wire import Found, Kept, Place, Request, portable
from spec.carriers import Elementwise

FOLDER = ROOT / "build" / "packages"


class LostError(BaseException):
    """There is no worker; no ``Exception``, so that no clause takes it for a refusal."""


class Worker:
    """The process. It answers one request at a time, whoever asks."""

    def __init__(self, package: Path, adapter: str) -> None:
        flags = ["-W", "ignore"]  # what a library warns of is its users' business
        self._process = subprocess.Popen(
            [sys.executable, *flags, "-m", "properties.subjects.third_party.worker", adapter],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=package,
            env=environment(package) | {"OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for this process alone
        )
        self._turn = threading.Lock()
        atexit.register(self.close)
        self.found: Found = self._read()
        if package not in Path(self.found.path).parents:
            self.close()
            raise LostError(f"zeroproof was imported from {self.found.path}, not {package}")

    @property
    def ended(self) -> bool:
        """Whether it can no longer answer."""
        return self._process.poll() is not None

    def _read(self) -> Any:
        assert self._process.stdout is not None
        try:
            return pickle.load(self._process.stdout)
        except EOFError:
            self.close()
            status = self._process.returncode
            raise LostError(f"a worker ended with status {status}; see above") from None

    def _answer(self, request: Request) -> Any:
        assert self._process.stdin is not None
        try:
            with self._turn:
                pickle.dump(request, self._process.stdin)
                self._process.stdin.flush()
                return self._read()
        except BaseException:
            # Its next answer would be to this request.
            self._process.kill()
            self._process.wait()
            raise

    def ask(self, method: str | Kept, *arguments: Any, **options: Any) -> Any:
        """Call a method, or what was kept; its errors are raised here."""
        failed, answer = self._answer(
            Request(Place.here(), method, arguments, tuple(options.items()))
        )
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
        if not self.ended:
            self._process.communicate()


_workers: dict[tuple[int, Path, str], Worker] = {}


def worker_of(package: Path, adapter: str) -> Worker:
    """Return this process's worker of a package, started if there is none.

    One that was inherited by a fork answers to another process.
    """
    key = os.getpid(), package, adapter
    known = _workers.get(key)
    if known is None or known.ended:
        known = _workers[key] = Worker(package, adapter)
    return known


class Remote:
    """Offers what the worker's subject offers, each call carried out there.

    A thread or a task that calls has its like in the worker, so that what is local to one here is
    local to one there. Equal subjects share a process.

    Raises:
        FetchError: the package cannot be installed.
    """

    def __init__(self, name: str, requirement: str, adapter: str) -> None:
        self._name, self._requirement = name, requirement
        self._made = fetch(requirement, FOLDER).resolve(), adapter

    def __repr__(self) -> str:
        return f"{self._name}()"

    def meadow(self, kind: str) -> Elementwise:
        """Return the meadow of a format, whose elements are computed with there."""
        return Elementwise(self, kind)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name, name=name, obj=self)
        found = worker_of(*self._made).found
        if name in found.attributes:
            return found.attributes[name]
        if name not in found.methods:
            lacking = f"{self._requirement} does not offer {name}"
            raise AttributeError(lacking, name=name, obj=self)
        return lambda *arguments, **options: worker_of(*self._made).ask(name, *arguments, **options)
