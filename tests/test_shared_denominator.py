"""Several outputs with one denominator: heads, losses, coverage, decodes, and training."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from tests.helpers import make_trainer
from zeroproof import Interval, LossConfig, ProjectiveMLP, SCMInferenceWrapper, SCMTrainingLoss
from zeroproof.autodiff import GradientPolicy, gradient_policy
from zeroproof.inference import (
    InferenceConfig,
    central_interval,
    certainty,
    probability,
    strict_inference,
)
from zeroproof.losses import coverage, likelihood_loss
from zeroproof.scm import gate_outputs
from zeroproof.training import lift_targets
from zeroproof.training.records import measure

INF = math.inf
LIKELIHOOD = SCMTrainingLoss(LossConfig(fit="likelihood", resolution=0.01))


def drawn(rows: int = 6, k: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    P, Q, y = (torch.randn(rows, n, generator=generator).double() for n in (k, 1, k))
    return 3 * P, Q, y


def test_the_loss_is_that_of_the_angular_central_gaussian_distribution() -> None:
    P, Q, y = drawn()
    X, Y = torch.cat([P, Q], 1), torch.cat([y, torch.ones(6, 1)], 1)
    Y = Y / Y.norm(dim=1, keepdim=True)
    spread = 4 * (1 + X.square().sum(1))[:, None, None] * X[:, :, None] * X[:, None]
    spread = spread + torch.eye(4, dtype=torch.float64)
    form = (Y[:, None] @ torch.linalg.solve(spread, Y[:, :, None])).squeeze()
    density = torch.linalg.det(spread) ** -0.5 * form**-2
    found = likelihood_loss(P, Q, *lift_targets(y))
    torch.testing.assert_close(found, -density.log().mean())


def test_of_one_output_it_is_the_likelihood_of_a_line() -> None:
    P, Q, y = drawn(50, 1)
    y[0], y[1], y[2] = INF, -INF, 0.0
    lifted = lift_targets(y)
    for resolution in (0.0, 0.1):
        found = likelihood_loss(P, Q, *lifted, resolution=resolution)
        assert found == likelihood_loss(P, Q, *lifted, resolution=resolution)


def test_the_marginals_are_those_of_the_gaussians() -> None:
    P, Q, _ = drawn(1)
    generator = torch.Generator().manual_seed(1)
    size = (4 * (1 + P.square().sum() + Q.square().sum())).sqrt()
    along, noise = (torch.randn(200_000, n, generator=generator) for n in (1, 4))
    N = noise + along * size * torch.cat([P, Q], 1)
    values, arc = N[:, :3] / N[:, 3:], (torch.full_like(P, -1.0), torch.full_like(P, 2.0))
    seen = ((values > -1) & (values < 2)).double().mean(0, keepdim=True)
    found = probability(P, Q, *map(lift_targets, arc))
    torch.testing.assert_close(found, seen, rtol=0, atol=5e-3)
    lower, upper = central_interval(P, Q, 0.5)
    held = torch.where(lower <= upper, (values > lower) & (values < upper), values > lower)
    held = torch.where(lower <= upper, held, held | (values < upper)).double().mean(0, keepdim=True)
    torch.testing.assert_close(held, torch.full_like(held, 0.5), rtol=0, atol=5e-3)
    assert (certainty(P, Q) > certainty(P, Q.expand_as(P).contiguous())).all()


def test_gradients_can_be_taken_twice() -> None:
    P, Q, y = drawn(4)
    y[0, 1] = INF
    P, Q = P.requires_grad_(), Q.requires_grad_()
    for check in (gradcheck, gradgradcheck):
        assert check(lambda P, Q: likelihood_loss(P, Q, *lift_targets(y)), (P, Q))


@pytest.mark.parametrize("head", ["free", "gated", "pole"])
def test_heads_make_one_denominator(head: str) -> None:
    model = ProjectiveMLP(3, 2, head=head, shared_denominator=True)
    P, Q = model(torch.rand(5, 3))
    assert (P.shape, Q.shape) == ((5, 2), (5, 1))
    assert ProjectiveMLP(3, head=head, shared_denominator=True)(torch.rand(5, 3))[1].shape == (5,)
    with gradient_policy("clamp"):
        P, Q = model.head(torch.rand(64))
    assert (P.shape, Q.shape) == ((2,), (1,))


def test_what_reads_tuples_takes_a_shared_denominator() -> None:
    P, Q, y = drawn()
    Q[0], y[1, 1] = 1e-3, INF
    whole, lifted = (P, Q.expand_as(P).contiguous()), lift_targets(y)
    for found, expected in zip(strict_inference(P, Q), strict_inference(*whole), strict=True):
        assert torch.equal(found, expected)
    assert coverage((P, Q), tau=0.1) == coverage(whole, tau=0.1) < 1
    finite, singular = lifted[1] != 0, lifted[1] == 0
    row, same = (measure(outputs, finite, singular, 0.1) for outputs in ((P, Q), whole))
    torch.testing.assert_close(row, same)
    for fit in ("chordal", "implicit"):
        loss = SCMTrainingLoss(LossConfig(fit=fit))
        assert torch.equal(loss((P, Q), lifted)[0], loss(whole, lifted)[0])
    terms, other = (LIKELIHOOD(outputs, lifted)[1] for outputs in ((P, Q), whole))
    assert terms.pop("fit") == likelihood_loss(P, Q, *lifted, resolution=0.01)
    assert terms == {name: other[name] for name in terms}


def test_a_policy_takes_the_outputs_for_one_tuple() -> None:
    P = torch.tensor([[1.0, math.nan], [0.0, 2.0], [0.0, 0.0]], requires_grad=True)
    Q = torch.zeros(3, 1, requires_grad=True)
    gated = gate_outputs((P, Q), GradientPolicy.CLAMP)
    assert isinstance(gated, tuple)
    torch.autograd.backward([5 * gated[0].sum(), 5 * gated[1].sum()])
    assert P.grad is not None
    assert Q.grad is not None
    assert P.grad.tolist() == [[0, 0], [1, 1], [0, 0]]
    assert Q.grad.flatten().tolist() == [0, 1, 0]


@pytest.mark.parametrize("policy", [None, "project"])
def test_a_trainer_learns_a_common_pole(policy: str | None) -> None:
    x = torch.linspace(-1, 1, 64)[:, None]
    y = torch.cat([1 / (x - 0.3), (x + 2) / (0.3 - x)], 1)
    torch.manual_seed(0)
    model = ProjectiveMLP(1, 2, hidden=(16,), shared_denominator=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    trainer = make_trainer(
        model, [(x, y)], optimizer=optimizer, loss_fn=LIKELIHOOD, max_epochs=300,
        gradient_policy=policy,
    )  # fmt: skip
    history = trainer.fit()
    assert history[-1]["loss_fit"] < history[0]["loss_fit"] - 3
    assert history[-1]["coverage"] == 1
    decoded = SCMInferenceWrapper(model).eval()(torch.tensor([[0.0]]))
    torch.testing.assert_close(decoded.value, torch.tensor([[-1 / 0.3, 2 / 0.3]]), rtol=0.2, atol=0)


def test_what_does_not_fit_is_refused(unchecked: None) -> None:
    P, Q, y = drawn()
    with pytest.raises(ValueError, match="intervals have no joint likelihood; train on exact"):
        LIKELIHOOD((P, Q), lift_targets(Interval(y, y + 1)))
    with pytest.raises(ValueError, match="or Q one column for all outputs of a sample"):
        coverage((P, Q[:, 0]))
    with pytest.raises(ValueError, match="must all be equal"):
        LIKELIHOOD((P, Q), lift_targets(y[:, :1]))


def test_a_decode_has_a_range() -> None:
    P, Q = torch.tensor([1.0, 2.0, 3.0, -4.0, 1.0]), torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0])
    decoded = strict_inference(P, Q, InferenceConfig(tau_train=2.0, lower=-3.0, upper=2.0))
    assert decoded.value[:4].tolist() == [1.0, 2.0, INF, -INF]
    assert decoded.value[4].isnan()
    assert decoded.bottom.tolist() == [False, False, True, True, True]
    assert decoded.gap.tolist() == [True, True, False, False, False]
    for ends, message in (
        ((1.0, 0.0), r"\(1.0\) must not exceed upper"),
        ((math.nan, 1.0), "must be"),
    ):
        with pytest.raises(ValueError, match="^lower " + message):
            InferenceConfig(lower=ends[0], upper=ends[1])
