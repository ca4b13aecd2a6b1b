"""The ranges of the test vectors are those of the clauses' predicates, to the last double.

Each end of a range is handed to the predicate in place of a result, and must hold; the next double
beyond must not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from properties.subjects.exact import Exact
from properties.vectors import given
from spec import Array, Violation, check
from spec.coverage import Predicted
from spec.decoding import Tuples
from spec.losses import Measured
from spec.runs import Event, MicroBatch, Plan, Trace
from tests.tooling.helpers import CASES

MEANS = ("implicit_loss", "chordal_loss", "margin_loss", "sign_loss")
LIMITS = (0.0, 1.0, 2.0)  # of bounded losses, which other clauses guard
LOSSES = ("LOSS-1", "LOSS-2", "LOSS-3", "LOSS-11", "LOSS-15")
ENDS = {"least": -math.inf, "most": math.inf}


class Stub(Exact):
    """The exact reference, but for what a test puts in the place of one of its operations."""

    def __init__(self, **operations: Callable[..., Any]) -> None:
        super().__init__()
        vars(self).update(operations)


def cases(clause: str, *operations: str) -> list[dict[str, Any]]:
    found = [case for case in CASES if clause in case["clauses"] and "result" in case]
    return [case for case in found if not operations or case["operation"] in operations]


def ends(leaf: Any) -> Iterator[tuple[float, float]]:
    """Walk the ends of a range, each with the next double beyond."""
    for name in ENDS.keys() & leaf.keys() if isinstance(leaf, dict) else ():
        bound = float.fromhex(leaf[name])
        yield bound, math.nextafter(bound, ENDS[name])


def elements(result: Any, part: str) -> Iterator[tuple[int, float, float]]:
    for index, leaf in enumerate(result[part]["values"]):
        yield from ((index, *pair) for pair in ends(leaf))


def with_one(x: Array, index: int, value: float) -> Array:
    return x.with_values([*x.values[:index], value, *x.values[index + 1 :]])


def numbers(x: Any) -> Any:
    """Return arguments as the predicates take them."""
    if isinstance(x, str) and (x.lstrip("-")[:2] == "0x" or x in ("nan", "inf", "-inf")):
        return float.fromhex(x)
    if isinstance(x, list):
        return [numbers(value) for value in x]
    return {name: numbers(value) for name, value in x.items()} if isinstance(x, dict) else x


def assert_clause(clause: str, inside: object, outside: object, *inputs: object) -> None:
    check(clause, inside, *inputs)
    with pytest.raises(Violation):
        check(clause, outside, *inputs)


@pytest.mark.parametrize("clause", LOSSES)
def test_losses(clause: str) -> None:
    tried = 0
    for case in cases(clause, *MEANS):
        name = case["operation"].removesuffix("_loss")
        arguments = given(numbers(case["arguments"]))
        tuples = tuple(arguments[part] for part in ("P", "Q", "Y_n", "Y_d"))
        gamma, tau = arguments.get("gamma", 1e-9), arguments.get("tau", 0.5)
        inputs = {
            "LOSS-1": (tuples, gamma), "LOSS-2": (tuples,), "LOSS-3": (tuples, tau),
            "LOSS-11": (name, tuples, arguments["mask"], tau), "LOSS-15": (tuples,),
        }[clause]  # fmt: skip
        if clause != "LOSS-11" and arguments["mask"]:
            continue  # these predicates take no mask
        if tuples[0].dtype not in ("float32", "float64") or case["clauses"][-1] == "LOSS-14":
            continue
        own = {"tau": tau, "gamma": gamma, "mask": arguments["mask"]}
        exact = Exact().loss(name, *tuples, **own)
        for pair in _variants(exact, case["result"], tuples[:2]):
            inside, outside = (Stub(loss=lambda *_, m=m, **__: m) for m in pair)
            assert_clause(clause, inside, outside, *inputs)
            tried += 1
    assert tried > 30


def test_squares() -> None:
    """The predicate asks twice, and asks the training loss, which all return the same."""
    tried = 0
    for case in cases("LOSS-18"):
        arguments = given(numbers(case["arguments"]))
        tuples = tuple(arguments.pop(part) for part in ("P", "Q", "Y_n", "Y_d"))
        exact = Exact().squares(*tuples, **arguments)
        if tuples[0].dtype == "float16":
            continue  # whose gradients are rounded

        def returns(m: Measured) -> Stub:
            def squares(*parts: Array, **options: Any) -> Measured:
                Exact().squares(*parts, **options)  # which refuses other shapes
                return m

            return Stub(squares=squares, training_loss=lambda *_: (m, {}))

        for pair in _variants(exact, case["result"], tuples[:2]):
            inside, outside = (returns(m) for m in pair)
            inputs = tuples, arguments["tau"], arguments["mask"], 5.0
            assert_clause("LOSS-18", inside, outside, *inputs)
            tried += 1
    assert tried > 30


def _variants(
    exact: Measured, result: Any, predicted: tuple[Array, Array]
) -> Iterator[tuple[Measured, Measured]]:
    """Walk what is measured with one number at an end of its range, and right beyond.

    Slopes at ``(0, 0)`` are those of LOSS-10.
    """
    for pair in ends(result.get("value")):
        if pair[0] not in LIMITS:
            inside, outside = (replace(exact, value=value) for value in pair)
            yield inside, outside
    for part in ("in_P", "in_Q"):
        for index, *pair in elements(result, part):
            if not any(x.values[index] for x in predicted):
                continue
            x = getattr(exact, part)
            inside, outside = (replace(exact, **{part: with_one(x, index, v)}) for v in pair)
            yield inside, outside


def test_gradients_of_decodes() -> None:
    tried = 0
    for case in cases("POL-10"):
        tuples = Tuples(**given(numbers(case["arguments"])))
        exact = Exact().decode_gradients(tuples)
        for part, name in enumerate(("in_P", "in_Q")):
            for index, *pair in elements(case["result"], name):
                changed = [with_one(exact[part], index, value) for value in pair]
                both = [(x, exact[1]) if part == 0 else (exact[0], x) for x in changed]
                stubs = [Stub(decode_gradients=lambda _, b=b: b) for b in both]
                assert_clause("POL-10", *stubs, tuples)
                tried += 1
    assert tried > 100


def test_coverage_of_micro_batches() -> None:
    tried = 0
    for case in cases("COV-2"):
        arguments = given(numbers(case["arguments"]))
        tau = arguments.pop("tau")
        batch = Predicted(**arguments, targets=arguments["first"])
        for pair in ends(case["result"]["coverage"]):
            if 0 <= pair[1] <= 1:
                stubs = [Stub(batch_coverage=lambda b, t, v=v: _value(b, v)) for v in pair]
                assert_clause("COV-2", *stubs, batch, tau)
                tried += 1
    assert tried > 30


def _value(batch: Predicted, value: float) -> float:
    """Return a value, and refuse what COV-2 wants to be refused."""
    if batch.first.shape != batch.second.shape:
        raise ValueError("shapes")
    return value


def test_midpoints() -> None:
    for case in cases("TAU-8", "midpoint"):
        low, high = (float.fromhex(case["arguments"][end]) for end in ("tau_min", "tau_max"))
        batch = (MicroBatch("v"),)
        plan = Plan((batch,), tau_min=low, tau_max=high, validation=batch)
        for pair in ends(case["result"]["tau"]):
            told = [{"val_tau": tau, "loss_tau": pair[0], "val_coverage": 1.0} for tau in pair]
            events = [(Event("validate", values),) for values in told]
            traces = [Trace(e, (), (), (), (), 0.0) for e in events]
            assert_clause("TAU-8", *[Stub(train=lambda _, t=t: t) for t in traces], plan)


def test_totals_of_the_training_loss() -> None:
    tried = 0
    for case in cases("LOSS-6"):
        arguments = given(numbers(case["arguments"]))
        batch = tuple(arguments.pop(part) for part in ("P", "Q", "y"))
        terms = {name: float.fromhex(x["most"]) for name, x in case["result"]["terms"].items()}
        most = float.fromhex(case["result"]["total"]["most"])
        still = Array.full(0.0, like=batch[0])
        own = {(arguments["fit"] if n == "fit" else n): v for n, v in terms.items()}

        def stub(total: float, own: Any = own, terms: Any = terms, still: Array = still) -> Stub:
            return Stub(
                loss=lambda loss, *_, **__: Measured(own[loss], still, still),
                training_loss=lambda *_: (Measured(total, still, still), terms),
            )

        # Terms are at ends that are rounded inwards, so the total's end is not the very last.
        beyond = most * (1 + 2.0**-50) + 2.0**-1074
        assert_clause("LOSS-6", stub(most * (1 - 2.0**-50)), stub(beyond), batch, arguments)
        tried += 1
    assert tried > 20
