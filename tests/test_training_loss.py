"""The composite training loss, as examples."""

from __future__ import annotations

import math

import pytest
import torch

from tests.helpers import tensors
from zeroproof.losses import (
    LossConfig,
    SCMTrainingLoss,
    chordal_loss,
    implicit_loss,
    margin_loss,
    rejection_loss,
    sign_consistency_loss,
)
from zeroproof.training.targets import lift_targets

INF, NAN = math.inf, math.nan


def test_the_composite_is_the_weighted_sum_of_its_terms() -> None:
    P, Q = torch.randn(64), torch.randn(64)
    y = torch.randn(64)
    y[:10], y[10:15], y[15:20] = INF, -INF, NAN
    config = LossConfig(
        lambda_margin=0.3, lambda_sign=0.7, lambda_rej=0.9, target_coverage=1.0, tau_train=0.5
    )
    total, terms = SCMTrainingLoss(config)((P, Q), lift_targets(y), targets=y)
    Y_n, Y_d = lift_targets(y)
    expected = {
        "fit": chordal_loss(P, Q, Y_n, Y_d),
        "margin": margin_loss(Q, 0.5, mask=y.isfinite()),
        "sign": sign_consistency_loss(P, Q, Y_n, Y_d, oriented=y.isinf()),
        "rejection": rejection_loss(P, Q, 0.5, target_coverage=1.0, mask=y.isfinite()),
    }
    assert terms == expected
    assert all(term > 0 for term in terms.values())
    with pytest.raises(ValueError, match=r"^tau_train must be in"):
        LossConfig(tau_train=-1.0)
    weights = {"fit": 1.0, "margin": 0.3, "sign": 0.7, "rejection": 0.9}
    assert total.item() == pytest.approx(sum(w * expected[n].item() for n, w in weights.items()))
    assert LossConfig().weights == {"fit": 1.0, "margin": 0.1, "sign": 1.0, "rejection": 0.01}
    only, _ = SCMTrainingLoss(config)(
        (P, Q), (Y_n, Y_d), loss_weights=dict.fromkeys(weights, 0.0) | {"margin": 2.0}, tau=0.9
    )
    assert only.item() == pytest.approx(2 * margin_loss(Q, 0.9, mask=y.isfinite()).item())


def test_the_likelihood_asks_for_no_orientation() -> None:
    """+∞ on one side of a simple pole and −∞ on the other contradict each other in the sign."""
    likelihood = LossConfig(fit="likelihood").weights
    assert likelihood == {"fit": 1.0, "margin": 0.1, "sign": 0.0, "rejection": 0.01}
    assert LossConfig(fit="likelihood", lambda_sign=0.5).weights["sign"] == 0.5
    assert LossConfig(fit="chordal", lambda_sign=0.0).weights["sign"] == 0.0


def test_the_resolution_narrows_over_most_of_the_epochs() -> None:
    assert SCMTrainingLoss(LossConfig(fit="chordal")).default_curriculum(10) is None
    narrowing = SCMTrainingLoss(LossConfig(fit="likelihood")).default_curriculum(10)
    assert narrowing is not None
    found = [narrowing(epoch)["resolution"] for epoch in range(10)]
    assert found[0] == pytest.approx(0.7)
    assert found[:8] == sorted(found[:8], reverse=True)
    assert found[7:] == [0.003] * 3
    fixed = LossConfig(fit="likelihood", resolution=0.1, first_resolution=0.1)
    steady = SCMTrainingLoss(fixed).default_curriculum(3)
    assert steady is not None
    assert steady(0) == steady(2) == {"resolution": 0.1}
    with pytest.raises(ValueError, match="first_resolution must be in"):
        LossConfig(first_resolution=-1.0)


@pytest.mark.parametrize("bad", [NAN, INF])
def test_a_numerator_alone_can_lose_a_sample(bad: float) -> None:
    P, Q = tensors([bad, 1.0, 1.0, 1.0], [1.0] * 4)
    _, terms = SCMTrainingLoss()((P, Q), lift_targets(torch.ones(4)), tau=0.1)
    assert terms["rejection"].item() == pytest.approx((0.95 - 0.75) ** 2)


def test_a_total_beyond_the_largest_number_is_infinite() -> None:
    P, Q = torch.ones(2), torch.full((2,), 0.5)
    given = {"fit": 0.0, "margin": 1e30}
    total, terms = SCMTrainingLoss()((P, Q), (P, P), tau=1e10, loss_weights=given)
    assert total.item() == INF
    assert terms["margin"].item() == pytest.approx(1e20)


def test_the_configured_threshold_counts_until_a_call_gives_one() -> None:
    inputs = (torch.randn(8), torch.randn(8)), lift_targets(torch.randn(8))
    _, given = SCMTrainingLoss(LossConfig(tau_train=1e-4))(*inputs, tau=0.5)
    _, configured = SCMTrainingLoss(LossConfig(tau_train=0.5))(*inputs)
    assert given == configured
    assert not any(term.requires_grad for term in configured.values())


def test_without_raw_targets_every_singular_one_counts_as_oriented() -> None:
    P, Q = tensors([-1.0, 1.0], [0.0, 0.0])
    y = torch.tensor([NAN, 1.0])
    for targets, expected in ((None, 2.0), (y, 0.0)):
        _, terms = SCMTrainingLoss()((P, Q), lift_targets(y), targets=targets)
        assert terms["sign"].item() == expected


def test_an_unknown_weight_is_named_with_the_known_ones() -> None:
    one = torch.ones(2)
    with pytest.raises(ValueError, match=r"unknown terms \['sing'\]; known are \['fit', 'margin'"):
        SCMTrainingLoss()((one, one), (one, one), loss_weights={"sing": 1.0})


def test_the_implicit_fit_is_chosen_by_name() -> None:
    P, Q, y = torch.randn(8), torch.randn(8), torch.randn(8)
    for gamma in (1e-9, 0.5):
        _, terms = SCMTrainingLoss(LossConfig(fit="implicit", gamma=gamma))((P, Q), lift_targets(y))
        assert terms["fit"] == implicit_loss(P, Q, *lift_targets(y), gamma=gamma)


def test_value_outputs_count_as_tuples_over_one() -> None:
    value = torch.tensor([2.0, NAN, 3.0], requires_grad=True)
    y = torch.tensor([1.0, 1.0, INF])
    total, terms = SCMTrainingLoss()(value, lift_targets(y), targets=y)
    total.backward()
    assert terms["fit"].item() == pytest.approx((0.1 + 0.5 + 0.1) / 3)
    assert value.grad is not None
    assert value.grad[1] == 0.0
    assert value.grad[0] > 0 > value.grad[2]


def test_terms_are_for_the_log_and_lead_no_gradient() -> None:
    P = torch.ones(3, requires_grad=True)
    total, terms = SCMTrainingLoss()((P, torch.ones(3)), lift_targets(torch.ones(3)))
    assert total.requires_grad
    assert not any(term.requires_grad for term in terms.values())
