"""Which subject a name stands for."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import reduce
from typing import Any, Final

from properties.assertions import Reference
from properties.conformance.suite import STEPS
from spec import CLAUSES
from spec.offer import methods, protocol_of

_SUBJECTS: Final = f"{__name__.partition('.')[0]}.subjects"
BUILT_IN: Final = {
    "exact": f"{_SUBJECTS}.exact:Exact",
    "zeroproof": f"{_SUBJECTS}.zeroproof:ZeroProof",
    "zeroproof-compiled": f"{_SUBJECTS}.variants:Compiled",
    "zeroproof-cuda": f"{_SUBJECTS}.variants:Cuda",
    "zeroproofml-0.4.3": f"{_SUBJECTS}.third_party:version_0_4_3",
    "zeroproofml-0.6.1": f"{_SUBJECTS}.third_party:version_0_6_1",
}


class SubjectError(ValueError):
    """There is no such subject; the message says what to give instead."""


@dataclass(frozen=True)
class Chosen:
    """A subject, made when it is needed, and how a snippet gets it."""

    name: str
    reference: Reference
    make: Callable[[], object]


def choose(name: str) -> Chosen:
    """Return what ``module:object`` or the name of a built-in subject stands for.

    A class or a function is called without arguments; anything else is the subject.

    Raises:
        SubjectError: there is none.

    Example:
        >>> choose("exact").reference.line
        'from properties.subjects.exact import Exact'
    """
    module, colon, path = BUILT_IN.get(name, name).partition(":")
    if not colon or not path:
        known = ", ".join(BUILT_IN)
        raise SubjectError(f"subject {name!r} is neither 'module:object' nor one of {known}")
    try:
        home = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            remedy = "install it, or use a checkout of the repository"
            raise SubjectError(f"subject {name!r} needs {error.name!r}; {remedy}") from error
        raise SubjectError(
            f"subject {name!r}: there is no module {error.name!r}; name it as an import does, "
            "without '.py', and run in its folder, or put that on PYTHONPATH"
        ) from None
    try:
        found: Any = reduce(getattr, path.split("."), home)
    except AttributeError as error:
        raise SubjectError(
            f"subject {name!r}: {error}; name a class, a function or an instance"
        ) from None
    if inspect.isclass(found) or inspect.isroutine(found):
        return Chosen(name, Reference(module, f"{path}()"), found)
    return Chosen(name, Reference(module, path), lambda: found)


def unknown(subject: object) -> tuple[str, ...]:
    """Return the public methods of a subject that no protocol names, and what may be meant.

    What the suite's own classes have besides serves their subclasses.
    """
    known = {STEPS, *(name for c in CLAUSES.values() for name in methods(protocol_of(c)))}
    found: set[str] = set()
    for place in [subject, *type(subject).__mro__]:
        own = getattr(place, "__module__", "").startswith(_SUBJECTS) and place is not subject
        for name, member in getattr(place, "__dict__", {}).items():
            function = getattr(member, "fget", None) or getattr(member, "__func__", member)
            home = getattr(function, "__module__", "")
            there = not inspect.ismodule(place) or home == place.__name__  # not imported
            if there and inspect.isfunction(function) and not name.startswith("_"):
                (known if own else found).add(name)
    near = {name: get_close_matches(name, known, 1) for name in sorted(found - known)}
    return tuple(f"{n} (did you mean {m[0]}?)" if m else n for n, m in near.items())
