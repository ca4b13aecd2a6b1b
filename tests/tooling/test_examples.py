"""The example scripts run, and print what they promise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_a_censored_assay() -> None:
    command = [sys.executable, str(EXAMPLES / "censored_assay.py"), "--epochs", "20"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [line.rsplit(" ", 1) for line in printed.splitlines()]
    found = {name: value for name, value in lines if value.startswith("0.")}
    assert printed.startswith("held out: 230 compounds with a number, 103 without"), printed
    assert float(found["mean absolute error, log10:"]) < 0.1
    assert "90% intervals hold 0.9" in printed


def test_an_arm_at_full_stretch() -> None:
    command = [sys.executable, str(EXAMPLES / "arm_at_full_stretch.py"), "--seeds", "1"]
    command += ["--epochs", "60", "--count", "4000"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [line.split()[-2:] for line in printed.splitlines()[2:]]
    known, learned = ([float(cell) for cell in column] for column in zip(*rows, strict=True))
    assert known == [0.6642, 0.3464, 0.0598, 0.0036], printed
    assert all(a < b for a, b in zip(learned[:3], known[:3], strict=True)), printed
    assert learned[3] < 0.03, printed
