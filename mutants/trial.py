"""The trial of a mutant: its tests, fastest first, in a forked child, until one fails."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import coverage
import hypothesis
import pytest

if TYPE_CHECKING:
    from mutants.changes import Mutant

# Imported once, so that no child has to: half a second for a mutant instead of four. What they
# test, zeroproof itself, is theirs to import.
for _name in (
    "beartype",
    "jaxtyping",
    "matplotlib.figure",
    "torch._dynamo",
    "torch.utils.data",
    "torch.utils.tensorboard",
    "xml.etree.ElementTree",
):
    importlib.import_module(_name)

_MEMORY = 16 * 2**30
_BASE = ["-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]


class Tree:
    """A copy of the repository that one child at a time mutates and tests.

    The file on disk is what is mutated, so that the import hooks and the processes that tests
    start meet the mutant, and so that defaults and constants are mutated like all else.
    """

    def __init__(self, root: Path, place: Path, tests: Sequence[str]) -> None:
        self.root, self.place, self._tests = root, place, tests
        shutil.rmtree(place, ignore_errors=True)
        # Times are copied too: they tell that the byte code of an earlier run is stale.
        shutil.copytree(root, place, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        # The byte code that this leaves is read, and none written, by every later child.
        self._fork([["--collect-only", *tests]], Recorder(None), "")
        self.wait()

    def _fork(
        self, arguments: Sequence[Sequence[str]], recorder: Recorder, no_bytecode: str
    ) -> None:
        self.pid = os.fork()
        if not self.pid:
            try:
                self._run(arguments, recorder, no_bytecode)
            finally:
                traceback.print_exc()
                os._exit(99)

    def _run(
        self, arguments: Sequence[Sequence[str]], recorder: Recorder, no_bytecode: str
    ) -> None:
        """Run pytest in this child, until one run fails, and leave with its exit status."""
        os.setsid()
        # The tests' own matter; and a job in the background ignores SIGINT from its start.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.dont_write_bytecode = bool(no_bytecode)
        os.environ["PYTHONDONTWRITEBYTECODE"] = no_bytecode
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        os.chdir(self.place)
        sys.path.insert(0, str(self.place))
        os.environ |= {"PYTHONPATH": str(self.place), "HYPOTHESIS_PROFILE": "mutants"}
        # A failing example is enough: it need not be small. Fewer are tried than elsewhere, as a
        # survivor meets them all, and what only a rare example kills is not kept from growing.
        hypothesis.settings.register_profile(
            "mutants",
            max_examples=30,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
            suppress_health_check=[hypothesis.HealthCheck.too_slow],
        )
        with (self.place / ".output").open("w") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        status, base = 0, [*_BASE, f"--basetemp={self.place / '.temporary'}"]
        for some in arguments:
            if status in (0, 5):
                try:
                    status = int(pytest.main([*base, *some], plugins=[recorder]))
                except Warning:  # something is still open when pytest closes, too late for a test
                    status = 1
                base += ["-o", "addopts="]  # the import hook is there, and refuses to come twice
        recorder.write(self.place / ".record")
        sys.stdout.flush()
        os._exit(status)

    def measure(self, files: Sequence[str]) -> None:
        """Start a child that runs tests unchanged and records who covers which line."""
        os.environ["COVERAGE_FILE"] = str(self.place / ".coverage")
        options = ["--cov=zeroproof", "--cov-context=test", "--cov-report=", "--cov-fail-under=0"]
        # Everything is imported first: else the first test that imports it covers its import.
        runs = [["--collect-only", *self._tests], *([file] for file in files)]
        self._fork([[*options, "--cov-append", *run] for run in runs], Recorder(None), "1")

    def covered(self) -> tuple[dict[str, float], dict[str, dict[int, list[str]]]]:
        """Return what :meth:`measure` found: seconds by test, and tests by file and line."""
        data = coverage.CoverageData(str(self.place / ".coverage"))
        data.read()
        lines: dict[str, dict[int, list[str]]] = {}
        for file in data.measured_files():
            tests = lines[str(Path(file).relative_to(self.place))] = {}
            for line, contexts in data.contexts_by_lineno(file).items():
                # The empty context is the import.
                tests[line] = sorted({c.rpartition("|")[0] for c in contexts if c})
        return json.loads((self.place / ".record").read_text())["seconds"], lines

    def start(self, mutant: Mutant, tests: Sequence[str], limit: float) -> None:
        """Start a child that tries a mutant."""
        self.mutant, self._began, self._limit = mutant, time.monotonic(), limit
        (self.place / ".record").unlink(missing_ok=True)
        (self.place / mutant.file).write_text(mutant.source, encoding="utf-8")
        # One file after another: to collect them all would take longer than most mutants live.
        files = dict.fromkeys(test.partition("::")[0] for test in tests)
        self._fork([["-x", file] for file in files], Recorder(tests), "1")

    def status(self) -> int | None:
        """Return pytest's exit status, or None while it runs; too long is a failure."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            if time.monotonic() - self._began < self._limit:
                return None
            os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            status = 1 << 8
        self.pid, status = 0, os.waitstatus_to_exitcode(status)
        if status == 99:
            raise SystemExit(f"the trial itself broke; see {self.place / '.output'}")
        return status

    def wait(self) -> int:
        """Wait for the child, and return pytest's exit status."""
        status = os.waitpid(self.pid, 0)[1]
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def stop(self) -> None:
        """Kill the child, if it still runs."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def finish(self) -> str:
        """Put the file back, and return the test that failed, if one was recorded."""
        shutil.copy2(self.root / self.mutant.file, self.place / self.mutant.file)
        record = self.place / ".record"
        failed = json.loads(record.read_text())["failed"] if record.exists() else []
        return str(failed[0]) if failed else ""


class Recorder:
    """A pytest plugin: runs the given tests in the given order, and records times and failures."""

    def __init__(self, tests: Sequence[str] | None) -> None:
        self._tests = tests
        self._seconds: dict[str, float] = {}
        self._failed: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep and order the tests."""
        if self._tests is None:
            # The exact reference runs nothing of zeroproof, and takes most of the time.
            items[:] = [item for item in items if "[exact" not in item.name]
        else:
            order = {test: index for index, test in enumerate(self._tests)}
            chosen = [item for item in items if item.nodeid in order]
            items[:] = sorted(chosen, key=lambda item: order[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test's time and failure."""
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self._failed.append(report.nodeid)

    def write(self, path: Path) -> None:
        """Leave the record to the parent."""
        path.write_text(json.dumps({"seconds": self._seconds, "failed": self._failed}))
