"""Numbers far out, of other types, and under another default dtype, in losses and carriers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from zeroproof.inference import InferenceConfig, probability
from zeroproof.losses import (
    SCMTrainingLoss,
    chordal_loss,
    interval_loss,
    likelihood_loss,
    margin_loss,
    rejection_loss,
    sign_consistency_loss,
    squares_loss,
)
from zeroproof.scm import SCMTensor, bottom_mask

INF, NAN, HUGE = math.inf, math.nan, 10**400
P, Q, ONE, ZERO = (torch.tensor([x]) for x in (1.0, 2.0, 1.0, 0.0))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_beyond_all_floats_is_infinite(sign: int) -> None:
    with pytest.raises(ValueError, match=r"^tau_train must be in \[0, ∞\), got"):
        InferenceConfig(tau_train=sign * HUGE)
    assert InferenceConfig(lower=-HUGE, upper=HUGE).upper == INF
    for found in (SCMTensor(P) + sign * HUGE, sign * HUGE * SCMTensor(P)):
        assert found.bottom.tolist() == [True]


CALLS: list[Callable[[Any], Any]] = [
    lambda x: margin_loss(Q, x),
    lambda x: rejection_loss(P, Q, x),
    lambda x: squares_loss(P, Q, P, Q, tau=x),
    lambda x: likelihood_loss(P, Q, P, Q, resolution=x),
    lambda x: interval_loss(P, Q, (P, Q), (P, ZERO), resolution=x),
    lambda x: SCMTrainingLoss()((P, Q), (P, Q), tau=x)[0],
    lambda x: SCMTrainingLoss()((P, Q), (Q, P), loss_weights={"fit": x})[0],
    lambda x: bottom_mask((P, Q), x),
]


@pytest.mark.parametrize("call", CALLS)
def test_a_number_of_any_type_counts_as_a_float(
    call: Callable[[Any], Tensor], unchecked: None
) -> None:
    for number in (10**30, Fraction(1, 2), np.float32(0.3), np.float32(1e30)):
        torch.testing.assert_close(call(number), call(float(number)), rtol=0.0, atol=0.0)


@pytest.mark.parametrize("resolution", [1e200, np.float32(1e30)])
def test_a_loss_at_a_wide_resolution_is_finite(resolution: float, unchecked: None) -> None:
    p, q = (x.clone().requires_grad_() for x in (P, Q))
    shared = torch.ones(1, 2)
    for loss in (
        likelihood_loss(p, q, P, Q, resolution=resolution),
        interval_loss(p, q, (P, Q), (P, ZERO), resolution=resolution),
        likelihood_loss(shared * p, q[None], shared, shared, resolution=resolution),
    ):
        slopes = torch.autograd.grad(loss, (p, q))
        assert all(map(math.isfinite, (loss.item(), *(x.item() for x in slopes))))


@pytest.mark.parametrize("bad", [NAN, INF])
def test_what_is_not_finite_is_not_hidden_by_the_whole_line(bad: float) -> None:
    wrong = torch.tensor([bad])
    assert math.isnan(interval_loss(wrong, Q, (-ONE, ZERO), (ONE, ZERO)).item())
    for ends in ((-INF, INF), (1.0, 1.0), (0.0, 1.0)):
        assert math.isnan(probability(wrong, Q, *ends).item())


@pytest.fixture(params=[torch.float64, torch.float16])
def other_default(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield
    torch.set_default_dtype(before)


@pytest.mark.usefixtures("other_default")
@pytest.mark.parametrize("loss", [chordal_loss, sign_consistency_loss])
def test_no_loss_depends_on_the_default_dtype(loss: Callable[..., Tensor]) -> None:
    found = loss(P, Q, 1e30 * ONE, ZERO)
    assert found.dtype == torch.float32
    assert 0 < found.item() < 1
