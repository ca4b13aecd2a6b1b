"""Run the mutants of ``zeroproof``; print those that no test kills, and the score.

mutmut 3 makes the mutants, but cannot run them here: its trampolines leave out every decorated
function (properties, context managers) and all module and class level code, it drops no
statements, and it cannot spare messages alone. So they run in children of this process
(``trial.py``).
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import tomllib
from tqdm import tqdm

from mutants.changes import Mutant, function_lines, mutants
from mutants.trial import Tree

ROOT = Path(__file__).parent.parent
STATE = ROOT / ".mutants"  # what a later run continues from; delete it to start from scratch


class Campaign:
    """All mutants of the chosen files, the tests that cover them, and which tests killed them.

    Args:
        config: the table ``tool.mutants`` of ``pyproject.toml``.
        patterns: parts or globs of the names of the files to mutate; none for all.
        jobs: how many mutants are tried at a time.
        most: seconds of tests for one mutant.
        tests: the one folder of tests to try, in a state of its own; all if empty.
    """

    def __init__(
        self, config: dict[str, Any], patterns: list[str], jobs: int, most: float, tests: str = ""
    ) -> None:
        self._most = most
        folders = [tests] if tests else config["tests"]
        self._state = STATE / tests if tests else STATE
        self._state.mkdir(parents=True, exist_ok=True)
        self.files = [
            str(path.relative_to(ROOT))
            for path in sorted((ROOT / "zeroproof").rglob("*.py"))
            if not any(path.match(name) for name in config["skip_files"])
        ]
        if patterns:
            self.files = [f for f in self.files if any(fnmatch(f, f"*{p}*") for p in patterns)]
        self.sources = {file: (ROOT / file).read_text(encoding="utf-8") for file in self.files}
        places = [self._state / f"tree-{job}" for job in range(jobs)]
        self.trees = [Tree(ROOT, place, folders) for place in places]
        self._skipped_tests, self._also = config["skip_tests"], config["also"]
        self.seconds, self.covering, digest = self._coverage(folders)
        self.mutants = [
            mutant
            for file, source in self.sources.items()
            for mutant in mutants(file, source, config["looks"])
            if not mutant.place.startswith(tuple(config["skip_places"]))
        ]
        # The score of a folder counts no kill by another state of its tests.
        self._results = self._state / (f"results-{digest[:8]}.json" if tests else "results.json")
        self.results: dict[str, str] = _read(self._results) or {}
        self.killers: dict[str, set[str]] = defaultdict(set)
        for mutant in self.mutants:
            self._remember(mutant, self.results.get(key(mutant), ""))

    def _coverage(self, tests: list[str]) -> tuple[dict[str, float], Any, str]:
        """Run the tests unchanged, once for every state of the code and the tests."""
        paths = [p for d in ("zeroproof", "spec", *tests) for p in _python_files(ROOT / d)]
        digest = hashlib.sha256(b"".join(p.read_bytes() for p in paths)).hexdigest()
        found = _read(self._state / "coverage.json")
        if not found or found["digest"] != digest:
            print("Running the tests unchanged, for who covers what …", flush=True)
            seconds: dict[str, float] = {}
            lines: dict[str, dict[str, list[str]]] = {}
            files = [str(p.relative_to(ROOT)) for d in tests for p in _python_files(ROOT / d)]
            files = [f for f in files if Path(f).match("test_*.py")]
            files = [f for f in files if not any(map(Path(f).match, self._skipped_tests))]
            for index, tree in enumerate(self.trees):
                tree.measure(files[index :: len(self.trees)])
            try:
                for tree in self.trees:
                    if tree.wait():
                        raise SystemExit(f"unchanged, the tests fail; see {tree.place / '.output'}")
                    found_seconds, found_lines = tree.covered()
                    seconds |= found_seconds
                    for file, by_line in found_lines.items():
                        for line, names in by_line.items():
                            lines.setdefault(file, {}).setdefault(str(line), []).extend(names)
            finally:
                for tree in self.trees:
                    tree.stop()
            found = {"digest": digest, "seconds": seconds, "lines": lines}
            _write(self._state / "coverage.json", found)
        return found["seconds"], found["lines"], digest

    def _remember(self, mutant: Mutant, killer: str) -> None:
        self.killers[mutant.place].add(killer)
        self.killers[mutant.file].add(killer)

    def tests(self, mutant: Mutant) -> list[str]:
        """Return the tests of a mutant: those that killed its neighbours, then the fastest."""
        by_line = self.covering.get(mutant.file, {})
        around = function_lines(self.sources[mutant.file], mutant.lines.start)
        for lines in (mutant.lines, around, [int(line) for line in by_line]):
            covering = {test for line in lines for test in by_line.get(str(line), [])}
            if covering:
                break
        near, far = self.killers[mutant.place], self.killers[mutant.file]
        chosen = sorted(covering, key=lambda t: (t not in near, t not in far, self.seconds[t]))
        total = itertools.accumulate(self.seconds[test] for test in chosen)
        fit = [test for test, sum_ in zip(chosen, total, strict=True) if sum_ <= self._most]
        # Beginnings of names, such as a file's.
        also = [t for t in self.seconds if t.startswith(tuple(self._also.get(mutant.file, ())))]
        return list(dict.fromkeys([*fit, *also]))

    def run(self, waiting: list[Mutant]) -> None:
        """Try mutants, one in every tree at a time."""
        queue = iter(tqdm(waiting, unit="mutant", smoothing=0.02))
        busy = [tree for tree in self.trees if self._next(tree, queue)]
        try:
            while busy:
                time.sleep(0.01)
                for tree in list(busy):
                    status = tree.status()
                    if status is not None:
                        self._note(tree.mutant, tree.finish(), survived=status in (0, 5))
                        if not self._next(tree, queue):
                            busy.remove(tree)
        finally:
            for tree in self.trees:
                tree.stop()

    def _next(self, tree: Tree, queue: Iterator[Mutant]) -> bool:
        for mutant in queue:
            tests = self.tests(mutant)
            if tests:
                limit = 10 + 5 * sum(self.seconds[test] for test in tests)
                tree.start(mutant, tests, limit)
                return True
            self._note(mutant, "", survived=True)
        return False

    def _note(self, mutant: Mutant, killer: str, survived: bool) -> None:
        self._remember(mutant, killer)
        self.results[key(mutant)] = "" if survived else killer or "error or time limit"
        _write(self._results, self.results)


def key(mutant: Mutant) -> str:
    """Name a mutant and all of its file, so that an edit of the file tries it again."""
    return hashlib.sha256(f"{mutant.file}\n{mutant.source}".encode()).hexdigest()[:24]


def _python_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _write(path: Path, state: Any) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(state, indent=0), encoding="utf-8")
    new.replace(path)


def rates(campaign: Campaign) -> None:
    """Print how many mutants of each file are killed."""
    left = Counter(m.file for m in campaign.mutants if not campaign.results.get(key(m)))
    made = Counter(m.file for m in campaign.mutants)
    left["all"], made["all"] = left.total(), made.total()
    print(f"\n{'file':36} {'killed':>6} {'of':>6}   rate")
    for file, count in made.items():
        killed = count - left[file]
        print(f"{file:36} {killed:6} {count:6}  {killed / max(count, 1):6.1%}")


def score(campaign: Campaign, out: Path) -> None:
    """Write which test killed each mutant, as JSON; empty if none did."""
    rows = [
        {
            "file": mutant.file,
            "place": mutant.place.partition(":")[2],
            "line": mutant.lines.start,
            "change": mutant.change,
            "killed_by": campaign.results.get(key(mutant), ""),
        }
        for mutant in campaign.mutants
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def report(campaign: Campaign) -> None:
    """Print the mutants that survived."""
    for mutant in campaign.mutants:
        if not campaign.results.get(key(mutant)):
            print(f"\nSurvived: {mutant.place}, line {mutant.lines.start}\n{mutant.change}")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="nox -s mutants --", description=__doc__)
    parser.add_argument("files", nargs="*", help="parts or globs of names of files; default: all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=40, help="of tests for one mutant")
    parser.add_argument("--every", type=int, default=1, help="try a sample: every Nth mutant")
    parser.add_argument(
        "--tests", default="", help="try one folder of tests alone, and score it: properties"
    )
    parser.add_argument("--out", type=Path, default="build/mutants.json", help="of that score")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it must end the children too
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutants"]
    campaign = Campaign(config, arguments.files, arguments.jobs, arguments.seconds, arguments.tests)
    campaign.mutants = campaign.mutants[:: arguments.every]
    campaign.run([m for m in campaign.mutants if not campaign.results.get(key(m))])
    rates(campaign)
    report(campaign)
    score(campaign, arguments.out)


if __name__ == "__main__":
    main()
