"""A trainer and the reference automaton, side by side, whatever happens to them."""

from __future__ import annotations

from typing import Any, Protocol

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from properties.assertions import HELD, citing
from properties.plans import epochs, patiences, thresholds
from spec.automaton import DRAWN, Automaton
from spec.runs import Epoch, Event, MicroBatch, Plan, require_same_run

HELD_HERE = ("STOP-1", "STOP-3", "STOP-5", "ACC-1", "ACC-2", "STEP-3", "VAL-1", "LOG-1")


class Session(Protocol):
    """A trainer that is driven from outside."""

    def epoch(self, batches: Epoch) -> list[Event]: ...
    def break_off(self, batches: Epoch) -> None: ...
    def validate(self) -> Event: ...
    def save(self) -> Any: ...
    def load(self, state: Any) -> None: ...


class Steps(Protocol):
    """A subject whose trainer can be driven from outside."""

    def begin(self, plan: Plan) -> Session: ...


class SideBySide(RuleBasedStateMachine):
    """Whatever is done to both, their events agree."""

    subject: Steps

    @initialize(
        batches=epochs(),
        validation=epochs(),
        accumulation=st.integers(1, 3),
        threshold=thresholds,
        patience=patiences,
        max_nonfinite=st.integers(1, 3),
    )
    def begin(self, batches: Epoch, **options: Any) -> None:
        self.plan, self.batches = Plan((), **options, own_parameter=True), batches
        self.session, self.automaton = self.subject.begin(self.plan), Automaton(self.plan)
        self.saved = self.session.save(), self.automaton.save()

    def over(self) -> bool:
        return self.automaton.state.stopped or self.automaton.state.failed

    def _train(self, batches: Epoch) -> None:
        self.automaton.start_epoch()
        self._compare(self.session.epoch(batches), list(self.automaton.epoch(batches)))

    def _compare(self, ours: list[Event], reference: list[Event]) -> None:
        require_same_run(ours, reference, free=DRAWN, claim=2)

    @precondition(lambda self: not self.over())
    @rule()
    def update(self) -> None:
        self._train(self.batches)

    @precondition(lambda self: not self.over())
    @rule(place=st.integers(0, 10), fault=st.sampled_from(["loss", "gradient"]))
    def nan_batch(self, place: int, fault: Any) -> None:
        batches = list(self.batches)
        place %= len(batches)
        batches[place] = MicroBatch(batches[place].samples, batches[place].slope, fault)
        self._train(tuple(batches))

    @rule(batches=epochs())
    def change_loader(self, batches: Epoch) -> None:
        self.batches = batches

    @rule()
    def validate(self) -> None:
        self._compare([self.session.validate()], [self.automaton.validate()])

    @precondition(lambda self: not self.automaton.state.failed)
    @rule()
    def save(self) -> None:
        self.saved = self.session.save(), self.automaton.save()

    @rule()
    def load(self) -> None:
        ours, reference = self.saved
        self.session.load(ours)
        self.automaton.load(reference)

    @precondition(lambda self: not self.over())
    @rule(after=st.integers(0, 5))
    def interrupt_and_resume(self, after: int) -> None:
        self.session.break_off(self.batches[:after])
        self.session, self.automaton = self.subject.begin(self.plan), Automaton(self.plan)
        self.load()


def test_STOP_3_side_by_side(subject: Steps) -> None:
    HELD.update(HELD_HERE)
    machine = type("Chosen", (SideBySide,), {"subject": subject})
    with citing("STOP-3"):
        run_state_machine_as_test(machine, settings=settings(stateful_step_count=20))
