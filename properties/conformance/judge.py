"""One clause, tried on one subject: a verdict, and the smallest input that shows it."""

from __future__ import annotations

import hashlib
import math
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final
from unittest import mock

from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import Unsatisfiable

import properties.torch_random  # noqa: F401
from properties.assertions import JUDGE, Reference, Unsupported, snippet
from properties.conformance.patience import GRACE, NoAnswer, answer_within
from properties.conformance.smaller import smaller
from properties.conformance.subjects import Chosen
from properties.conformance.suite import Property, marks, trials_of
from properties.conformance.verdicts import Counterexample, Options, Verdict, VerdictName
from spec import CLAUSES, Violation, check

# The packages of predicates and of properties: what fails in them fails outside of the subject.
OUTSIDE: Final = (check.__module__.partition(".")[0], __name__.partition(".")[0])
SEARCH: Final = (Phase.generate, Phase.shrink)
SPARE: Final = 2  # counterexamples of one claim, should one not show again
LEFT_OUT: Final = "inputs were left out: raise --seconds, or drop --no-exhaustive"
SHRINKING: Final = 10.0  # seconds for a smaller counterexample


class Enough(BaseException):
    """There is nothing more to try; Hypothesis passes it on, as it does Ctrl-C."""


@dataclass
class Trial:
    """Judges a clause at each input that its properties draw."""

    id: str
    reference: Reference
    seconds: float = math.inf  # that a search may take after its first input
    deadline: float = math.inf
    tried: int = 0
    cut: bool = False
    absent: str = ""
    patience: float = 0.0  # seconds that an input may take; 0 for any
    stuck: bool = False  # Whether one took longer, as all others might.
    errs: bool = False  # Whether an error ends the search, too; first it is one for failures.
    found: dict[VerdictName, dict[str, list[Counterexample]]] = field(default_factory=dict)

    def judge(self, id: str, subject: object, inputs: tuple[object, ...]) -> None:
        """Check the clause at some inputs, and note what happens; others are not asked for."""
        if id != self.id:
            return
        if time.monotonic() > self.deadline:
            self.cut = True
            raise Enough
        answer_within(self.patience)
        try:
            self.check(id, subject, inputs)
        finally:
            # The first input may have to import and to compile, so the clock starts after it.
            self.deadline = min(self.deadline, time.monotonic() + self.seconds)

    def check(self, id: str, subject: object, inputs: tuple[object, ...]) -> None:
        """Check the clause at some inputs, and raise what ends a search."""
        try:
            check(id, subject, *inputs)
        except Unsupported as absent:
            self.absent = self.absent or str(absent)
            return
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # The end of a worker, or an exit, is no end of the suite.
            if lacking := lacks(subject, error):
                self.absent = lacking
                if self.tried:
                    return  # Other inputs may do without it.
                raise Enough from None
            self.tried += 1
            least, at = smaller(id, subject, error, inputs)
            self.note(least, snippet(id, self.reference, *at), subject)
            self.stuck = isinstance(error, NoAnswer)
            if isinstance(error, (Violation, NoAnswer)) or self.errs:
                if self.seconds < math.inf:
                    self.seconds = SHRINKING
                raise
            return
        self.tried += 1

    def note(self, error: BaseException, program: str, subject: object) -> None:
        """Keep the shortest programs of each claim that is broken, of each type of error."""
        kind: VerdictName = "fails" if isinstance(error, Violation) else "error"
        claim, found = "", _place(self.id, error, subject) + _told(error)
        if isinstance(error, Violation):
            claim, found = CLAUSES[self.id].claims[error.claim - 1].id, str(error)
        this = Counterexample(found, program, type(error).__qualname__, claim)
        known = self.found.setdefault(kind, {}).setdefault(claim or this.exception, [])
        if this not in known:
            known[:] = sorted([*known, this], key=lambda shown: len(shown.snippet))[:SPARE]

    def run(self, test: Property, arguments: dict[str, Any], subject: object) -> None:
        """Run a property; what it raises has been noted, or comes from outside of a check."""
        if self.stuck:
            return
        answer_within(self.patience)
        try:
            test(subject=subject, **arguments)
        except (Enough, Unsatisfiable):
            pass
        except Unsupported as absent:
            self.absent = self.absent or str(absent)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if lacking := lacks(subject, error):
                self.absent = lacking
            elif not self.found:
                self.note(error, "", subject)
            self.stuck = self.stuck or isinstance(error, NoAnswer)
        finally:
            answer_within(0)

    def verdict(self, seconds: float) -> Verdict:
        """Return the verdict on all that was tried: a failure counts more than an error."""
        kind: VerdictName = "unfinished" if self.cut else "holds" if self.tried else "absent"
        kind = "fails" if "fails" in self.found else "error" if self.found else kind
        reasons = [LEFT_OUT] if kind == "unfinished" else []
        reasons += [f"not tried in part: {self.absent}"] if self.tried and self.absent else []
        if kind == "absent":
            reasons = [self.absent or "none of its inputs could be tried"]
        shown = [found for _, claim in sorted(self.found.get(kind, {}).items()) for found in claim]
        first, others = (shown[0], tuple(shown[1:])) if shown else (None, ())
        return Verdict(self.id, kind, self.tried, seconds, "; ".join(reasons), first, others)


