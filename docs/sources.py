"""What the pages are made of: texts as Markdown, and sources as they are written."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

from spec.clause import Clause

ROOT: Final = Path(__file__).parent.parent
# Tools around the specification, which say nothing about what is specified.
TOOLS: Final = ("spec", "spec.evidence", "spec.lock")
ID: Final = re.compile(r"\b[A-Z]{3,4}-\d+\b")
TOKEN: Final = re.compile(
    r"``(?P<literal>.*?)``|(?P<id>\b[A-Z]{3,4}-\d+\b)"
    r"|(?P<emphasis>(?<![\w*])\*\w[\w -]*\*(?![\w*]))|[!-/:-@\[-`{-~]"
)


def prose(text: str) -> str:
    """Return a docstring's text as Markdown: literals kept, clauses linked, all else verbatim."""
    return TOKEN.sub(_token, text)


def _token(match: re.Match[str]) -> str:
    if literal := match["literal"]:
        return f"`` {literal} ``"
    if id := match["id"]:
        return f"{{clause}}`{id}`"
    return match[0] if match["emphasis"] else f"\\{match[0]}"


def code(source: str, language: str = "python") -> str:
    """Return a block of code."""
    return f"``````{{code-block}} {language}\n{source.rstrip()}\n``````\n"


@dataclass(frozen=True)
class Definition:
    """A statement at the top of a module, as it is written there."""

    name: str
    source: str
    line: int
    kind: str  # reference, protocol, predicate or property

    def section(self, module: str, heading: str = "###", note: str = "") -> str:
        """Return the definition, under a heading of its own unless it is a constant."""
        head = "" if self.name.isupper() else f"{heading} `{self.name}`\n\n"
        return f"({anchor(module, self.name)})=\n{head}{note}{code(self.source)}"


def anchor(module: str, name: str) -> str:
    """Return the target of a definition; targets know no case, names do."""
    kind = "constant-" if name.isupper() else "class-" if name[0].isupper() else ""
    return f"{module}-{kind}{name}".replace(".", "-").lower()


def _kind(node: ast.stmt, name: str) -> str:
    called = [d.func.id for d in getattr(node, "decorator_list", ())
              if isinstance(d, ast.Call) and isinstance(d.func, ast.Name)]  # fmt: skip
    bases = [base.id for base in getattr(node, "bases", ()) if isinstance(base, ast.Name)]
    if "clause" in called:
        return "predicate"
    if name.startswith(("test_", "Test", "prove_")):
        return "property"
    return "protocol" if "Protocol" in bases else "reference"


@cache
def definitions(path: Path) -> tuple[Definition, ...]:
    """Return what a module defines, in order; its imports and docstring left out."""
    text = path.read_text("utf-8")
    lines, found = text.splitlines(), []
    for node in ast.parse(text).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            name = node.name
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            name = ast.unparse(target)
        else:
            continue
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
        source = "\n".join(lines[first - 1 : node.end_lineno])
        found.append(Definition(name, source, first, _kind(node, name)))
    return tuple(found)


def module_of(clause: Clause) -> ModuleType:
    """Return the module in which a clause stands."""
    return importlib.import_module(clause.predicate.__module__)


def path_of(module: ModuleType) -> Path:
    """Return the file of a module."""
    return Path(str(module.__file__))


def summary(module: ModuleType) -> tuple[str, str]:
    """Return the first line of a module's docstring, and the rest."""
    head, _, rest = (inspect.getdoc(module) or module.__name__).partition("\n\n")
    return " ".join(head.split()), rest


def helpers(clause: Clause) -> list[Definition]:
    """Return the definitions of its own module that a predicate calls, theirs included."""
    module = module_of(clause)
    known = {d.name: d for d in definitions(path_of(module)) if d.kind == "reference"}
    waiting, used = [inspect.getsource(clause.predicate)], set[str]()
    while waiting:
        names = {node.id for node in ast.walk(ast.parse(waiting.pop()))
                 if isinstance(node, ast.Name)}  # fmt: skip
        waiting += [known[name].source for name in (names & known.keys()) - used]
        used |= names & known.keys()
    return [known[name] for name in known if name in used]


def property_files() -> Iterator[Path]:
    """Walk the files that hold subjects to clauses, prove them, or make the inputs."""
    folder = ROOT / "properties"
    for path in sorted([*folder.glob("*.py"), *folder.glob("proofs/*.py")]):
        text = path.read_text("utf-8")
        if path.stem.startswith("prove_") or re.search(r"^    hold\(|SearchStrategy", text, re.M):
            yield path


def public_modules(package: str) -> Iterator[str]:
    """Walk the modules of a package without a leading underscore, itself first."""
    yield package
    found = importlib.import_module(package)
    for module in pkgutil.walk_packages(found.__path__, f"{package}."):
        if not any(part.startswith("_") for part in module.name.split(".")):
            yield module.name
