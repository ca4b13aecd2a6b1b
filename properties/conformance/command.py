"""``zeroproof-conformance``: hold a subject to the specification, clause by clause."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import Final

from tqdm import tqdm

from properties.conformance.judge import chosen_clauses, judge
from properties.conformance.report import SUFFIXES, VERDICTS, Report
from properties.conformance.reproduce import reproduced
from properties.conformance.subjects import BUILT_IN, Chosen, choose, unknown
from properties.conformance.verdicts import WIDTH, Options, Verdict

# Fewer clauses than these are tried sooner than a process has started.
WORTH: Final = 12


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="zeroproof-conformance",
        description="Hold a subject to the specification, clause by clause.",
        epilog="Exit status: 0 if nothing fails, 1 if a clause fails or is in error, 2 for a wrong "
        "call or if all clauses are absent, 3 if a clause is unfinished and none fails.",
    )
    built_in = ", ".join(BUILT_IN)
    made.add_argument("--subject", required=True, help=f"module:object, or one of {built_in}")
    made.add_argument("--clauses", help="chapters or ids, such as STOP,LIFT-2; default: all")
    made.add_argument("--report", action="append", default=[], type=Path, metavar="FILE",
                      help=f"write a report, by suffix one of {SUFFIXES}; repeatable")  # fmt: skip
    made.add_argument("--examples", type=_positive, help="of every property; default: its own")
    made.add_argument("--seed", type=int, default=0, help="of the search; default: 0")
    made.add_argument("--seconds", type=float, default=Options.seconds,
                      help="after which a search is cut; default: %(default)g")  # fmt: skip
    made.add_argument("--no-exhaustive", action="store_false", dest="exhaustive",
                      help="leave out what tries every number of a format, and finish no clause "
                      "that has such properties")  # fmt: skip
    made.add_argument("--jobs", type=_positive, default=os.cpu_count() or 1,
                      help="processes; default: one for every CPU")  # fmt: skip
    return made


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what a library warns of, or logs, out of the progress bar."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _judged(id: str, subject: str, options: Options) -> Verdict:
    """Judge in a process of a pool, which makes the subject for itself."""
    with quiet():
        return judge(id, choose(subject), options)


def verdicts(
    ids: Sequence[str], chosen: Chosen, options: Options, jobs: int
) -> Iterator[tuple[str, Verdict | None]]:
    """Walk the clauses: each as it starts, without a verdict, and each verdict."""
    if jobs == 1 or len(ids) < WORTH:
        for id in ids:
            yield id, None
            yield id, judge(id, chosen, options)
        return
    for id, verdict in _pooled(ids, chosen, options, jobs):
        if verdict is None:  # Not all that were under way may have died by their own fault.
            ((_, verdict),) = _pooled([id], chosen, options, 1)
        yield id, verdict or Verdict(id, "error", 0, 0.0, reason="the process died")


def _pooled(
    ids: Sequence[str], chosen: Chosen, options: Options, jobs: int
) -> Iterator[tuple[str, Verdict | None]]:
    # Not forked, since what a subject's library has started may not live through a fork.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(_judged, id, chosen.name, options): id for id in ids}
        for done in as_completed(waiting):
            try:
                yield waiting[done], done.result()
            except BrokenProcessPool:
                yield waiting[done], None


def tried(ids: Sequence[str], chosen: Chosen, options: Options, jobs: int) -> list[Verdict]:
    """Return the verdicts in the order of the clauses, with a progress bar on a terminal."""
    found: dict[str, Verdict] = {}
    with tqdm(total=len(ids), unit="clause", disable=None) as bar:
        for id, verdict in verdicts(ids, chosen, options, jobs):
            bar.set_postfix_str(id)
            if verdict:
                found[id] = verdict
                bar.update()
    return [found[id] for id in ids]


def summary(report: Report) -> str:
    (*_, (_, counts)) = report.counts()
    told = ", ".join(f"{counts[name]} {word}" for name, word in VERDICTS.items() if counts[name])
    lines = [f"{report.subject}: {told}", *(fill(text, WIDTH) for text in report.notes)]
    for verdict in report.verdicts:
        if verdict.verdict in ("fails", "error", "unfinished"):
            why = f" ({verdict.reason})" if verdict.reason else ""
            lines += ["", fill(f"{verdict.id} {verdict.verdict}{why}", WIDTH)]
        for found in verdict.shown:
            lines += ["", found.told, *([found.snippet] if found.snippet else [])]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the clauses, write the reports, and tell by the status whether all is well."""
    sys.path.insert(0, os.getcwd())
    command = parser()
    given = command.parse_args(arguments)
    for path in given.report:
        if path.suffix not in SUFFIXES:
            command.error(f"--report {path}: end its name in {', '.join(SUFFIXES)}")
        if not path.parent.is_dir():
            command.error(f"--report {path}: make the folder {path.parent} first")
    try:
        ids, chosen = chosen_clauses(given.clauses), choose(given.subject)
    except ValueError as error:
        command.error(str(error))
    try:
        others = unknown(chosen.make())
    except Exception as error:
        command.error(f"subject {given.subject!r} could not be made: {error!r}")
    options = Options(given.examples, given.seed, given.seconds, given.exhaustive)
    with quiet():
        found = reproduced(tried(ids, chosen, options, given.jobs))
    report = Report(given.subject, options, found, others)
    for path in given.report:
        report.write(path)
    sys.stdout.write(summary(report) + "\n")
    return report.status
