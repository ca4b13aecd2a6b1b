"""Hold a subject to a clause, and keep account of which clauses a test held."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import Phase, settings

from spec import CLAUSES, SPEC_VERSION, Violation, check

HELD: set[str] = set()


class Absent(BaseException):
    """A subject does not offer what a clause needs; the message says what.

    It is no ``Exception``, so that no clause takes it for a refusal.
    """


class ClauseError(AssertionError):
    """A subject breaks a clause; the message cites it and ends in a snippet to paste."""


def snippet(id: str, subject: object, *inputs: object) -> str:
    """Return lines that show the failure again, against the subject alone."""
    name, module = type(subject).__qualname__, type(subject).__module__
    chapters = {type(value).__module__ for value in inputs} - {"builtins", "fractions"}
    arguments = "".join(f",\n    {value!r}" for value in inputs)
    return (
        "from fractions import Fraction\n"
        "from math import inf, nan\n"
        "from spec import check\n"
        + "".join(f"from {chapter} import *\n" for chapter in sorted(chapters))
        + f"from {module} import {name}\n"
        f'check("{id}", {name}(){arguments})'
    )


@contextmanager
def citing(id: str, reproduction: str = "") -> Iterator[None]:
    """Turn a violation into a failure that cites the clause and shows how to see it again."""
    try:
        yield
    except Violation as violation:
        clause = CLAUSES[id]
        cited = f"{id} (specification {SPEC_VERSION}): {clause.sentence}"
        raise ClauseError(f"{cited}\n{violation}\n\n{reproduction}\n") from None


def hold(id: str, subject: object, *inputs: object) -> None:
    """Fail, citing the clause, unless the subject meets it at these inputs.

    Raises:
        ClauseError: the clause is broken.
        KeyError: there is no such clause.
    """
    HELD.add(id)
    try:
        check(id, subject, *inputs)
    except Violation:
        with citing(id, snippet(id, subject, *inputs)):
            raise


@contextmanager
def unshrunk(test: Any) -> Iterator[None]:
    """Let a property that is bound to fail do so at once: its example need not be pretty."""
    own, profile = getattr(test, "_hypothesis_internal_use_settings", None), settings()
    quick = settings(own, phases=[Phase.explicit, Phase.generate], report_multiple_bugs=False)
    settings.register_profile("unshrunk", quick)
    settings.load_profile("unshrunk")
    test._hypothesis_internal_use_settings = quick
    try:
        yield
    finally:
        test._hypothesis_internal_use_settings = own
        settings.register_profile("shrunk", profile)
        settings.load_profile("shrunk")
