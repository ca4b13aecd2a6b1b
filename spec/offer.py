"""What a subject has to offer: the methods of the protocols, with their types."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Container, Iterator
from dataclasses import MISSING, fields, is_dataclass
from textwrap import fill, indent, wrap
from types import UnionType
from typing import Any, Final, Protocol, get_args, get_origin, get_type_hints, is_typeddict

from .clause import Clause, sources
from .laws import Computes

MODULES: Final = re.compile(r"\b(?:[a-z_]\w*\.)+(?=\w)|~")
NAMES: Final = re.compile(r"\b[A-Z][A-Za-z_]*[A-Za-rt-z]")  # without the s of a plural
WIDTH: Final = 98
LONG: Final = 600  # characters of a constant, which are for its module to show


class _Shown(str):
    """A type as :func:`inspect.signature` is to print it."""

    __repr__ = str.__str__


def protocol_of(clause: Clause) -> type:
    """Return the protocol of a clause's subject; a law, which has no subject, is computed with."""
    protocol: type = get_type_hints(clause.predicate).get("subject", Computes)
    return protocol


def methods(protocol: type) -> dict[str, Callable[..., Any]]:
    """Return the public methods and properties of a protocol and its bases, by name."""
    found: dict[str, Callable[..., Any]] = {}
    for kind in reversed(protocol.__mro__):
        for name, member in vars(kind).items() if kind is not Protocol else ():
            function = member.fget if isinstance(member, property) else member
            if not name.startswith("_") and inspect.isfunction(function):
                found[name] = function
    return found


def asked(clause: Clause) -> list[str]:
    """Return the names of the methods that a predicate calls, and of all properties."""
    protocol, text = protocol_of(clause), "\n".join(sources(clause.predicate))
    return [name for name in methods(protocol)
            if _is_property(protocol, name) or re.search(rf"\.{name}\b", text)]  # fmt: skip


def offered(protocol: type, names: Container[str]) -> str:
    """Return the signatures of these of a protocol's methods, and what their types consist of."""
    kinds, lines = [protocol], list[str]()
    for kind in kinds:  # which grows as types are shown
        if kind is not protocol:
            head = f"{kind.__name__} ({kind.__module__})"
            lines += ["", head, indent(_doc(kind, kind.__module__), "  ")]
        for member, doc in _members(kind, kinds, names if kind is protocol else methods(kind)):
            lines += wrap(member, WIDTH, initial_indent="  ", subsequent_indent=" " * 6,
                          break_long_words=False, break_on_hyphens=False)  # fmt: skip
            lines += [indent(doc, " " * 6)] if doc else []
    return "\n".join(lines)


def _is_property(kind: type, name: str) -> bool:
    return isinstance(inspect.getattr_static(kind, name), property)


def _doc(thing: Any, module: str) -> str:
    """Return a docstring, and what the constants and the unions that it names are."""
    text, home = inspect.getdoc(thing) or "", vars(sys.modules[module])
    for name in dict.fromkeys(NAMES.findall(text)):
        if isinstance(value := home.get(name), (tuple, dict, UnionType)):
            told = repr(value) if len(repr(value)) < LONG else f"see {module}"
            text += "\n" + fill(f"{name}: {told}", WIDTH - 6)
    return text


def _members(kind: type, kinds: list[type], names: Container[str]) -> Iterator[tuple[str, str]]:
    """Walk the fields of a type, or these methods of a protocol, each with its docstring."""
    if not getattr(kind, "_is_protocol", False):
        usual = {f.name: f.default for f in fields(kind)} if is_dataclass(kind) else {}
        for name, hint in get_type_hints(kind).items():
            default = usual.get(name, MISSING)
            end = "" if default is MISSING else f" = {default!r}"
            yield f"{name}: {_shown(hint, kinds)}{end}", ""
        return
    for name, function in ((n, m) for n, m in methods(kind).items() if n in names):
        signature, hints = inspect.signature(function), get_type_hints(function)
        typed = {n: _shown(hint, kinds) for n, hint in hints.items()}
        parameters = [
            p.replace(annotation=typed.get(p.name, p.empty)) for p in signature.parameters.values()
        ]
        shown = signature.replace(parameters=parameters, return_annotation=typed["return"])
        attribute = f"{name}: {typed['return']}" if _is_property(kind, name) else ""
        yield attribute or f"{name}{shown}", _doc(function, function.__module__)


def _shown(hint: Any, kinds: list[type]) -> _Shown:
    """Return a type as text, and note those of the specification that it consists of."""
    for part in get_args(hint):
        _shown(part, kinds)
    kind = get_origin(hint) or hint
    home = getattr(kind, "__module__", "").partition(".")[0] == __name__.partition(".")[0]
    told = is_dataclass(kind) or is_typeddict(kind) or getattr(kind, "_is_protocol", False)
    if home and told and kind not in kinds:
        kinds.append(kind)
    return _Shown(MODULES.sub("", "None" if hint is type(None) else inspect.formatannotation(hint)))
