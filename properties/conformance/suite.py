"""The properties of a clause, as they are run without pytest."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from functools import cache
from inspect import signature
from itertools import product
from typing import Any, Final

import properties
from spec import CLAUSES
from spec.clause import Clause

Property = Callable[..., None]
NAMED: Final = re.compile(r"test_([A-Z]+)_(?:(\d+)_(?:(?:to|and)_(\d+)_)?)?")
# It drives a subject step by step, so no single call shows its failure; STOP-3's other property
# tries the same plans.
STEPWISE: Final = "test_STOP_3_side_by_side"
STEPS: Final = "begin"  # the method that only it asks for


def marks(test: Property, name: str) -> list[Any]:
    """Return what pytest was told about a property by marks of a name."""
    return [mark for mark in getattr(test, "pytestmark", ()) if mark.name == name]


@cache
def tests() -> list[tuple[str, Property]]:
    """Return all properties that take a subject, with their names."""
    names = (module.name for module in pkgutil.iter_modules(properties.__path__))
    found = [name for name in names if name.startswith("test_")]
    members = [vars(importlib.import_module(f"{properties.__name__}.{name}")) for name in found]
    return [(name, test) for module in members for name, test in module.items()
            if name.startswith("test_") and "subject" in signature(test).parameters]  # fmt: skip


def is_named_by(name: str, clause: Clause) -> bool:
    """Tell whether a property's name has the clause's number, or its chapter and no number."""
    match = NAMED.match(name)
    if match is None or match[1] != clause.chapter:
        return False
    return match[2] is None or int(match[2]) <= clause.number <= int(match[3] or match[2])


def arguments_of(test: Property) -> Iterator[dict[str, Any]]:
    """Walk what a property's parametrizations pass to it."""
    choices = []
    for mark in marks(test, "parametrize"):
        names = mark.args[0].split(",") if isinstance(mark.args[0], str) else mark.args[0]
        rows = mark.args[1] if len(names) > 1 else [(value,) for value in mark.args[1]]
        choices.append([dict(zip(names, row, strict=True)) for row in rows])
    for chosen in product(*choices):
        yield {name: value for part in chosen for name, value in part.items()}


def trials_of(id: str) -> Iterator[tuple[Property, dict[str, Any]]]:
    """Walk the properties of a clause with their arguments, sampled ones first.

    A property of several clauses takes the id of one as an argument, and is tried with this one.
    """
    named = [t for name, t in tests() if name != STEPWISE and is_named_by(name, CLAUSES[id])]
    for test in sorted(named, key=lambda test: bool(marks(test, "exhaustive"))):
        for arguments in arguments_of(test):
            ids = {v for v in arguments.values() if isinstance(v, str) and v in CLAUSES}
            if ids <= {id} and {"subject", *arguments} >= signature(test).parameters.keys():
                yield test, arguments
