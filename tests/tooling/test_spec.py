"""The specification as a thing to cite: its table, its lock, and the trace of every clause."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from properties import trace as tracing
from properties.faults import FAULTS as REGISTERED
from spec import CLAUSES, SPEC_VERSION, lock
from spec.__main__ import main, whole
from spec.clause import clause
from spec.evidence import Evidence, read_trace
from spec.glossary import GLOSSARY
from spec.laws import Computes
from spec.offer import asked, methods, offered, protocol_of
from zeroproof import __version__

DIGESTS = {entry.id: entry.digest for entry in CLAUSES.values()}
SOURCES = ("Guide: ", "Paper: ", "Ours: ")
FAULTS: dict[str, list[str]] = {}
for fault in REGISTERED:
    FAULTS.setdefault(fault.claim, []).append(fault.wrong)


def test_clauses_are_well_formed() -> None:
    for entry in CLAUSES.values():
        assert entry.sentence.endswith("."), entry.id
        assert entry.source.startswith(SOURCES), entry.id
        assert entry.claims, entry.id
        numbered = [f"{entry.id}.{number}" for number in range(1, len(entry.claims) + 1)]
        assert [claim.id for claim in entry.claims] == numbered
        for claim in entry.claims:
            assert claim.text.endswith((".", ":")), claim.id
            assert len(claim.text) < 400, claim.id


def test_predicates_name_claims_that_there_are() -> None:
    for entry in CLAUSES.values():
        named = re.findall(r"claim=(\d+)", inspect.getsource(entry.predicate))
        assert all(1 <= int(number) <= len(entry.claims) for number in named), entry.id


def test_an_id_is_taken_once() -> None:
    with pytest.raises(ValueError, match="LIFT-1"):
        clause("LIFT-1", source="Ours: no", since="0.2.0")(test_an_id_is_taken_once)


# What the table says


def test_json_lists_every_clause(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["version"] == SPEC_VERSION
    assert [entry["id"] for entry in table["clauses"]] == list(CLAUSES)
    assert len(CLAUSES) >= 80
    assert table["glossary"] == GLOSSARY
    for entry in table["clauses"]:
        for claim, known in zip(entry["claims"], CLAUSES[entry["id"]].claims, strict=True):
            assert (claim["id"], claim["text"]) == (known.id, known.text)
            assert claim["faults"] == sorted(set(FAULTS[known.id]))
        assert entry.keys() >= {"id", "sentence", "source", "since", "evidence", "properties"}
        assert entry["evidence"], entry["id"]
        assert entry["properties"], entry["id"]


def test_the_table_and_one_clause(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    table = capsys.readouterr().out
    assert all(id in table for id in CLAUSES)
    assert table.index("magnitude") < table.index("ALG-1 "), "the words come first"
    main(["show", "lift-2"])
    shown = capsys.readouterr().out
    for part in ("±∞", "Guide", "0.2.0", "Exhaustive", "zeroproof.training.targets.lift_targets"):
        assert part in shown
    for wrong in FAULTS["LIFT-2.1"]:
        assert f"catches: {wrong}" in " ".join(shown.split())


@pytest.mark.parametrize("id", CLAUSES)
def test_a_clause_shows_what_a_subject_offers(id: str) -> None:
    head = whole(CLAUSES[id], Evidence()).partition("\n\nPredicate\n")[0]
    assert max(map(len, head.splitlines())) < 100
    assert len(head.splitlines()) < 150
    names = asked(CLAUSES[id])
    assert names
    for name in names:
        assert re.search(rf"^  {name}(: |\(self\b.*\n?.*->)", head, re.MULTILINE), name
    _, _, others = head.partition("\n\nOther clauses ask for\n")
    listed = re.findall(r"\w+", others)
    assert {*names, *listed} == set(methods(protocol_of(CLAUSES[id])))


def test_a_clause_shows_the_methods_that_its_predicate_calls() -> None:
    assert asked(CLAUSES["DEC-1"]) == ["decode"]
    assert asked(CLAUSES["CUR-2"]) == ["ramp"], "also where the predicate only passes it on"
    assert asked(CLAUSES["LIK-1"]) == ["likelihood", "interval_likelihood"]
    assert "Other clauses ask for\n  wrapped, decode_gradients" in whole(
        CLAUSES["DEC-1"], Evidence()
    )


def test_properties_are_no_methods_and_what_is_named_is_listed() -> None:
    shown = whole(CLAUSES["ALG-1"], Evidence())
    for part in ("  kinds: tuple[str, ...]\n", "  zero: Element\n", "Number: fractions.Fraction"):
        assert part in shown
    assert "      ARITY: {'add': 2, " in whole(CLAUSES["BOT-1"], Evidence())
    assert "      LOSSES: ('implicit', " in whole(CLAUSES["LOSS-1"], Evidence())
    assert "  REFUSED: see spec.refusals\n" in whole(CLAUSES["ARG-1"], Evidence())
    assert "  FORMS: ('value', " in whole(CLAUSES["COV-1"], Evidence())


def test_a_chapter_is_shown_sentence_by_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "tau"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for id, entry in CLAUSES.items():
        told = f"{id} [" in shown and entry.sentence in shown
        assert told == (entry.chapter == "TAU"), id


def test_what_a_subject_offers_has_types_whose_fields_are_shown() -> None:
    protocol = protocol_of(CLAUSES["STEP-3"])
    shown = offered(protocol, methods(protocol))
    for part in (
        "  train(self, plan: Plan) -> Trace\n",
        "\nPlan (spec.runs)\n",
        "\n  epochs: tuple[tuple[MicroBatch, ...], ...]\n",
        "\n  accumulation: int = 1\n",
        "\nMicroBatch (spec.runs)\n",
        "\nEvent (spec.runs)\n",
    ):
        assert part in shown
    assert "  inv(self, x: Element) -> Element\n" in offered(Computes, ["meadow"])


# How to cite


def test_a_citation_names_both_versions() -> None:
    text = (tracing.ROOT / "CITATION.cff").read_text("utf-8")
    own, _, specification = text.partition("\nreferences:\n")
    assert re.findall(r"^version: (.*)$", own, re.MULTILINE) == [__version__]
    assert re.findall(r"^ +version: (.*)$", specification, re.MULTILINE) == [SPEC_VERSION]
    assert re.search(r"^date-released: \d{4}-\d\d-\d\d$", own, re.MULTILINE)
    cited = re.findall(r"specification (\S+), ([A-Z]+-\d+)(\.\d+)?", " ".join(text.split()))
    assert {version for version, _, _ in cited} == {SPEC_VERSION}
    claims = {claim.id for clause in CLAUSES.values() for claim in clause.claims}
    assert all(id + claim in CLAUSES.keys() | claims for _, id, claim in cited)


def test_an_unknown_clause_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["show", "LIFT-99"])
    told = capsys.readouterr().err
    assert "no clause or chapter 'LIFT-99'" in told
    assert "ALG, BOT, LIFT" in told


def test_it_runs_without_torch() -> None:
    code = "import sys, runpy; sys.modules['torch'] = None; sys.argv = ['spec']; "
    code += "runpy.run_module('spec', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "LIFT-2" in done.stdout


# The lock


def test_every_clause_is_as_it_was_locked() -> None:
    changelog = lock.CHANGELOG.read_text("utf-8")
    assert list(lock.problems(DIGESTS, lock.read_lock(), changelog)) == []


LOCKED = {"ALG-1": {"1.0": "one"}, "ALG-2": {"1.0": "two"}}


@pytest.mark.parametrize(
    ("digests", "locked", "changelog", "found"),
    [
        ({"ALG-1": "one", "ALG-2": "two"}, LOCKED, "", None),
        ({"ALG-1": "one", "ALG-2": "new"}, LOCKED, "", "ALG-2 differs"),
        ({"ALG-1": "one"}, LOCKED, "", "ALG-2 differs"),
        ({"ALG-1": "one", "ALG-2": "two", "ALG-3": "x"}, LOCKED, "", "ALG-3 differs"),
        ({"ALG-1": "new"}, {"ALG-1": {"1.0": "one", "1.1": "new"}}, "", "no line 'ALG-1: "),
        (
            {"ALG-1": "new"},
            {"ALG-1": {"1.0": "one", "1.1": "new"}},
            "## Specification 1.1\n- ALG-1: stricter.\n\n## Specification 1.0\n",
            None,
        ),
        (
            {"ALG-1": "new"},
            {"ALG-1": {"1.0": "one", "1.1": "new"}},
            "## Specification 1.1\n\n## Specification 1.0\n- ALG-1: stricter.\n",
            "no line 'ALG-1: ",
        ),
        ({"ALG-1": "back"}, {"ALG-1": {"1.0": "one", "1.1": None}}, "", "never used again"),
    ],
)
def test_a_change_in_silence_is_found(
    digests: dict[str, str], locked: Any, changelog: str, found: str | None
) -> None:
    problems = "\n".join(lock.problems(digests, locked, changelog))
    assert found in problems if found else problems == ""


def test_a_lock_that_is_written_keeps_the_order_of_its_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "LOCK", tmp_path / "lock.json")
    lock.write_lock({"ALG-1": {"0.9.0": "one", "0.10.0": "two"}})
    assert list(lock.read_lock()["ALG-1"]) == ["0.9.0", "0.10.0"]


def test_locking_takes_a_new_version() -> None:
    assert lock.updated({"ALG-1": "one"}, {}, "1.0") == {"ALG-1": {"1.0": "one"}}
    after = lock.updated({"ALG-1": "new"}, LOCKED, "1.1")
    assert after == {"ALG-1": {"1.0": "one", "1.1": "new"}, "ALG-2": {"1.0": "two", "1.1": None}}
    with pytest.raises(ValueError, match="raise SPEC_VERSION"):
        lock.updated({"ALG-1": "new", "ALG-2": "two"}, LOCKED, "1.0")


def test_a_digest_follows_what_a_predicate_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    from spec import lifting

    def lift(y: float) -> tuple[float, float]:
        return y, 1.0

    lift.__module__ = "spec.lifting"
    before = CLAUSES["LIFT-2"].digest
    monkeypatch.setattr(lifting, "lift", lift)
    assert CLAUSES["LIFT-2"].digest != before
    assert CLAUSES["STOP-2"].digest == DIGESTS["STOP-2"]


# The trace


def _arguments() -> dict[str, Any]:
    folder = tracing.ROOT / "zeroproof"
    return {
        "digests": dict(DIGESTS),
        "trace": read_trace(),
        "claimed": tracing.claims(folder),
        "properties": tracing.properties_in(tracing.ROOT / "properties"),
        "mentioned": {name: lock.ids_in(text) for name, text in tracing.docstrings(folder)},
        "faults": dict(FAULTS),
    }


def test_every_clause_is_traced() -> None:
    assert list(tracing.problems(**_arguments())) == []


BREAKS: list[tuple[str, str, Callable[[Any], object]]] = [
    ("LIFT-2 has no property", "trace", lambda t: t["LIFT-2"].update(evidence={})),
    ("LIFT-2 changed since", "digests", lambda d: d.update({"LIFT-2": "0"})),
    ("claimed by no docstring", "claimed", lambda c: c.pop("LIFT-2")),
    ("names LIFT-99", "properties", lambda p: p.update({"x::test_LIFT_99_no": ["LIFT-99"]})),
    ("names POL-99", "mentioned", lambda m: m.update({"zeroproof.x": ["POL-99"]})),
    ("never recorded", "properties", lambda p: p.update({"x::test_LIFT_2_new": ["LIFT-2"]})),
    ("which is not there", "properties", lambda p: p.clear()),
    ("LIFT-2 has other faults", "faults", lambda f: f.update({"LIFT-2.1": ["It is new."]})),
    ("the trace holds LIFT-77", "trace", lambda t: t.update({"LIFT-77": {}})),
    ("others than was recorded", "claimed", lambda c: c["LIFT-2"].append("zeroproof.other")),
]


@pytest.mark.parametrize(("found", "part", "damage"), BREAKS, ids=[b[0] for b in BREAKS])
def test_a_broken_end_is_found(found: str, part: str, damage: Any) -> None:
    arguments = _arguments()
    damage(arguments[part])
    assert any(found in problem for problem in tracing.problems(**arguments))
