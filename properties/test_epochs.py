"""VAL, LOG, CUR and the thresholds of epochs: what a run reports, and with which weights."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.plans import plans
from spec.epochs import OFFERED, Reports
from spec.runs import MicroBatch, Plan, Trains

names = st.sampled_from(["fit", "margin", "sign"])
weights = st.dictionaries(names, st.floats(0.0, 2.0), min_size=1)


@given(plans())
def test_TAU_7_last_thresholds(subject: Trains, plan: Plan) -> None:
    assert_clause("TAU-7", subject, plan)


@given(plans(validated=True))
def test_TAU_8_fixed_threshold(subject: Trains, plan: Plan) -> None:
    assert_clause("TAU-8", subject, plan)


@given(plans(validated=True))
def test_VAL_1_validates(subject: Trains, plan: Plan) -> None:
    assert_clause("VAL-1", subject, plan)


def test_VAL_1_of_unequal_micro_batches(subject: Trains) -> None:
    validation = (MicroBatch("vvv"), MicroBatch("b"))
    assert_clause("VAL-1", subject, Plan(((MicroBatch("v"),),), validation=validation))


@given(plans(validated=True, faulty=True), st.booleans())
@settings(max_examples=50)
def test_VAL_2_no_trace(subject: Reports, plan: Plan, fails: bool) -> None:
    assert_clause("VAL-2", subject, plan, fails)


@given(plans())
@settings(max_examples=50)
def test_LOG_1_every_record(subject: Reports, plan: Plan) -> None:
    assert_clause("LOG-1", subject, plan)


@given(plans())
def test_LOG_2_bounded(subject: Trains, plan: Plan) -> None:
    assert_clause("LOG-2", subject, plan)


@st.composite
def signatures(draw: st.DrawFn) -> tuple[tuple[str, ...], list[dict[str, float]]]:
    """Draw the names that a loss accepts, and weights for each epoch that it may accept."""
    accepts = draw(st.lists(st.sampled_from(OFFERED), unique=True).map(tuple))
    curriculum = draw(st.lists(weights, min_size=1, max_size=3))
    ignored = "loss_weights" not in accepts and draw(st.booleans())
    return accepts, [{} for _ in curriculum] if ignored else curriculum


@given(signatures())
@settings(max_examples=50)
def test_CUR_1_arguments(
    subject: Reports, signature: tuple[Sequence[str], Sequence[dict[str, float]]]
) -> None:
    assert_clause("CUR-1", subject, *signature)
