"""Cases of ACC to DDP: what a trainer does and reports, by the automaton."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from random import Random
from typing import Any, Final

from ..automaton import run
from ..runs import DONE, MEASURED, REPORTED, SLACK, Epoch, MicroBatch, Plan, Record, Trace
from ..update import CLIPPED
from .cases import ANYTHING, Case, Within, operation
from .decodes import near_midpoint
from .numbers import uniform

BATCHES: Final = ("epochs", "validation")
COUNTED: Final = ("global_step", "micro_step", "epoch", "skipped", "samples")
Shown = Callable[[Trace], Mapping[str, Any]]


def near(value: float | Fraction, slack: Fraction = SLACK) -> Any:
    """Return a number that may be rounded as a run rounds, NaN as it is."""
    if value != value:
        return float(value)
    exact = Fraction(value)
    return Within.around(exact, slack * max(Fraction(1), abs(exact)))


def _value(name: str, value: float | Fraction) -> Any:
    if name in ("tau", "tau_train"):
        return ANYTHING
    if name in COUNTED:
        return int(value)
    return near(value, MEASURED.get(name.removeprefix("val_"), SLACK))


def _events(trace: Trace, kinds: Sequence[Any]) -> list[list[Any]]:
    events = [event for event in trace.events if event.kind in kinds]
    return [[e.kind, {name: _value(name, x) for name, x in e.values.items()}] for e in events]


def _all(trace: Trace) -> dict[str, Any]:
    return {"done": _events(trace, DONE), "reported": _events(trace, REPORTED)}


def _numbers(records: Sequence[Record], name: str) -> list[Any]:
    return [_value(name, record[name]) for record in records]


def _logged(trace: Trace, **names: str) -> dict[str, Any]:
    """Return numbers of all records, under names of their own."""
    records = [event.values for event in trace.of("log")]
    return {shown: _numbers(records, name) for shown, name in names.items()}


def _updates(trace: Trace, slack: Fraction = SLACK) -> dict[str, Any]:
    updates = trace.of("update")
    return {n: [near(event.values[n], slack) for event in updates] for n in ("w", "v")}


def _stops(trace: Trace) -> dict[str, Any]:
    return {"stops": [int(event.values["epoch"]) for event in trace.of("stop")]}


def _steps(trace: Trace) -> dict[str, Any]:
    updates, logs = trace.of("update"), trace.of("log")
    return {
        "global_steps": [int(event.values["global_step"]) for event in updates],
        "micro_steps": [int(event.values["micro_step"]) for event in logs],
        "rate": float(trace.rate),
    }


def _faults(trace: Trace) -> dict[str, Any]:
    skips = [int(event.values["skipped"]) for event in trace.of("skip")]
    errors = [int(event.values["global_step"]) for event in trace.of("error")]
    counts = _logged(trace, logged_skips="skipped")
    return {"skips": skips, "errors": errors, **counts, **_updates(trace)}


def _kept(trace: Trace) -> dict[str, Any]:
    kept, validated = _numbers(trace.records, "loss"), _numbers(trace.val_history, "val_loss")
    return {"kept": kept, "val_history": validated}


def _order(trace: Trace) -> dict[str, Any]:
    places = {"log": "micro_step", "validate": "epoch"}
    order = [[e.kind, int(e.values[places[e.kind]])] for e in trace.of("log", "validate")]
    return {"order": order}


def _left(trace: Trace) -> dict[str, Any]:
    parameters = [near(value) for value in trace.parameters]
    return {"parameters": parameters, "rate": float(trace.rate), **_stops(trace)}


def _whole(trace: Trace) -> dict[str, Any]:
    return _all(trace) | _left(trace)


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


def _stopping(random: Random, count: int) -> Iterator[Plan]:
    """Walk plans that mostly stop, some with epochs of singular targets only."""
    for _ in range(count):
        kinds = [("vvb", "vbb", "bbb", "vvv", "VBB")[uniform(random, 0, 4)] for _ in range(6)]
        epochs = tuple((MicroBatch(kind), MicroBatch("v" * (i % 2) + "b")) if kind != "VBB" else
                       (MicroBatch(kind),) for i, kind in enumerate(kinds))  # fmt: skip
        threshold = (0.5, 2 / 3, 1.0)[uniform(random, 0, 2)]
        yield Plan(epochs, threshold=threshold, patience=uniform(random, 1, 3))


def _thresholds(plan: Plan) -> Mapping[str, Any]:
    drawn = Within(Fraction(plan.tau_min), Fraction(plan.tau_max))
    return {"thresholds": [drawn] * len(plan.epochs[-1])}


def _validations(trace: Trace) -> dict[str, Any]:
    found = [
        {n: _value(n, x) for n, x in event.values.items() if not n.endswith("_tau")}
        for event in trace.of("validate")
    ]
    return {"validations": found}


def _midpoints(trace: Trace) -> dict[str, Any]:
    found = [
        {name: near_midpoint(Fraction(event.values[name])) for name in ("val_tau", "loss_tau")}
        | {"val_coverage": near(event.values["val_coverage"])}
        for event in trace.of("validate")
    ]
    return {"validations": found}


def _interrupted(random: Random, plan: Plan) -> Plan:
    """Return a plan that is interrupted at the ends of some epochs."""
    ends, done = list[int](), 0
    for batches in plan.epochs:
        done += len(batches)
        ends.append(done)
    return replace(plan, interrupts=tuple(e for e in ends if random.random() < 0.6) or (ends[0],))


def _plans(random: Random) -> Iterator[tuple[str, Plan, Shown]]:
    """Walk clauses with plans that tell, and what the clauses say of the traces."""
    for _ in range(8):
        own = random.random() < 0.5
        plan = _plan(random, own_parameter=own)
        yield "ACC-1", plan, _updates
        yield "ACC-2", replace(plan, stale=True, accumulation=3), _done
        yield "ACC-3", plan, lambda trace: _logged(trace, losses="loss")
        yield "STEP-2", _plan(random, 0.2), _steps
        skipping = _plan(random, 0.5, max_nonfinite=uniform(random, 1, 4))
        yield "STEP-3", skipping, _faults
        yield "LOG-4", skipping, lambda trace: _logged(trace, logged_steps="global_step",
                                                       logged_rates="lr")  # fmt: skip
        ends = {"tau_min": 0.125, "tau_max": 0.75} if own else {"tau_min": 0.5, "tau_max": 0.875}
        validated = _plan(random, validation=(*epoch(random), MicroBatch("vt")), **ends)
        yield "LOG-2", replace(validated, history_limit=uniform(random, 1, 4)), _kept
        yield "VAL-1", validated, _validations
        yield "TAU-8", validated, _midpoints
        yield "LOG-1", validated, _order
        yield "TAU-7 TAU-1", validated, lambda trace, p=validated: _thresholds(p)  # type: ignore[misc]
        measured = _plan(random, tau_min=ends["tau_max"], tau_max=ends["tau_max"])
        yield "TAU-7", measured, lambda trace: _logged(trace, coverages="coverage")
        norm = (0.125, 0.5, 1.0)[uniform(random, 0, 2)]
        clipped = _plan(random, max_norm=norm, own_parameter=own)
        yield "STEP-1", clipped, lambda trace: _updates(trace, CLIPPED)
        if own:
            yield "STOP-3", _plan(random, 0.1, validation=epoch(random)), _all
        resumed = _interrupted(random, _plan(random, 0.3, own_parameter=own))
        yield "RES-1 STOP-3", resumed, _whole
    yield from _stopped(random)
    for dtype in ("float16", "bfloat16"):
        plan = _plan(random)
        yield "AMP-3 STOP-3", replace(plan, precision=f"{dtype} off"), _whole
    falling = Plan(((MicroBatch("v", fault="overflow"),) * 30,), precision="float16")
    yield "STEP-3", falling, lambda trace: {"errors": _faults(trace)["errors"]}


def _stopped(random: Random) -> Iterator[tuple[str, Plan, Shown]]:
    for batch in (MicroBatch("bbv"), MicroBatch("bbv", fault="loss")):
        options = {"patience": 3, "max_nonfinite": 3, "interrupts": (1, 2)}
        yield "RES-1 STEP-3 STOP-3", Plan(((batch,),) * 4, threshold=0.5, **options), _whole  # type: ignore[arg-type]
    for plan in _stopping(random, 2):
        yield "STOP-3", plan, _all
    for plan in _stopping(random, 16):
        yield "STOP-1 STOP-6", plan, _stops
    for plan in _stopping(random, 6):
        yield "STOP-5 STOP-1", _interrupted(random, plan), _stops
        yield "RES-1 STOP-3", _interrupted(random, plan), _left
    uneven = Plan(((MicroBatch("vb"),),) * 3, threshold=0.5)
    for plan in (*_stopping(random, 2), uneven):
        yield "STOP-4 STOP-1", _shared(plan), _stops
        yield "DDP-1 STOP-3", _shared(plan), _all


def _shared(plan: Plan) -> Plan:
    """Return a plan on two ranks, with samples for both in every micro-batch."""
    epochs = tuple(
        tuple(replace(batch, samples=batch.samples * 2) for batch in batches)
        for batches in plan.epochs
    )
    return replace(plan, epochs=epochs, ranks=2)


def _done(trace: Trace) -> dict[str, Any]:
    return {"done": _events(trace, DONE)}


@operation("train")
def trains(name: str, random: Random) -> Iterator[Case]:
    """Carry out a plan, and return its trace.

    The model is one parameter ``w``, at first 1. With ``own_parameter`` the loss has another,
    ``v``, at first 0. A micro-batch has a ``slope`` and perhaps a ``fault``. Its loss is the slope
    times the epoch's weight (of ``weights``, or 1) times ``w + v``. The fault ``loss`` makes the
    loss NaN, ``gradient`` its gradient; ``overflow`` makes the gradient infinite where the loss is
    scaled by more than 2¹².

    A sample is a letter: ``v`` is a value and ``b`` is ⊥ where the target is finite, ``V`` and
    ``B`` where it is singular; ``t``, with a finite target, is ⊥ iff τ > 1/2. The absolute
    denominators of ``v`` and ``V`` are 1, that of ``t`` is 1/2, others are 0.

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
    for clauses, plan, shown in _plans(random):
        yield Case(clauses, written_plan(plan), shown(run(plan)))


def written_plan(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain data, without what is as usual."""
    usual = vars(Plan(()))
    given = {name: value for name, value in vars(plan).items() if value != usual[name]}
    return {name: _batches(value) if name in BATCHES else value for name, value in given.items()}


def _batches(value: Any) -> Any:
    if isinstance(value, MicroBatch):
        given = {"samples": value.samples, "slope": float(value.slope)}
        return given | ({"fault": value.fault} if value.fault else {})
    return [_batches(part) for part in value]
