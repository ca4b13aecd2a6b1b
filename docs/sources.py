"""What the pages are made of: texts as Markdown, and sources as they are written."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

from spec.clause import Clause
from spec.lock import ID

ROOT: Final = Path(__file__).parent.parent
# Tools around the specification, which say nothing about what is specified.
TOOLS: Final = (
    "spec", "spec.evidence", "spec.expressions", "spec.glossary", "spec.lock", "spec.offer",
    "spec.vectors",
)  # fmt: skip
TOKEN: Final = re.compile(
    r"``(?P<literal>.*?)``|:\w+:`~?(?P<role>[^`]*)`|"
    rf"(?P<id>{ID.pattern})"
    r"|(?P<emphasis>(?<![\w*])\*\w[\w -]*\*(?![\w*]))|[!-/:-@\[-`{-~]"
)


def prose(text: str) -> str:
    """Return a docstring's text as Markdown: literals kept, clauses linked, all else verbatim."""
    return TOKEN.sub(_token, text)


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a docstring as Markdown."""
    return [prose(" ".join(part.split())) + "\n" for part in text.split("\n\n") if part.strip()]


def _token(match: re.Match[str]) -> str:
    if literal := match["literal"] or match["role"]:
        return f"`` {literal} ``"
    if id := match["id"]:
        return f"{{clause}}`{id}`"
    return match[0] if match["emphasis"] else f"\\{match[0]}"


def toctree(documents: Iterable[str]) -> str:
    """Return the hidden table of contents that puts pages below this one."""
    return "```{toctree}\n:hidden:\n" + "".join(f"{name}\n" for name in documents) + "```\n"


def code(source: str, language: str = "python") -> str:
    """Return a block of code."""
    return f"``````{{code-block}} {language}\n{source.rstrip()}\n``````\n"


@dataclass(frozen=True)
class Definition:
    """A statement at the top of a module, as it is written there."""

    name: str
    source: str
    line: int
    protocol: bool

    def section(self, module: str, heading: str = "###", note: str = "") -> str:
        """Return the definition, under a heading of its own unless it is a constant."""
        head = "" if self.name.isupper() else f"{heading} `{self.name}`\n\n"
        return f"({anchor(module, self.name)})=\n{head}{note}{code(self.source)}"


def anchor(module: str, name: str) -> str:
    """Return the target of a definition; targets know no case, names do."""
    kind = "constant-" if name.isupper() else "class-" if name[0].isupper() else ""
    return f"{module}-{kind}{name}".replace(".", "-").lower()


@cache
def definitions(path: Path) -> tuple[Definition, ...]:
    """Return what a module defines, in order, with the comments above and the texts below."""
    text = path.read_text("utf-8")
    lines, found = text.splitlines(), []
    body = ast.parse(text).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            name, last = node.name, node.end_lineno
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            name = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
            last = (after if isinstance(after, ast.Expr) else node).end_lineno
        else:
            continue
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
        top = first
        while lines[top - 2].startswith("#"):
            top -= 1
        source = "\n".join(lines[top - 1 : last])
        bases = [ast.unparse(base).partition("[")[0] for base in getattr(node, "bases", ())]
        if name not in ("__all__", "pytestmark"):
            found.append(Definition(name, source, first, "Protocol" in bases))
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


def used(clause: Clause) -> list[tuple[ModuleType, Definition]]:
    """Return what a predicate uses of the specification; of private helpers, what they use too."""
    home, found = module_of(clause), dict[str, tuple[ModuleType, Definition]]()
    waiting = [inspect.getsource(clause.predicate)]
    while waiting:
        tree = list(ast.walk(ast.parse(waiting.pop())))
        nodes = [node for node in tree if isinstance(node, ast.Name)]
        local = {node.id for node in nodes if isinstance(node.ctx, ast.Store)}
        local |= {node.arg for node in tree if isinstance(node, ast.arg)}
        for name in dict.fromkeys(n.id for n in nodes if n.id not in local | {"clause"}):
            place = getattr(vars(home).get(name), "__module__", "")
            # A constant has the module of its type, so its own is the only one to look in.
            module = importlib.import_module(place) if place.startswith("spec.") else home
            known = {d.name: d for d in definitions(path_of(module))}
            if name in known and name not in found:
                found[name] = module, known[name]
                waiting += [known[name].source] if name.startswith("_") else []
    return list(found.values())


@cache
def property_files() -> tuple[Path, ...]:
    """Return the files that hold subjects to clauses, prove them, or make the inputs."""
    folder = ROOT / "properties"
    files = sorted([*folder.glob("*.py"), *folder.glob("proofs/prove_*.py")])
    tells = re.compile(r"\btest_[A-Z]+_\d|SearchStrategy")
    return tuple(p for p in files if "proofs" in p.parts or tells.search(p.read_text("utf-8")))


def is_tool(name: str) -> bool:
    """Tell whether a module is one of the tools, or a part of one."""
    return name in TOOLS or name.startswith(tuple(f"{tool}." for tool in TOOLS[1:]))


def public_modules(package: str) -> Iterator[str]:
    """Walk the modules of a package without a leading underscore, itself first."""
    yield package
    found = importlib.import_module(package)
    for module in pkgutil.walk_packages(found.__path__, f"{package}."):
        if not any(part.startswith("_") for part in module.name.split(".")):
            yield module.name
