"""Fixtures: the conformance command, with subjects to judge, and a reader of the test vectors."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tooling.helpers import EXAMPLES

SUBJECTS = '''
from contextlib import nullcontext

from properties.assertions import Unsupported
from properties.subjects.exact import Exact


class Partial:
    """Lifts by hand: a pole stays what it is, NaN is refused, and there is nothing else."""

    def lift(self, y):
        if y.dtype == "bfloat16":
            raise Unsupported("no bfloat16")
        if y.dtype in ("bool", "complex64", "complex128"):
            raise TypeError(y.dtype)
        if y.dtype.startswith(("int", "uint")):
            return self.convert(y)
        return y, y.full(1.0, like=y)

    def using_default_dtype(self, name):
        return nullcontext()

    def decode(self, case):
        raise KeyError("a fault < of its own")

    def draw(self, *arguments):
        raise SystemExit(4)


class Uncovered(Exact):
    """Takes an infinite value, and a tuple whose numerator is NaN, for numbers."""

    def bottom_mask(self, batch, tau):
        if batch.form == "value":
            return tuple(x != x for x in batch.first.values)
        if batch.form == "tuple":
            return tuple(not abs(q) >= tau for q in batch.second.values)
        return super().bottom_mask(batch, tau)


class Untyped(Exact):
    """Returns nothing where a number is asked for."""

    def batch_coverage(self, batch, tau):
        pass


class Moody(Exact):
    """Fails when it is asked for a second time in a process."""

    times = 0

    def draw(self, *arguments):
        Moody.times += 1
        return super().draw(*arguments) if Moody.times < 3 else [-1.0]


exact = Exact()


class Misspelt:
    """Lifts, by a name that no protocol has; what is private or inherited is its own affair."""

    def lifts(self, y):
        return y, y.full(1.0, like=y)

    @staticmethod
    def something_else():
        pass

    def _lift(self, y):
        pass


def deadly():
    class Deadly(Exact):
        def draw(self, *arguments):
            import os
            os._exit(3)
    return Deadly()
'''


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, Any]]:
    """Call the command in a folder with subjects; return its status and its report."""
    from properties.conformance.command import main

    (tmp_path / "those.py").write_text(SUBJECTS, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "those", raising=False)

    def call(subject: str, *options: str) -> tuple[int, Any]:
        status = main(["--subject", subject, "--report", "out.json", "--jobs", "0", *options])
        return status, json.loads(Path("out.json").read_text("utf-8"))

    return call


@pytest.fixture(scope="module")
def reader() -> Any:
    """The reader in Python, imported from its folder as a user would."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        import read
        import small
    finally:
        sys.path.remove(str(EXAMPLES))
    return read, small
