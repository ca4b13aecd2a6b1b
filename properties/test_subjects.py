"""The suite can fail: each broken subject fails its clause. (The exact reference fails none, for
every property runs on it.)
"""

from __future__ import annotations

from contextvars import copy_context

import pytest

from properties.assertions import ClauseError, unshrunk
from properties.conformance.suite import Property, arguments_of, properties_of
from properties.subjects.broken import BROKEN, Broken
from spec import CLAUSES

LEAST = 25


def _fails(test: Property, broken: Broken) -> bool:
    with unshrunk(test):
        try:
            for arguments in arguments_of(test):
                test(subject=broken.subject(), **arguments)
        except Exception as error:
            # What depends on what was done before fails in several ways, which come together.
            failures = getattr(error, "exceptions", (error,))
            if not all(isinstance(failure, ClauseError) for failure in failures):
                raise
            return any(str(failure).startswith(f"{broken.clause} ") for failure in failures)
    return False


@pytest.mark.parametrize("broken", BROKEN, ids=lambda b: f"{b.clause}-{b.subject.__name__}")
def test_each_broken_subject_fails_its_clause(broken: Broken) -> None:
    # In a context of its own, in which a broken scope may be left open.
    caught = copy_context().run
    found = [test for test in properties_of(broken.clause) if caught(_fails, test, broken)]
    assert found, f"no property of {broken.clause} caught {broken.subject.__doc__}"


def test_there_are_enough_of_them() -> None:
    assert len({broken.subject for broken in BROKEN}) >= LEAST
    assert {broken.clause for broken in BROKEN} <= CLAUSES.keys()
