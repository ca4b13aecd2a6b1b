"""The benchmarks run and report on every case. How fast anything is, no test asks."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.cases import JAX, OURS, THEIRS, Peak, cases
from benchmarks.packages import ROOT
from benchmarks.report import rows
from benchmarks.rounds import Outcome, Worker, middle
from benchmarks.worker import peak_memory


def bench(out: Path, parts: str) -> dict[str, Any]:
    options = ["--quick", "--only", parts, "--out", str(out)]
    subprocess.run(
        [sys.executable, "-m", "benchmarks", *options], check=True, cwd=ROOT, capture_output=True
    )
    document: dict[str, Any] = json.loads((out / "benchmarks.json").read_text(encoding="utf-8"))
    return document


def check_complete(document: dict[str, Any], parts: str, out: Path) -> None:
    """Every case is there, or left out with a reason; every number is one."""
    left_out = {(entry["setting"], entry["contestant"]) for entry in document["left_out"]}
    reported = {(row["setting"], row["what"]) for row in document["rows"]}
    devices = ["cpu", *(["cuda"] if document["machine"]["gpu"] else [])]
    for case in cases(devices, quick=True):
        for ratio in (ratio for ratio in case.ratios if ratio.part in parts):
            pair = {(case.setting, ratio.of), (case.setting, ratio.to)}
            assert pair & left_out or (case.setting, f"{ratio.of} / {ratio.to}") in reported
        for peak in (peak for peak in case.peaks if peak.part in parts):
            assert (case.setting, f"peak of {peak.of}") in reported
    assert all(entry["reason"] for entry in document["left_out"])
    numbers = [row[name] for row in document["rows"] for name in ("value", "low", "high")]
    numbers += [time["seconds"] for time in document["times"]]
    assert all(math.isfinite(number) and number > 0 for number in numbers)
    lines = (out / "benchmarks.md").read_text(encoding="utf-8").splitlines()
    for row in document["rows"]:
        shown = [row[name] for name in ("setting", "what", "verdict")]
        assert any(all(text in line for text in shown) for line in lines)
    known = {"cpu", "cores", "torch", "date", "commit"}
    assert all(document["machine"][name] for name in known)


def test_every_case_of_ours_is_reported(tmp_path: Path) -> None:
    document = bench(tmp_path, "acde")
    check_complete(document, "acde", tmp_path)
    unmeasured = {"processes 2"} if document["machine"]["gpu"] else set()  # with a single GPU
    assert {entry["contestant"] for entry in document["left_out"]} <= unmeasured


def test_other_trainers_are_measured(tmp_path: Path) -> None:
    document = bench(tmp_path, "b")
    check_complete(document, "b", tmp_path)
    reasons = [entry["reason"] for entry in document["left_out"]]
    if reasons:
        pytest.skip(f"other packages could not be fetched: {reasons[0]}")
    assert {time["contestant"] for time in document["times"]} >= set(THEIRS)


def test_the_full_cases_hold_the_targets() -> None:
    full = cases(["cpu", "cuda"], quick=False)
    ratios = [ratio for case in full for ratio in case.ratios]
    peaks: list[Peak] = [peak for case in full for peak in case.peaks]
    aims = {None, 1.05, 1.10, 0.85, 0.25, 0.45, 0.30, 0.60, 1.3, 1.5, 1.0}
    assert {r.target for r in ratios} == aims
    assert {peak.target for peak in peaks} == {None, 40.0}
    for case in full:
        assert {name for r in case.ratios for name in (r.of, r.to)} == case.contestants.keys()
        assert {c.package for c in case.contestants.values()} <= {OURS, *THEIRS, JAX}


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    case = cases(["cpu"], quick=True)[0]
    ratio = case.ratios[0]
    # One round in which everything else on the machine was busy must not count.
    seconds = {ratio.of: [1.0, 2.0, 9.0], ratio.to: [1.0, 1.0, 1.0]}
    (row,) = rows(case, Outcome(seconds), "a")
    assert (row.value, row.verdict) == (2.0, "not met")
    assert middle([1.0, 2.0, 3.0, 4.0, 5.0]) == (3.0, 2.0, 4.0)


def test_peak_memory_counts_what_is_held_at_once() -> None:
    x = torch.ones(2**20)
    mebibytes = [
        peak_memory(work, "cpu") / 2**20
        for work in (lambda: x + 1, lambda: x + 1 + 1 + 1 + 1, lambda: [x + 1, x + 1, x + 1])
    ]
    assert mebibytes == pytest.approx([4.0, 8.0, 12.0], rel=1e-3)


def test_a_worker_is_sure_which_package_it_times(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="not " + str(tmp_path)):
        Worker(tmp_path)
