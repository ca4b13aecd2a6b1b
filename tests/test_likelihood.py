"""The projective likelihood, as examples: its formula, its intervals, and what it knows."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from zeroproof.inference import central_interval, certainty, combine_tuples, probability
from zeroproof.losses import LossConfig, SCMTrainingLoss, interval_loss, likelihood_loss
from zeroproof.training.targets import lift_targets

F64, INF = torch.float64, math.inf


def tuples(count: int) -> tuple[Tensor, Tensor]:
    P, Q = 3 * torch.randn(2, count, dtype=F64, generator=torch.Generator().manual_seed(0))
    return P, Q


def lift(y: float, like: Tensor) -> tuple[Tensor, Tensor]:
    return lift_targets(torch.full_like(like, y))


def test_the_loss_is_that_of_the_wrapped_cauchy_distribution() -> None:
    P, Q = tuples(50)
    y = torch.linspace(-3, 3, 50, dtype=F64)
    turn = torch.atan2(P, Q) - torch.atan(y)
    square = P * P + Q * Q
    length = square / (1 + square)
    density = (1 - length**2) / (1 + length**2 - 2 * length * torch.cos(2 * turn))
    torch.testing.assert_close(likelihood_loss(P, Q, *lift_targets(y)), -density.log().mean())


def test_the_probabilities_of_arcs_that_fill_the_line_add_up_to_one() -> None:
    P, Q = tuples(50)
    ends = [-INF, -2.0, -0.1, 0.3, 5.0, INF]
    arcs = [(lift(a, P), lift(b, P)) for a, b in pairwise(ends)]
    shares = torch.stack([probability(P, Q, *arc) for arc in arcs])
    assert (shares > 0).all()
    torch.testing.assert_close(shares.sum(0), torch.ones(50, dtype=F64))
    assert (probability(P, Q, lift(-INF, P), lift(INF, P)) == 1).all()
    assert torch.equal(probability(P, Q, -INF, 2.0), probability(P, Q, lift(-INF, P), lift(2.0, P)))
    with pytest.raises(ValueError, match=r"^lower must be in"):
        probability(P, Q, math.nan, 2.0)
    assert (probability(P, Q, lift(2.0, P), lift(2.0, P)) == 0).all()


def test_an_interval_counts_by_its_probability_and_a_narrow_one_as_its_point() -> None:
    P, Q = tuples(50)
    lower, upper = lift(1.5, P), lift(INF, P)
    turned = math.pi / 2 - math.atan(1.5)
    expected = -(probability(P, Q, lower, upper) * math.pi / turned).log().mean()
    torch.testing.assert_close(interval_loss(P, Q, lower, upper), expected)
    point = likelihood_loss(P, Q, *lower, resolution=0.01)
    assert interval_loss(P, Q, lower, lower, resolution=0.01) == point
    narrow = interval_loss(P, Q, lower, lift(1.5 + 1e-7, P), resolution=0.01)
    torch.testing.assert_close(narrow, point)
    assert interval_loss(P, Q, lift(-INF, P), upper, resolution=0.5) == 0


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_a_central_interval_holds_its_probability(level: float) -> None:
    P, Q = tuples(50)
    lower, upper = central_interval(P, Q, level)
    assert level < 0.5 or bool((lower > upper).any()), "none runs through infinity"
    share = probability(P, Q, lift_targets(lower), lift_targets(upper))
    torch.testing.assert_close(share, torch.full_like(share, level))
    value, same = central_interval(P, Q, 0.0)
    torch.testing.assert_close(value, P / Q)
    assert torch.equal(value, same)


def test_ignorance_and_certainty() -> None:
    zero, far = torch.zeros(1), torch.full((1,), 3e38)
    assert likelihood_loss(zero, zero, *lift(1.0, zero)) == 0
    assert central_interval(zero, zero, 0.5) == (-torch.inf, torch.inf)
    torch.testing.assert_close(
        probability(zero, zero, lift(0.0, zero), lift(1.0, zero)), torch.tensor([0.25])
    )
    assert (certainty(zero, zero), certainty(far, far)) == (0, 1)


@pytest.mark.parametrize("size", [0.0, 1e-45, 1e-30, 1.0, 1e20, 3.4e38])
@pytest.mark.parametrize("y", [-INF, 0.0, 1.0, 3e38, INF])
def test_losses_and_gradients_are_finite_at_every_length(size: float, y: float) -> None:
    for P, Q in ((size, size), (size, 0.0), (0.0, size), (size, -size)):
        p, q = (torch.tensor([x], requires_grad=True) for x in (P, Q))
        losses = [
            likelihood_loss(p, q, *lift(y, p)),
            interval_loss(p, q, lift(-INF, p), lift(y, p)),
            interval_loss(p, q, lift(y, p), lift(INF, p)),
        ]
        for loss in losses:
            assert loss.isfinite()
            gradients = torch.autograd.grad(loss, (p, q), allow_unused=True)
            assert all(g is None or bool(g.isfinite()) for g in gradients)


def test_gradients_can_be_taken_twice() -> None:
    P, Q = (x.requires_grad_() for x in tuples(4))
    y = torch.tensor([0.5, -INF, INF, 2.0], dtype=F64)
    upper = lift_targets(torch.tensor([0.5, 1.0, INF, 9.0], dtype=F64))
    for check in (gradcheck, gradgradcheck):
        assert check(lambda P, Q: likelihood_loss(P, Q, *lift_targets(y)), (P, Q))
        assert check(lambda P, Q: interval_loss(P, Q, lift_targets(y), upper), (P, Q))


def test_the_mask_leaves_out_what_it_does_not_hold() -> None:
    P, Q = tuples(3)
    P[2] = torch.nan
    mask = torch.tensor([True, True, False])
    for loss in (
        likelihood_loss(P, Q, *lift(1.0, P), mask=mask),
        interval_loss(P, Q, lift(1.0, P), lift(INF, P), mask=mask),
    ):
        assert loss.isfinite()
    kept = likelihood_loss(P[:2], Q[:2], *lift(1.0, P[:2]))
    assert likelihood_loss(P, Q, *lift(1.0, P), mask=mask) == kept


def test_it_is_a_fit_of_the_composite() -> None:
    P, Q = torch.randn(2, 20)
    y = torch.randn(20)
    loss_fn = SCMTrainingLoss(LossConfig(fit="likelihood", resolution=0.1))
    _, terms = loss_fn((P, Q), lift_targets(y), targets=y)
    assert terms["fit"] == likelihood_loss(P, Q, *lift_targets(y), resolution=0.1)
    for wrong in (-0.1, INF, math.nan):
        with pytest.raises(ValueError, match=r"resolution must be in \[0, ∞\)"):
            LossConfig(resolution=wrong)
    with pytest.raises(ValueError, match=r"level must be in \[0, 1\)"):
        central_interval(P, Q, 1.0)


def test_mixtures_of_nothing_are_named(unchecked: None) -> None:
    none = torch.ones(0, 3, 1)
    assert combine_tuples(none, none)[0].shape == (0, 1)
    with pytest.raises(ValueError, match=r"weights must be finite.* \(0, 3\), .*shape \(0,\)$"):
        combine_tuples(none, none, torch.ones(0))
    for shape in ((2, 0, 1), (2, 3, 0)):
        with pytest.raises(ValueError, match="P must have the shape"):
            combine_tuples(torch.ones(shape), torch.ones(shape))


class Operations(TorchDispatchMode):
    count = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.count += 1
        return function(*args, **(kwargs or {}))


def test_it_takes_hardly_more_operations_than_the_chordal_fit() -> None:
    P, Q = (x.float().requires_grad_() for x in tuples(8))
    y = torch.randn(8)
    counts = []
    for fit in ("likelihood", "chordal"):
        with Operations() as operations:
            loss, _ = SCMTrainingLoss(LossConfig(fit=fit))((P, Q), lift_targets(y), targets=y)
            loss.backward()  # type: ignore[no-untyped-call]
        counts.append(operations.count)
    assert counts[0] < 1.2 * counts[1], counts


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_resolution_is_squared_in_double_precision(dtype: torch.dtype) -> None:
    P, one = torch.tensor([1e10, 1.0, 1e5]), torch.ones(3)
    resolution = torch.tensor(1e-4, dtype=dtype)
    for loss, targets in ((likelihood_loss, (one, one)), (interval_loss, ((one, one), (P, one)))):
        found = [loss(P, P, *targets, resolution=r) for r in (resolution, resolution.item())]
        assert found[0] == found[1]
    joint = [P[None], P[None, :1], one[None], one[None]]
    assert likelihood_loss(*joint, resolution=resolution) == likelihood_loss(
        *joint, resolution=resolution.item()
    )


def test_the_ends_of_a_central_interval_of_a_level_near_1_are_exact() -> None:
    P, Q = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    for left in (2.0**-10, 2.0**-30, 2.0**-50):
        _, upper = central_interval(P, Q, 1.0 - left)
        assert upper.item() == pytest.approx(1.0 / math.tan(math.pi * left / 2) / 3.0, rel=1e-14)
