"""The example scripts run, and print what they promise."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(script: str, *options: str) -> str:
    command = [sys.executable, str(EXAMPLES / script), *options]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_censored_assay() -> None:
    printed = run("censored_assay.py", "--epochs", "20")
    lines = [line.rsplit(" ", 1) for line in printed.splitlines()]
    found = {name: value for name, value in lines if value.startswith("0.")}
    assert printed.startswith("held out: 230 compounds with a number, 103 without"), printed
    assert float(found["mean absolute error, log10:"]) < 0.1
    assert "90% intervals hold 0.9" in printed


def test_an_arm_at_full_stretch() -> None:
    options = "--seeds", "1", "--epochs", "60", "--count", "4000"
    printed = run("arm_at_full_stretch.py", *options)
    rows = [line.split()[-2:] for line in printed.splitlines()[2:]]
    known, learned = ([float(cell) for cell in column] for column in zip(*rows, strict=True))
    assert known == [0.6642, 0.3464, 0.0598, 0.0036], printed
    assert all(a < b for a, b in zip(learned[:3], known[:3], strict=True)), printed
    assert learned[3] < 0.03, printed


@pytest.mark.parametrize(("file", "degrees"), [("Hahn1.dat", (3, 3)), ("Kirby2.dat", (2, 2))])
def test_a_certified_fit(file: str, degrees: tuple[int, int]) -> None:
    printed = run("certified_fit.py", file, "--degrees", *map(str, degrees), "--starts", "2")
    assert len(re.findall(r"^b\d = ", printed, flags=re.MULTILINE)) == sum(degrees) + 1
    found = re.search(
        r"^LRE (\S+) of the sum, (\S+) of the worst parameter$", printed, re.MULTILINE
    )
    assert found, printed
    assert float(found[1]) >= 8, printed
    assert float(found[2]) >= 5, printed


def test_a_certified_fit_of_two_columns(tmp_path: Path) -> None:
    rows = [f"{x}; {(1 + x) / (1 + x * x / 4)}" for x in range(-6, 20)]
    (tmp_path / "curve.csv").write_text("\n".join(["x; y", *rows]))
    printed = run("certified_fit.py", str(tmp_path / "curve.csv"), "--degrees", "1", "2")
    found = dict(re.findall(r"^(b\d) = (\S+)$", printed, flags=re.MULTILINE))
    wanted = {"b1": 1.0, "b2": 1.0, "b3": 0.0, "b4": 0.25}
    assert {name: float(b) for name, b in found.items()} == pytest.approx(wanted, abs=1e-5)
    assert "LRE" not in printed


def test_fits_and_heads_across_a_pole() -> None:
    options = ["--curves", "1/(x-0.3)", "--fits", "chordal", "likelihood", "--heads", "free"]
    printed = run("fit_poles.py", *options, "--seeds", "1", "--epochs", "200")
    rows = [line.split() for line in printed.splitlines()[1:]]
    assert [row[1] for row in rows] == ["chordal", "likelihood"], printed
    assert all(float(row[-1]) < 0.05 for row in rows), printed


def test_a_resonator() -> None:
    printed = run("resonator.py", "--epochs", "100")
    found = {line.rsplit(":", 1)[0]: line for line in printed.splitlines()}
    assert len(found) == 4, printed
    numbers = [float(n) for n in re.findall(r"(?:error|hold) (\d+\.\d+)", printed)]
    assert len(numbers) == 4, printed
    assert numbers[0] < 1.5, printed
    assert 0.85 < numbers[3] <= 1, printed
