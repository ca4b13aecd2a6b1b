"""The tables of what is learned are made whole. How well anything learns, no test asks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.packages import ROOT
from learning.censored import METHODS
from learning.curves import FITS, NOISES, REGRESSIONS
from learning.data import CURVES
from learning.jobs import Row
from learning.report import Results, as_markdown, bootstrap
from learning.scripts import AVAILABLE

SHOWN = ROOT / "docs" / "learning"


def test_every_table_is_made(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "learning", "--quick", "--out", str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    document: dict[str, Any] = json.loads((tmp_path / "learning.json").read_text("utf-8"))
    found = {(row["table"], row["case"], row["method"]) for row in document["rows"]}
    cases = [f"{curve}, {noise}" for curve in CURVES for noise in NOISES]
    fits = [*FITS, *REGRESSIONS, "AAA (SciPy)"]
    expected = {("curves", case, method) for case in cases for method in fits}
    expected |= {(table, "", method) for table in ("assay", "diabetes") for method in METHODS}
    assert found >= expected
    assert {table for table, *_ in found - expected} == {"thresholds", *AVAILABLE}
    text = (tmp_path / "learning.md").read_text("utf-8")
    assert text == as_markdown(document)
    assert all(claim["text"] in text for claim in document["claims"])
    for picture in ("curve.svg", "predictions.svg"):
        assert "</svg>" in (tmp_path / picture).read_text("utf-8")


def test_the_book_shows_the_tables_that_were_measured() -> None:
    document = json.loads((SHOWN / "learning.json").read_text("utf-8"))
    assert (SHOWN / "learning.md").read_text("utf-8") == as_markdown(document)
    assert document["machine"]["seeds"] == 10


def test_the_interval_of_a_claim_pairs_the_seeds() -> None:
    a = np.array([1.0, 2.0, 3.0, 4.0])
    assert bootstrap(lambda x, y: float((x - y).mean()), a + 0.5, a) == (0.5, 0.5, 0.5)
    value, low, high = bootstrap(lambda x: float(x.mean()), a)
    assert low < value == 2.5 < high


def test_a_claim_that_is_not_met_says_so() -> None:
    numbers = {"false_finite": 0.0, "false_bottom": 0.01, "mae": 0.02, "holds_50%": 0.5}
    numbers |= {"holds_90%": 0.9}
    rows = [Row("assay", "", "likelihood", seed, numbers) for seed in (1, 0)]
    rows += [Row("assay", "", "random forest", seed, {**numbers, "mae": 0.01}) for seed in (0, 1)]
    claims = {claim.text: claim.met for claim in Results(rows).claims()}
    assert claims == {
        "false finite": True,
        "false bottom": False,
        "MAE, log10": True,
        "MAE − that of random forest": False,
    }
