"""torch.func: grad, vmap, jacrev and jacfwd of losses, policies and heads."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.forward_ad import dual_level, make_dual, unpack_dual
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap

from zeroproof.autodiff.policies import GradientPolicy, apply_policy, gradient_policy
from zeroproof.layers import ProjectiveMLP, ProjectiveRationalHead, SCMRationalLayer
from zeroproof.losses import (
    LossConfig,
    SCMTrainingLoss,
    chordal_loss,
    implicit_loss,
    interval_loss,
    likelihood_loss,
    margin_loss,
    rejection_loss,
    sign_consistency_loss,
    squares_loss,
)
from zeroproof.scm import SCMTensor
from zeroproof.training.targets import lift_targets

# Of torch's own, when forward mode is first used.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
F64 = torch.float64
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def composite(fit: str) -> Loss:
    loss_fn = SCMTrainingLoss(LossConfig(fit=fit, target_coverage=1.0))
    return lambda P, Q, y: loss_fn((P, Q), lift_targets(y), tau=0.5, targets=y)[0]


LOSSES: dict[str, Loss] = {
    "chordal": lambda P, Q, y: chordal_loss(P, Q, *lift_targets(y), mask=y.isfinite()),
    "implicit": lambda P, Q, y: implicit_loss(P, Q, *lift_targets(y)),
    "likelihood": lambda P, Q, y: likelihood_loss(P, Q, *lift_targets(y)),
    "interval": lambda P, Q, y: interval_loss(
        P, Q, lift_targets(y), lift_targets(torch.full_like(y, math.inf))
    ),
    "squares": lambda P, Q, y: squares_loss(P, Q, *lift_targets(y), tau=0.5),
    "margin": lambda P, Q, y: margin_loss(Q, 0.5, mask=y.isfinite()) + 0 * P.sum(),
    "sign": lambda P, Q, y: sign_consistency_loss(P, Q, *lift_targets(y), oriented=y.isinf()),
    "rejection": lambda P, Q, y: rejection_loss(P, Q, 0.5, mask=y.isfinite()) + 0 * P.sum(),
    "chordal composite": composite("chordal"),
    "implicit composite": composite("implicit"),
    "likelihood composite": composite("likelihood"),
    "squares composite": composite("squares"),
}


def batches() -> tuple[Tensor, Tensor, Tensor]:
    """Return four batches of six elements, some of them singular."""
    P, Q, y = torch.randn(3, 4, 6, dtype=F64, generator=torch.Generator().manual_seed(0))
    y[:, 0], y[:, 1], y[0, 2] = math.inf, -math.inf, math.nan
    return P, Q, y


@pytest.mark.parametrize("name", LOSSES)
def test_losses_under_grad_vmap_and_jacrev(unchecked: None, name: str) -> None:
    loss, (P, Q, y) = LOSSES[name], batches()
    expected = []
    for p, q, t in zip(P, Q, y, strict=True):
        inputs = p.clone().requires_grad_(), q.clone().requires_grad_()
        expected.append(torch.autograd.grad(loss(*inputs, t), inputs))
    rows = [torch.stack(part) for part in zip(*expected, strict=True)]
    for transform in (grad, jacrev):
        once = transform(loss, argnums=(0, 1))
        torch.testing.assert_close(once(P[0], Q[0], y[0]), expected[0])
        torch.testing.assert_close(list(vmap(once)(P, Q, y)), rows)
    values = torch.stack([loss(*row) for row in zip(P, Q, y, strict=True)])
    torch.testing.assert_close(vmap(loss)(P, Q, y), values)


@pytest.mark.parametrize("policy", GradientPolicy)
@pytest.mark.parametrize("given", [False, True])
def test_policies_under_grad_vmap_and_jacrev(policy: GradientPolicy, given: bool) -> None:
    x = torch.tensor([[0.5, -3.0, 2.0], [1.0, 4.0, 0.1]])
    bottom = torch.tensor([[True, False, False], [False, True, False]])

    def steep(x: Tensor, bottom: Tensor) -> Tensor:
        return (apply_policy(x, bottom, policy if given else None) ** 2).sum()

    leaf = x.clone().requires_grad_()
    with gradient_policy(policy):
        (expected,) = torch.autograd.grad(steep(leaf, bottom), leaf)
        assert torch.equal(grad(steep)(x, bottom), expected)
        assert torch.equal(vmap(grad(steep))(x, bottom), expected)
        assert torch.equal(vmap(jacrev(steep))(x, bottom), expected)
        diagonal = jacrev(lambda x: apply_policy(x, bottom[0], policy))(x[0])
    slopes = {"clamp": [0.0, 1.0, 1.0], "project": [0.0, 1.0, 1.0], "passthrough": [1.0] * 3}
    assert torch.equal(diagonal, torch.diag(torch.tensor(slopes.get(policy.value, [0.0] * 3))))


MODELS: dict[str, Callable[[], Any]] = {
    **{
        head: lambda head=head: ProjectiveMLP(2, hidden=(4,), head=head)
        for head in ("pole", "free", "gated")
    },
    "rational head": lambda: ProjectiveRationalHead(2, 1),
    "rational layer": lambda: SCMRationalLayer(2, 1),
    "rational layer of a domain": lambda: SCMRationalLayer(2, 1, domain=(-2.0, 6.0)),
}


@pytest.mark.parametrize("name", MODELS)
def test_gradients_per_sample_of_the_parameters_of_heads(unchecked: None, name: str) -> None:
    model = MODELS[name]().double()
    parameters = {key: p.detach() for key, p in model.named_parameters()}
    x = torch.linspace(-1.0, 1.0, 10, dtype=F64).reshape(5, 2)
    x = x if isinstance(model, ProjectiveMLP) else x[:, 0]

    def out(parameters: Any, x: Tensor) -> Tensor:
        first, second = functional_call(model, parameters, (x[None],))
        return (first + second.to(F64)).sum()

    for transform in (grad, jacrev):
        found = vmap(transform(out), in_dims=(None, 0))(parameters, x)
        for index, sample in enumerate(x):
            total = out(dict(model.named_parameters()), sample)
            rows = torch.autograd.grad(total, list(model.parameters()))
            for key, row in zip(parameters, rows, strict=True):
                torch.testing.assert_close(found[key][index], row)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_in_forward_mode(unchecked: None, name: str) -> None:
    loss, (P, Q, y) = LOSSES[name], batches()
    v = torch.linspace(-1.0, 1.0, 12, dtype=F64).reshape(2, 6)

    def of(x: Tensor) -> Tensor:
        return loss(x[0], x[1], y[0])

    for x in torch.stack([P, Q], 1):
        torch.testing.assert_close(jacfwd(of)(x), jacrev(of)(x))
        second = jacrev(jacrev(of))(x)
        for found in (hessian(of), jacrev(jacfwd(of)), jacfwd(jacfwd(of))):
            torch.testing.assert_close(found(x), second)
        with dual_level():
            dual = make_dual(x.clone().requires_grad_(), v)
            value = of(dual)
            torch.testing.assert_close(unpack_dual(value).tangent, (jacrev(of)(x) * v).sum())
            slope = unpack_dual(torch.autograd.grad(value, dual)[0]).tangent
            slope = torch.zeros_like(v) if slope is None else slope  # of constant slopes
            torch.testing.assert_close(slope, torch.tensordot(second, v))


@pytest.mark.parametrize("name", LOSSES)
def test_losses_in_forward_mode_over_vmap(unchecked: None, name: str) -> None:
    P, Q, y = batches()

    def mapped(P: Tensor) -> Tensor:
        return vmap(LOSSES[name])(P, Q, y)

    second = jacrev(jacrev(mapped))(P)
    torch.testing.assert_close(jacfwd(mapped)(P), jacrev(mapped)(P))
    torch.testing.assert_close(jacfwd(jacfwd(mapped))(P), second)
    torch.testing.assert_close(jacfwd(jacrev(mapped))(P), second)


def test_a_gradient_or_tangent_in_targets_is_refused() -> None:
    one = torch.ones(2, 3)

    def loss(y: Tensor) -> Tensor:
        return chordal_loss(one, one, y, one)

    def mapped(y: Tensor) -> Tensor:
        return vmap(vmap(chordal_loss))(one, one, y, one)

    for function in (loss, mapped):
        for call in (jacfwd(function), jacrev(function), function):
            with pytest.raises(ValueError, match="must not require a gradient"):
                call(one.clone().requires_grad_())


@pytest.mark.parametrize("policy", GradientPolicy)
def test_a_tangent_under_a_policy(policy: GradientPolicy) -> None:
    """It meets the transpose of what a gradient meets, which CLAMP does not bound."""
    x, bottom = torch.tensor([2.0, 3.0, 1.0]), torch.tensor([False, True, False])
    given = torch.tensor([5.0, math.nan, -1.0])
    value, found, *_ = jvp(lambda x: apply_policy(x, bottom, policy), (x,), (given,))
    wanted = {"reject": [0.0] * 3, "passthrough": given.tolist()}.get(
        policy.value, [5.0, 0.0, -1.0]
    )
    assert torch.equal(value, x)
    torch.testing.assert_close(found, torch.tensor(wanted), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("policy", ["clamp", "project"])
def test_models_in_forward_mode(unchecked: None, name: str, policy: str) -> None:
    model = MODELS[name]().double()
    parameters = {key: p.detach() for key, p in model.named_parameters()}
    x = torch.linspace(-1.0, 1.0, 6, dtype=F64).reshape(3, 2)
    x = x if isinstance(model, ProjectiveMLP) else x[:, 0]

    def out(parameters: Any) -> Tensor:
        first, second = functional_call(model, parameters, (x,))
        return (first + second.to(F64)).sum() / 100  # too little for CLAMP

    with gradient_policy(policy):
        torch.testing.assert_close(jacfwd(out)(parameters), jacrev(out)(parameters))
        torch.testing.assert_close(hessian(out)(parameters), jacrev(jacrev(out))(parameters))


def test_a_second_derivative_is_that_of_the_formula() -> None:
    y = torch.tensor([0.5, -2.0], dtype=F64)
    Q = torch.ones(2, dtype=F64)

    def formula(P: Tensor) -> Tensor:
        return ((P - y).square() / (P.square() + 1) / (y.square() + 1)).mean()

    P = torch.tensor([0.3, 1.0], dtype=F64)
    found = jacrev(grad(lambda P: chordal_loss(P, Q, *lift_targets(y))))(P)
    torch.testing.assert_close(found, jacrev(jacrev(formula))(P))


@pytest.mark.parametrize("y", [-2.0, 0.0, 1.0, 2.0, 3.0])
def test_a_second_derivative_of_a_power_is_that_of_torch(y: float) -> None:
    for value in (-2.0, 0.0, 1.5):
        z = torch.tensor(value, dtype=torch.float64)
        expected = 0.0 if y < 0 and value == 0 else grad(grad(lambda z: z**y))(z)  # ⊥
        for outer, inner in ((jacrev, jacrev), (jacrev, jacfwd), (jacfwd, jacrev)):
            assert outer(inner(lambda z: (SCMTensor(z) ** y).payload))(z) == expected


@pytest.mark.parametrize("x", [1e30, -1e30])
def test_a_power_that_overflows_spoils_no_second_derivative(x: float) -> None:
    head = ProjectiveRationalHead(5, 5).requires_grad_(False)
    for outer, inner in ((jacrev, jacrev), (jacrev, jacfwd), (jacfwd, jacrev)):
        assert outer(inner(lambda x: head(x)[0]))(torch.tensor(x)) == 0
