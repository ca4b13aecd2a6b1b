"""The conformance suite, on subjects that are right, wrong, partial and faulty."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser
from itertools import chain, repeat
from math import inf, nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from properties.assertions import Reference
from properties.conformance.command import main
from properties.conformance.judge import judge
from properties.conformance.report import Report, as_html, as_json, as_markdown, from_json
from properties.conformance.smaller import smaller
from properties.conformance.subjects import Chosen, choose, unknown
from properties.conformance.suite import trials_of
from properties.conformance.verdicts import Counterexample, Options, Verdict
from properties.faults import named
from properties.subjects.exact import Exact
from properties.subjects.zeroproof import ZeroProof
from spec import CLAUSES, SPEC_VERSION, Array, Violation, check
from spec.decoding import Decoded, Tuples
from spec.expressions import expression
from spec.runs import MicroBatch, Plan

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "conformance"

SUBJECTS = '''
from contextlib import nullcontext

from properties.assertions import Unsupported
from properties.subjects.exact import Exact


class Partial:
    """Lifts by hand: a pole stays what it is, NaN is refused, and there is nothing else."""

    def lift(self, y):
        if y.dtype == "bfloat16":
            raise Unsupported("no bfloat16")
        if y.dtype in ("bool", "complex64", "complex128"):
            raise TypeError(y.dtype)
        if y.dtype.startswith(("int", "uint")):
            return self.convert(y)
        return y, y.full(1.0, like=y)

    def using_default_dtype(self, name):
        return nullcontext()

    def decode(self, case):
        raise KeyError("a fault < of its own")

    def draw(self, *arguments):
        raise SystemExit(4)


class Uncovered(Exact):
    """Takes an infinite value, and a tuple whose numerator is NaN, for numbers."""

    def bottom_mask(self, batch, tau):
        if batch.form == "value":
            return tuple(x != x for x in batch.first.values)
        if batch.form == "tuple":
            return tuple(not abs(q) >= tau for q in batch.second.values)
        return super().bottom_mask(batch, tau)


class Moody(Exact):
    """Fails when it is asked for a second time in a process."""

    times = 0

    def draw(self, *arguments):
        Moody.times += 1
        return super().draw(*arguments) if Moody.times < 3 else [-1.0]


exact = Exact()


class Misspelt:
    """Lifts, by a name that no protocol has; what is private or inherited is its own affair."""

    def lifts(self, y):
        return y, y.full(1.0, like=y)

    @staticmethod
    def something_else():
        pass

    def _lift(self, y):
        pass


def deadly():
    class Deadly(Exact):
        def draw(self, *arguments):
            import os
            os._exit(3)
    return Deadly()
'''


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, Any]]:
    """Call the command in a folder with subjects; return its status and its report."""
    (tmp_path / "those.py").write_text(SUBJECTS, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "those", raising=False)

    def call(subject: str, *options: str) -> tuple[int, Any]:
        status = main(["--subject", subject, "--report", "out.json", "--jobs", "1", *options])
        return status, json.loads(Path("out.json").read_text("utf-8"))

    return call


def by_id(report: Any) -> dict[str, Any]:
    return {clause["id"]: clause for clause in report["clauses"]}


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


def test_an_instance_is_a_subject(run: Callable[..., Any]) -> None:
    status, report = run("those:exact", "--clauses", "LIFT-2", "--examples", "5")
    assert status == 0
    assert choose("those:exact").reference == Reference("those", "exact")
    assert by_id(report)["LIFT-2"]["verdict"] == "holds"


def test_a_subject_that_ends_its_process_ends_no_run(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("properties.conformance.command.WORTH", 0)
    clauses = "TAU-1,LIFT-1"
    status, report = run("those:deadly", "--clauses", clauses, "--jobs", "2", "--examples", "3")
    assert status == 1
    found = by_id(report)
    assert found["LIFT-1"]["verdict"] == "holds"
    assert (found["TAU-1"]["verdict"], found["TAU-1"]["reason"]) == ("error", "the process died")


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["--subject", "exact", "--clauses", "LIFT-99"], "LIFT-1 to LIFT-"),
        (["--subject", "exact", "--clauses", "NO"], "ALG, BOT, LIFT"),
        (["--subject", "nobody"], "zeroproofml-0.4.3"),
        (["--subject", "no_such_module:x"], "PYTHONPATH"),
        (["--subject", "those_needs:x"], "'no_such_module'"),
        (["--subject", "spec:nothing"], "name a class, a function or an instance"),
        (["--subject", "exact", "--report", "out.txt"], ".json"),
        (["--subject", "exact", "--report", "nowhere/out.md"], "make the folder nowhere"),
        (["--subject", "exact", "--examples", "0"], "less than 1"),
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
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert remedy in capsys.readouterr().err


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


def test_without_its_extra_the_command_says_how_to_get_it() -> None:
    for missing in ("hypothesis", "pytest"):
        code = f"import sys; sys.modules[{missing!r}] = None; import zeroproof_conformance as z; "
        code += "sys.exit(z.main(['--subject', 'exact']))"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert missing in line
        assert "pip install '.[conformance]'" in line


# What is shown


def test_lines_fit_and_a_fault_is_told_once(
    run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    _, report = run("those:Uncovered", "--clauses", "COV-1")
    found = by_id(report)["COV-1"]
    claims = [c["claim"] for c in (found["counterexample"], *found["others"])]
    assert claims == sorted(set(claims))
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) < 100
    text = next(c.text for c in CLAUSES["COV-1"].claims if c.id == claims[0])
    assert f"{claims[0]}: {text}" in " ".join(shown.split())


@pytest.mark.parametrize(
    "value",
    [
        Plan(((MicroBatch("v b", Fraction(1, 3)), MicroBatch("V")),), patience=2),
        Array((-0.0, inf, nan), (3,), "float16"),
        [("a  b", {"it's": 1}), (True, 1, 1.0), Fraction(10**40 + 1, 3**90)],
    ],
)
def test_an_expression_makes_its_value_again(value: object) -> None:
    types: set[type] = set()
    text = expression(value, types)
    names = {kind.__name__: kind for kind in types} | {"inf": inf, "nan": nan}
    assert repr(eval(text, names)) == repr(value)
    assert "patience=1" not in text
    assert "layout" not in text


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


def test_a_job_in_the_background_is_judged_alike() -> None:
    with in_the_background():
        check("RES-4", ZeroProof(), "SIGINT")
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@contextmanager
def in_the_background() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# Reports


def verdict_with(text: str) -> Report:
    found = Counterexample(text, f"print({text!r})", "Violation", "LIFT-2.1", reproduced=True)
    verdicts = [
        Verdict("LIFT-1", "unfinished", 7, 0.5),
        Verdict("LIFT-2", "fails", 3, 0.1, counterexample=found),
        Verdict("STOP-1", "absent", 0, 0.0, reason=text),
    ]
    return Report("mine:<b>", Options(), verdicts, ("lifts",))


def test_a_report_is_read_back() -> None:
    report = verdict_with("é ``x``")
    assert from_json(as_json(report)) == report


def test_a_report_of_another_specification_is_refused() -> None:
    old = as_json(verdict_with("")).replace(f'"{SPEC_VERSION}"', '"0.1.0"')
    with pytest.raises(ValueError, match=r"mine:<b> was made under specification 0\.1\.0"):
        from_json(old)


def test_markdown_counts_and_shows() -> None:
    text = as_markdown(verdict_with("```<script>"))
    assert "| LIFT | 0 | 1 | 1 | 0 | 0 |\n| STOP | 0 | 0 | 0 | 1 | 0 |" in text
    assert "| all | 0 | 1 | 1 | 1 | 0 |" in text
    assert "# Conformance of mine:\\<b\\>" in text
    assert "````text\nLIFT-2.1: " in text
    assert "\n```<script>\n````" in text
    assert "7 inputs in 0.5 s" in text


class Tags(HTMLParser):
    """The tags of a page, each open one closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_stands_alone_and_escapes() -> None:
    page = as_html(verdict_with("<script>&"))
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert not {"script", "link", "img"} & set(tags.seen)
    assert "LIFT-2.1: " in page
    assert "&lt;script&gt;&amp;" in page
    assert 'name="viewport"' in page
    assert "<td>LIFT</td><td>0</td><td>1</td><td>1</td><td>0</td><td>0</td>" in page


