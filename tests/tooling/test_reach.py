"""Who claims a clause is reached by it: a property of the clause runs the code that claims it."""

from __future__ import annotations

import ast
import os
import pickle
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import Unsatisfiable

from properties import test_layers, test_networks, trace
from properties.assertions import JUDGE, Unsupported
from properties.conformance.suite import arguments_of, trials_of
from properties.subjects.zeroproof import ZeroProof, ranks
from spec import CLAUSES, check

INPUTS = 20  # of each property; most claims are reached by the first
SECONDS = 3.0  # of the processor, for each property; one input is tried in any case
PACKAGE = trace.ROOT / "zeroproof"
CLAIMS = trace.claims(PACKAGE)
Place = tuple[str, range]  # a file, and the lines of one function or class in it


def places(node: ast.AST, file: str, name: str) -> Iterator[tuple[str, Place]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
            first = min([child.lineno, *(d.lineno for d in child.decorator_list)])
            yield f"{name}.{child.name}", (file, range(first, (child.end_lineno or first) + 1))
            yield from places(child, file, f"{name}.{child.name}")


# Constants and packages claim, too, but have no lines to run.
PLACES: dict[str, Place] = {
    name: place
    for path in PACKAGE.rglob("*.py")
    for name, place in places(
        ast.parse(path.read_text("utf-8")),
        str(path),
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts),
    )
}


class Enough(BaseException):
    """All is reached, or enough was tried; Hypothesis passes it on at once."""


@dataclass
class Reach:
    """Notes which claimants of a clause run, in this process and in those that it forks."""

    id: str
    folder: Path
    left: dict[str, Place] = field(init=False)
    seen: set[tuple[str, int]] = field(default_factory=set)
    tried: int = 0  # inputs of the present property
    began: float = 0.0

    def __post_init__(self) -> None:
        self.left = {name: PLACES[name] for name in CLAIMS[self.id] if name in PLACES}

    def note(self, frame: FrameType, event: str, argument: object) -> None:
        self.seen.add((frame.f_code.co_filename, frame.f_code.co_firstlineno))

    def judge(self, id: str, subject: object, inputs: tuple[object, ...]) -> None:
        if id == self.id:
            with suppress(Exception, Unsupported), self.noting():  # which other tests report
                check(id, subject, *inputs)
            self.stop_if_reached()
            self.tried += 1
            if self.tried >= INPUTS or time.process_time() - self.began > SECONDS:
                raise Enough

    @contextmanager
    def noting(self) -> Iterator[None]:
        before = sys.gettrace()
        sys.settrace(self.note)
        try:
            yield
        finally:
            sys.settrace(before)
            for path in self.folder.iterdir():
                self.seen |= pickle.loads(path.read_bytes())
                path.unlink()

    def stop_if_reached(self) -> None:
        reached = {
            name
            for name, (file, lines) in self.left.items()
            if any(seen == file and line in lines for seen, line in self.seen)
        }
        self.left = {name: self.left[name] for name in self.left.keys() - reached}
        if not self.left:
            raise Enough

    def run(self, test: Callable[..., object], **arguments: object) -> None:
        self.tried, self.began = 0, time.process_time()
        with few(test), suppress(Enough, Unsatisfiable, Unsupported):
            test(**arguments)


def few(test: Any) -> AbstractContextManager[object]:
    chosen = settings(
        max_examples=INPUTS,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    return mock.patch.object(test, "_hypothesis_internal_use_settings", chosen, create=True)


def without_subject(id: str) -> Iterator[tuple[Callable[..., object], dict[str, Any]]]:
    """Walk the properties of a clause that need no subject, with their arguments."""
    for name, test in (*vars(test_networks).items(), *vars(test_layers).items()):
        if name.startswith("test_") and "subject" not in signature(test).parameters:
            for chapter, numbers in re.findall(r"([A-Z]+)((?:_\d+)+)", name):
                if id in {f"{chapter}-{number}" for number in numbers.strip("_").split("_")}:
                    yield from ((test, arguments) for arguments in arguments_of(test))


def search(reach: Reach) -> None:
    JUDGE.set(reach.judge)
    with suppress(Enough):
        for test, arguments in trials_of(reach.id):
            reach.run(test, subject=ZeroProof(), **arguments)
            reach.stop_if_reached()
        for test, arguments in without_subject(reach.id):
            with reach.noting():
                reach.run(test, **arguments)
            reach.stop_if_reached()


@pytest.mark.parametrize("id", [id for id in CLAUSES if id in CLAIMS])
def test_a_property_of_the_clause_runs_all_that_claim_it(
    id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach, run = Reach(id, tmp_path), ranks._run

    def run_and_tell(*arguments: Any) -> None:
        run(*arguments)
        (tmp_path / str(os.getpid())).write_bytes(pickle.dumps(reach.seen))

    monkeypatch.setattr(ranks, "_run", run_and_tell)
    # Another process would not be noted; here types are checked, so that tracing fails later.
    here = lambda self, plan: self.train(plan, compile=True)  # noqa: E731
    monkeypatch.setattr(ZeroProof, "train_compiled", here)
    copy_context().run(search, reach)
    unreached = sorted(reach.left)
    assert not unreached, f"no property of {id} runs {', '.join(unreached)}"
