"""Each known fault of the public packages shows by their own API alone, and a clause finds it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from benchmarks.packages import FetchError, environment, fetch
from docs.conformance import reports
from properties.assertions import Unsupported
from properties.plans import LOW
from properties.problems import problem
from properties.subjects.third_party import version_0_4_3, version_0_6_1
from properties.subjects.third_party.remote import FOLDER, Remote
from spec import Array, Violation, check
from spec.carriers import Carrier
from spec.coverage import Predicted
from spec.decoding import Tuples
from spec.losses import TAU, Case
from spec.runs import MicroBatch, Plan
from spec.scopes import Forward
from tests.third_party.upstream_bugs import OF, functions, trainer, trainer_checkpoints

MODULES = functions, trainer, trainer_checkpoints  # which register what they find
SUBJECTS = {"0.4.3": version_0_4_3, "0.6.1": version_0_6_1}


def sized(*sizes: int) -> tuple[MicroBatch, ...]:
    return tuple(MicroBatch("v" * n, Fraction(i + 1)) for i, n in enumerate(sizes))


def outputs(form: str, first: float, second: float = 1.0, count: int = 1) -> Predicted:
    parts = (Array.of([x] * count, "float32") for x in (first, second, 1.0))
    return Predicted(form, *parts)


def half(P: float, Q: float, Y_n: float, Y_d: float) -> Case:
    return problem([(P, Q, Y_n, Y_d)], "float16")


ONE = Array.of([1.0])
CLEAN = problem([(1.0, 1.0, 1.0, 1.0), (1.0, 0.0, 1.0, 0.0)])
MIXED = problem([(1.0, 0.25, 1.0, 1.0), (1.0, 0.25, 1.0, 0.0)])
FIRST, SECOND = (Array.of(kept, "bool") for kept in ([True, False], [False, True]))
NINE_OF_TEN = [(outputs("tuple", 1.0, 1.0, 9), 0.1), (outputs("tuple", 1.0, 0.0), 0.1)]
UNEQUAL = Plan((sized(1),), validation=(MicroBatch("vvv"), MicroBatch("b")))
SINGULAR = Plan(((MicroBatch("B"),),), threshold=0.5, patience=1)
FAULTY = Plan(((MicroBatch("v"), MicroBatch("v", fault="loss")),))
LOST_LOSS = Plan(((MicroBatch("v", fault="loss"),),))
VALIDATED = Plan((sized(1),) * 2, validation=sized(1), interrupts=(1,))
LOST = Plan(((MicroBatch("b"),), sized(1)), threshold=0.5, patience=1)
NOTHING, TINY = Array.of([0.0]), Array.of([2.0**-24], "float16")


def carrier(x: float, dtype: str = "float32") -> Carrier:
    return Carrier(Array.of([x], dtype), (False,))


# What finds each: a clause, what it complains of, and inputs at which it is broken.
FOUND_BY: dict[str, list[tuple[Any, ...]]] = {
    "last_batch_stops": [("COV-3", "0.0, not 0.9", NINE_OF_TEN)],
    "window_dropped": [("ACC-2", "['draw'], not", Plan((sized(1),), accumulation=2))],
    "window_carried_over": [
        ("ACC-2", "'update'], not", Plan((sized(1, 1, 1),) * 2, accumulation=2))
    ],
    "unequal_micro_batches": [("ACC-1", "w is", Plan((sized(3, 1),), accumulation=2))],
    "loss_divided": [("ACC-3", "'loss': 0.5", Plan((sized(1, 1),), accumulation=2))],
    "validation_unweighted": [("VAL-1", "'val_coverage': 0.5", UNEQUAL)],
    "half_precision_nan": [("LOSS-8", "nan, not 0.0", "implicit", half(0.0, 0.0, 1.0, 0.0))],
    "half_precision_zero": [("LOSS-8", "0.0, not 1.0", "implicit", half(1e-4, 1.0, 0.0, 1.0))],
    "large_target_overflows": [
        ("LOSS-9", "is nan", "implicit", problem([(1.0, 1.0, 1e20, 1.0)]), TAU)
    ],
    "infinite_output_covered": [("COV-1", "(False,), not", outputs("value", math.inf), 0.1)],
    "nan_numerator_covered": [("COV-1", "(False,), not", outputs("tuple", math.nan), 0.1)],
    "infinite_numerator_covered": [("COV-1", "(False,), not", outputs("tuple", math.inf), 0.1)],
    "policy_without_effect": [
        ("POL-9", "is 1.0, not 0.0", "reject", "tuple", ONE, ONE, ONE, (False,), None)
    ],
    # The policy gives 0; the NaN is of the division behind it, of which no clause speaks.
    "nan_through_clamp_and_project": [],
    "policy_leaks_across_threads": [
        ("POL-8", "a thread saw reject", Forward(scopes=("reject",)), "project")
    ],
    "threshold_from_global_generator": [("TAU-4", "seed None moved", 0)],
    "rejection_without_gradient": [
        ("LOSS-5", "rejection", problem([(1.0, 0.0, 1.0, 1.0)]), TAU, 1.0)
    ],
    "nan_through_masked_margin": [("LOSS-7", "and nan", "margin", CLEAN, FIRST, math.nan)],
    "nan_through_masked_sign": [("LOSS-7", "and nan", "sign", CLEAN, SECOND, math.nan)],
    "resume_not_exact": [
        ("RES-1", "parameters", LOW),
        ("STOP-5", "stops after [], not", LOW),
    ],
    "nan_batch_destroys_weights": [("STEP-3", "skips []", FAULTY)],
    "shapes_broadcast": [
        ("LOSS-12", "shape (3, 1)", "implicit", problem([(1.0, 1.0, 2.0, 1.0)] * 3), (3, 1))
    ],
    "own_parameter_multiplied": [
        ("ACC-1", "v is", Plan((sized(1, 1),), accumulation=2, own_parameter=True))
    ],
    "no_stop_without_validation": [("STOP-3", "stops after [], not [0", LOST)],
    "scheduler_fed_coverage": [("STEP-7", "the rates [0.125, 0.0625]", [1.0, 0.5])],
    "overflow_is_no_bottom": [("BOT-2", "returns -inf", "mul", carrier(-3.0), carrier(2.0**127))],
    "quotient_is_bottom": [
        ("BOT-3", "is ⊥, not 1024.0", "div", carrier(1.0, "float16"), carrier(2.0**-10, "float16"))
    ],
    "nan_through_masked_root": [
        ("BOT-5", "gradient nan", "sqrt", math.nan, Carrier(Array.of([0.0], "float32"), (True,)))
    ],
    "lift_in_a_graph": [("LIFT-6", "part of a graph", ONE)],
    "truth_values_lifted": [("LIFT-8", "was accepted", Array.of([True], "bool"), "float32")],
    "integers_stay_integers": [("LIFT-8", "not to float32", Array.of([1], "int64"), "float32")],
    "negative_threshold": [("TAU-3", "refused: False", -1.0, -1.0)],
    "zero_denominator_in_gap": [("DEC-1", "⊥ is False", Tuples(NOTHING, NOTHING, 0.0, 1.0))],
    "infinite_tuple_decoded": [
        ("DEC-1", "⊥ is False", Tuples(Array.of([math.inf]), ONE, 0.5, 0.5))
    ],
    "threshold_rounded": [
        ("DEC-1", "⊥ is False", Tuples(TINY, TINY, 1.3 * 2.0**-24, 1.0)),
        ("DEC-2", "gap False", Tuples(TINY, TINY, 2.0**-24, 1.3 * 2.0**-24)),
    ],
    "decode_broadcasts": [("DEC-6", "was decoded", Tuples(ONE, ONE, 0.5, 0.5), 0.5, 0.5, "raw")],
    "nan_not_clamped": [("POL-1", "nan, not 0.0", Array.of([math.nan]), (False,))],
    "implicit_loss_infinite": [("LOSS-1", "is inf", problem([(0.0, 1e15, 1.0, 0.0)]), 1e-9)],
    "margin_over_all": [("LOSS-3", "is 0.03125, not 0.0625", MIXED, TAU)],
    "sign_over_all": [("LOSS-4", "is", MIXED, SECOND)],
    "sign_pushes_no_tuple": [("LOSS-10", "has gradients", "sign", problem([(0.0, 0.0, 1.0, 0.0)]))],
    "nan_of_nothing": [("LOSS-13", "nan", "sign", (Array((), (0,)),) * 4)],
    "singular_targets_stop": [("STOP-3", "stops after [0], not []", SINGULAR)],
    "no_samples_no_error": [("COV-4", "raised nothing", [(outputs("value", 1.0), 0.1)])],
    "thresholds_of_all_epochs": [("TAU-7", "not [0.25]", Plan((sized(1),) * 2))],
    "half_precision_swapped": [("AMP-4", "ran in bfloat16", "float16")],
    "loss_in_half_precision": [("AMP-1", "given ('bfloat16'", "bfloat16")],
    "global_step_counts_micro_batches": [
        ("STEP-2", "global steps [2.0]", Plan((sized(1, 1),), accumulation=2))
    ],
    "trained_in_eval_mode": [("STEP-5", "(False,)", "empty loader")],
    "host_waits_at_every_step": [("STEP-4", "made the host wait", 10)],
    "validation_thaws_submodules": [("VAL-2", "modes", UNEQUAL, False)],
    "minimum_averaged": [],  # VAL-1 stops at coverage_finite, which its validations lack
    "nan_loss_logged_as_none": [("LOG-1", "'loss': <class 'NoneType'>", LOST_LOSS)],
    "weights_ignored": [("CUR-1", "were ignored", (), Plan((sized(1),), weights=(2.0,)))],
    "checkpoint_written_in_place": [
        (
            "RES-2",
            "neither",
        )
    ],
    "other_model_changes_weights": [("RES-3", "changed the trainer", "of another model")],
    "keys_with_prefix": [("RES-3", "'module.weight'", "good")],
    "validations_not_resumed": [("RES-1", "in log, skip, validate, val_history:", VALIDATED)],
}


@cache
def fetched(version: str) -> Path:
    try:
        return fetch(f"zeroproofml=={version}", FOLDER).resolve()
    except FetchError as error:
        pytest.skip(f"zeroproofml {version} could not be fetched: {error}")


@pytest.mark.parametrize("version", OF)
def test_findings_show_by_the_package_alone(version: str) -> None:
    package = fetched(version)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.third_party.upstream_bugs", version],
        cwd=package,
        env=environment(package),
        capture_output=True,
        text=True,
        check=True,
    )
    shown = json.loads(done.stdout)
    assert shown == {finding.__name__: True for finding in OF[version]}


@pytest.mark.parametrize(
    ("version", "finding", "id", "complaint", "inputs"),
    [
        (version, finding.__name__, id, complaint, inputs)
        for version, findings in OF.items()
        for finding in findings
        for id, complaint, *inputs in FOUND_BY[finding.__name__]
    ],
)
def test_a_clause_finds_it(
    version: str, finding: str, id: str, complaint: str, inputs: list[Any]
) -> None:
    fetched(version)
    with pytest.raises(Violation) as raised:
        check(id, SUBJECTS[version](), *inputs)
    assert complaint in str(raised.value)


@pytest.mark.parametrize(
    ("version", "id"),
    sorted(
        {
            (version, id)
            for version, findings in OF.items()
            for finding in findings
            for id, *_ in FOUND_BY[finding.__name__]
        }
    ),
)
def test_the_committed_report_tells_it(version: str, id: str) -> None:
    (verdict,) = (v for v in reports()[f"zeroproofml-{version}"].verdicts if v.id == id)
    assert verdict.verdict == "fails"
    claims = [shown.claim for shown in verdict.shown]
    assert len(claims) == len(set(claims)) > 0, "a claim is reported twice, or none is"
    assert all(shown.reproduced for shown in verdict.shown)


def test_what_is_local_to_a_thread_or_a_task_here_is_so_there() -> None:
    fetched("0.6.1")
    check("POL-8", version_0_6_1(), Forward(scopes=("reject",)), "project")


UNIT = Tuples(ONE, ONE, 0.5, 0.5, "unit")


@pytest.mark.parametrize(
    ("id", "inputs"),
    [
        ("LOSS-2", (problem([(1.0, 1.0, 2.0, 1.0)]),)),
        ("LOSS-7", ("implicit", MIXED, FIRST, 1.0)),
        ("DEC-4", (UNIT, 2.0)),
        ("DEC-6", (UNIT, 0.5, 0.5, "unit")),
        ("COV-2", (outputs("value", 1.0), 0.1)),
        ("LOG-4", (Plan((sized(1),)),)),
        ("LOG-2", (Plan((sized(1),)),)),
        ("STOP-6", ([(outputs("value", 1.0), 0.1)],)),
        ("RES-6", ("object of the user",)),
        ("RES-1", (Plan((sized(1, 1),), interrupts=(1,)),)),
    ],
)
@pytest.mark.parametrize("version", SUBJECTS)
def test_what_is_not_claimed_is_absent(version: str, id: str, inputs: tuple[Any, ...]) -> None:
    fetched(version)
    with pytest.raises(Unsupported):
        check(id, SUBJECTS[version](), *inputs)


def test_a_call_that_is_broken_off_does_not_spoil_the_next() -> None:
    fetched("0.4.3")
    subject = version_0_4_3()
    before = subject.lift(ONE)
    with (
        patch.object(Remote, "_read", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        subject.draw(0.0, 1.0, 0, 1)
    assert subject.lift(ONE) == before


def test_all_findings_are_known() -> None:
    assert {finding.__name__ for findings in OF.values() for finding in findings} == set(FOUND_BY)
