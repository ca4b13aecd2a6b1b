"""The conformance suite as its users get it: its tutorial, its extra and its wheel."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from spec import CLAUSES
from tests.tooling.helpers import by_id

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "conformance"


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


def test_no_text_of_the_suite_names_a_module_that_a_wheel_has_not() -> None:
    for path in [*(ROOT / "properties" / "conformance").glob("*.py"), ROOT / "spec/__main__.py"]:
        code = path.read_text("utf-8").partition('"""\n\nfrom ')[2]
        assert "-m spec" not in code, path.name


# The tutorial's subject, as printed


def test_the_tutorial_s_subject_is_judged_as_the_tutorial_says(tmp_path: Path) -> None:
    for name in ("poles.py", "subject.py"):
        shutil.copy(EXAMPLE / name, tmp_path)
    page = (ROOT / "docs" / "guide" / "conformance.md").read_text("utf-8")
    (command,) = re.findall(r"^zeroproof-conformance (--subject subject:.*)$", page, re.MULTILINE)
    arguments = [*command.split(), "--report", "out.json", "--jobs", "0", "--examples", "10"]

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

    absent = ["LIFT-9", "LIFT-10", "LIFT-11", "POL-10"]
    absent += [f"DEC-{number}" for number in (4, 7, 8, 9, 10)]
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
    build = ["-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run([sys.executable, *build], check=True)
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
    options = ["--clauses", "LIFT-1,LIFT-2,LIFT-4", "--examples", "20", "--report", "out.json"]
    done = subprocess.run(
        [sys.executable, "-c", script, "--subject", "those:Plain", *options, "--jobs", "1"],
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
