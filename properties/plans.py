"""Plans of runs, small ones, with every kind of sample and fault."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from spec.runs import Epoch, MicroBatch, Plan

thresholds = st.one_of(st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 0.9, 1.0]), st.floats(0.0, 1.0))
patiences = st.integers(1, 4)
slopes = st.integers(-16, 16).map(lambda eighths: Fraction(eighths, 8))
samples = st.text("vbVB", min_size=1, max_size=6)

# Stops after three epochs, between which it is interrupted.
LOW = Plan(((MicroBatch("bbv"),),) * 3, threshold=0.5, patience=3, interrupts=(1, 2))

# Has faults, a short window, thresholds that vary, and a parameter of the loss.
VARIED = Plan(
    ((MicroBatch("vvb", Fraction(1, 2)), MicroBatch("v", fault="loss"), MicroBatch("bV")),) * 2,
    tau_min=0.25,
    tau_max=0.75,
    own_parameter=True,
)


def shared_by(plan: Plan, ranks: int) -> Plan:
    """Return a plan with samples for every rank in every micro-batch, for one some more."""

    def enough(batch: MicroBatch) -> MicroBatch:
        return replace(batch, samples=batch.samples * ranks + batch.samples[: ranks - 1])

    epochs = tuple(tuple(map(enough, epoch)) for epoch in plan.epochs)
    return replace(plan, epochs=epochs, validation=tuple(map(enough, plan.validation)))


def micro_batches(*, faulty: bool = False) -> st.SearchStrategy[MicroBatch]:
    """Micro-batches, a third of them with a fault if ``faulty``."""
    faults = st.sampled_from(["", "", "", "", "loss", "gradient"]) if faulty else st.just("")
    return st.builds(MicroBatch, samples, slopes, faults)


def epochs(*, faulty: bool = False, least: int = 1) -> st.SearchStrategy[Epoch]:
    """The micro-batches of an epoch."""
    return st.lists(micro_batches(faulty=faulty), min_size=least, max_size=5).map(tuple)


@st.composite
def plans(
    draw: st.DrawFn,
    *,
    faulty: bool = False,
    stops: bool = False,
    validated: bool | None = None,
    clipped: bool = False,
    least: int = 1,
) -> Plan:
    """Draw a plan of one to four epochs."""
    count = draw(st.integers(1, 6 if stops else 3), label="epochs")
    batches = [draw(epochs(faulty=faulty, least=least)) for _ in range(count)]
    low, high = sorted((draw(st.floats(0.0, 1.0)), draw(st.floats(0.0, 1.0))))
    options: dict[str, Any] = {
        "accumulation": draw(st.integers(1, 4)),
        "tau_min": low,
        "tau_max": high,
        "seed": draw(st.integers(0, 2**32)),
        "max_nonfinite": draw(st.integers(1, 4)),
        "history_limit": draw(st.sampled_from([1, 2, 3, 1000])),
    }
    if stops:
        options |= {"threshold": draw(thresholds), "patience": draw(patiences)}
    if draw(st.booleans()) if validated is None else validated:
        options["validation"] = draw(epochs())
    if clipped:
        options["max_norm"] = draw(st.sampled_from([0.125, 0.5, 1.0]))
    else:  # the norm of two equal gradients is no rational number
        options["own_parameter"] = draw(st.booleans())
    return Plan(tuple(batches), **options)


@st.composite
def interrupted(draw: st.DrawFn, plans: st.SearchStrategy[Plan], *, at_ends: bool) -> Plan:
    """Draw a plan that is interrupted at the ends of epochs, or else after any update."""
    plan = draw(plans)
    places, done = [], 0
    for epoch in plan.epochs:
        ends = [len(epoch)] if at_ends else range(plan.accumulation, len(epoch), plan.accumulation)
        places += [done + end for end in ends]
        done += len(epoch)
    chosen = draw(st.sets(st.sampled_from(places), min_size=1)) if places else set()
    return Plan(**{**vars(plan), "interrupts": tuple(sorted(chosen))})
