"""Losses are the same in all the ways to compute them.

With numbers or tensors for thresholds and weights; with or without a graph of the gradient; each
alone or in the composite; eager or compiled.
"""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

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


def test_a_right_angle_is_not_rounded_to_more() -> None:
    right = (torch.tensor([x]) for x in (1.0, 4.0, -4.0, 1.0))
    assert chordal_loss(*right).item() == 1.0


def mixed_batch(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    P, Q = (torch.randn(16, dtype=dtype, requires_grad=True) for _ in range(2))
    y = torch.randn(16, dtype=dtype)
    y[:3], y[3:5], y[5] = INF, -INF, NAN
    return P, Q, y


def plain_loss(fit: str, P: Tensor, Q: Tensor, y: Tensor, tau: float) -> Tensor:
    """Fit + margin + sign for middling numbers, by formula."""
    Y_n, Y_d = lift_targets(y)
    E, sizes = (P * Y_d - Q * Y_n).square(), (P**2 + Q**2) * (Y_n**2 + Y_d**2)
    weight = sizes if fit == "chordal" else ((Q * Y_d) ** 2 + (P * Y_n) ** 2 + 1e-9).detach()
    margin = (tau - Q.abs()).clamp(min=0).square()[y.isfinite()].mean()
    sign = (1 - (P * Y_n + Q * Y_d) / sizes.sqrt())[y.isinf()].mean()
    return (E / weight).mean() + margin + sign


@pytest.mark.parametrize("fit", ["chordal", "implicit"])
def test_the_training_loss_is_differentiable_twice(fit: str) -> None:
    P, Q, y = mixed_batch()
    loss_fn = SCMTrainingLoss(LossConfig(fit=fit, lambda_margin=1.0, lambda_rej=0.0))
    total, _ = loss_fn((P, Q), lift_targets(y), tau=0.4, targets=y)
    saved = torch.autograd.grad(total, (P, Q), retain_graph=True)
    along, results = torch.randn(2, 16, dtype=torch.float64), []
    for loss in (total, plain_loss(fit, P, Q, y, 0.4)):
        once = torch.autograd.grad(loss, (P, Q), create_graph=True)
        slope = (once[0] * along[0] + once[1] * along[1]).sum()
        results.append((*once, *torch.autograd.grad(slope, (P, Q))))
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one, other)
    for one, other in zip(saved, results[0], strict=False):
        assert torch.equal(one, other)


def test_thresholds_and_weights_may_be_tensors() -> None:
    P, Q, y = mixed_batch(torch.float32)
    weights = {"fit": 0.5, "margin": 2.0, "sign": 0.25, "rejection": 1.0}
    found = []
    for number in (float, torch.tensor):
        given = {name: number(weight) for name, weight in weights.items()}
        total, terms = SCMTrainingLoss()(
            (P, Q), lift_targets(y), tau=number(0.5), targets=y, loss_weights=given
        )
        found.append((total, *terms.values(), *torch.autograd.grad(total, (P, Q))))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("fit", ["chordal", "implicit", "squares"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(20,), (7, 3), (2, 2, 3), (1,), (0,)])
@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 1e30])
def test_numbers_or_tensors_and_with_or_without_a_graph_the_losses_are_the_same(
    fit: str, dtype: torch.dtype, shape: Any, scale: float
) -> None:
    P, Q, y = torch.randn(3, *shape, dtype=dtype)
    P, Q = (scale * x for x in (P, Q))
    for x in (P, Q):
        x.requires_grad_()
    y.view(-1)[:3] = INF
    y.view(-1)[3:4] = NAN
    lifted, losses = lift_targets(y), SCMTrainingLoss(LossConfig(fit=fit))

    def everything(number: Any, graph: bool) -> list[Tensor]:
        found = []

        def add(total: Tensor, *inputs: Tensor) -> None:
            # The gradient that arrives is negative, which no sign of a slope may hide.
            slopes = torch.autograd.grad(-3.0 * total, inputs, create_graph=graph)
            found.extend([total.detach(), *(slope.detach() for slope in slopes)])

        for tau in (0.0, 0.5 * scale, 0.3):
            total, terms = losses((P, Q), lifted, tau=number(tau), targets=y)
            add(total, P, Q)
            found.extend(terms.values())
        for loss in (chordal_loss, sign_consistency_loss, implicit_loss):
            add(loss(P, Q, *lifted), P, Q)  # type: ignore[operator]
        add(margin_loss(Q, number(0.5), mask=y.isfinite()), Q)
        add(rejection_loss(P, Q, number(0.5)), Q)
        return found

    def double(number: float) -> Tensor:
        return torch.tensor(number, dtype=torch.float64)

    ways = [everything(number, graph) for number in (float, double) for graph in (False, True)]
    rtol = 2e-6 if dtype == torch.float32 else 1e-12
    for one, *others in zip(*ways, strict=True):
        assert {x.dtype for x in (one, *others)} == {dtype}
        for other in others:
            torch.testing.assert_close(one, other, rtol=rtol, atol=0.0)


COMPILED = """
import torch
from zeroproof.losses import LossConfig, SCMTrainingLoss
from zeroproof.training.targets import lift_targets

P, Q = (torch.randn(16, requires_grad=True) for _ in range(2))
y = torch.randn(16)
y[:3], y[3] = torch.inf, torch.nan
for fit in ("chordal", "implicit", "squares"):
    loss_fn = SCMTrainingLoss(LossConfig(fit=fit))
    def call(tau, weight):
        given = {"margin": weight}
        return loss_fn((P, Q), lift_targets(y), tau=tau, targets=y, loss_weights=given)[0]
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    for arguments in ((0.5, 0.25), (torch.tensor(0.5), torch.tensor(0.25))):
        results = [torch.autograd.grad(f(*arguments), (P, Q)) for f in (call, compiled)]
        assert all(torch.allclose(*pair) for pair in zip(*results))
"""


def test_the_training_loss_compiles_to_one_graph() -> None:
    """Outside pytest, whose checks of annotations cannot be compiled."""
    subprocess.run([sys.executable, "-c", COMPILED], check=True)


def test_constants_with_a_gradient_are_refused() -> None:
    P, Q, y = mixed_batch()
    with pytest.raises(ValueError, match=r"targets, tau and weights must not require a gradient"):
        chordal_loss(P, Q, Q, P)
    with pytest.raises(ValueError, match=r"detach them"):
        margin_loss(Q, torch.tensor(0.5, requires_grad=True))
    weight = torch.tensor(0.5, requires_grad=True)
    with pytest.raises(ValueError, match=r"detach them"):
        SCMTrainingLoss()((P, Q), lift_targets(y), loss_weights={"sign": weight})


@pytest.mark.parametrize("graph", [False, True])
def test_a_term_of_weight_zero_brings_no_nan(graph: bool) -> None:
    P, Q, y = mixed_batch()
    with torch.no_grad():
        P[8] = Q[9] = NAN
    for used in ("rejection", "sign"):
        given = dict.fromkeys(("fit", "margin", "sign", "rejection"), 0.0) | {used: 1.0}
        total, terms = SCMTrainingLoss(LossConfig(target_coverage=1.0))(
            (P, Q), lift_targets(y), tau=0.5, targets=y, loss_weights=given
        )
        assert terms["fit"].isnan()
        assert 0 < total.item() < INF
        for gradient in torch.autograd.grad(total, (P, Q), create_graph=graph):
            assert gradient is None or gradient.isfinite().all()
