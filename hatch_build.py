"""What a wheel holds besides the package: the specification and its properties.

There they have names that cannot collide, ``zeroproof_spec`` and ``zeroproof_properties``, so their
imports and the names of modules in their strings are written anew.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLAIN = re.compile(r"^(\s*import )(spec|properties)$", re.MULTILINE)
NAMED = re.compile(r"(^\s*(?:from|import) |(?<=[\"'`]))(spec|properties)(?=[. ]\w)", re.MULTILINE)
# What needs pytest's own run, or the repository around it.
LEFT_OUT = ("conftest.py", "test_faults.py", "test_networks.py", "trace.py", "proofs", "faults")


def renamed(source: str) -> str:
    """Return a module's source with the names that packages have where they are installed."""
    return NAMED.sub(r"\1zeroproof_\2", PLAIN.sub(r"\1zeroproof_\2 as \2", source))


class Properties(BuildHookInterface):  # type: ignore[misc]
    """Adds the properties and the command's module to a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write them anew into a folder that is packed."""
        if version == "editable":
            return
        root, self.folder = Path(self.root), Path(tempfile.mkdtemp())
        package = self.folder / "properties"
        shutil.copytree(
            root / "properties", package, ignore=shutil.ignore_patterns("__pycache__", *LEFT_OUT)
        )
        shutil.copy(root / "zeroproof_conformance.py", self.folder)
        for path in self.folder.rglob("*.py"):
            path.write_text(renamed(path.read_text("utf-8")), "utf-8")
        build_data["force_include"] |= {
            str(package): "zeroproof_properties",
            str(self.folder / "zeroproof_conformance.py"): "zeroproof_conformance.py",
        }

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the folder."""
        if version != "editable":
            shutil.rmtree(self.folder)
