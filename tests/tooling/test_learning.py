"""The tables of what is learned are made whole. How well anything learns, no test asks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.packages import ROOT
from learning import rational
from learning.censored import METHODS
from learning.curves import FITS, NOISES, REGRESSIONS
from learning.data import CURVES, chordal_error, sample_curve
from learning.jobs import Row
from learning.report import Results, as_json, as_markdown, bootstrap
from learning.scripts import AVAILABLE

SHOWN = ROOT / "docs" / "learning"


def learn(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "learning", "--quick", "--out", str(out), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def read(out: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((out / "learning.json").read_text("utf-8"))
    return document


def test_every_table_is_made(tmp_path: Path) -> None:
    learn(tmp_path).check_returncode()
    document = read(tmp_path)
    found = {(row["table"], row["case"], row["method"]) for row in document["rows"]}
    cases = [f"{curve}, {noise}" for curve in CURVES for noise in NOISES]
    fits = [*FITS, *REGRESSIONS, *rational.FITS]
    expected = {("curves", case, method) for case in cases for method in fits}
    expected |= {(table, "", method) for table in ("assay", "diabetes") for method in METHODS}
    assert found >= expected
    assert {table for table, *_ in found - expected} == {"thresholds", *AVAILABLE}
    text = (tmp_path / "learning.md").read_text("utf-8")
    assert text == as_markdown(document)
    assert all(claim["text"] in text for claim in document["claims"])
    for picture in ("curve.svg", "predictions.svg"):
        assert "</svg>" in (tmp_path / picture).read_text("utf-8")


def test_a_part_measured_again_replaces_its_own_rows_only(tmp_path: Path) -> None:
    learn(tmp_path, "--only", "rational").check_returncode()
    document = read(tmp_path)
    for row in document["rows"]:
        row["numbers"] = {"median": 9.0, "mean": 9.0}
    other = {**document["rows"][0], "method": "another"}
    document["rows"].append(other)
    (tmp_path / "learning.json").write_text(json.dumps(document), encoding="utf-8")
    learn(tmp_path, "--only", "rational", "--keep").check_returncode()
    again = read(tmp_path)
    assert [row for row in again["rows"] if row["numbers"]["median"] == 9] == [other]
    assert len(again["rows"]) == len(document["rows"])
    (later,) = again["machine"].pop("later")
    assert again["machine"] == document["machine"]
    assert later["only"] == ["rational"]
    refused = learn(tmp_path, "--only", "rational", "--keep", "--seeds", "1")
    assert refused.returncode == 2
    assert "the rows kept have seeds 2, not 1" in refused.stderr


def test_the_rational_fits_find_the_poles_of_exact_labels() -> None:
    x, y = (part.double().numpy() for part in sample_curve("3 poles", 0, 0.0))
    seen = np.isfinite(y)
    for fit in rational.FITS.values():
        assert chordal_error("3 poles", fit(x[seen, 0], y[seen]))["median"] < 1e-6


def test_the_book_shows_the_tables_that_were_measured() -> None:
    document = read(SHOWN)
    shown = (SHOWN / "learning.md").read_text("utf-8")
    assert shown == as_markdown(document)
    found = Results(Row(**row) for row in document["rows"])
    assert shown == as_markdown(json.loads(as_json(document["machine"], found)))
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
