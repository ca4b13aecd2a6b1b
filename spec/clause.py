"""What a clause is, and the one registry of all of them."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from traceback import extract_tb
from types import FunctionType
from typing import Any, Final, TypeVar

from .expressions import readable

Predicate = TypeVar("Predicate", bound=Callable[..., None])

ADDRESS: Final = re.compile(r" at 0x[0-9a-f]+")
ITEM: Final = re.compile(r"^(\d+)\. ", re.MULTILINE)


class Violation(AssertionError):
    """A subject breaks a claim of a clause at the inputs that the predicate was given."""

    def __init__(self, complaint: str, claim: int = 1) -> None:
        super().__init__(complaint)
        self.claim = claim


def require(holds: bool, complaint: str, *parts: object, claim: int = 1) -> None:
    """Raise :class:`Violation` of a claim, given by its number, unless ``holds``.

    The complaint, a format of the parts, says what came and what should have.
    """
    if not holds:
        raise Violation(complaint.format(*map(readable, parts)), claim)


def refused(error: type[Exception], call: Callable[[], object], *, claim: int = 1) -> bool:
    """Tell whether a call raises this type of error; another type violates the claim."""
    try:
        call()
    except error as raised:
        if isinstance(raised, AttributeError):
            frames = [frame.name for frame in extract_tb(raised.__traceback__)][2:]
            if frames in ([], ["__getattr__"]):
                raise  # The subject has no such method, and so refuses nothing.
        return True
    except Exception as other:
        raise Violation(f"raised {other!r}, not {error.__name__}", claim) from other
    return False


def names(text: str, word: str) -> bool:
    """Tell whether a text has a word, or an expression, that is no part of a longer word."""
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


@dataclass(frozen=True)
class Claim:
    """One thing that a clause says, and that could be false alone."""

    id: str
    text: str


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
    claims: tuple[Claim, ...]
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

    The first paragraph of its docstring is the clause's sentence, or a numbered list of its
    claims, which a line may introduce; the rest says why. The predicate names the claim that
    it finds broken by its number; a sentence without a list is claim 1.

    Args:
        id: chapter and number, never reused.
        source: ``"Guide: …"``, ``"Paper: …"`` or ``"Ours: …"``; ours gives the reason.
        since: version of the specification in which the clause first stood.
        must_fail: whether the sentence is a law that has to be broken.

    Raises:
        ValueError: the id is taken, or the predicate has no docstring.
    """

    def register(predicate: Predicate) -> Predicate:
        introduction, texts, why = _parts(inspect.getdoc(predicate) or "")
        sentence = " ".join([*introduction, *texts])
        if id in CLAUSES or not sentence:
            raise ValueError(f"clause {id} is registered twice, or says nothing")
        claims = tuple(Claim(f"{id}.{i}", text) for i, text in enumerate(texts, 1))
        CLAUSES[id] = Clause(id, sentence, claims, why, source, since, predicate, must_fail)
        return predicate

    return register


def _parts(doc: str) -> tuple[list[str], list[str], str]:
    """Return a docstring's introduction, if it has one, its claims, and why they are made."""
    first, *rest = doc.split("\n\n")
    introduction = []
    if rest and ITEM.match(rest[0]):
        introduction, first, rest = [first], rest[0], rest[1:]
    texts = ITEM.split(first)[2::2] or [first]
    introduction, texts, why = (
        [" ".join(t.split()) for t in p] for p in (introduction, texts, rest)
    )
    return introduction, texts, " ".join(why)


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
        module = getattr(current, "__module__", "")
        known = module.startswith(package) and module != __name__  # which says how, not what
        if not (known and isinstance(current, (FunctionType, type))) or current in seen:
            continue
        seen.append(current)
        if isinstance(current, type):
            yield _source(current)
            continue
        yield _source(current.__code__)
        for name in sorted(_names(current.__code__)):
            value = current.__globals__.get(name)
            waiting += _flat(value)
            if isinstance(value, dict):  # the sources of its functions are walked
                value = {k: v for k, v in value.items() if not callable(v)}
            if isinstance(value, (str, int, float, Fraction, tuple, dict)):
                yield f"{name} = {ADDRESS.sub('', repr(value))}"


def _flat(value: Any) -> Iterator[Any]:
    """Walk what nested dicts and tuples hold."""
    parts = value.values() if isinstance(value, dict) else value
    if not isinstance(value, (dict, tuple)):
        yield value
        return
    for part in parts:
        yield from _flat(part)


@cache
def _source(thing: Any) -> str:
    return inspect.getsource(thing)


def _names(code: Any) -> set[str]:
    inner = [c for c in code.co_consts if inspect.iscode(c)]
    return set(code.co_names).union(*(_names(c) for c in inner))
