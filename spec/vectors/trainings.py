"""Cases of ACC to DDP: what a trainer does and reports, by the automaton."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import accumulate
from random import Random
from typing import Any, Final

from ..automaton import run
from ..runs import DONE, MEASURED, REPORTED, SLACK, Epoch, Kind, MicroBatch, Plan, Trace
from ..update import CLIPPED
from .cases import ANYTHING, Case, Within, around
from .numbers import uniform
from .tuples import near_midpoint

COUNTED: Final = ("global_step", "micro_step", "epoch", "skipped", "samples")

NUMBERS: Final[dict[str, tuple[Kind, str]]] = {
    "w": ("update", "w"), "v": ("update", "v"), "global_steps": ("update", "global_step"),
    "losses": ("log", "loss"), "coverages": ("log", "coverage"),
    "micro_steps": ("log", "micro_step"), "logged_steps": ("log", "global_step"),
    "logged_rates": ("log", "lr"), "logged_skips": ("log", "skipped"),
    "skips": ("skip", "skipped"), "errors": ("error", "global_step"), "stops": ("stop", "epoch"),
}  # fmt: skip
"""The parts of a trace that are numbers alone, and of which events they are which."""

WHOLE: Final = ("done", "reported")
LEFT: Final = ("parameters", "rate", "stops")


def parts_of(
    trace: Trace, tell: Callable[[str, float | Fraction], Any] = lambda name, value: value
) -> dict[str, Any]:
    """Return the parts of a trace by name; ``tell`` gives each number, from its name and value."""

    def told(values: Mapping[str, float | Fraction]) -> dict[str, Any]:
        return {name: tell(name, value) for name, value in values.items()}

    places = {"log": "micro_step", "validate": "epoch"}
    ordered = [(event, places[event.kind]) for event in trace.of("log", "validate")]
    numbers = {
        part: [tell(name, event.values[name]) for event in trace.of(kind)]
        for part, (kind, name) in NUMBERS.items()
    }
    return numbers | {
        "done": [[event.kind, told(event.values)] for event in trace.of(*DONE)],
        "reported": [[event.kind, told(event.values)] for event in trace.of(*REPORTED)],
        "order": [[event.kind, tell(place, event.values[place])] for event, place in ordered],
        "validations": [told(event.values) for event in trace.of("validate")],
        "kept": [tell("loss", record["loss"]) for record in trace.records],
        "val_history": [tell("val_loss", record["val_loss"]) for record in trace.val_history],
        "parameters": [tell("w", value) for value in trace.parameters],
        "thresholds": [tell("threshold", value) for value in trace.thresholds],
        "rate": float(trace.rate),
    }


def near(value: float | Fraction, slack: Fraction = SLACK) -> Any:
    """Return the range of a number that a run may round; NaN and ±∞ stay what they are."""
    if not math.isfinite(value):
        return float(value)
    return around(value, slack * max(Fraction(1), abs(Fraction(value))))


def _told(plan: Plan, name: str, value: float | Fraction) -> Any:
    """Return what a number in the trace of a plan may be."""
    if name in ("tau", "tau_train"):
        return ANYTHING
    if name == "threshold":
        return Within(Fraction(plan.tau_min), Fraction(plan.tau_max))
    if name in COUNTED:
        return int(value)
    clipped = plan.max_norm is not None and name in ("w", "v")
    return near(value, CLIPPED if clipped else MEASURED.get(name.removeprefix("val_"), SLACK))


def _case(clauses: str, plan: Plan, *parts: str) -> Case:
    """Return a case of a plan, and of its trace these parts."""
    told = parts_of(run(plan), partial(_told, plan))
    return Case(clauses, written_plan(plan), {part: told[part] for part in parts})


def epoch(random: Random, *, faulty: float = 0.0) -> Epoch:
    """Return one to five micro-batches, a part of them with a fault."""
    batches = []
    for _ in range(uniform(random, 1, 5)):
        samples = "".join("vbVBtv"[uniform(random, 0, 5)] for _ in range(uniform(random, 1, 5)))
        fault = ("loss", "gradient")[uniform(random, 0, 1)] if random.random() < faulty else ""
        slope = Fraction(uniform(random, -16, 16), 8)
        batches.append(MicroBatch(samples, slope, fault))  # type: ignore[arg-type]
    return tuple(batches)


def _plan(random: Random, faulty: float = 0.0, **options: Any) -> Plan:
    epochs = tuple(epoch(random, faulty=faulty) for _ in range(uniform(random, 1, 3)))
    usual = {
        "accumulation": uniform(random, 1, 3),
        "seed": uniform(random, 0, 2**31),
        "momentum": (0.0, 0.0, 0.5)[uniform(random, 0, 2)],
        "weights": tuple(uniform(random, 0, 8) / 4 for _ in epochs) * uniform(random, 0, 1),
        "tensor_rate": random.random() < 0.25,
    }
    return Plan(epochs, **{**usual, **options})


def _stopping(random: Random, count: int, ranks: int = 1) -> Iterator[Plan]:
    """Walk plans that mostly stop, some with epochs of singular targets only."""
    for _ in range(count):
        kinds = [("vvb", "vbb", "bbb", "vvv", "VBB")[uniform(random, 0, 4)] for _ in range(6)]
        epochs = [[kind] if kind == "VBB" else [kind, "v" * (i % 2) + "b"]
                  for i, kind in enumerate(kinds)]  # fmt: skip
        batches = tuple(tuple(MicroBatch(kind * ranks) for kind in epoch) for epoch in epochs)
        threshold = (0.5, 2 / 3, 1.0)[uniform(random, 0, 2)]
        yield Plan(batches, threshold=threshold, patience=uniform(random, 1, 3), ranks=ranks)


def _interrupted(random: Random, plan: Plan) -> Plan:
    """Return a plan that is interrupted at the ends of some epochs."""
    ends = tuple(accumulate(map(len, plan.epochs)))
    return replace(plan, interrupts=tuple(e for e in ends if random.random() < 0.6) or ends[:1])


def _validated(plan: Plan) -> Iterator[Case]:
    """Walk what validations say of the model, and of the threshold that they take."""
    case = _case("VAL-1", plan, "validations")
    taus = dict.fromkeys(("val_tau", "loss_tau"), near_midpoint(plan.tau_min, plan.tau_max))
    values, thresholds = list[Any](), list[Any]()
    for found in (case.result or {})["validations"]:
        values.append({name: value for name, value in found.items() if name not in taus})
        thresholds.append(taus | {"val_coverage": found["val_coverage"]})
    yield replace(case, result={"validations": values})
    yield replace(case, clauses="TAU-8", result={"validations": thresholds})


def _cases(random: Random) -> Iterator[Case]:
    """Walk plans, and the parts of their traces that tell of a clause."""
    for _ in range(8):
        own = random.random() < 0.5
        plan = _plan(random, own_parameter=own)
        yield _case("ACC-1", plan, "w", "v")
        yield _case("ACC-2", replace(plan, stale=True, accumulation=3), "done")
        yield _case("ACC-3", plan, "losses")
        yield _case("STEP-2", _plan(random, 0.2), "global_steps", "micro_steps", "rate")
        skipping = _plan(random, 0.5, max_nonfinite=uniform(random, 1, 4))
        yield _case("STEP-3", skipping, "skips", "errors", "logged_skips", "w", "v")
        yield _case("LOG-4", skipping, "logged_steps", "logged_rates")
        ends = {"tau_min": 0.125, "tau_max": 0.75} if own else {"tau_min": 0.5, "tau_max": 0.875}
        validated = _plan(random, validation=(*epoch(random), MicroBatch("vt")), **ends)
        limited = replace(validated, history_limit=uniform(random, 1, 4))
        yield _case("LOG-2", limited, "kept", "val_history")
        yield from _validated(validated)
        yield from _validated(replace(validated, validation=(MicroBatch("tiv"), MicroBatch("i"))))
        yield _case("LOG-1", validated, "order")
        yield _case("TAU-7 TAU-1", validated, "thresholds")
        measured = _plan(random, tau_min=ends["tau_max"], tau_max=ends["tau_max"])
        yield _case("TAU-7", measured, "coverages")
        norm = (0.125, 0.5, 1.0)[uniform(random, 0, 2)]
        yield _case("STEP-1", _plan(random, max_norm=norm, own_parameter=own), "w", "v")
        if own:
            yield _case("STOP-3", _plan(random, 0.1, validation=epoch(random)), *WHOLE)
        resumed = _interrupted(random, _plan(random, 0.3, own_parameter=own))
        yield _case("RES-1 STOP-3", resumed, *WHOLE, *LEFT)
    yield from _stopped(random)
    for dtype in ("float16", "bfloat16"):
        off = replace(_plan(random), precision=f"{dtype} off")
        yield _case("AMP-3 STOP-3", off, *WHOLE, *LEFT)
    falling = Plan(((MicroBatch("v", fault="overflow"),) * 30,), precision="float16")
    yield _case("STEP-3", falling, "errors")


def _stopped(random: Random) -> Iterator[Case]:
    for batch in (MicroBatch("bbv"), MicroBatch("bbv", fault="loss")):
        plan = Plan(((batch,),) * 4, threshold=0.5, patience=3, max_nonfinite=3, interrupts=(1, 2))
        yield _case("RES-1 STEP-3 STOP-3", plan, *WHOLE, *LEFT)
    for plan in _stopping(random, 2):
        yield _case("STOP-3", plan, *WHOLE)
    for plan in _stopping(random, 16):
        yield _case("STOP-1 STOP-6", plan, "stops")
    for plan in _stopping(random, 6):
        yield _case("STOP-5 STOP-1", _interrupted(random, plan), "stops")
        yield _case("RES-1 STOP-3", _interrupted(random, plan), *LEFT)
    uneven = Plan(((MicroBatch("vbvb"),),) * 3, threshold=0.5, ranks=2)
    for plan in (*_stopping(random, 2, ranks=2), uneven):
        yield _case("STOP-4 STOP-1", plan, "stops")
        yield _case("DDP-1 STOP-3", plan, *WHOLE)


def train(name: str, random: Random) -> Iterator[Case]:
    """Carry out a plan, and return its trace.

    The model is one parameter ``w``, at first 1. With ``own_parameter`` the loss has another,
    ``v``, at first 0. A micro-batch has a ``slope`` and perhaps a ``fault``. Its loss is the slope
    times the epoch's weight (of ``weights``, or 1) times ``w + v``. The fault ``loss`` makes the
    loss NaN, ``gradient`` its gradient; ``overflow`` makes the gradient infinite where the loss is
    scaled by more than 2¹².

    A sample is a letter: ``v`` is a value and ``b`` is ⊥ where the target is finite, ``V`` and
    ``B`` where it is singular; ``t``, with a finite target, is ⊥ iff τ > 1/2. The absolute
    denominators of ``v`` and ``V`` are 1, that of ``t`` is 1/2, others are 0. ``i``, with a finite
    target, is ⊥ for its denominator ∞.

    The optimizer is SGD with ``momentum`` and the rate 1/8, which is a tensor with ``tensor_rate``.
    A scheduler halves the rate after every applied update. ``accumulation`` micro-batches make a
    window (usually 1). ``max_norm`` clips its gradient. ``max_nonfinite`` skips in a row raise an
    error (usually 10). ``patience`` epochs in a row (usually 1) whose coverage is below
    ``threshold`` (usually 0) stop training. Thresholds are drawn between ``tau_min`` and
    ``tau_max`` (usually 1/4) from the ``seed`` (usually 0). ``validation`` has the micro-batches of
    the validation after each epoch. The latest ``history_limit`` records are kept (usually 1000).
    After the micro-batches numbered in ``interrupts`` the state is saved, and a new trainer loads
    it and continues. ``ranks`` share each micro-batch (usually 1): rank r of n trains on the
    samples r, r + n, r + 2n and so on. With ``stale`` the parameters hold a gradient before
    training. ``precision`` is that of autocast; a dtype followed by ``off`` is the dtype of mixed
    precision that is off. An option that is not given has its usual value, or is off.

    Of the trace, ``done`` has draws and updates, and ``reported`` has records, skips, validations,
    stop and error, each in order, as pairs of a kind and named numbers. Other parts are numbers
    alone: of the updates ``w``, ``v`` and ``global_steps``; of the records ``losses``,
    ``coverages``, ``micro_steps``, ``logged_steps`` (global steps), ``logged_rates`` and
    ``logged_skips`` (counts so far); the counts at ``skips``, the global steps at ``errors``, the
    epochs of ``stops``; all ``validations``; the ``order`` of records and validations with
    micro-step or epoch. The rest is what the run leaves: ``parameters`` (``w`` and ``v``),
    ``rate``, the latest epoch's ``thresholds``, the losses of the records that are ``kept``, and
    those of the validations in ``val_history``.
    """
    yield from _cases(random)


def written_plan(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain data, without what is as usual."""
    usual = vars(Plan(()))
    return {name: value for name, value in vars(plan).items() if value != usual[name]}
