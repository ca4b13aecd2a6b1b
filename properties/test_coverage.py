"""COV: coverage, of a micro-batch and of an epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from properties.compare import flags, floats, without_shape_checks
from properties.tensor_strategies import batch_shapes, masks, several, targets, taus
from spec import coverage as counting
from zeroproof.losses import coverage
from zeroproof.scm import SCMTensor, bottom_mask
from zeroproof.training.metrics import EpochTotals, measure


@dataclass(frozen=True)
class Batch:
    """A model's parts, a mask of ⊥ and the targets of a micro-batch."""

    P: Tensor
    Q: Tensor
    mask: Tensor
    y: Tensor


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Draw a micro-batch, samples first, NaN and ±∞ everywhere."""
    P, Q = draw(several(2, shapes=batch_shapes))
    return Batch(P, Q, draw(masks(P.shape)), draw(targets(P.dtype, P.shape)))


def _value_flags(batch: Batch, masked: bool) -> list[bool]:
    given_mask = flags(batch.mask) if masked else [False] * batch.P.numel()
    return [
        counting.value_is_bottom(value, flag)
        for value, flag in zip(floats(batch.P), given_mask, strict=True)
    ]


def _tuple_flags(batch: Batch, tau: float) -> list[bool]:
    pairs = zip(floats(batch.P), floats(batch.Q), strict=True)
    return [counting.tuple_is_bottom(p, q, tau) for p, q in pairs]


@given(batches())
def test_COV_1_decoded(batch: Batch) -> None:
    """NaN and ±∞ of a decoded tensor are ⊥."""
    expected = _value_flags(batch, masked=False)
    assert flags(bottom_mask(batch.P)) == expected, f"mask of {batch.P!r}"


@given(batches())
def test_COV_1_explicit(batch: Batch) -> None:
    """With an explicit mask, in either form, the mask or a non-finite payload is ⊥."""
    expected = _value_flags(batch, masked=True)
    for outputs in ((batch.P, batch.mask), SCMTensor(batch.P, batch.mask)):
        assert flags(bottom_mask(outputs)) == expected, f"mask of {outputs!r}"
    assert floats(coverage(batch.P, batch.mask)) == floats(coverage((batch.P, batch.mask))), (
        f"coverage of {batch} by is_bottom and by a pair"
    )


# In float16, 1.3e-7 rounds down to this very denominator.
STEP = torch.tensor([2.0**-23], dtype=torch.float16)


@given(batches(), taus())
@example(Batch(torch.ones(1).half(), STEP, torch.zeros(1).bool(), torch.ones(1)), 1.3e-7)
def test_COV_1_projective(batch: Batch, tau: float) -> None:
    """A tuple is ⊥ if a part is not finite or |Q| < τ, compared exactly."""
    expected = _tuple_flags(batch, tau)
    assert flags(bottom_mask((batch.P, batch.Q), tau)) == expected, f"mask of {batch} at {tau}"


def _rows(values: Sequence[bool], batch: Batch) -> list[list[bool]]:
    return [flags(row) for row in torch.tensor(values).reshape(batch.P.shape)]


def _counts(batch: Batch, tau: float) -> counting.Counts:
    finite = [math.isfinite(y) for y in floats(batch.y)]
    return counting.count(_rows(_tuple_flags(batch, tau), batch), _rows(finite, batch))


@given(batches(), taus())
def test_COV_2_all_outputs(batch: Batch, tau: float) -> None:
    """A sample is covered iff all of its outputs are not ⊥."""
    (value,) = floats(coverage((batch.P, batch.Q), tau=tau))
    expected = counting.epoch_coverage([_counts(batch, tau)])
    assert abs(Fraction(value) - expected) < Fraction(1, 10**6), (
        f"coverage of {batch} at {tau}: got {value}, expected {expected}"
    )


def _totals(epoch: Sequence[Batch], tau: float) -> EpochTotals:
    totals = EpochTotals()
    for batch in epoch:
        measured = measure((batch.P, batch.Q), torch.isfinite(batch.y).float(), tau)
        values = {name: value.item() for name, value in measured.items()}
        totals.add({**values, "samples": len(batch.P), "loss": 0.0})
    return totals


epochs = st.lists(batches(), min_size=1, max_size=4)
UNEQUAL = [
    Batch(torch.ones(n), torch.full((n,), q), torch.zeros(n).bool(), torch.ones(n))
    for n, q in ((9, 1.0), (1, 0.0))
]


@given(epochs, taus())
@example(UNEQUAL, 1e-4)
def test_COV_3_pooled(epoch: list[Batch], tau: float) -> None:
    """An epoch's coverage is covered samples over samples, of all micro-batches together."""
    expected = counting.epoch_coverage([_counts(batch, tau) for batch in epoch])
    found = _totals(epoch, tau).record()["coverage"]
    assert found == float(expected), f"coverage of {epoch}: got {found}, expected {expected}"


@given(epochs, taus())
def test_COV_4_range(epoch: list[Batch], tau: float) -> None:
    """Coverage lies in [0, 1], in a micro-batch and in an epoch."""
    record = _totals(epoch, tau).record()
    found = [record["coverage"], *(floats(coverage((b.P, b.Q), tau=tau))[0] for b in epoch)]
    assert all(0 <= value <= 1 for value in found), f"coverages {found} of {epoch}"


@given(st.sampled_from([(0,), (0, 3), (0, 0)]))
def test_COV_4_no_samples(shape: tuple[int, ...]) -> None:
    """Without samples coverage is an error, not 1; so it is for an epoch."""
    with pytest.raises(ValueError, match="samples"):
        counting.epoch_coverage([])
    with pytest.raises(ValueError, match="samples"):
        coverage(torch.ones(shape))
    with pytest.raises(ValueError, match="samples"):
        EpochTotals().record()


@given(st.integers(2, 5))
def test_COV_2_mask_shape(size: int) -> None:
    """A mask of another shape is an error, never a broadcast that mixes samples."""
    with without_shape_checks(), pytest.raises(ValueError, match="shape"):
        coverage(torch.ones(size), torch.zeros(size, 1, dtype=torch.bool))


@given(epochs, taus())
@example(UNEQUAL, 1e-4)
def test_STOP_6_monitored(epoch: list[Batch], tau: float) -> None:
    """The stop watches the samples whose targets are all finite; the others give the recall."""
    counts, totals = [_counts(batch, tau) for batch in epoch], _totals(epoch, tau)
    expected, recall = counting.monitored_coverage(counts), counting.bottom_recall(counts)
    found, record = totals.monitored_coverage, totals.record()
    assert found == (None if expected is None else float(expected)), f"monitored of {epoch}"
    if recall is None:
        assert math.isnan(record["bottom_recall"]), f"recall of {epoch} without singular targets"
    else:
        assert record["bottom_recall"] == float(recall), f"recall of {epoch}: expected {recall}"
    if all(batch.y.isfinite().all() for batch in epoch):
        assert found == record["coverage"], f"without singular targets the two agree: {epoch}"
