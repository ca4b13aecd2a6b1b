"""The list of faults: wrong subjects, and the claim that has to catch each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, Final
from unittest import mock

from properties.subjects.exact import Exact
from properties.subjects.zeroproof import ZeroProof
from spec.automaton import Automaton

Override = Callable[..., Any]


@dataclass(frozen=True)
class Fault:
    """A wrong subject: the claim that it breaks, what is wrong, and how to make it.

    The patches are in force while it is judged: a dotted path, and what takes its place.
    """

    claim: str
    wrong: str
    make: Callable[[], object]
    patches: tuple[tuple[str, Override], ...] = ()

    @property
    def clause(self) -> str:
        return self.claim.rpartition(".")[0]

    @contextmanager
    def subject(self) -> Iterator[object]:
        """Make the subject, with its patches in force."""
        with ExitStack() as stack:
            for path, override in self.patches:
                place, _, name = path.rpartition(".")
                owner = resolve_name(place)
                # Of a class, so that a static method stays one.
                real = vars(owner).get(name, getattr(owner, name))
                stack.enter_context(mock.patch.object(owner, name, _bound(real, override)))
            yield self.make()


FAULTS: Final[list[Fault]] = []


def fault(claim: str, wrong: str, **overrides: Override) -> None:
    """Register the exact reference with some methods replaced.

    An override gets the method that it replaces, bound to the subject, and its arguments.

    Args:
        claim: such as ``"TAU-2.1"``.
        wrong: what the subject does wrong, as a sentence.
        overrides: by the names of methods.
    """
    FAULTS.append(Fault(claim, wrong, _derive(Exact, overrides)))


def automaton_fault(claim: str, wrong: str, **overrides: Override) -> None:
    """Register the exact reference whose trainer, the automaton, has some methods replaced."""
    wrong_automaton = _derive(Automaton, overrides)
    FAULTS.append(Fault(claim, wrong, type("Exact", (Exact,), {"automaton": wrong_automaton})))


def zeroproof_fault(claim: str, wrong: str, path: str, override: Override) -> None:
    """Register ``zeroproof`` with one function or method patched.

    Args:
        claim: such as ``"TAU-2.1"``.
        wrong: what it then does wrong, as a sentence.
        path: such as ``"zeroproof.training.trainer.SCMTrainer.fit"``.
        override: gets the real one, and the arguments of the call, a method's ``self`` first.
    """
    FAULTS.append(Fault(claim, wrong, ZeroProof, ((path, override),)))


def _derive(base: type, overrides: dict[str, Override]) -> type:
    def method(name: str, override: Override) -> Override:
        def replaced(self: Any, *arguments: Any, **options: Any) -> Any:
            return override(getattr(super(kind, self), name), *arguments, **options)

        return replaced

    for name in overrides:
        assert hasattr(base, name), f"{base.__name__} has no {name}"
    kind: type = type(base.__name__, (base,), {n: method(n, o) for n, o in overrides.items()})
    return kind


def _bound(real: Any, override: Override) -> Any:
    if isinstance(real, property):
        get: Any = real.fget
        return property(lambda self: override(get, self))
    function = getattr(real, "__func__", real)

    def replaced(*arguments: Any, **options: Any) -> Any:
        return override(function, *arguments, **options)

    return type(real)(replaced) if isinstance(real, (staticmethod, classmethod)) else replaced
