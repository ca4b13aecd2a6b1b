"""What a clause is, and the one registry of all of them."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from types import FunctionType
from typing import Any, Final, TypeVar

Predicate = TypeVar("Predicate", bound=Callable[..., None])


class Violation(AssertionError):
    """A subject breaks a clause at the inputs that the predicate was given."""


def require(holds: bool, complaint: str, *parts: object) -> None:
    """Raise :class:`Violation` unless ``holds``.

    The complaint, a format of the parts, says what came and what should have.
    """
    if not holds:
        raise Violation(complaint.format(*parts))


def refused(error: type[Exception], call: Callable[[], object]) -> bool:
    """Tell whether a call is refused with this type of error; one with another type is none."""
    try:
        call()
    except error:
        return True
    except Exception as other:
        raise Violation(f"raised {other!r}, not a {error.__name__}") from other
    return False


@dataclass(frozen=True)
class Clause:
    """A rule that people cite.

    The predicate takes a *subject*, an object that offers the operations which its chapter's
    protocol names, and inputs; it returns where the clause holds, and raises
    :class:`Violation` where it does not. A must-fail clause is a law of fields that ⊥ breaks: a
    subject meets the clause if it breaks the law somewhere.
    """

    id: str
    sentence: str
    why: str
    source: str
    since: str
    predicate: Callable[..., None]
    must_fail: bool

    @property
    def chapter(self) -> str:
        """The part of the id before its number."""
        return self.id.rpartition("-")[0]

    @property
    def number(self) -> int:
        """The number in the id."""
        return int(self.id.rpartition("-")[2])

    @property
    def digest(self) -> str:
        """A hash of the sentence, the predicate, and what of the specification it depends on."""
        parts = [self.sentence, *sorted(_called(self.predicate))]
        text = "\n".join("".join(part.split()) for part in parts)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


CLAUSES: Final[dict[str, Clause]] = {}


def clause(
    id: str, *, source: str, since: str, must_fail: bool = False
) -> Callable[[Predicate], Predicate]:
    """Register a predicate as a clause.

    The first paragraph of its docstring is the clause's sentence, the rest says why.

    Args:
        id: chapter and number, never reused.
        source: ``"Guide: …"``, ``"Paper: …"`` or ``"Ours: …"``; ours gives the reason.
        since: version of the specification in which the clause first stood.
        must_fail: whether the sentence is a law that has to be broken.

    Raises:
        ValueError: the id is taken, or the predicate has no docstring.
    """

    def register(predicate: Predicate) -> Predicate:
        paragraphs = (inspect.getdoc(predicate) or "").split("\n\n")
        sentence, *why = (" ".join(paragraph.split()) for paragraph in paragraphs)
        if id in CLAUSES or not sentence:
            raise ValueError(f"clause {id} is registered twice, or says nothing")
        CLAUSES[id] = Clause(id, sentence, " ".join(why), source, since, predicate, must_fail)
        return predicate

    return register


def check(id: str, subject: object, *inputs: Any) -> None:
    """Hold a subject to a clause at some inputs.

    Raises:
        Violation: the subject breaks it there.
        KeyError: there is no such clause.

    Example:
        >>> from spec import Array, check
        >>> class Hasty:
        ...     def lift(self, y):
        ...         return y, Array.full(1.0, like=y)
        >>> check("LIFT-1", Hasty(), Array.of([0.5]))
        >>> check("LIFT-2", Hasty(), Array.of([float("inf")]))
        Traceback (most recent call last):
        ...
        spec.clause.Violation: inf lifted to (inf, 1.0) instead of (1.0, 0.0)
    """
    CLAUSES[id].predicate(subject, *inputs)


def _called(predicate: Callable[..., Any]) -> Iterator[str]:
    """Walk the sources of a predicate and of what it uses of this package, constants included."""
    package = __name__.rpartition(".")[0]
    seen: list[object] = []
    waiting: list[object] = [predicate]
    while waiting:
        current = waiting.pop()
        waiting += [inner] if (inner := getattr(current, "__wrapped__", None)) else []
        known = getattr(current, "__module__", "").startswith(package)
        if not (known and isinstance(current, (FunctionType, type))) or current in seen:
            continue
        seen.append(current)
        if isinstance(current, type):
            yield _source(current)
            continue
        yield _source(current.__code__)
        for name in sorted(_names(current.__code__)):
            value = current.__globals__.get(name)
            waiting += value.values() if isinstance(value, dict) else [value]
            if isinstance(value, (str, int, float, Fraction, tuple)):
                yield f"{name} = {value!r}"
            if isinstance(value, dict):
                yield f"{name} = {[(k, repr(v)) for k, v in value.items() if not callable(v)]}"


@cache
def _source(thing: Any) -> str:
    return inspect.getsource(thing)


def _names(code: Any) -> set[str]:
    inner = [c for c in code.co_consts if inspect.iscode(c)]
    return set(code.co_names).union(*(_names(c) for c in inner))
