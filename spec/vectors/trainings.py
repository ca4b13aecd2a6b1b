"""Cases of ACC to DDP: what a trainer does and reports, by the automaton."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product
from random import Random
from typing import Any, Final

from ..automaton import run
from ..epochs import OFFERED, validation_mean
from ..runs import DONE, MEASURED, REPORTED, SLACK, Epoch, Event, MicroBatch, Plan, Trace
from ..update import CLIPPED, updates_per_epoch, window_gradient
from .cases import ANYTHING, Case, Within, operation
from .numbers import uniform

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


def _numbers(events: Sequence[Event], name: str) -> list[Any]:
    return [_value(name, event.values[name]) for event in events]


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
    return {"skips": skips, "errors": errors, **_updates(trace)}


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
        samples = "".join("vbVBvv"[uniform(random, 0, 5)] for _ in range(uniform(random, 1, 5)))
        fault = ("loss", "gradient")[uniform(random, 0, 1)] if random.random() < faulty else ""
        slope = Fraction(uniform(random, -16, 16), 8)
        batches.append(MicroBatch(samples, slope, fault))  # type: ignore[arg-type]
    return tuple(batches)


def _plan(random: Random, faulty: float = 0.0, **options: Any) -> Plan:
    epochs = tuple(epoch(random, faulty=faulty) for _ in range(uniform(random, 1, 3)))
    given = {"accumulation": uniform(random, 1, 3), "seed": uniform(random, 0, 2**31), **options}
    return Plan(epochs, **given)


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
    found = trace.of("validate")
    named = [
        {n: _value(n, x) for n, x in event.values.items() if n != "val_tau"} for event in found
    ]
    return {"validations": named}


def _midpoints(trace: Trace) -> dict[str, Any]:
    ulp = Fraction(1, 2**52)
    return {
        "validations": [{"val_tau": near(e.values["val_tau"], ulp)} for e in trace.of("validate")]
    }


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
        yield "ACC-3", plan, lambda trace: {"losses": _numbers(trace.of("log"), "loss")}
        yield "STEP-2", _plan(random, 0.2), _steps
        yield "STEP-3", _plan(random, 0.5, max_nonfinite=uniform(random, 1, 4)), _faults
        limit = uniform(random, 1, 4)
        yield "LOG-2", replace(plan, history_limit=limit), lambda trace: {"history": trace.history}
        validated = _plan(random, validation=epoch(random), tau_min=0.125, tau_max=0.75)
        yield "VAL-1", validated, _validations
        yield "TAU-8", validated, _midpoints
        yield "LOG-1", validated, _order
        yield "TAU-7 TAU-1", validated, lambda trace, p=validated: _thresholds(p)  # type: ignore[misc]
        clipped = _plan(random, max_norm=(0.125, 0.5, 1.0)[uniform(random, 0, 2)])
        yield "STEP-1", clipped, lambda trace: _updates(trace, CLIPPED)
        yield "STOP-3", _plan(random, 0.1, validation=epoch(random)), _all
        resumed = _interrupted(random, _plan(random, own_parameter=own))
        yield "RES-1 STOP-3", resumed, _whole
    yield from _stopped(random)
    for dtype in ("float16", "bfloat16"):
        plan = _plan(random)
        yield "AMP-3 STOP-3", replace(plan, precision=f"{dtype} off"), _whole


def _stopped(random: Random) -> Iterator[tuple[str, Plan, Shown]]:
    for plan in _stopping(random, 4):
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
    """Carry out a plan, and return what the trainer did (``done``) and reported (``reported``),
    each in order, as pairs of a kind and named numbers, and parts of that: of the updates ``w``,
    ``v`` and ``global_steps``; of the records ``losses`` and ``micro_steps``; the counts at
    ``skips``, the global steps at ``errors``, the epochs of ``stops``, all ``validations``, the
    ``order`` of records and validations with their micro-step or epoch; and what is left:
    ``parameters`` (``w`` and ``v``), ``rate``, the latest epoch's ``thresholds``, the number of
    records kept (``history``). The model is one parameter ``w``, at first 1, and with
    ``own_parameter`` the loss owns another, ``v``, at first 0. A micro-batch has a ``slope``, and
    its loss is slope times ``w + v``; a ``fault`` makes the loss, or only its gradient, NaN. The
    rate is 1/8, halved with every applied update. A sample is a letter: ``v`` a value and ``b`` ⊥
    where the target is finite, ``V`` and ``B`` where it is singular. After the micro-batches
    numbered in ``interrupts`` the state is saved, and a new trainer goes on. With ``stale`` the
    parameters hold some gradient before training. ``precision`` is that of autocast, empty for
    none.
    """
    for clauses, plan, shown in _plans(random):
        yield Case(clauses, written_plan(plan), shown(run(plan)))


def written_plan(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain data."""
    epochs = [[_micro_batch(batch) for batch in batches] for batches in plan.epochs]
    validation = [_micro_batch(batch) for batch in plan.validation]
    return vars(plan) | {"epochs": epochs, "validation": validation}


