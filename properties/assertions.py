"""Hold a subject to a clause, and keep account of which clauses a test held."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from textwrap import fill
from typing import Any, Final
from unittest import mock

from spec import BOTTOM, CLAUSES, SPEC_VERSION, Violation, check
from spec.expressions import expression

HELD: set[str] = set()
STRING: Final = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
HARD: Final = "\N{NO-BREAK SPACE}"  # no representation holds one


class Unsupported(BaseException):
    """A subject does not offer what a clause needs; the message says what.

    It is no ``Exception``, so that no clause takes it for a refusal.
    """


class ClauseError(AssertionError):
    """A subject breaks a clause; the message cites it and ends in a snippet to paste."""


@dataclass(frozen=True)
class Reference:
    """How a program gets a subject: from which module, and by which expression."""

    module: str
    expression: str

    @property
    def line(self) -> str:
        """The import that the expression needs."""
        name = self.expression.partition("(")[0].partition(".")[0]
        return f"from {self.module} import {name}"


def snippet(id: str, reference: Reference, *inputs: object) -> str:
    """Return lines that show the failure again, against the subject alone."""
    types: set[type] = set()
    parts = [_lines(expression(value, types)) for value in inputs]
    names: dict[str, set[str]] = {}
    for kind in types:
        named = repr(BOTTOM) if kind is type(BOTTOM) else kind.__name__
        names.setdefault(kind.__module__, set()).add(named)
    imports = [f"from {m} import {', '.join(sorted(names[m]))}" for m in sorted(names)]
    call = ",\n".join([f'check("{id}", {reference.expression}', *parts])
    first = ["from math import inf, nan", f"from {check.__module__} import check"]
    return "\n".join([*first, *imports, reference.line, f"{call})"])


def _lines(text: str) -> str:
    """Break an expression at spaces, but not at those in its strings."""
    kept = STRING.sub(lambda found: found[0].replace(" ", HARD), text)
    return fill(kept, 98, initial_indent=" " * 4, subsequent_indent=" " * 8,
                break_long_words=False, break_on_hyphens=False).replace(HARD, " ")  # fmt: skip


@contextmanager
def citing(id: str, reproduction: str = "") -> Iterator[None]:
    """Turn a violation into a failure that cites the claim and shows how to see it again."""
    try:
        yield
    except Violation as violation:
        claim = CLAUSES[id].claims[violation.claim - 1]
        cited = f"{claim.id} (specification {SPEC_VERSION}): {claim.text}"
        raise ClauseError(f"{cited}\n{violation}\n\n{reproduction}\n") from None


def _cite(id: str, subject: object, inputs: tuple[object, ...]) -> None:
    try:
        check(id, subject, *inputs)
    except Violation:
        reference = Reference(type(subject).__module__, f"{type(subject).__qualname__}()")
        with citing(id, snippet(id, reference, *inputs)):
            raise


# Who is asked for a verdict at each input; the conformance suite puts its own in this place.
JUDGE: ContextVar[Callable[[str, object, tuple[object, ...]], None]] = ContextVar(
    "JUDGE", default=_cite
)


def assert_clause(id: str, subject: object, *inputs: object) -> None:
    """Fail, citing the clause, unless the subject meets it at these inputs.

    Raises:
        ClauseError: the clause is broken.
        KeyError: there is no such clause.
    """
    HELD.add(id)
    JUDGE.get()(id, subject, inputs)


@contextmanager
def unshrunk(test: Any) -> Iterator[None]:
    """Let a property that is bound to fail do so at once: its example need not be pretty."""
    from hypothesis import Phase, settings  # which a subject's module can do without

    profile, name = settings(), "_hypothesis_internal_use_settings"
    phases = [Phase.explicit, Phase.generate]
    quick = settings(getattr(test, name, None), phases=phases, report_multiple_bugs=False)
    settings.register_profile("unshrunk", quick)
    settings.load_profile("unshrunk")
    try:
        with mock.patch.object(test, name, quick, create=True):
            yield
    finally:
        settings.register_profile("shrunk", profile)
        settings.load_profile("shrunk")
