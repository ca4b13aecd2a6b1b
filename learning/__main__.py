"""Make the tables of what is learned, beside rivals: ``learning.json``, ``.md`` and two pictures.

Every number is of rows that no fit and no choice has seen. Seeds draw samples or splits, and each
method gets the same ones.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.report import machine
from learning import censored, curves, rational, scripts, thresholds
from learning.jobs import Job, Row
from learning.pictures import draw
from learning.report import Results, as_json, as_markdown, but_for

MEASURES: dict[str, Callable[[Job], list[Row]]] = {
    "curves": curves.measure,
    "rational": rational.measure,
    "assay": censored.measure,
    "diabetes": censored.measure,
    "thresholds": thresholds.measure,
    "arm": scripts.arm,
    "certified": scripts.certified,
}
TABLES = [name for name in MEASURES if name not in scripts.SCRIPTS or name in scripts.AVAILABLE]
CURVES = "curves", "rational"  # of one table: its networks, and its rational fits
PROCESSES = 2


def jobs(tables: list[str], seeds: int, *, quick: bool) -> list[Job]:
    """Return what has to be done for some tables, the longest first."""
    every = tuple(range(seeds))
    found = [Job(part, noise, every, quick) for part in CURVES for noise in curves.NOISES]
    found += [Job("thresholds", "", (0,), quick)]
    single = [table for table in tables if table not in (*CURVES, "thresholds")]
    found += [Job(table, "", (seed,), quick) for seed in every for table in single]
    return [job for job in found if job.table in tables]


def measure(job: Job) -> list[Row]:
    """Do a job on one thread, of which small networks use no more."""
    torch.set_num_threads(1)
    return MEASURES[job.table](job)


def _tables(text: str) -> list[str]:
    chosen = text.split(",")
    if not set(chosen) <= set(TABLES):
        raise argparse.ArgumentTypeError(f"tables are {', '.join(TABLES)}, got {text!r}")
    return chosen


def main() -> None:
    """Parse the options, measure and report."""
    parser = argparse.ArgumentParser(prog="learning", description=__doc__)
    parser.add_argument("--only", type=_tables, default=TABLES, help="as in curves,rational,assay")
    parser.add_argument("--seeds", type=int, default=10, help="samples or splits")
    parser.add_argument("--quick", action="store_true", help="a smoke test, of fits of few epochs")
    parser.add_argument("--out", type=Path, default=Path("build/learning"), help="folder")
    parser.add_argument("--keep", action="store_true", help="keep the folder's other rows")
    options = parser.parse_args()
    about = machine({"gpu": None, "torch": torch.__version__}, threads=1)
    about["seeds"] = min(options.seeds, 2) if options.quick else options.seeds
    kept = list[Row]()
    if options.keep:
        document = json.loads((options.out / "learning.json").read_text("utf-8"))
        for name in ("seeds", "torch"):
            if (theirs := document["machine"][name]) != about[name]:
                parser.error(f"--keep: the rows kept have {name} {theirs}, not {about[name]}")
        kept = [Row(**row) for row in document["rows"]]
        later = [*document["machine"].get("later", []), about | {"only": options.only}]
        about = document["machine"] | {"later": later}
    rows = _run(jobs(options.only, about["seeds"], quick=options.quick))
    report(options.out, about, Results([*but_for(kept, rows), *rows]))
    if {"curves", "diabetes"} & set(options.only):
        draw(options.out, quick=options.quick)


def _run(todo: list[Job]) -> list[Row]:
    with ProcessPoolExecutor(PROCESSES) as pool:
        started = [pool.submit(measure, job) for job in todo]
        for _ in tqdm(as_completed(started), total=len(started)):
            pass
        return [row for done in started for row in done.result()]


def report(folder: Path, about: dict[str, Any], found: Results) -> None:
    """Write and print the tables."""
    folder.mkdir(parents=True, exist_ok=True)
    document = as_json(about, found)
    text = as_markdown(json.loads(document))
    (folder / "learning.json").write_text(document, encoding="utf-8")
    (folder / "learning.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
