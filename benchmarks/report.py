"""Results as JSON, and as a table for people."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.cases import PARTS, Case
from benchmarks.packages import ROOT
from benchmarks.rounds import Outcome, middle


@dataclass(frozen=True)
class Row:
    """A result: the median over the rounds, with quartiles, and the target where there is one."""

    part: str
    device: str
    setting: str
    what: str
    value: float
    unit: str
    low: float
    high: float
    target: float | None
    verdict: str  # met, or not met; nothing without a target


def rows(case: Case, outcome: Outcome, parts: str) -> list[Row]:
    """Return what was found out in a case."""
    found: list[Row] = []
    for ratio in case.ratios:
        if ratio.part not in parts or not {ratio.of, ratio.to} <= outcome.seconds.keys():
            continue
        what = f"{ratio.of} / {ratio.to}"
        numbers = middle(outcome.ratios(ratio.of, ratio.to))
        found.append(_row(case, ratio.part, what, numbers, "×", ratio.target))
    for peak in (peak for peak in case.peaks if peak.of in outcome.peaks):
        size = outcome.peaks[peak.of] / 2**20
        numbers = (size, size, size)
        found.append(_row(case, peak.part, f"peak of {peak.of}", numbers, "MiB", peak.target))
    return found


def _row(
    case: Case,
    part: str,
    what: str,
    numbers: tuple[float, float, float],
    unit: str,
    target: float | None,
) -> Row:
    value, low, high = numbers
    verdict = "" if target is None else "met" if value <= target else "not met"
    return Row(part, case.device, case.setting, what, value, unit, low, high, target, verdict)


def machine(found: dict[str, Any], threads: int) -> dict[str, Any]:
    """Name the machine, the versions and the commit."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "gpu": found["gpu"],
        "threads": threads,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": found["torch"],
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": _commit(),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str | None:
    """Return the commit, with a + where files differ from it; None outside a repository."""
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def as_json(
    about: dict[str, Any], results: Iterable[tuple[Case, Outcome]], parts: str
) -> dict[str, Any]:
    """Return everything: the machine, rows, seconds a step by contestant, what was left out."""
    document: dict[str, Any] = {"machine": about, "rows": [], "times": [], "left_out": []}
    for case, outcome in results:
        where = {"device": case.device, "setting": case.setting}
        document["rows"] += map(asdict, rows(case, outcome, parts))
        document["times"] += [
            where | {"contestant": name, "seconds": median(times), "rounds": len(times)}
            for name, times in outcome.seconds.items()
            if times
        ]
        document["left_out"] += [
            where | {"contestant": name, "reason": reason}
            for name, reason in outcome.left_out.items()
        ]
    return document


def as_markdown(document: dict[str, Any]) -> str:
    """Return the tables of a document of :func:`as_json`."""
    about = document["machine"]
    lines = ["# Benchmarks", ""]
    lines += [f"- {name}: {value}" for name, value in about.items()]
    for part, title in PARTS.items():
        shown = [Row(**row) for row in document["rows"] if row["part"] == part]
        if shown:
            cells = [[*map(str, (r.device, r.setting, r.what)), *_numbers(r)] for r in shown]
            names = ["device", "setting", "what", "median", "quartiles", "target", ""]
            lines += ["", f"## {part}: {title}", "", *aligned([names, *cells])]
    if document["times"]:
        cells = [
            [t["device"], t["setting"], t["contestant"], f"{t['seconds'] * 1e6:.1f}"]
            for t in document["times"]
        ]
        names = ["device", "setting", "contestant", "median µs a step"]
        lines += ["", "## Times", "", *aligned([names, *cells])]
    if document["left_out"]:
        lines += ["", "## Left out", ""]
        for entry in document["left_out"]:
            where = f"{entry['device']}, {entry['setting']}, {entry['contestant']}"
            lines.append(f"- {where}: {entry['reason']}")
    return "\n".join(lines) + "\n"


def _numbers(row: Row) -> list[str]:
    target = "" if row.target is None else f"≤ {row.target:g} {row.unit}"
    value, spread = f"{row.value:.3g} {row.unit}", f"{row.low:.3g} to {row.high:.3g}"
    return [value, spread if row.low < row.high else "", target, row.verdict]


def aligned(cells: list[list[str]]) -> list[str]:
    """Return the lines of a Markdown table, its columns aligned, the first row being names."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    return [lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]]