def _micro_batch(batch: MicroBatch) -> dict[str, Any]:
    return {"samples": batch.samples, "slope": float(batch.slope), "fault": batch.fault}


@operation("window_gradient", "validation_mean")
def means(name: str, random: Random) -> Iterator[Case]:
    """Return the ``mean`` of the ``values`` of micro-batches, of which each has its number of
    samples in ``sizes``: the gradient of a window, and a metric of a validation.
    """
    clause, rule = ("ACC-1", window_gradient) if name == "window_gradient" else (
        "VAL-1", validation_mean)  # fmt: skip
    for count in (1, 1, 2, 2, 3, 3, 4, 5, 6, 7):
        sizes = [uniform(random, 1, 9) for _ in range(count)]
        values = [Fraction(uniform(random, -64, 64), 16) for _ in range(count)]
        given = {"sizes": sizes, "values": [float(value) for value in values]}
        yield Case(clause, given, {"mean": near(rule(sizes, values))})


@operation("updates_per_epoch")
def counts(name: str, random: Random) -> Iterator[Case]:
    """Return the number of ``updates`` of an epoch of ``micro_batches`` in windows of ``n``."""
    for micro_batches, n in product((1, 2, 3, 7, 8, 9), (1, 2, 4, 8)):
        expected = {"updates": updates_per_epoch(micro_batches, n)}
        yield Case("ACC-2", {"micro_batches": micro_batches, "n": n}, expected)


@operation("phases")
def phases(name: str, random: Random) -> Iterator[Case]:
    """Train a window of ``micro_batches`` of a model that was left in eval mode, and return the
    ``order`` of what happens in it (``forward``, ``loss``, ``backward``, ``step``, ``zero``,
    ``schedule``) and whether the model ran in ``training`` mode, at each forward.
    """
    for micro_batches in (1, 2, 3):
        order = ["forward", "loss", "backward"] * micro_batches + ["step", "zero", "schedule"]
        yield Case("STEP-1", {"micro_batches": micro_batches}, {"order": order})
        modes = [True] * micro_batches
        yield Case("STEP-5", {"micro_batches": micro_batches}, {"training": modes})


@operation("precision")
def precisions(name: str, random: Random) -> Iterator[Case]:
    """Train a float32 model under autocast to ``dtype``, and return the dtype of its ``forward``
    and whether a gradient scaler is at work (``scaled``).
    """
    for dtype in ("float16", "bfloat16"):
        yield Case("AMP-1", {"dtype": dtype}, {"forward": dtype})
        yield Case("AMP-2", {"dtype": dtype}, {"scaled": dtype == "float16"})


@operation("untrainable")
def untrainables(name: str, random: Random) -> Iterator[Case]:
    """Train in a ``case`` in which there is nothing to train: ``empty loader``, ``exhausted
    loader``, ``loss without gradient``, or a second call with ``nothing to do``.
    """
    for case in ("empty loader", "exhausted loader", "loss without gradient", "nothing to do"):
        error = "RuntimeError" if case == "nothing to do" else "ValueError"
        yield Case("STEP-5", {"case": case}, refusal=error)


CURRICULA: Final[tuple[list[dict[str, float]], ...]] = (
    [{}],
    [{"fit": 1.0}, {"fit": 0.5, "sign": 2.0}, {}],
    [{"margin": 0.0}, {"margin": 0.25}, {"margin": 1.0}],
)


@operation("loss_arguments")
def curricula(name: str, random: Random) -> Iterator[Case]:
    """Train one micro-batch an epoch with a loss that ``accepts`` some arguments, under a
    curriculum whose ``weights`` are those of each epoch, and return of each call what has
    ``arrived`` by name.
    """
    accepted: list[tuple[str, ...]] = [(), ("loss_weights",), ("epoch", "global_step"), OFFERED[:3]]
    for accepts, weights in product(accepted, CURRICULA):
        given = {"accepts": accepts, "weights": weights}
        if any(weights) and "loss_weights" not in accepts:
            yield Case("CUR-1", given, refusal="ValueError")
            continue
        if not any(weights) and "loss_weights" in accepts:
            continue  # no weights are no curriculum
        known = [{"loss_weights": w, "epoch": k, "global_step": k} for k, w in enumerate(weights)]
        arrived = [{name: call[name] for name in accepts} for call in known]
        yield Case("CUR-1", given, {"arrived": arrived})
