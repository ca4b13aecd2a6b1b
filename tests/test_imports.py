"""Imports point down: no room of the package knows of one above it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import zeroproof

ROOT = Path(zeroproof.__file__).parent
FLOORS = [
    {"utils"},
    {"autodiff"},
    {"scm"},
    {"losses", "layers", "inference"},
    {"training"},
    {""},  # the package itself
    {"sklearn"},
    {"command"},
    {"__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))


def imported(source: str, package: list[str]) -> Iterator[str]:
    """Walk what a module imports, also inside functions and for type checkers alone."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def rooms(source: str, package: list[str]) -> set[str]:
    """Return the rooms of the package that a module imports from; '' for the package itself."""
    found = [name.split(".") for name in imported(source, package)]
    names = [parts[1] if len(parts) > 1 else "" for parts in found if parts[0] == "zeroproof"]
    return {name if name in FLOOR or (ROOT / name).is_dir() else "" for name in names}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_point_down(path: Path) -> None:
    own = path.parts[0] if len(path.parts) > 1 else path.stem.replace("__init__", "")
    package = ["zeroproof", *path.parts[:-1]]
    found = rooms((ROOT / path).read_text(), package) - {own}
    assert not {room for room in found if FLOOR[room] >= FLOOR[own]}


def test_every_form_of_an_import_is_seen() -> None:
    source = """
import zeroproof
from zeroproof import losses, __version__
def inside():
    import zeroproof.scm.carrier, torch
    from zeroproof.training.config import TrainingConfig
    from ..layers import projective
    from .. import utils
    from . import strict
"""
    expected = {"", "losses", "scm", "training", "layers", "utils", "inference"}
    assert rooms(source, ["zeroproof", "inference"]) == expected
