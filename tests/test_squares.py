"""The fit of decoded values: in trainers, under policies, and where numbers are extreme."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.helpers import make_trainer, same, weights
from zeroproof.layers import ProjectiveRationalHead, SCMRationalLayer
from zeroproof.losses import LossConfig, SCMTrainingLoss, squares_loss
from zeroproof.training.targets import Interval, lift_targets

INF, NAN, F64 = math.inf, math.nan, torch.float64
LOSS = SCMTrainingLoss(LossConfig(fit="squares"))


def test_squares_are_differentiable_twice() -> None:
    P, Q = (torch.randn(8, dtype=F64, requires_grad=True) for _ in range(2))
    y = torch.randn(8, dtype=F64)
    y[0], y[1] = INF, NAN
    used = y.isfinite() & (Q.detach().abs() >= 0.3)
    assert 0 < used.sum() < 6
    results = []
    for loss in (
        squares_loss(P, Q, *lift_targets(y), tau=0.3),
        (P / Q - y)[used].square().mean(),
    ):
        once = torch.autograd.grad(loss, (P, Q), create_graph=True)
        slope = sum((g * g).sum() for g in once)
        assert isinstance(slope, Tensor)
        results.append([loss, *once, *torch.autograd.grad(slope, (P, Q))])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("label", [NAN, INF])
def test_an_update_without_a_finite_target_is_no_nan(label: float) -> None:
    model = ProjectiveRationalHead(1, 1)
    x, before = torch.linspace(-1.0, 1.0, 6), weights(model)
    trainer = make_trainer(model, [(x, torch.full_like(x, label))], LOSS)
    (record,) = trainer.fit()
    assert record["loss_fit"] == 0.0
    assert trainer.global_step == 1
    assert same(weights(model), before) == math.isnan(label), "±∞ has a sign"


def test_intervals_have_no_value_to_compare() -> None:
    one = torch.ones(2)
    with pytest.raises(ValueError, match=r"^fit='squares' takes exact targets; intervals need"):
        LOSS((one, one), lift_targets(Interval(one, INF * one)))


@pytest.mark.parametrize("policy", ["clamp", "project", "passthrough", "reject"])
@pytest.mark.parametrize("of_trainer", [False, True])
def test_models_of_values_learn_by_squares_under_policies(policy: str, of_trainer: bool) -> None:
    """The third and fourth samples are ⊥, one of them with a finite target."""
    options = {} if of_trainer else {"gradient_policy": policy}
    model = SCMRationalLayer(1, 1, tau=0.1, **options)  # type: ignore[arg-type]
    x = torch.tensor([-1.0, 0.5, INF, NAN, 1.5, 2.0])
    batch = (x, torch.tensor([1.0, 2.0, INF, 1.0, 4.0, 5.0]))
    before, config = weights(model), {"gradient_policy": policy} if of_trainer else {}
    records = make_trainer(model, [batch] * 60, LOSS, **config).fit()
    assert all(math.isfinite(record["loss"]) for record in records)
    moved = not same(before, weights(model))
    assert moved == (policy != "reject")
    if moved:
        assert records[-1]["loss_fit"] < 0.5 * records[0]["loss_fit"]


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_squares_of_extreme_numbers_are_finite(dtype: torch.dtype) -> None:
    largest, tiny = torch.finfo(dtype).max, torch.finfo(dtype).tiny
    P = torch.tensor([largest, -largest, 1.0, 0.0, 1.0], dtype=dtype)
    Q = torch.tensor([1.0, 1.0, tiny, tiny, 1.0], dtype=dtype)
    y = torch.tensor([-largest, largest, 0.0, 0.0, largest], dtype=dtype)
    loss = squares_loss(P, Q, *lift_targets(y))
    assert 0 < loss.item() < INF
    P, Q = torch.full((2, 1), tiny, dtype=dtype)
    P *= 4.0 / tiny**0.25
    y = P / Q
    for x in (P, Q):
        x.requires_grad_()
    exact = squares_loss(P, Q, *lift_targets(y))
    assert [g.item() for g in torch.autograd.grad(exact, (P, Q))] == [0.0, 0.0], "no 0 · ∞"
