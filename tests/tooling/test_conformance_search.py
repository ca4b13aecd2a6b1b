"""How the conformance suite searches: by its seed, on its clock, for small counterexamples."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from properties.assertions import Reference
from properties.conformance import reproduce
from properties.conformance.judge import judge
from properties.conformance.smaller import smaller
from properties.conformance.subjects import Chosen, choose
from properties.conformance.suite import trials_of
from properties.conformance.verdicts import Options, Verdict
from properties.faults import named
from properties.subjects.exact import Exact
from spec import CLAUSES, Array, Violation, check
from spec.decoding import Decoded, Tuples
from tests.tooling.helpers import by_id

# Which properties a clause has, and how they search


def test_every_clause_has_something_to_try() -> None:
    for id in CLAUSES:
        assert list(trials_of(id)), id


PATCHED = [name for name, fault in named.names().items() if fault.patches]


@pytest.fixture
def unpatched() -> Iterator[None]:
    yield
    named.restore()


@pytest.mark.usefixtures("unpatched")
@pytest.mark.parametrize("name", ["TAU_2_1", "TAU_2_1_2", *PATCHED[:1]])
def test_a_fault_fails_the_claim_that_it_breaks(run: Callable[..., Any], name: str) -> None:
    fault = named.names()[name]
    status, report = run(f"properties.faults.named:{name}", "--clauses", fault.clause)
    assert status == 1
    found = by_id(report)[fault.clause]
    claims = [c["claim"] for c in (found["counterexample"], *found["others"])]
    assert fault.claim in claims
    assert len(set(claims)) == len(claims), "each claim once"
    assert found["counterexample"]["reproduced"] is True


def test_a_search_follows_its_seed_and_its_number_of_examples() -> None:
    drawn: list[tuple[object, ...]] = []

    class Watched(choose("exact").make):  # type: ignore[misc]
        def draw(self, *arguments: Any) -> list[float]:
            drawn.append(arguments)
            return super().draw(*arguments)  # type: ignore[no-any-return]

    def seen(**options: Any) -> list[tuple[object, ...]]:
        drawn.clear()
        judge("TAU-6", Chosen("watched", Reference("", ""), Watched), Options(**options))
        return list(drawn)

    few = seen(examples=4)
    assert len(few) <= 8
    assert few == seen(examples=4) != seen(examples=4, seed=1)
    assert len(seen(examples=40)) > 30, "more than the property's own"


# What is on the clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time that the judge sees, which only subjects move on."""
    now = [0.0]
    fake = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("properties.conformance.judge.time", fake)
    return now


def judged(id: str, clock: list[float], costs: Iterable[float], **options: Any) -> Verdict:
    """Judge a subject whose makings and draws take this long, one after the other."""
    left = iter(costs)

    class Slow(Exact):
        def __init__(self) -> None:
            clock[0] += next(left)

        def draw(self, *arguments: Any) -> list[float]:
            clock[0] += next(left)
            return super().draw(*arguments)

    return judge(id, Chosen("slow", Reference("", ""), Slow), Options(**options))


def test_what_is_cut_is_unfinished(clock: list[float]) -> None:
    verdict = judged("TAU-6", clock, repeat(1.0), seconds=5)
    assert (verdict.verdict, verdict.counterexample) == ("unfinished", None)
    assert "--seconds" in verdict.reason
    assert judged("TAU-6", clock, repeat(1.0), seconds=5, examples=5).verdict == "holds"


def test_to_make_a_subject_and_its_first_input_are_not_on_the_clock(clock: list[float]) -> None:
    costs = chain([100.0, 100.0], repeat(0.01))
    assert judged("TAU-6", clock, costs, seconds=5, examples=3).verdict == "holds"


def test_explicit_examples_are_never_cut(clock: list[float]) -> None:
    (test,) = {t for t, _ in trials_of("TAU-3") if hasattr(t, "hypothesis_explicit_examples")}
    explicit = len(getattr(test, "hypothesis_explicit_examples", ()))
    verdict = judged("TAU-3", clock, repeat(1.0), seconds=0)
    assert verdict.verdict == "unfinished"
    # And of the search the first input, and one that starts in time.
    assert verdict.examples == explicit + 2 > 2


class Closing:
    def __del__(self) -> None:
        while True:
            pass


# Python drops what ends a __del__, and may collect garbage at the moment of the alarm.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("id", ["TAU-1", "TAU-3"])
def test_a_subject_that_gives_no_answer_is_left(id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("properties.conformance.judge.GRACE", 0.2)
    asked: list[tuple[object, ...]] = []

    class Endless(Exact):
        def draw(self, *arguments: Any) -> list[float]:
            asked.append(arguments)
            Closing()
            try:
                while True:
                    pass
            except Exception:
                return []

    verdict = judge(id, Chosen("endless", Reference("", ""), Endless), Options(seconds=0.1))
    assert (verdict.verdict, len(asked)) == ("error", 1)
    assert verdict.counterexample
    assert verdict.counterexample.exception == "NoAnswer"
    assert re.match(rf"{Path(__file__).name}:\d+: ", verdict.counterexample.found)


def test_a_program_that_gives_no_answer_shows_that_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("properties.conformance.reproduce.SECONDS", 1)
    assert reproduce._run("while True:\n    pass") == "NoAnswer"


def test_unfinished_has_a_status_and_a_count_of_its_own(
    run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    status, report = run(
        "exact", "--clauses", "TAU-1,TAU-6", "--seconds", "0", "--report", "out.md"
    )
    assert status == 3
    assert {c["verdict"] for c in report["clauses"]} == {"unfinished"}
    assert "exact: 2 unfinished" in capsys.readouterr().out
    assert "## TAU-1: unfinished" in Path("out.md").read_text("utf-8")


# Small counterexamples


class Misdecoding(Exact):
    """Takes one denominator for 0."""

    def decode(self, case: Tuples) -> Decoded:
        spoilt = [0.0 if q == 777.0 else q for q in case.Q.values]
        return super().decode(replace(case, Q=case.Q.with_values(spoilt)))


def test_one_wrong_element_of_many_is_found_among_few() -> None:
    Q = Array.of([float(n) for n in range(1000)])
    case, subject = Tuples(Array.full(1.0, like=Q), Q, 0.5, 0.5), Misdecoding()
    with pytest.raises(Violation) as raised:
        check("DEC-1", subject, case)
    least, (found,) = smaller("DEC-1", subject, raised.value, (case,))
    assert isinstance(found, Tuples)
    assert 777.0 in found.Q.values
    assert found.P.shape == found.Q.shape
    assert len(found.Q.values) <= 32
    with pytest.raises(Violation) as again:
        check("DEC-1", subject, found)
    assert str(again.value) == str(least)
