"""Losses, as examples; properties compare them with exact arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers import tensors
from zeroproof.losses import (
    SCMTrainingLoss,
    chordal_loss,
    coverage,
    implicit_loss,
    margin_loss,
    rejection_loss,
    sign_consistency_loss,
    squares_loss,
)
from zeroproof.training.targets import lift_targets

INF, NAN = math.inf, math.nan


def exact_gradients(P: float, Q: float, y: float) -> tuple[Fraction, tuple[Fraction, Fraction]]:
    """The chordal loss against finite y, and its gradient, in rational arithmetic."""
    p, q, t = Fraction(P), Fraction(Q), Fraction(y)
    cross, size, target = p - q * t, p * p + q * q, t * t + 1
    value = cross * cross / (size * target)
    common = 2 * cross / (size * target)
    return value, (common - 2 * p * value / size, -common * t - 2 * q * value / size)


@pytest.mark.parametrize(
    ("P", "Q", "y"),
    [
        (1e-25, 1e-25, 1e30),
        (1.0, 1e-30, 1e30),
        (1e30, 1.0, 1e30),
        (1e-25, 1e-25, 2.0),
        (3e38, 1e38, -5.0),
        (1e-38, -3e-38, 1e-30),
    ],
)
def test_extreme_magnitudes_give_finite_losses_and_gradients_that_agree_with_exact_arithmetic(
    P: float, Q: float, y: float
) -> None:
    p, q, t = (torch.tensor([v]) for v in (P, Q, y))
    p.requires_grad_()
    q.requires_grad_()
    loss = chordal_loss(p, q, *lift_targets(t))
    loss.backward()
    value, exact = exact_gradients(p.item(), q.item(), t.item())
    assert loss.item() == pytest.approx(float(value), rel=1e-5, abs=1e-6)
    size = math.hypot(p.item(), q.item())
    for gradient, wanted in zip((p.grad, q.grad), exact, strict=True):
        assert gradient is not None
        assert gradient.item() * size == pytest.approx(float(wanted) * size, rel=1e-5, abs=1e-6)
    for other in (implicit_loss, sign_consistency_loss):
        p.grad = q.grad = None
        other(p, q, *lift_targets(t)).backward()
        assert torch.isfinite(p.grad).all() if p.grad is not None else True


def test_the_chordal_loss_is_a_squared_sine() -> None:
    angles = torch.linspace(0, 2 * math.pi, 50, dtype=torch.float64)
    one, zero = torch.ones_like(angles), torch.zeros_like(angles)
    for angle in angles:
        loss = chordal_loss(angle.sin(), angle.cos(), zero[0], one[0])
        assert loss.item() == pytest.approx(angle.sin().item() ** 2, abs=1e-12)


def test_zero_zero_is_a_right_angle_without_gradient() -> None:
    for loss_fn, value in ((chordal_loss, 1.0), (sign_consistency_loss, 1.0)):
        P, Q = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
        loss = loss_fn(P, Q, torch.ones(1), torch.zeros(1))
        loss.backward()
        assert loss.item() == value
        assert P.grad is not None
        assert Q.grad is not None
        assert P.grad.item() == Q.grad.item() == 0.0


def test_implicit_loss_by_hand() -> None:
    P, Q, Y_n, Y_d = tensors([1.0, 0.0], [1.0, 1.0], [3.0, 1.0], [1.0, 0.0])
    loss = implicit_loss(P, Q, Y_n, Y_d, gamma=0.5)
    assert loss.item() == pytest.approx((4 / 10.5 + 1 / 0.5) / 2)
    assert implicit_loss(P, Q, *tensors([0.0, 0.0], [0.0, 0.0])).item() == 0.0, "no target"
    assert implicit_loss(*tensors([1.0], [1.0], [3.0], [1.0])).item() == pytest.approx(4 / 10)
    with pytest.raises(ValueError, match=r"gamma must be in \(0, ∞\], got 0"):
        implicit_loss(P, Q, Y_n, Y_d, gamma=0.0)


@pytest.mark.parametrize("size", [1, 3])
def test_implicit_loss_stays_finite_where_its_exact_value_is_not(size: int) -> None:
    P = torch.full((size,), 1e30, requires_grad=True)
    loss = implicit_loss(P, torch.zeros(size), torch.zeros(size), torch.ones(size))
    loss.backward()
    assert loss.item() == pytest.approx(torch.finfo(torch.float32).max / 4 / size)
    assert P.grad is not None
    assert torch.isfinite(P.grad).all()


def test_gamma_rewards_shrinking_and_the_chordal_loss_does_not() -> None:
    losses = {}
    for size in (1e-6, 1.0):
        P, Q = torch.full((1,), size), torch.full((1,), size)
        target = lift_targets(torch.full((1,), 2.0))
        losses[size] = implicit_loss(P, Q, *target).item()
        assert chordal_loss(P, Q, *target).item() == pytest.approx(0.1)
    assert losses[1e-6] < 1.1e-3 < losses[1.0]


def test_sign_consistency_ignores_finite_and_unoriented_targets() -> None:
    P, Q = tensors([1.0, -1.0, 1.0, 5.0], [0.0, 0.0, 1.0, -1.0])
    Y_n, Y_d = lift_targets(torch.tensor([INF, INF, 7.0, NAN]))
    oriented = torch.tensor([True, True, False, False])
    assert sign_consistency_loss(P, Q, Y_n, Y_d, oriented=oriented).item() == 1.0
    every = torch.ones(4, dtype=torch.bool)
    cosines = [1.0, -1.0, (7 + 1) / (2 * 50) ** 0.5, 5 / 26**0.5]
    mean = sum(1 - cosine for cosine in cosines) / 4
    assert sign_consistency_loss(P, Q, Y_n, Y_d, oriented=every).item() == pytest.approx(mean)
    none = torch.zeros(4, dtype=torch.bool)
    assert sign_consistency_loss(P, Q, Y_n, Y_d, oriented=none).item() == 0.0


def test_opposite_tuples_are_no_further_apart_than_two() -> None:
    P, Q = tensors([1.398930311203003], [0.31147512793540955])  # whose cosine is rounded to < -1
    kept = torch.ones(1, dtype=torch.bool)
    assert sign_consistency_loss(P, Q, -P, -Q, oriented=kept).item() == 2.0


def test_margin_pushes_denominators_of_finite_targets_away_from_zero() -> None:
    Q = torch.tensor([0.1, -0.1, 0.0, 5.0], requires_grad=True)
    loss = margin_loss(Q, 0.3, mask=torch.tensor([True, True, False, True]))
    loss.backward()
    assert loss.item() == pytest.approx(2 * 0.04 / 3)
    assert Q.grad is not None
    assert Q.grad[0] < 0 < Q.grad[1]
    assert Q.grad[2:].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("tau", [1e18, 1e20, 1e38, 1e300])
def test_every_threshold_gives_a_finite_margin_that_still_pushes(tau: float) -> None:
    Q = torch.tensor([1.0, -1.0], requires_grad=True)
    loss = margin_loss(Q, tau)
    loss.backward()
    assert 1e35 < loss.item() < INF
    assert Q.grad is not None
    assert Q.grad[0] < 0 < Q.grad[1]


@pytest.mark.parametrize("zero", [0.0, -0.0, 1e-3, -1e-3])
def test_a_step_against_rejection_covers_the_bottom_samples(zero: float) -> None:
    Q = torch.tensor([zero, 1.0, 1.0, 0.0], requires_grad=True)
    finite = torch.tensor([True, True, True, False])
    loss = rejection_loss(torch.ones(4), Q, 0.1, target_coverage=1.0, mask=finite)
    assert loss.item() == pytest.approx((1 / 3) ** 2)
    (gradient,) = torch.autograd.grad(loss, Q)
    stepped = (Q - gradient).detach()
    assert stepped[0].abs() > 0.1
    assert torch.signbit(stepped[0]) == torch.signbit(Q[0]), "away from 0"
    assert stepped[1:].tolist() == [1.0, 1.0, 0.0]
    assert rejection_loss(torch.ones(4), stepped, 0.1, target_coverage=1.0, mask=finite) == 0.0
    with pytest.raises(ValueError, match="target_coverage must be in"):
        rejection_loss(torch.ones(4), Q, 0.1, target_coverage=1.5)


def test_rejection_of_several_outputs_counts_samples() -> None:
    Q = torch.tensor([[1.0, 0.0], [1.0, 1.0]], requires_grad=True)
    loss = rejection_loss(torch.ones(2, 2), Q, 0.1, target_coverage=1.0)
    assert loss.item() == 0.25
    (gradient,) = torch.autograd.grad(loss, Q)
    assert (gradient != 0).tolist() == [[False, True], [False, False]]
    infinite = torch.tensor([[1.0, 1.0], [1.0, INF]])
    loss = rejection_loss(infinite, torch.ones(2, 2).requires_grad_(), 0.1, target_coverage=1.0)
    assert loss.item() == 0.25, "a tuple that is not finite is not covered"
    nothing = torch.zeros(2, 2, dtype=torch.bool)
    assert rejection_loss(torch.ones(2, 2), Q, 0.1, mask=nothing).item() == 0.0


@pytest.mark.parametrize(
    ("shape", "slope"), [((2,), 1 / 2), ((2, 1), 1 / 2), ((2, 3), 1 / 6), ((2, 2, 2), 1 / 8)]
)
def test_the_slope_of_rejection_is_that_of_the_mean_size(shape: Any, slope: float) -> None:
    Q = torch.ones(shape)
    Q.view(-1)[0] = 0.0
    Q.requires_grad_()
    rejection_loss(torch.ones(shape), Q, 0.1, target_coverage=1.0).backward()
    assert Q.grad is not None
    assert Q.grad.flatten().tolist() == pytest.approx([-slope] + [0.0] * (Q.numel() - 1))


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "implicit": lambda P, Q, m: implicit_loss(P, Q, *lift_targets(torch.ones(3)), mask=m),
    "chordal": lambda P, Q, m: chordal_loss(P, Q, *lift_targets(torch.ones(3)), mask=m),
    "margin": lambda P, Q, m: margin_loss(Q, 9.0, mask=m),
    "sign": lambda P, Q, m: sign_consistency_loss(P, Q, torch.ones(3), torch.zeros(3), oriented=m),
    "rejection": lambda P, Q, m: rejection_loss(P, Q, 9.0, mask=m),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_masked_elements_reach_neither_value_nor_gradient(name: str, bad: float) -> None:
    results = []
    for junk in (bad, 0.5):
        P = torch.tensor([1.0, junk, 2.0], requires_grad=True)
        Q = torch.tensor([0.3, junk, -0.2], requires_grad=True)
        loss = LOSSES[name](P, Q, torch.tensor([True, False, True]))
        gradients = torch.autograd.grad(loss, (P, Q), allow_unused=True)
        results.append((loss.item(), [None if g is None else g.tolist() for g in gradients]))
    assert results[0] == results[1]
    assert all(g is None or g[1] == 0.0 for g in results[0][1])


@pytest.mark.parametrize("name", ["implicit", "chordal", "sign"])
def test_shapes_that_do_not_match_are_refused(unchecked: None, name: str) -> None:
    wide = torch.ones(3, 1)
    with pytest.raises(ValueError, match="broadcasting would pair every prediction"):
        LOSSES[name](wide, wide, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"(mask|oriented) has shape"):
        LOSSES[name](torch.ones(3), torch.ones(3), torch.ones(2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"outputs \(3,\), targets \(3, 1\) must all be equal"):
        SCMTrainingLoss()((torch.ones(3),) * 2, (torch.ones(3),) * 2, targets=wide)


def test_coverage_counts_samples() -> None:
    assert coverage(torch.tensor([[1.0, NAN], [1.0, 2.0]])).item() == 0.5
    P, Q = tensors([1.0, 1.0, NAN, 1.0], [1.0, 0.01, 1.0, 0.0])
    assert coverage((P, Q), tau=0.1).item() == 0.25
    assert coverage((P, Q)).item() == 0.5
    mask = torch.tensor([True, False])
    assert coverage(torch.ones(2), mask).item() == 0.5
    with pytest.raises(ValueError, match="no samples"):
        coverage(torch.ones(0))
    with pytest.raises(ValueError, match="is_bottom has shape"):
        coverage(torch.ones(2), torch.tensor([True]))


def test_losses_of_half_precision_tuples_are_computed_in_float32() -> None:
    P, Q = torch.full((2,), 300.0).half(), torch.full((2,), 300.0).half()
    loss = chordal_loss(P, Q, *lift_targets(torch.zeros(2)))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(0.5)


@pytest.mark.parametrize("size", [5e-324, 1e-300, 1e300, 1.7e308])
def test_targets_of_any_size_are_lines(size: float) -> None:
    one = torch.ones(1, dtype=torch.float64)
    for loss, value in ((chordal_loss, 0.5), (sign_consistency_loss, 1 - 0.5**0.5)):
        mask = torch.ones(1, dtype=torch.bool)
        kept = {"mask" if loss is chordal_loss else "oriented": mask}
        found = loss(0 * one, one, size * one, size * one, **kept)  # type: ignore[operator]
        assert found.item() == pytest.approx(value)


PAIR = (torch.ones(2), torch.ones(2))


@pytest.mark.parametrize("bad", [NAN, -1.0, -5e-324])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("tau", lambda x: margin_loss(PAIR[0], x)),
        ("tau", lambda x: rejection_loss(*PAIR, x)),
        ("tau", lambda x: squares_loss(*PAIR, *PAIR, tau=x)),
        ("tau", lambda x: coverage(PAIR, tau=x)),
        ("tau", lambda x: SCMTrainingLoss()(PAIR, PAIR, tau=x)),
        (r"loss_weights\['resolution'\]",
         lambda x: SCMTrainingLoss()(PAIR, PAIR, loss_weights={"resolution": x})),
    ],
)  # fmt: skip
def test_a_threshold_or_resolution_is_no_negative_number(name: str, call: Any, bad: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be in \[0, ∞"):
        call(bad)


@pytest.mark.parametrize("gamma", [1e-9, 1e-100, 5e-324])
def test_a_tiny_guard_that_underflows_still_guards_the_origin(gamma: float) -> None:
    P, Q = (torch.zeros(2, requires_grad=True) for _ in range(2))
    loss = implicit_loss(P, Q, torch.tensor([2.0, 1e30]), torch.ones(2), gamma=gamma)
    loss.backward()
    assert loss.item() == 0.0
    assert P.grad is not None
    assert Q.grad is not None
    assert P.grad.tolist() == Q.grad.tolist() == [0.0, 0.0]
