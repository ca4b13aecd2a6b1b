"""Measure, print a table, and write it as ``benchmarks.md`` beside ``benchmarks.json``.

Times depend on the machine and on what else runs there; ratios of contestants that take turns
depend on both far less. Nothing here fails for being slow: the table says which targets are met.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from benchmarks.cases import PARTS, cases
from benchmarks.report import as_json, as_markdown, machine
from benchmarks.rounds import Arena, Effort

QUICK = Effort(turn=0.002, rounds=3, case=0.0)


def _parts(text: str) -> str:
    chosen = text.replace(",", "")
    if not chosen or not set(chosen) <= PARTS.keys():
        raise argparse.ArgumentTypeError(f"parts are {', '.join(PARTS)}, got {text!r}")
    return chosen


def main() -> None:
    """Parse the options, measure and report."""
    listed = "; ".join(f"{part}: {title}" for part, title in PARTS.items())
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__, epilog=listed)
    parser.add_argument("--only", type=_parts, default="".join(PARTS), help="parts, as in a,d")
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], help="measure on one alone, not on all there are"
    )
    parser.add_argument("--quick", action="store_true", help="a smoke test; its ratios say little")
    parser.add_argument("--rounds", type=int, default=Effort.rounds, help="rounds at most")
    parser.add_argument("--threads", type=int, default=1, help="of each contestant on the CPU")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder of results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    effort = QUICK if options.quick else Effort(rounds=options.rounds)
    arena = Arena(options.out, options.threads)
    try:
        about = machine(arena.found, options.threads)
        devices = ["cpu", *(["cuda"] if about["gpu"] else [])]
        if options.device:
            devices = [options.device]
        chosen = [
            case
            for case in cases(devices, quick=options.quick)
            if any(ratio.part in options.only for ratio in case.ratios)
        ]
        results = []
        with tqdm(total=len(chosen) * effort.rounds) as bar:
            for number, case in enumerate(chosen, start=1):
                bar.set_description(f"{case.device}, {case.setting}")
                results.append((case, arena.compare(case, options.only, effort, bar.update)))
                bar.update(number * effort.rounds - bar.n)  # of a case that ended early
    finally:
        arena.close()
    document = as_json(about, results, options.only)
    text = as_markdown(document)
    (options.out / "benchmarks.json").write_text(
        json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (options.out / "benchmarks.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
