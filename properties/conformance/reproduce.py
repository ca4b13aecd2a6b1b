"""Snippets, each run in a process of its own, against the subject alone.

A process imports what they need, and forks for every one of them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from properties.conformance.patience import NoAnswer
from properties.conformance.verdicts import Verdict

SECONDS: Final = 60
NOTHING: Final = ""


def raised(snippets: Sequence[str]) -> list[str]:
    """Return the name of what each snippet raises in a fresh process; empty for nothing."""
    path = os.pathsep.join(place or os.getcwd() for place in sys.path)
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(snippets),
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def reproduced(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Run the counterexamples alone; a failure that does not reproduce is reported as an error."""
    snippets = [c.snippet for v in verdicts for c in v.shown if c.snippet]
    found = raised(snippets) if snippets else []
    again = dict(zip(snippets, found, strict=True)) | {NOTHING: NOTHING}
    return [_settled(verdict, again) for verdict in verdicts]


def _settled(verdict: Verdict, again: Mapping[str, str]) -> Verdict:
    if verdict.counterexample is None or not verdict.counterexample.snippet:
        return verdict
    settled = [replace(c, reproduced=again[c.snippet] == c.exception) for c in verdict.shown]
    told = {c.claim or c.exception: c for c in reversed(settled) if c.reproduced}
    first, *others = [c for c in settled if c in told.values()] or settled[:1]
    if first.reproduced:
        return replace(verdict, counterexample=first, others=tuple(others))
    reason = "not reproduced by its snippet alone; does your code keep state, or change arguments?"
    return replace(verdict, verdict="error", reason=reason, counterexample=first, others=())


def _run(snippet: str) -> str:
    """Fork, run a snippet in the child, and return what it raised."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.dup2(2, 1)
        signal.alarm(SECONDS)
        try:
            exec(compile(snippet, "snippet", "exec"), {"__name__": "snippet"})
        except BaseException as error:
            os.write(writing, type(error).__qualname__.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        name = pipe.read()
    _, status = os.waitpid(child, 0)
    timed_out = status == signal.SIGALRM
    return NoAnswer.__name__ if timed_out else name if status == 0 else f"signal {status}"


def main() -> None:
    """Read snippets, import what they import, run each, and print what they raised."""
    warnings.simplefilter("ignore")
    snippets: list[str] = json.load(sys.stdin)
    lines = [line for snippet in snippets for line in snippet.splitlines()]
    for line in dict.fromkeys(line for line in lines if line.startswith(("from ", "import "))):
        exec(line, {})
    sys.stdout.write(f"\n{json.dumps([_run(snippet) for snippet in snippets])}\n")
    sys.stdout.flush()
    os._exit(0)  # This is the last line, also where a library prints at its exit.


if __name__ == "__main__":
    main()
