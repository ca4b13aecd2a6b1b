"""The suite can fail: each claim catches its faults. (The exact reference breaks none, for every
property runs on it.)
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context

import pytest
from hypothesis.errors import Unsatisfiable

from properties.assertions import JUDGE, Unsupported, unshrunk
from properties.conformance.suite import trials_of
from properties.faults import FAULTS, Fault
from spec import CLAUSES, Violation, check

pytestmark = pytest.mark.faults


class Caught(BaseException):
    """The claim is found broken; Hypothesis passes it on at once."""


def is_caught(fault: Fault) -> bool:
    """Try the clause's inputs until one shows that the claim is broken."""
    wanted = int(fault.claim.rpartition(".")[2])

    def judge(id: str, subject: object, inputs: tuple[object, ...]) -> None:
        try:
            check(id, subject, *inputs)
        except Violation as violation:
            if violation.claim == wanted and id == fault.clause:
                raise Caught from None
        except (Exception, Unsupported):  # A fault may raise where another claim looks.
            pass

    JUDGE.set(judge)
    for test, arguments in trials_of(fault.clause):
        with unshrunk(test), fault.subject() as subject:
            try:
                test(subject=subject, **arguments)
            except Caught:
                return True
            except Unsatisfiable:
                continue
    return False


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f"{f.claim}: {f.wrong}")
def test_its_claim_catches_it(fault: Fault, record_property: Callable[..., None]) -> None:
    record_property("fault", (fault.claim, fault.wrong))
    # In a context of its own, in which a broken scope may be left open.
    assert copy_context().run(is_caught, fault), f"{fault.claim} passes: {fault.wrong}"


def test_every_claim_has_a_fault() -> None:
    claims = {claim.id for clause in CLAUSES.values() for claim in clause.claims}
    caught = {fault.claim for fault in FAULTS}
    assert claims - caught == set(), "claims without a fault"
    assert caught - claims == set(), "faults of no claim"
