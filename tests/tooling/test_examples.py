"""The examples run, and show what they claim."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_fit_poles_compares_fits_and_heads() -> None:
    options = ["--curves", "1/(x-0.3)", "--fits", "chordal", "implicit", "--heads", "free", "gated"]
    command = [sys.executable, str(EXAMPLES / "fit_poles.py"), *options]
    few = ["--seeds", "1", "--epochs", "400"]
    shown = subprocess.run([*command, *few], capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"^1/\(x-0\.3\) +(\w+) +(\w+) +(\S+)$", shown, flags=re.MULTILINE)
    errors = {(fit, head): float(error) for fit, head, error in rows}
    assert len(errors) == 4
    assert errors["chordal", "free"] < 0.04
    assert errors["chordal", "free"] < errors["implicit", "free"]
    assert errors["chordal", "gated"] > 0.05, "a gate cannot cross a pole"
