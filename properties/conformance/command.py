"""``zeroproof-conformance``: hold a subject to the specification, clause by clause."""

from __future__ import annotations

import argparse
import faulthandler
import logging
import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from textwrap import fill
from traceback import extract_tb
from typing import Any

from tqdm import tqdm

from properties.conformance.judge import chosen_clauses, judge
from properties.conformance.report import SUFFIXES, VERDICTS, Report
from properties.conformance.reproduce import reproduced
from properties.conformance.subjects import BUILT_IN, Chosen, SubjectError, choose, unknown
from properties.conformance.verdicts import WIDTH, Options, Verdict


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
    made.add_argument("--examples", type=_at_least(1, int),
                      help="of every property; default: its own")  # fmt: skip
    made.add_argument("--seed", type=int, default=0, help="of the search; default: 0")
    made.add_argument("--seconds", type=_at_least(0, float), default=Options.seconds,
                      help="after which a search is cut; default: %(default)g")  # fmt: skip
    made.add_argument("--no-exhaustive", action="store_false", dest="exhaustive",
                      help="leave out what tries every number of a format, and finish no clause "
                      "that has such properties")  # fmt: skip
    made.add_argument("--jobs", type=_at_least(0, int), default=os.cpu_count() or 1,
                      metavar="N", help="processes; default: one for every CPU; 0: none beside "
                      "this one, so that a debugger works")  # fmt: skip
    return made


def _at_least(least: int, kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def number(text: str) -> Any:
        value = kind(text)
        if not value >= least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}, or no number")
        return value

    return number


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
    faulthandler.enable()
    with quiet():
        return judge(id, choose(subject), options)


def verdicts(ids: Sequence[str], chosen: Chosen, options: Options, jobs: int) -> Iterator[Verdict]:
    """Walk the verdicts as they are reached, each in a process that it may end."""
    if not jobs:
        yield from (judge(id, chosen, options) for id in ids)
        return
    left = list(ids)
    while left:
        for verdict in _pooled(left, chosen, options, min(jobs, len(left))):
            left.remove(verdict.id)
            yield verdict
        died, left = left[:jobs], left[jobs:]  # Clauses start in order, so one of these did it.
        for id in died:
            dead = Verdict(id, "error", 0, 0.0, "your code ended the process, or crashed it")
            yield from verdicts([id], chosen, options, 1) if len(ids) > 1 else [dead]


def _pooled(ids: Sequence[str], chosen: Chosen, options: Options, jobs: int) -> Iterator[Verdict]:
    """Walk the verdicts until a process dies."""
    # Not forked, since what a subject's library has started may not live through a fork.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(_judged, id, chosen.name, options) for id in ids]
        with suppress(BrokenProcessPool):
            for done in as_completed(waiting):
                yield done.result()


def tried(ids: Sequence[str], chosen: Chosen, options: Options, jobs: int) -> list[Verdict]:
    """Return the verdicts in the order of the clauses, with a progress bar on a terminal."""
    left, found = list(ids), list[Verdict]()
    with tqdm(total=len(ids), unit="clause", disable=None, postfix=ids[0]) as bar:
        for verdict in verdicts(ids, chosen, options, jobs):
            found.append(verdict)
            left.remove(verdict.id)
            bar.set_postfix_str(" ".join(left[:1]))
            bar.update()
    return sorted(found, key=lambda verdict: ids.index(verdict.id))


def summary(report: Report) -> str:
    (*_, (_, counts)) = report.counts()
    told = ", ".join(f"{counts[name]} {word}" for name, word in VERDICTS.items() if counts[name])
    lines = [f"{report.subject}: {told}", *(fill(text, WIDTH) for text in report.notes)]
    others: dict[str, list[str]] = {}
    for verdict in report.verdicts:
        if verdict.verdict in ("absent", "holds") and verdict.reason:
            others.setdefault(f"{verdict.verdict}, {verdict.reason}", []).append(verdict.id)
    lines += [fill(f"{why[0].upper()}{why[1:]}: {', '.join(ids)}", WIDTH)
              for why, ids in others.items()]  # fmt: skip
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
        if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
            command.error(f"--report {path}: this cannot be written; name another file")
    try:
        ids = chosen_clauses(given.clauses)
    except ValueError as error:
        command.error(str(error))
    try:
        chosen = choose(given.subject)
        others = unknown(chosen.make())
    except SubjectError as error:
        command.error(str(error))
    except (Exception, SystemExit) as error:
        last = extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        if last.filename == __file__:
            where = "it is called without arguments; name a function that makes it"
        command.error(f"subject {given.subject!r} could not be made: {where}: {error!r}")
    options = Options(given.examples, given.seed, given.seconds, given.exhaustive)
    with quiet():
        found = reproduced(tried(ids, chosen, options, given.jobs))
    report = Report(given.subject, options, found, others)
    for path in given.report:
        report.write(path)
    sys.stdout.write(summary(report) + "\n")
    return report.status
