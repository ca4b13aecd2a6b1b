"""The conformance suite, on subjects that are right, wrong, partial and faulty."""

from __future__ import annotations

import atexit
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from properties.assertions import Reference
from properties.conformance.command import main
from properties.conformance.subjects import choose, unknown
from properties.subjects.exact import Exact
from properties.subjects.zeroproof import ZeroProof
from spec import CLAUSES, SPEC_VERSION, check
from tests.tooling.conftest import SUBJECTS
from tests.tooling.helpers import by_id

ROOT = Path(__file__).parents[2]


def test_each_verdict_and_where_it_comes_from(run: Callable[..., Any]) -> None:
    clauses = "LIFT-1,LIFT-2,LIFT-4,LIFT-8,TAU-2,DEC-1,STOP-1"
    status, report = run("those:Partial", "--clauses", clauses, "--examples", "25")
    assert status == 1
    assert report["subject"] == "those:Partial"
    assert report["spec_version"] == SPEC_VERSION
    found = by_id(report)
    assert {id: clause["verdict"] for id, clause in found.items()} == {
        "LIFT-1": "holds",
        "LIFT-2": "fails",
        "LIFT-4": "absent",
        "LIFT-8": "error",
        "TAU-2": "error",
        "DEC-1": "error",
        "STOP-1": "absent",
    }
    assert "no bfloat16" in found["LIFT-1"]["reason"]
    assert "'unlift'" in found["LIFT-4"]["reason"]
    assert "'convert'" in found["LIFT-8"]["counterexample"]["found"], "an error inside the subject"
    line = SUBJECTS[: SUBJECTS.index("raise KeyError")].count("\n") + 1
    assert found["DEC-1"]["counterexample"]["found"].startswith(f"those.py:{line}: KeyError: ")
    assert found["LIFT-1"]["examples"] > 1
    assert all(c["sentence"] == CLAUSES[id].sentence for id, c in found.items())


def test_a_counterexample_is_small_and_runs_alone(run: Callable[..., Any], tmp_path: Path) -> None:
    _, report = run("those:Partial", "--clauses", "LIFT-2")
    shown = by_id(report)["LIFT-2"]["counterexample"]
    assert shown["reproduced"] is True
    assert re.search(r"Array\(values=\(-?inf,\)", shown["snippet"]), shown["snippet"]
    command = [sys.executable, "-c", shown["snippet"]]
    environment = {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert f"Violation: {shown['found']}" in done.stderr


def test_what_does_not_show_again_is_no_accusation(run: Callable[..., Any]) -> None:
    status, report = run("those:Moody", "--clauses", "TAU-1")
    found = by_id(report)["TAU-1"]
    assert status == 1
    assert (found["verdict"], found["counterexample"]["reproduced"]) == ("error", False)
    assert "not reproduced" in found["reason"]


def test_what_a_subject_prints_at_its_exit_loses_no_verdict(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    lines = ["import atexit", "from those import Partial", "atexit.register(print, 'bye')"]
    (tmp_path / "chatty.py").write_text("\n".join(lines), "utf-8")
    status, report = run("chatty:Partial", "--clauses", "LIFT-2", "--examples", "5")
    atexit.unregister(print)
    assert status == 1
    assert by_id(report)["LIFT-2"]["counterexample"]["reproduced"] is True


def test_an_instance_is_a_subject(run: Callable[..., Any]) -> None:
    status, report = run("those:exact", "--clauses", "LIFT-2", "--examples", "5")
    assert status == 0
    assert choose("those:exact").reference == Reference("those", "exact")
    assert by_id(report)["LIFT-2"]["verdict"] == "holds"


def test_a_subject_that_ends_its_process_ends_no_run(run: Callable[..., Any]) -> None:
    clauses = "TAU-1,LIFT-1"
    status, report = run("those:deadly", "--clauses", clauses, "--jobs", "2", "--examples", "3")
    assert status == 1
    found = by_id(report)
    assert found["LIFT-1"]["verdict"] == "holds"
    assert found["TAU-1"]["verdict"] == "error"
    assert "ended the process" in found["TAU-1"]["reason"]


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["--subject", "exact", "--clauses", "LIFT-99"], "LIFT-1 to LIFT-"),
        (["--subject", "exact", "--clauses", "NO"], "ALG, BOT, LIFT"),
        (["--subject", "nobody"], "zeroproofml-0.4.3"),
        (["--subject", "no_such_module:x"], "PYTHONPATH"),
        (["--subject", "those_needs:x"], "'no_such_module'"),
        (["--subject", "those_exit:x"], "those_exit.py:1: SystemExit(0)"),
        (["--subject", "spec:nothing"], "name a class, a function or an instance"),
        (["--subject", "exact", "--report", "out.txt"], ".json"),
        (["--subject", "exact", "--report", "nowhere/out.md"], "make the folder nowhere"),
        (["--subject", "exact", "--report", "folder.md"], "this cannot be written"),
        (["--subject", "exact", "--examples", "0"], "--examples: 0 is less than 1"),
        (["--subject", "exact", "--jobs", "-1"], "--jobs: -1 is less than 0"),
        (["--subject", "exact", "--seconds", "-100"], "--seconds: -100 is less than 0"),
        (["--subject", "exact", "--seconds", "nan"], "--seconds: nan is less than 0"),
        (["--subject", "those_misname:x"], "those_misname.py:1: AttributeError("),
        (["--subject", "builtins:isinstance"], "called without arguments; name a function"),
        (["--subject", "spec.py:x"], "without '.py'"),
    ],
)
def test_a_wrong_call_names_the_remedy(
    arguments: list[str],
    remedy: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "those_needs.py").write_text("import no_such_module", "utf-8")
    (tmp_path / "those_misname.py").write_text("[].no_such_name", "utf-8")
    (tmp_path / "folder.md").mkdir()
    (tmp_path / "those_exit.py").write_text("raise SystemExit(0)", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["--clauses", "STOP-2", "--jobs", "1", *arguments])
    assert stopped.value.code == 2
    assert remedy in capsys.readouterr().err


def test_a_job_in_the_background_is_judged_alike() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        check("RES-4", ZeroProof(), "SIGINT")
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


# What is told of a subject as a whole


def test_a_method_that_no_protocol_names_is_reported(
    run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--report", "out.md", "--report", "out.html"]
    status, report = run("those:Misspelt", "--clauses", "LIFT", *options)
    assert status == 2, "nothing was tried"
    assert report["unknown"] == ["lifts (did you mean lift?)", "something_else"]
    shown = [capsys.readouterr().out, *(Path(name).read_text("utf-8") for name in options[1::2])]
    for text in shown:
        assert "lifts" in text
        assert "did you mean lift?" in text
        assert "python -m spec show" in text.replace("\n", " ").replace("&#x27;", "'")


def test_the_suite_s_own_subjects_have_no_unknown_methods() -> None:
    assert unknown(Exact()) == unknown(ZeroProof()) == ()
    assert unknown(SimpleNamespace(lift=len, drawn=lambda: 0)) == ("drawn (did you mean draw?)",)
