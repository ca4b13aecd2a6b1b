"""The test vectors: as they are generated, and who meets them."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from contextvars import copy_context
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from properties.faults import FAULTS, Fault
from properties.subjects.exact import Exact
from properties.subjects.zeroproof import ZeroProof
from properties.vectors import operations
from spec import CLAUSES, SPEC_VERSION, vectors
from spec.__main__ import main
from spec.vectors.cases import Within, written
from tests.tooling.helpers import CASES, FILE

# The file


def test_it_is_what_the_command_writes_again(tmp_path: Path) -> None:
    assert main(["vectors", "--out", str(tmp_path / "again.json")]) == 0
    assert (tmp_path / "again.json").read_bytes() == vectors.VECTORS.read_bytes()


def test_every_clause_has_cases_or_a_reason() -> None:
    named = {id for case in CASES for id in case["clauses"]}
    assert named | vectors.WITHOUT.keys() == CLAUSES.keys()
    assert not named & vectors.WITHOUT.keys()


def test_it_says_its_versions_and_what_every_operation_is() -> None:
    assert (FILE["format"], FILE["spec_version"]) == (vectors.FORMAT, SPEC_VERSION)
    assert {case["operation"] for case in CASES} == FILE["operations"].keys()
    assert len({case["id"] for case in CASES}) == len(CASES)
    assert vectors.VECTORS.stat().st_size < 10 * 2**18


def test_it_has_one_case_a_line() -> None:
    lines = vectors.VECTORS.read_text("utf-8").splitlines()
    assert sum(line.startswith('{"id":') for line in lines) == len(CASES) > 3000


def test_a_range_is_rounded_inwards_and_must_hold_a_number() -> None:
    third = Fraction(1, 3)
    bounds = written(Within(third, 2 * third))
    least, most = (float.fromhex(bounds[name]) for name in ("least", "most"))
    assert Fraction(math.nextafter(least, 0)) < third < Fraction(least)
    assert Fraction(most) < 2 * third < Fraction(math.nextafter(most, 1))
    with pytest.raises(ValueError, match="no double lies"):
        written(Within(third, third))


# The schema


@pytest.fixture(scope="module")
def validator() -> Any:
    jsonschema = pytest.importorskip("jsonschema", reason="the dev extra brings jsonschema")
    schema = json.loads(vectors.SCHEMA.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_file_meets_its_schema(validator: Any) -> None:
    assert [error.message for error in validator.iter_errors(FILE)] == []


FIRST = next(case for case in CASES if case["operation"] == "lift")


DAMAGED: list[Callable[[dict[str, Any]], Any]] = [
    lambda case: case.pop("clauses"),
    lambda case: case.update(clauses=[]),
    lambda case: case.update(clauses=["lift"]),
    lambda case: case.pop("result"),
    lambda case: case.update(refusal="ValueError"),
    lambda case: (case.pop("result"), case.update(refusal="Error")),
    lambda case: case.update(more=1),
    lambda case: case["arguments"].update(y=0.5),
    lambda case: case["arguments"].update(y="0.5"),
    lambda case: case["arguments"]["y"].update(shape=[-1]),
    lambda case: case["arguments"]["y"].pop("values"),
    lambda case: case["result"].update(Y_n={"least": 1}),
]


@pytest.mark.parametrize("damage", DAMAGED)
def test_the_schema_refuses(validator: Any, damage: Callable[[dict[str, Any]], Any]) -> None:
    case = json.loads(json.dumps(FIRST))
    damage(case)
    assert not validator.is_valid({**FILE, "cases": [case]})
    assert validator.is_valid({**FILE, "cases": [FIRST]})


# Who meets them


def _failed(reader: Any, subject: object) -> list[dict[str, Any]]:
    table = operations(subject)
    outcomes = {case["id"]: reader.outcome(case, table) for case in CASES}
    assert Counter(outcomes.values())["not offered"] == 0
    return [case for case in CASES if outcomes[case["id"]] == "failed"]


def test_the_exact_reference_meets_all(reader: Any) -> None:
    assert [case["id"] for case in _failed(reader[0], Exact())] == []


@pytest.mark.filterwarnings("ignore")
def test_zeroproof_meets_all(reader: Any, unchecked: None) -> None:
    assert [case["id"] for case in _failed(reader[0], ZeroProof())] == []


# Clauses whose cases fail for none of their faults, and what those are about.
BEYOND_VALUES = {
    "ALG-3": "a product of a number and ⊥, of which its cases have none",
    "LOSS-9": "gradients close to the format's largest number",
    "STOP-4": "ranks other than the first",
}


def test_faults_fail_a_case_of_their_clause(reader: Any) -> None:
    def caught(fault: Fault) -> bool:
        with fault.subject() as subject:
            table = operations(subject)
            named = (case for case in CASES if fault.clause in case["clauses"])
            return any(reader[0].outcome(case, table) == "failed" for case in named)

    # Those of the exact reference: others differ in where they are wrong, not in what they return.
    tried = [f for f in FAULTS if f.clause not in vectors.WITHOUT and not f.patches]
    found = {fault.clause for fault in tried if copy_context().run(caught, fault)}
    assert len(tried) > 100
    assert {fault.clause for fault in tried} - found == BEYOND_VALUES.keys()
