"""Run the mutants of ``zeroproof``; fail where one survives that ``survivors.toml`` does not list.

mutmut 3 makes the mutants, but cannot run them here: its trampolines leave out every decorated
function (properties, context managers) and all module and class level code, it drops no
statements, it cannot spare messages alone, and it numbers its mutants, so that no list of
survivors would outlive an edit. So they run in children of this process (``trial.py``).
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
STATE = ROOT / ".mutants"  # what a later run goes on from; delete it to start anew
SURVIVORS = ROOT / "mutants" / "survivors.toml"


class Campaign:
    """All mutants of the chosen files, what covers them, and what became of them."""

    def __init__(self, config: dict[str, Any], patterns: list[str], jobs: int, most: float) -> None:
        self._most = most
        STATE.mkdir(exist_ok=True)
        self.files = [
            str(path.relative_to(ROOT))
            for path in sorted((ROOT / "zeroproof").rglob("*.py"))
            if not any(path.match(name) for name in config["skip_files"])
        ]
        if patterns:
            self.files = [f for f in self.files if any(fnmatch(f, f"*{p}*") for p in patterns)]
        self.sources = {file: (ROOT / file).read_text(encoding="utf-8") for file in self.files}
        places = [STATE / f"tree-{job}" for job in range(jobs)]
        self.trees = [Tree(ROOT, place, config["tests"]) for place in places]
        self._skipped_tests, self._also = config["skip_tests"], config["also"]
        self.seconds, self.covering = self._coverage(config["tests"])
        self.mutants = [
            mutant
            for file, source in self.sources.items()
            for mutant in mutants(file, source, config["looks"])
            if not mutant.place.startswith(tuple(config["skip_places"]))
        ]
        self._results = STATE / "results.json"
        self.results: dict[str, str] = _read(self._results) or {}
        self.killers: dict[str, set[str]] = defaultdict(set)
        for mutant in self.mutants:
            self._remember(mutant, self.results.get(key(mutant), ""))

    def _coverage(self, tests: list[str]) -> tuple[dict[str, float], Any]:
        """Run the tests unchanged, once for every state of the code and the tests."""
        paths = [p for d in ("zeroproof", "spec", *tests) for p in _python_files(ROOT / d)]
        digest = hashlib.sha256(b"".join(p.read_bytes() for p in paths)).hexdigest()
        found = _read(STATE / "coverage.json")
        if not found or found["digest"] != digest:
            print("Running the tests unchanged, for who covers what …", flush=True)
            seconds: dict[str, float] = {}
            lines: dict[str, dict[str, list[str]]] = {}
            files = [str(p.relative_to(ROOT)) for d in tests for p in _python_files(ROOT / d)]
            files = [f for f in files if Path(f).match("test_*.py")]
            files = [f for f in files if Path(f).name not in self._skipped_tests]
            for index, tree in enumerate(self.trees):
                tree.measure(files[index :: len(self.trees)])
            for tree in self.trees:
                status = os.waitstatus_to_exitcode(os.waitpid(tree.pid, 0)[1])
                if status:
                    raise SystemExit(f"unchanged, the tests fail; see {tree.place / '.output'}")
                found_seconds, found_lines = tree.covered()
                seconds |= found_seconds
                for file, by_line in found_lines.items():
                    for line, names in by_line.items():
                        lines.setdefault(file, {}).setdefault(str(line), []).extend(names)
            found = {"digest": digest, "seconds": seconds, "lines": lines}
            _write(STATE / "coverage.json", found)
        return found["seconds"], found["lines"]

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
        files = self._also.get(mutant.file, ())
        also = [test for test in self.seconds if test.partition("::")[0] in files]
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


def report(campaign: Campaign, listed: Any, *, sampled: bool) -> None:
    """Print the rates, and what the list lacks or has too much; leave with an error for either."""
    survivors = [m for m in campaign.mutants if not campaign.results.get(key(m))]
    left, made = Counter(m.file for m in survivors), Counter(m.file for m in campaign.mutants)
    left["all"], made["all"] = left.total(), made.total()
    print(f"\n{'file':36} {'killed':>6} {'of':>6}   rate")
    for file, count in made.items():
        killed = count - left[file]
        print(f"{file:36} {killed:6} {count:6}  {killed / max(count, 1):6.1%}")
    names = dict.fromkeys((m.place, m.change) for m in survivors)
    missing = [(place, change) for place, change in names if change not in listed.get(place, {})]
    gone = [
        f"{place}: {change}"
        for place, changes in listed.items()
        for change in changes
        if not sampled and place.split(":")[0] in made and (place, change) not in names
    ]
    for place, change in missing:
        quoted = json.dumps(change, ensure_ascii=False) if "'" in change else f"'{change}'"
        print(f'\nSurvived, not listed:\n["{place}"]\n{quoted} = ""')
    for line in gone:
        print(f"\nListed, but killed or gone: {line}")
    if missing or gone:
        raise SystemExit(f"{len(missing)} survivors are not listed, {len(gone)} listed are none")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="nox -s mutants --", description=__doc__)
    parser.add_argument("files", nargs="*", help="parts or globs of names of files; default: all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=40, help="of tests for one mutant")
    parser.add_argument("--every", type=int, default=1, help="try a sample: every Nth mutant")
    parser.add_argument("--listed", action="store_true", help="try the listed survivors too")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it must end the children too
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutants"]
    listed = tomllib.loads(SURVIVORS.read_text(encoding="utf-8"))
    campaign = Campaign(config, arguments.files, arguments.jobs, arguments.seconds)
    campaign.mutants = campaign.mutants[:: arguments.every]
    campaign.run(
        [
            mutant
            for mutant in campaign.mutants
            if not campaign.results.get(key(mutant))
            and (arguments.listed or mutant.change not in listed.get(mutant.place, {}))
        ]
    )
    report(campaign, listed, sampled=arguments.every > 1)


if __name__ == "__main__":
    main()
