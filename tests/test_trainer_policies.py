"""Gradient policies, as the trainer applies them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers import (
    ValueModel,
    make_trainer,
    pole_batches,
    same,
    set_scale,
    small_model,
    weights,
)
from zeroproof.autodiff.policies import GradientPolicy, apply_policy, get_policy, grad_scale
from zeroproof.layers import ProjectiveRationalHead, SCMRationalLayer
from zeroproof.scm.outputs import gate_outputs


class Rational(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Any:
        return self.layer(x[:, 0])


class FreeTuple(nn.Module):
    """A projective model without any of the package's layers."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        P, Q = self.linear(x).unbind(dim=-1)
        return P, Q


MODELS = {
    "pole head": small_model,
    "free head": lambda: small_model(head="free"),
    "gated head": lambda: small_model(head="gated"),
    "own tuple": FreeTuple,
    "nan for ⊥": ValueModel,
    "value and mask": lambda: ValueModel("mask"),
    "rational layer": lambda: Rational(SCMRationalLayer(2, 1)),
    "rational head": lambda: Rational(ProjectiveRationalHead(2, 1)),
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("policy", ["REJECT", "PROJECT", "CLAMP", "PASSTHROUGH"])
def test_reject_moves_no_parameter_of_any_model_and_the_others_do(kind: str, policy: str) -> None:
    model = MODELS[kind]()
    before = weights(model)
    make_trainer(model, pole_batches((8, 8)), gradient_policy=policy, max_epochs=2).fit()
    assert same(weights(model), before) == (policy == "REJECT")


def test_clamp_bounds_the_gradient_where_outputs_meet_the_loss() -> None:
    def steep(outputs: tuple[Tensor, Tensor], lifted: Any) -> Tensor:
        return 1e6 * (outputs[0].sum() + outputs[1].sum())

    moved = {}
    for policy in ("clamp", "project"):
        model = FreeTuple()
        bias = model.linear.bias.detach().clone()
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        batches = [(torch.zeros(4, 2), torch.zeros(4))]
        make_trainer(model, batches, steep, optimizer=optimizer, gradient_policy=policy).fit()
        moved[policy] = (bias - model.linear.bias.detach()).tolist()
    assert moved["clamp"] == pytest.approx([4.0, 4.0], rel=1e-5)
    assert moved["project"] == pytest.approx([4e6, 4e6], rel=1e-5)


def test_bottom_samples_of_a_value_model_get_no_gradient_under_project() -> None:
    model = ValueModel()
    model.bottoms = [2]
    x, y = pole_batches((6,))[0]

    def loss(outputs: Tensor, lifted: Any) -> Tensor:
        return torch.nan_to_num(outputs).square().sum()

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    twin = copy.deepcopy(model)
    make_trainer(model, [(x, y)], loss, optimizer=optimizer, gradient_policy="project").fit()
    gradient = torch.autograd.grad((x[2:] @ twin.w).square().sum(), twin.w)[0]
    assert torch.allclose(model.w.detach(), twin.w.detach() - 0.1 * gradient, rtol=1e-6)


def test_the_scale_of_a_window_ends_with_the_forward() -> None:
    batches = pole_batches((2, 8))  # the second loss weighs four times the first
    make_trainer(small_model(), batches, gradient_accumulation_steps=2).fit()
    x = torch.zeros(1, requires_grad=True)
    (9 * apply_policy(x, torch.tensor([False]), "clamp")).sum().backward()
    assert x.grad == 1.0


@pytest.mark.parametrize("scale", [4.0, torch.tensor(4.0)])
def test_clamp_bounds_by_the_scale_on_either_side(scale: Any) -> None:
    x = torch.zeros(6, requires_grad=True)
    with grad_scale(scale):
        gated = apply_policy(x, torch.tensor([False] * 5 + [True]), GradientPolicy.CLAMP)
    nan, inf = torch.nan, torch.inf
    (found,) = torch.autograd.grad(gated, x, torch.tensor([5.0, -9.0, -3.0, nan, -inf, 2.0]))
    assert found.tolist() == [4.0, -4.0, -3.0, 0.0, -4.0, 0.0]


def test_the_policy_in_force_ends_with_the_forward() -> None:
    inside: list[GradientPolicy] = []
    model = small_model()
    model.register_forward_hook(lambda *_: inside.append(get_policy()))
    make_trainer(model, pole_batches((4,)), gradient_policy=GradientPolicy.REJECT).fit()
    assert inside == [GradientPolicy.REJECT]
    assert get_policy() is GradientPolicy.CLAMP


def clamped_move(
    batches: list[tuple[Tensor, Tensor]], scale: float = 2.0**8, **options: Any
) -> Tensor:
    """How far one window moves a weight, with gradients well above CLAMP's bound."""
    model = FreeTuple()
    with torch.no_grad():
        model.linear.weight.fill_(0.5)
        model.linear.bias.fill_(0.5)
    before = model.linear.bias.detach().clone()

    def steep(outputs: tuple[Tensor, Tensor], lifted: Any) -> Tensor:
        return 30 * (outputs[0].square().mean() - outputs[1].mean())

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    count = len(batches)
    options = {"gradient_policy": "clamp", "gradient_accumulation_steps": count, **options}
    trainer = make_trainer(model, batches, steep, optimizer=optimizer, **options)
    set_scale(trainer, scale)  # the default one overflows in the first steps
    trainer.fit()
    return before - model.linear.bias.detach()


def test_clamp_bounds_the_gradient_of_the_loss_not_of_its_multiple() -> None:
    x = torch.ones(4, 2)
    plain = clamped_move([(x, torch.ones(4))])
    for amp_dtype in ("bf16", "fp16"):
        amp = clamped_move([(x, torch.ones(4))], use_amp=True, amp_dtype=amp_dtype)
        assert torch.allclose(amp, plain, rtol=0.02), amp_dtype
    small, large = (x[:1] * 0, torch.ones(1)), (torch.ones(60, 2), torch.ones(60))
    parts = 1 * clamped_move([small]) + 60 * clamped_move([large])
    for order in ([small, large], [large, small]):
        assert torch.allclose(clamped_move(order), parts / 61, rtol=1e-5)
        amp = clamped_move(order, scale=2.0, use_amp=True, amp_dtype="fp16")
        assert torch.allclose(amp, parts / 61, rtol=0.02)


@pytest.mark.parametrize("form", ["value", "pair", "tuple"])
def test_outputs_are_gated_by_the_policy_that_is_given(form: str) -> None:
    x = torch.ones(3, requires_grad=True)
    y = torch.ones(3, requires_grad=True)
    outputs: Any = {"value": x, "pair": (x, torch.zeros(3, dtype=torch.bool)), "tuple": (x, y)}[
        form
    ]
    gated = gate_outputs(outputs, GradientPolicy.REJECT)
    parts = gated if isinstance(gated, tuple) else (gated,)
    torch.stack([5 * part.float() for part in parts]).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert not x.grad.any()
    assert form != "tuple" or (y.grad is not None and not y.grad.any())
