"""What a subject has to offer: the methods of the protocols, with their types."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol, get_args, get_origin, get_type_hints, is_typeddict

from .clause import Clause
from .laws import Computes

MODULES: Final = re.compile(r"\b(?:[a-z_]\w*\.)+(?=\w)|~")
WIDTH: Final = 98


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


def offered(protocol: type) -> str:
    """Return the signatures of a protocol, and what the types in them consist of."""
    lines = [line for method in methods(protocol).items() for line in _described(*method)]
    kinds: list[type] = []
    for function in methods(protocol).values():
        for hint in get_type_hints(function).values():
            _collect(hint, kinds)
    for kind in kinds:
        lines += ["", kind.__name__, textwrap.indent(inspect.getdoc(kind) or "", " " * 2)]
        lines += _members(kind)
    return "\n".join(lines)


def _described(name: str, function: Callable[..., Any]) -> Iterator[str]:
    """Walk the lines of a method: its signature with the types resolved, and its docstring."""
    hints, signature = get_type_hints(function), inspect.signature(function)
    parameters = [
        p.replace(annotation=_shown(hints[p.name])) if p.name in hints else p
        for p in signature.parameters.values()
    ]
    shown = signature.replace(parameters=parameters, return_annotation=_shown(hints["return"]))
    yield from _wrapped(f"{name}{shown}")
    yield textwrap.indent(inspect.getdoc(function) or "", " " * 6)


def _shown(hint: Any) -> _Shown:
    return _Shown(MODULES.sub("", "None" if hint is type(None) else inspect.formatannotation(hint)))


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent=" " * 6,
                         break_long_words=False, break_on_hyphens=False)  # fmt: skip


def _fields(kind: type) -> dict[str, str]:
    """Return the defaults of the fields that a type has, as text; empty for none."""
    if dataclasses.is_dataclass(kind):
        none = dataclasses.MISSING
        found = {f.name: f.default for f in dataclasses.fields(kind)}
        return {n: "" if value is none else f" = {value!r}" for n, value in found.items()}
    return dict.fromkeys(get_type_hints(kind), "") if is_typeddict(kind) else {}


def _members(kind: type) -> Iterator[str]:
    for name, default in _fields(kind).items():
        yield from _wrapped(f"{name}: {_shown(get_type_hints(kind)[name])}{default}")
    for method in methods(kind).items() if getattr(kind, "_is_protocol", False) else ():
        yield from _described(*method)


def _collect(hint: Any, found: list[type]) -> None:
    """Note the types of the specification in a type hint, and those in their fields."""
    for part in get_args(hint):
        _collect(part, found)
    kind = get_origin(hint) or hint
    home = getattr(kind, "__module__", "").partition(".")[0] == __name__.partition(".")[0]
    if home and isinstance(kind, type) and kind not in found and any(_members(kind)):
        found.append(kind)
        for name in _fields(kind):
            _collect(get_type_hints(kind)[name], found)