def _told(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(type(error), error)).strip()


def _is_outside(frame: FrameType) -> bool:
    """Tell whether a frame is one of the suite or of the specification, not of a subject."""
    package, _, rest = frame.f_globals.get("__name__", "").partition(".")
    return package in OUTSIDE and not rest.startswith("subjects")


def _place(id: str, error: BaseException, subject: object) -> str:
    """Return the line of the subject's folder that raised an error, or else the suite's."""
    show = f"python -m {OUTSIDE[0]} show {id}"
    asked = f"do your method and what it returns have the types of '{show}'?"
    home = Path(getattr(sys.modules[type(subject).__module__], "__file__", None) or "?").parent
    own, others = list[str](), list[str]()
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = Path(frame.f_code.co_filename)
        if _is_outside(frame) and frame.f_globals["__name__"] != __name__:
            others.append(f"{file.name}:{line} ({asked}): ")
        elif home in file.parents:
            own.append(f"{file.name}:{line}: ")
    return (own or others or [""])[-1]


def lacks(subject: object, error: BaseException | None) -> str:
    """Return what a predicate or property asked the subject for in vain; empty if for nothing.

    An AttributeError inside the subject's own code is an error of it. A predicate that asks for a
    refusal turns every error into a violation, whose cause tells.
    """
    if isinstance(error, Violation):
        error = error.__cause__
    if not isinstance(error, AttributeError) or error.obj is not subject:
        return ""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if frames[-1].f_code.co_name == "__getattr__":
        frames.pop()
    return f"it has no {error.name!r}" if _is_outside(frames[-1]) else ""


def phases_of(test: Property) -> Iterator[tuple[Phase, ...]]:
    """Walk the runs of a property.

    Explicit examples are not made smaller, so their failure does not end the search.
    """
    if getattr(test, "hypothesis_explicit_examples", ()) or not hasattr(test, "hypothesis"):
        yield (Phase.explicit,)
    if hasattr(test, "hypothesis"):
        yield SEARCH


@contextmanager
def searching(test: Any, name: str, options: Options, phases: tuple[Phase, ...]) -> Iterator[None]:
    """Let a property search by these options, whatever its own."""
    own = getattr(test, "_hypothesis_internal_use_settings", None)
    if own is None:
        yield
        return
    digest = hashlib.sha256(f"{options.seed} {name}".encode()).digest()
    chosen = settings(
        own,
        max_examples=options.examples or own.max_examples,
        phases=phases,
        database=None,
        deadline=None,
        derandomize=False,
        print_blob=False,
        report_multiple_bugs=phases != SEARCH,  # that is, go on to the next explicit example
        suppress_health_check=list(HealthCheck),
    )
    with mock.patch.multiple(
        test,
        _hypothesis_internal_use_seed=int.from_bytes(digest[:8], "big"),
        _hypothesis_internal_use_settings=chosen,
    ):
        yield


def judge(id: str, chosen: Chosen, options: Options) -> Verdict:
    """Try a clause on a subject, in a context of its own."""
    start = time.monotonic()
    trial = copy_context().run(_tried, id, chosen, options)
    return trial.verdict(round(time.monotonic() - start, 3))


def _tried(id: str, chosen: Chosen, options: Options) -> Trial:
    """Run the explicit examples, of which none is left out, and then the searches."""
    patience = options.seconds + GRACE
    trial, subject = Trial(id, chosen.reference, patience=patience), chosen.make()
    JUDGE.set(trial.judge)
    trials = list(trials_of(id))
    chosen_trials = [t for t in trials if options.exhaustive or not marks(t[0], "exhaustive")]
    trial.cut = len(chosen_trials) < len(trials)
    runs = [(*found, phases) for found in chosen_trials for phases in phases_of(found[0])]
    runs.sort(key=lambda run: run[2] == SEARCH)
    for trial.errs in (False, True):
        for test, arguments, phases in runs:
            trial.seconds = options.seconds if phases == SEARCH else math.inf
            trial.deadline = math.inf
            with searching(test, f"{id} {test.__name__} {arguments}", options, phases):
                trial.run(test, arguments, subject)
        if "fails" in trial.found or "error" not in trial.found:
            break
    return trial


def chosen_clauses(names: str | None) -> list[str]:
    """Return the ids that a list of chapters and ids names, in the order of the specification.

    Raises:
        ValueError: there is no such clause or chapter.

    Example:
        >>> chosen_clauses("STOP-1,lift-2")
        ['LIFT-2', 'STOP-1']
    """
    if names is None:
        return list(CLAUSES)
    chapters = list(dict.fromkeys(clause.chapter for clause in CLAUSES.values()))
    wanted = [name.strip().upper() for name in names.split(",")]
    for name in wanted:
        if name not in CLAUSES and name not in chapters:
            chapter = name.partition("-")[0]
            ids = [id for id, clause in CLAUSES.items() if clause.chapter == chapter]
            there = f"{ids[0]} to {ids[-1]}" if ids else f"the chapters {', '.join(chapters)}"
            raise ValueError(f"there is no clause or chapter {name!r}; there are {there}")
    return [id for id, clause in CLAUSES.items() if {id, clause.chapter} & set(wanted)]
