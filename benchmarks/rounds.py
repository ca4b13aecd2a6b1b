"""Contestants take turns, in many short rounds; one runs at a time."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.cases import JAX, OURS, Case, Contestant
from benchmarks.packages import ROOT, FetchError, environment, fetch


@dataclass(frozen=True)
class Effort:
    """How long to measure: seconds a turn, rounds at most, and the seconds that end a case."""

    turn: float = 0.1
    rounds: int = 31
    case: float = 20.0

    least = 5  # rounds, however long they take


@dataclass
class Outcome:
    """Seconds a step by contestant, one for each round; peak bytes; what was left out, and why."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def ratios(self, of: str, to: str) -> list[float]:
        """Return the ratio of each round, sorted."""
        pairs = zip(self.seconds[of], self.seconds[to], strict=True)
        return sorted(a / b for a, b in pairs)


class Worker:
    """A process that times the contestants of one package."""

    def __init__(self, package: Path, module: str = "zeroproof") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            cwd=package,
            env=environment(package) | {"KINETO_LOG_LEVEL": "99"},
        )
        self.found = self._read()
        if package not in Path(self.found["path"]).parents:
            self.close()
            raise RuntimeError(f"{module} was imported from {self.found['path']}, not {package}")

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise RuntimeError(f"a worker ended with status {self._process.returncode}; see above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return its answer."""
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._read()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@dataclass
class _Turn:
    worker: Worker
    key: int
    unit: int
    steps: int

    def run(self) -> float:
        # The first steps after a turn of another process are slower.
        self.worker.ask(run=self.key, steps=max(self.steps // 8 // self.unit, 1) * self.unit)
        seconds: float = self.worker.ask(run=self.key, steps=self.steps)["seconds"]
        return seconds / self.steps

    def calibrate(self, seconds: float) -> None:
        """Set the steps of a turn of about so many seconds, in multiples of the unit."""
        self.steps = max(round(seconds / self.run() / self.unit), 1) * self.unit


class Arena:
    """The workers, started as they are needed."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._folder, self._threads = folder.resolve(), threads
        self._workers: dict[str, Worker] = {OURS: Worker(ROOT)}

    @property
    def found(self) -> dict[str, Any]:
        """What the worker of this package found: paths, versions, GPU."""
        return self._workers[OURS].found

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers.values():
            worker.close()

    def _worker(self, package: str) -> Worker:
        if package not in self._workers:
            module = "jax" if package == JAX else "zeroproof"
            self._workers[package] = Worker(fetch(package, self._folder), module)
        return self._workers[package]

    def _enter(self, contestant: Contestant) -> _Turn | str:
        """Return the contestant's turn, or why there is none."""
        try:
            worker = self._worker(contestant.package)
        except FetchError as error:
            return str(error)
        options = dict(contestant.options)
        answer = worker.ask(make=contestant.factory, options=options, threads=self._threads)
        if "key" not in answer:
            return str(answer["unavailable"])
        unit = options.get("accumulation", contestant.unit)
        return _Turn(worker, answer["key"], unit, unit)

    def compare(
        self, case: Case, parts: str, effort: Effort, tick: Callable[[], object]
    ) -> Outcome:
        """Measure a case, as far as the chosen parts need it."""
        outcome, turns = Outcome(), dict[str, _Turn]()
        ratios = [ratio for ratio in case.ratios if ratio.part in parts]
        for ratio in ratios:
            # What has nothing to be compared with need not be made.
            for name in (ratio.of, ratio.to):
                if name not in turns | outcome.left_out and ratio.of not in outcome.left_out:
                    entered = self._enter(case.contestants[name])
                    if isinstance(entered, str):
                        outcome.left_out[name] = entered
                    else:
                        turns[name] = entered
        for turn in turns.values():
            turn.calibrate(effort.turn)
        for peak in (p for p in case.peaks if p.part in parts and p.of in turns):
            turn = turns[peak.of]
            outcome.peaks[peak.of] = turn.worker.ask(memory=turn.key)["bytes"]
        self._take_turns(turns, outcome, effort, tick)
        for worker in self._workers.values():
            worker.ask(forget=True)
        return outcome

    def _take_turns(
        self, turns: dict[str, _Turn], outcome: Outcome, effort: Effort, tick: Callable[[], object]
    ) -> None:
        outcome.seconds = {name: [] for name in turns}
        names, start = list(turns), time.perf_counter()
        for number in range(effort.rounds if len(turns) > 1 else 0):
            if number >= effort.least and time.perf_counter() - start > effort.case:
                break
            # Everyone gets every predecessor.
            for name in random.Random(number).sample(names, len(names)):
                outcome.seconds[name].append(turns[name].run())
            tick()


def middle(values: list[float]) -> tuple[float, float, float]:
    """Return the median of sorted values and their quartiles."""
    quarter = len(values) // 4
    return median(values), values[quarter], values[-1 - quarter]
