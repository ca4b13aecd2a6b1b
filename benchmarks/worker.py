"""A process that makes contestants and times them, told what to do in lines of JSON.

There is one for each package under test, since two of them import under one name. Its first line
says what it found; after that each line answers one:

- ``{"make": "training:by_hand", "options": {…}, "threads": 1}``: ``{"key": 0}``, or
  ``{"unavailable": reason}``;
- ``{"run": 0, "steps": 100}``: ``{"seconds": …}``, of all steps together;
- ``{"memory": 0}``: ``{"bytes": …}``, the peak of one step over what was held before;
- ``{"forget": true}``: ``{}``, after letting go of all contestants.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from benchmarks.job import Job, Unavailable, Work


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(work: Work) -> float:
    """Time work, until the device is done with it."""
    _wait()
    start = time.perf_counter()
    work()
    _wait()
    return time.perf_counter() - start


def peak_memory(work: Work, device: str) -> int:
    """Return the most bytes held at once during the work, over those held before it.

    On a CPU they are counted from every allocation and release that torch's allocator reports to
    its profiler, of which none is sampled or rounded.
    """
    gc.collect()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    cpu = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=cpu, profile_memory=True, acc_events=True) as profiler:
        work()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    held = peak = 0
    for event in sorted((e for e in events if e["name"] == "[memory]"), key=lambda e: e["ts"]):
        held += event["args"]["Bytes"]
        peak = max(peak, held)
    return peak


class Bench:
    """The contestants of a worker, by key."""

    def __init__(self) -> None:
        self._jobs: dict[int, tuple[Job, str]] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a line asks."""
        match request:
            case {"make": path, "options": options, "threads": threads}:
                return self._make(path, options, threads)
            case {"run": key, "steps": steps}:
                return {"seconds": seconds(self._jobs[key][0](steps))}
            case {"memory": key}:
                job, device = self._jobs[key]
                return {"bytes": peak_memory(job(1), device)}
            case {"forget": True}:
                self._jobs.clear()
                torch.compiler.reset()  # there is a limit to the versions of one function
                gc.collect()
                return {}
        raise ValueError(f"unknown request {request!r}")

    def _make(self, path: str, options: dict[str, Any], threads: int) -> dict[str, Any]:
        module, name = path.split(":")
        torch.set_num_threads(threads)
        try:
            job: Job = getattr(import_module(f"benchmarks.contestants.{module}"), name)(**options)
            for _ in range(3):
                job(8 if "batch" in options else 1)()  # warm up, and compile
        except Unavailable as error:
            return {"unavailable": str(error)}
        except torch._dynamo.exc.BackendCompilerFailed as error:
            return {"unavailable": f"torch.compile: {error}".splitlines()[0]}
        key = len(self._jobs)
        self._jobs[key] = job, options["device"]
        return {"key": key}


def main() -> None:
    """Serve lines until the input ends."""
    # Whatever else is printed must not get between the lines.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    package = import_module(sys.argv[1])
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    found = {"path": package.__file__, "torch": torch.__version__, "gpu": gpu}
    print(json.dumps(found), file=answers)
    bench = Bench()
    for line in sys.stdin:
        print(json.dumps(bench.answer(json.loads(line))), file=answers)


if __name__ == "__main__":
    main()
