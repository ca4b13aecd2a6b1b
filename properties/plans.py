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

# Stops after three epochs, between which it is interrupted.
LOW = Plan(((MicroBatch("bbv"),),) * 3, threshold=0.5, patience=3, interrupts=(1, 2))

# Has faults, a short window, thresholds and weights that vary, and all kinds of state.
VARIED = Plan(
    ((MicroBatch("vvb", Fraction(1, 2)), MicroBatch("v", fault="loss"), MicroBatch("bV")),) * 2,
    tau_min=0.25,
    tau_max=0.75,
    own_parameter=True,
    momentum=0.5,
    weights=(0.5, 2.0),
)

# Float16's scale falls until the gradient no longer overflows.
FALLING = Plan(
    ((MicroBatch("vv", fault="overflow"),) * 6,) * 2,
    max_nonfinite=1,
    precision="float16",
    momentum=0.5,
)

# Draws a thousand thresholds, or one in each of many epochs.
LONG = Plan(((MicroBatch("v"),) * 250,) * 4, tau_min=0.25, tau_max=0.75, accumulation=250)
MANY_EPOCHS = replace(LONG, epochs=((MicroBatch("v"),),) * 260)


def shared_by(plan: Plan, ranks: int) -> Plan:
    """Return a plan with samples for every rank in every micro-batch, for one some more."""

    def enough(batch: MicroBatch) -> MicroBatch:
        return replace(batch, samples=batch.samples * ranks + batch.samples[: ranks - 1])

    epochs = tuple(tuple(map(enough, epoch)) for epoch in plan.epochs)
    return replace(plan, epochs=epochs, validation=tuple(map(enough, plan.validation)))


def epochs(
    *, faulty: bool = False, least: int = 1, letters: str = "vbVB"
) -> st.SearchStrategy[Epoch]:
    """The micro-batches of an epoch, a third of them with a fault if ``faulty``."""
    faults = st.sampled_from(["", "", "", "", "loss", "gradient"]) if faulty else st.just("")
    batches = st.builds(MicroBatch, st.text(letters, min_size=1, max_size=6), slopes, faults)
    return st.lists(batches, min_size=least, max_size=5).map(tuple)


@st.composite
def plans(
    draw: st.DrawFn,
    *,
    faulty: bool = False,
    stops: bool = False,
    validated: bool | None = None,
    clipped: bool = False,
    random: bool = False,
    least: int = 1,
    letters: str = "vbVB",
) -> Plan:
    """Draw a plan of one to three epochs, or up to six if it may stop."""
    count = draw(st.integers(1, 6 if stops else 3), label="epochs")
    batches = [draw(epochs(faulty=faulty, least=least, letters=letters)) for _ in range(count)]
    low, high = sorted((draw(st.floats(0.0, 1.0)), draw(st.floats(0.0, 1.0))))
    options: dict[str, Any] = {
        "accumulation": draw(st.integers(1, 4)),
        "tau_min": low,
        "tau_max": high,
        "seed": draw(st.integers(0, 2**32)),
        "max_nonfinite": draw(st.integers(1, 4)),
        "history_limit": draw(st.sampled_from([1, 2, 3, 1000])),
        "own_parameter": draw(st.booleans()),
        "free": draw(st.booleans()),
        "momentum": draw(st.sampled_from([0.0, 0.5])),
        "random": random and draw(st.booleans()),
        "tensor_rate": draw(st.booleans()),
        "outputs": draw(st.sampled_from([1, 3])),
    }
    if draw(st.booleans()):
        weights = st.sampled_from([0.25, 0.5, 1.0, 2.0])
        options["weights"] = draw(st.lists(weights, min_size=count, max_size=count).map(tuple))
    if stops:
        options |= {"threshold": draw(thresholds), "patience": draw(patiences)}
    if draw(st.booleans()) if validated is None else validated:
        options["validation"] = draw(epochs(letters=letters))
    if clipped:
        options["max_norm"] = draw(st.sampled_from([0.125, 0.5, 1.0]))
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
    return replace(plan, interrupts=tuple(sorted(chosen)))