def test_reports_are_written_by_suffix(run: Callable[..., Any]) -> None:
    run("exact", "--clauses", "AMP-2", "--report", "out.md", "--report", "out.html")
    assert "## AMP-2: holds" in Path("out.md").read_text("utf-8")
    assert '<section id="AMP-2">' in Path("out.html").read_text("utf-8")


# The tutorial's subject, as printed


def test_the_tutorial_s_subject_is_judged_as_the_tutorial_says(tmp_path: Path) -> None:
    for name in ("poles.py", "subject.py"):
        shutil.copy(EXAMPLE / name, tmp_path)
    page = (ROOT / "docs" / "guide" / "conformance.md").read_text("utf-8")
    (command,) = re.findall(r"^zeroproof-conformance (--subject subject:.*)$", page, re.MULTILINE)
    arguments = [*command.split(), "--report", "out.json", "--jobs", "1", "--examples", "10"]

    def judged() -> dict[str, str]:
        subprocess.run(
            [sys.executable, "-m", "zeroproof_conformance", *arguments],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            check=False,
            capture_output=True,
        )
        report = by_id(json.loads((tmp_path / "out.json").read_text("utf-8")))
        return {id: clause["verdict"] for id, clause in report.items()}

    absent = ("LIFT-10", "LIFT-11", "DEC-4", "DEC-8", "POL-10")
    others = {"DEC-1": "fails", "DEC-2": "fails"} | dict.fromkeys(absent, "absent")
    chapters = [id for id in CLAUSES if id.startswith(("LIFT-", "DEC-"))]
    assert judged() == dict.fromkeys(chapters, "holds") | others
    (fix,) = re.findall(r"^(    return np\.where.*)$", page, re.MULTILINE)
    source = tmp_path / "poles.py"
    before = source.read_text("utf-8")
    source.write_text(re.sub(r"    return np\.where\(finite.*", fix, before), "utf-8")
    arguments[arguments.index("--clauses") + 1] = "DEC-1"
    assert source.read_text("utf-8") != before
    assert judged() == {"DEC-1": "holds"}


