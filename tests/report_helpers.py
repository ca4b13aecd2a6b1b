"""Tables that the command learns in part within a few epochs, and its reports of them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from zeroproof.command.main import main


def table(kind: str, rows: int = 150) -> pd.DataFrame:
    """Return a table that is learned in part within a few epochs."""
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (rows, 3))
    value = 3 * x[:, 0] + x[:, 1] + 0.1 * random.normal(size=rows)
    frame = pd.DataFrame(x, columns=["$a_1$", "напряжение", "温度"])
    frame.insert(0, "sample", [f"S-{i:03}" for i in range(rows)])
    if kind == "limits":
        frame["y"] = [f">{2}" if v > 2 else "<-2" if v < -2 else f"{v:.4f}" for v in value]
    elif kind == "poles":
        gap = x[:, 0] - x[:, 1]
        frame["y"] = [
            "nan" if abs(g) < 0.1 else "inf" if 0.1 < g < 0.2 else f"{1 / g:.4f}" for g in gap
        ]
    elif kind == "bounds":
        ends = random.uniform(-2, 3, rows)
        frame["y"] = [
            f">{e:.3f}" if e < v else f"{v:.4f}" for v, e in zip(value, ends, strict=True)
        ]
    elif kind == "ranges":
        frame["y"] = [f"{v + 9:.2f}-{v + 10:.2f}" if v > 1 else f"{v + 9:.4f}" for v in value]
    elif kind == "logarithm":
        frame["y"] = [f"{10**v:.6g}" if v > -2 else "<0.01" for v in value]
    else:
        frame["Re_$y_1$"], frame["虚部"] = value, -value
    return frame


def train(folder: Path, kind: str, *options: str, epochs: int = 10) -> tuple[Path, str]:
    """Train on a table, and return the run's folder and its report."""
    table(kind).to_csv(folder / "data.csv", index=False)
    names = ["Re_$y_1$", "虚部"] if kind == "several" else ["y"]
    chosen = [part for name in names for part in ("--target", name)]
    common = ["--out", str(folder / "run"), "--epochs", str(epochs)]
    assert main(["train", str(folder / "data.csv"), *chosen, *common, *options]) == 0
    return folder / "run", (folder / "run" / "report.md").read_text(encoding="utf-8")


def rows_of(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the tables below a heading, as they were before they were escaped."""
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    plain = re.sub(r"\\(.)", r"\1", section.replace("\\|", "¦"))
    rows = [line[1:-1].split("|") for line in plain.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if "---" not in row[0]]
