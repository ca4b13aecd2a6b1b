"""The suite can fail: each broken subject fails its clause. (The exact reference fails none, for
every property runs on it.)
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from contextvars import copy_context
from inspect import signature
from itertools import product
from typing import Any

import pytest

import properties
from properties.hold import ClauseError, unshrunk
from properties.subjects.broken import BROKEN, Broken
from spec import CLAUSES

LEAST = 25
Property = Callable[..., None]


def properties_of(id: str) -> Iterator[Property]:
    """Walk the sampled properties that are named by a clause."""
    prefix = f"test_{id.replace('-', '_')}_"
    for module in pkgutil.iter_modules(properties.__path__, "properties."):
        if module.name.startswith("properties.test_"):
            for name, test in vars(importlib.import_module(module.name)).items():
                if not name.startswith(prefix) or "subject" not in signature(test).parameters:
                    continue
                if "exhaustive" not in {mark.name for mark in getattr(test, "pytestmark", ())}:
                    yield test


def _arguments(test: Property) -> Iterator[dict[str, Any]]:
    """Walk what a property's parametrizations pass to it."""
    marks = [m for m in getattr(test, "pytestmark", ()) if m.name == "parametrize"]
    choices = [[(mark.args[0], value) for value in mark.args[1]] for mark in marks]
    return (dict(chosen) for chosen in product(*choices))


def _fails(test: Property, broken: Broken) -> bool:
    with unshrunk(test):
        try:
            for arguments in _arguments(test):
                test(subject=broken.subject(), **arguments)
        except Exception as error:
            # What depends on what was done before fails in several ways, which come together.
            failures = getattr(error, "exceptions", (error,))
            if not all(isinstance(failure, ClauseError) for failure in failures):
                raise
            return any(str(failure).startswith(f"{broken.clause} ") for failure in failures)
    return False


@pytest.mark.parametrize("broken", BROKEN, ids=lambda b: f"{b.clause}-{b.subject.__name__}")
def test_each_broken_subject_fails_its_clause(broken: Broken) -> None:
    # In a context of its own, in which a broken scope may be left open.
    caught = copy_context().run
    found = [test for test in properties_of(broken.clause) if caught(_fails, test, broken)]
    assert found, f"no property of {broken.clause} caught {broken.subject.__doc__}"


def test_there_are_enough_of_them() -> None:
    assert len({broken.subject for broken in BROKEN}) >= LEAST
    assert {broken.clause for broken in BROKEN} <= CLAUSES.keys()