def test_the_tutorial_is_short() -> None:
    assert len((EXAMPLE / "poles.py").read_text("utf-8").splitlines()) <= 32
    assert len((EXAMPLE / "subject.py").read_text("utf-8").splitlines()) < 100


# Where it is installed


def test_a_wheel_holds_the_suite_under_names_that_cannot_collide(tmp_path: Path) -> None:
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "site")
    assert {path.stem for path in (tmp_path / "site").iterdir() if path.suffix != ".dist-info"} == {
        "zeroproof",
        "zeroproof_conformance",
        "zeroproof_properties",
        "zeroproof_spec",
    }
    (entries,) = (tmp_path / "site").glob("*.dist-info/entry_points.txt")
    assert "zeroproof-conformance = zeroproof_conformance:main" in entries.read_text("utf-8")
    (tmp_path / "those.py").write_text(
        "class Plain:\n    def lift(self, y):\n        return y, y.full(1.0, like=y)\n",
        "utf-8",
    )
    script = (
        "import sys; sys.modules['spec'] = sys.modules['properties'] = None\n"
        "from zeroproof_conformance import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    clauses = ["--clauses", "LIFT-1,LIFT-2,LIFT-4", "--examples", "20", "--report", "out.json"]
    done = subprocess.run(
        [sys.executable, "-c", script, "--subject", "those:Plain", *clauses],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    found = by_id(json.loads((tmp_path / "out.json").read_text("utf-8")))
    assert [found[id]["verdict"] for id in ("LIFT-1", "LIFT-2", "LIFT-4")] == [
        "holds",
        "fails",
        "absent",
    ]
    shown = found["LIFT-2"]["counterexample"]
    assert "from zeroproof_spec.clause import check" in shown["snippet"]
    assert shown["reproduced"] is True
