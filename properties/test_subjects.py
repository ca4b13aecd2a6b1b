"""The suite can fail: each broken subject fails its clause, and the exact reference none."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator

import pytest
from hypothesis import Phase, settings

import properties
from properties.hold import ClauseError
from properties.subjects.broken import BROKEN, Broken
from spec import CLAUSES

LEAST = 25


def properties_of(id: str) -> Iterator[Callable[..., None]]:
    """Walk the properties that take a subject and nothing else, and are named by a clause."""
    prefix = f"test_{id.replace('-', '_')}_"
    for module in pkgutil.iter_modules(properties.__path__, "properties."):
        if module.name.startswith("properties.test_"):
            for name, function in vars(importlib.import_module(module.name)).items():
                alone = (
                    list(inspect.signature(function).parameters) == ["subject"]
                    if callable(function) and name.startswith(prefix)
                    else False
                )
                if alone:
                    yield function


def _fails(test: Callable[..., None], broken: Broken) -> bool:
    quick = settings(settings.default, phases=[Phase.explicit, Phase.generate])
    previous = getattr(test, "_hypothesis_internal_use_settings", None)
    test._hypothesis_internal_use_settings = quick  # type: ignore[attr-defined]
    try:
        test(broken.subject())
    except ClauseError as error:
        return str(error).startswith(broken.clause + " ")
    finally:
        test._hypothesis_internal_use_settings = previous  # type: ignore[attr-defined]
    return False


@pytest.mark.parametrize("broken", BROKEN, ids=lambda b: f"{b.clause}-{b.subject.__name__}")
def test_each_broken_subject_fails_its_clause(broken: Broken) -> None:
    found = [test for test in properties_of(broken.clause) if _fails(test, broken)]
    assert found, f"no property of {broken.clause} caught {broken.subject.__doc__}"


def test_there_are_enough_of_them() -> None:
    assert len({broken.subject for broken in BROKEN}) >= LEAST
    assert {broken.clause for broken in BROKEN} <= CLAUSES.keys()
