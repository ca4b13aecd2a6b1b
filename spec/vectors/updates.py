"""Cases of ACC to CUR that are no whole runs: means, counts, and a trainer watched from outside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import product
from random import Random
from typing import Any

from ..accumulation import sample_mean, updates_per_epoch
from ..epochs import OFFERED
from ..lifting import lift
from ..runs import Plan
from .cases import Case, Within
from .numbers import uniform
from .trainings import epoch, near, written_plan
from .tuples import near_midpoint


def mean(name: str, random: Random) -> Iterator[Case]:
    """Return the ``mean`` of the ``values`` of micro-batches, of which each has its number of
    samples in ``sizes``: the gradient of a window, and a metric of a validation.
    """
    clause = "ACC-1" if name == "window_gradient" else "VAL-1"
    for count in (1, 1, 2, 2, 3, 3, 4, 5, 6, 7):
        sizes = [uniform(random, 1, 9) for _ in range(count)]
        values = [Fraction(uniform(random, -64, 64), 16) for _ in range(count)]
        given = {"sizes": sizes, "values": [float(value) for value in values]}
        yield Case(clause, given, {"mean": near(sample_mean(sizes, values))})


def count(name: str, random: Random) -> Iterator[Case]:
    """Return the number of ``updates`` of an epoch of ``micro_batches`` in windows of ``n``."""
    for micro_batches, n in product((1, 2, 3, 7, 8, 9), (1, 2, 4, 8)):
        expected = {"updates": updates_per_epoch(micro_batches, n)}
        yield Case("ACC-2", {"micro_batches": micro_batches, "n": n}, expected)


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


def precision(name: str, random: Random) -> Iterator[Case]:
    """Train a float32 model under autocast to ``dtype``, which the ``option`` turns on
    (``mixed_precision`` or ``use_amp``). Return the dtype of a matrix product in its ``forward``,
    and whether a gradient scaler is used (``scaled``). ``wide`` tells whether float32 or wider are
    the outputs and lifted targets that the loss gets, and a matrix product of float32 tensors in
    the loss.
    """
    for dtype, option in product(("float16", "bfloat16"), ("mixed_precision", "use_amp")):
        given, alias = {"dtype": dtype, "option": option}, "AMP-5 " * (option == "use_amp")
        yield Case(f"{alias}AMP-1", given, {"forward": dtype, "wide": True})
        yield Case(f"{alias}AMP-2", given, {"scaled": dtype == "float16"})


def untrainable(name: str, random: Random) -> Iterator[Case]:
    """Train in a ``case`` in which there is nothing to train: ``empty loader``, ``exhausted
    loader``, ``loss without gradient``, or a second call with ``nothing to do``.
    """
    for case in ("empty loader", "exhausted loader", "loss without gradient", "nothing to do"):
        error = "RuntimeError" if case == "nothing to do" else "ValueError"
        yield Case("STEP-5", {"case": case}, refusal=error)


ACCEPTED = ((), ("loss_weights",), ("epoch", "global_step"), ("tau", "inputs", "targets"), OFFERED)


def loss_arguments(name: str, random: Random) -> Iterator[Case]:
    """Carry out a plan, given as for ``train``, with a loss that ``accepts`` the named arguments
    beside outputs and lifted targets. The epochs' ``weights`` are those of a curriculum that calls
    them ``fit``. Return the ``calls`` of the loss, in order: whether it is one of a ``validation``,
    the ``lifted`` targets, the ``names`` of the other arguments in alphabetical order, and the
    arguments ``given`` by name. Arrays are lists. The target of a sample ``v`` is 0.5, that of
    ``b`` -0.25, of ``t`` 0.75, of ``V`` -inf, and of ``B`` NaN. Its inputs are the micro-batch's
    slope, the sample's absolute denominator, and the number of the fault, here 0.
    """
    for accepts, weighted in product(ACCEPTED, (True, False)):
        epochs = epoch(random)[:3], epoch(random)[:2]
        weights = tuple(uniform(random, 1, 8) / 4 for _ in epochs) if weighted else ()
        validation = epoch(random)[:2]
        plan = Plan(epochs, 2, validation=validation, weights=weights, tau_max=0.75)
        arguments = {"accepts": accepts} | written_plan(plan)
        if weights and "loss_weights" not in accepts:
            yield Case("CUR-1", arguments, refusal="ValueError")
        elif weights or "loss_weights" not in accepts:  # without weights nothing says what arrives
            clauses = "CUR-1 LIFT-10" if accepts else "LIFT-10"
            yield Case(clauses, arguments, {"calls": list(_calls(accepts, plan))})


def _calls(accepts: Sequence[str], plan: Plan) -> Iterator[dict[str, Any]]:
    drawn = Within(Fraction(plan.tau_min), Fraction(plan.tau_max))
    fixed, done = near_midpoint(plan.tau_min, plan.tau_max), 0
    for index, batches in enumerate(plan.epochs):
        places = [(b, done + at // plan.accumulation, drawn) for at, b in enumerate(batches)]
        done += updates_per_epoch(len(batches), plan.accumulation)
        for batch, step, tau in [*places, *((b, done, fixed) for b in plan.validation)]:
            fit = {"fit": float(plan.weight(index))}
            offered = {"loss_weights": fit, "epoch": index, "global_step": step, "tau": tau}
            offered |= {"inputs": batch.inputs, "targets": batch.targets}
            yield {
                "validation": tau is fixed,
                "lifted": list(zip(*map(lift, batch.targets), strict=True)),
                "names": sorted(accepts),
                "given": {name: offered[name] for name in accepts},
            }
