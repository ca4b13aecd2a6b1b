"""Which subject a name stands for."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

from properties.assertions import Reference

_SUBJECTS: Final = f"{__name__.partition('.')[0]}.subjects"
BUILT_IN: Final = {
    "exact": f"{_SUBJECTS}.exact:Exact",
    "zeroproof": f"{_SUBJECTS}.ours:ZeroProof",
    "zeroproof-compiled": f"{_SUBJECTS}.variants:Compiled",
    "zeroproof-cuda": f"{_SUBJECTS}.variants:Cuda",
    "zeroproofml-0.4.3": f"{_SUBJECTS}.public:version_0_4_3",
    "zeroproofml-0.6.1": f"{_SUBJECTS}.public:version_0_6_1",
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
        found: Any = reduce(getattr, path.split("."), importlib.import_module(module))
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            remedy = "install it, or use a checkout of the repository"
            raise SubjectError(f"subject {name!r} needs {error.name!r}; {remedy}") from error
        raise SubjectError(
            f"subject {name!r}: there is no module {error.name!r}; "
            "run in its folder, or put that on PYTHONPATH"
        ) from None
    except AttributeError as error:
        raise SubjectError(
            f"subject {name!r}: {error}; name a class, a function or an instance"
        ) from None
    if inspect.isclass(found) or inspect.isroutine(found):
        return Chosen(name, Reference(module, f"{path}()"), found)
    return Chosen(name, Reference(module, path), lambda: found)
