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

import torch
from tqdm import tqdm

from benchmarks.report import machine
from learning import censored, curves, scripts, thresholds
from learning.jobs import Job, Row
from learning.pictures import draw
from learning.report import Results, as_json, as_markdown

MEASURES: dict[str, Callable[[Job], list[Row]]] = {
    "curves": curves.measure,
    "assay": censored.measure,
    "diabetes": censored.measure,
    "thresholds": thresholds.measure,
    "arm": scripts.arm,
    "certified": scripts.certified,
}
TABLES = [name for name in MEASURES if name not in scripts.SCRIPTS or name in scripts.AVAILABLE]
PROCESSES = 2


def jobs(tables: list[str], seeds: int, *, quick: bool) -> list[Job]:
    """Return what has to be done for some tables, the longest first."""
    every = tuple(range(seeds))
    found = [Job("curves", noise, every, quick) for noise in curves.NOISES]
    found += [Job("thresholds", "", (0,), quick)]
    single = [table for table in tables if table not in ("curves", "thresholds")]
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
    parser.add_argument("--only", type=_tables, default=TABLES, help="as in curves,assay")
    parser.add_argument("--seeds", type=int, default=10, help="samples or splits")
    parser.add_argument("--quick", action="store_true", help="a smoke test, of fits of few epochs")
    parser.add_argument("--out", type=Path, default=Path("build/learning"), help="folder")
    options = parser.parse_args()
    seeds = min(options.seeds, 2) if options.quick else options.seeds
    rows: list[Row] = []
    with ProcessPoolExecutor(PROCESSES) as pool:
        todo = [pool.submit(measure, j) for j in jobs(options.only, seeds, quick=options.quick)]
        for done in tqdm(as_completed(todo), total=len(todo)):
            rows += done.result()
    options.out.mkdir(parents=True, exist_ok=True)
    about = machine({"gpu": None, "torch": torch.__version__}, threads=1)
    document = as_json(about | {"seeds": seeds}, Results(rows))
    text = as_markdown(json.loads(document))
    (options.out / "learning.json").write_text(document, encoding="utf-8")
    (options.out / "learning.md").write_text(text, encoding="utf-8")
    if {"curves", "diabetes"} & set(options.only):
        draw(options.out, quick=options.quick)
    print(text)


if __name__ == "__main__":
    main()
