"""Heads of ready models: the tuples that they make of features, and their shapes."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from zeroproof.autodiff.policies import gradient_policy
from zeroproof.layers import ProjectiveMLP
from zeroproof.layers.projective import HEADS, FreeHead, GatedHead, PoleHead, ProjectiveHead


def test_heads_stay_defined_at_extreme_features() -> None:
    for head, parts in ((FreeHead, 2), (GatedHead, 3), (PoleHead, 3)):
        features = torch.tensor([[0.0] * parts, [1e30] * parts, [-1e30] * parts])
        module = head(parts, 1)
        with torch.no_grad():
            module.linear.weight.copy_(torch.eye(parts))
            module.linear.bias.zero_()
        P, Q = module(features)
        assert torch.isfinite(P).all()
        assert torch.isfinite(Q).all()
        assert Q[1].item() > 0
    assert PoleHead(3, 1)(torch.zeros(1, 3, dtype=torch.float32))[0].shape == (1, 1)


def test_the_pole_head_is_a_value_plus_a_pole() -> None:
    head = PoleHead(3, 1)
    v, h, s = torch.tensor([0.7]), torch.tensor([-2.0]), torch.tensor([0.3])
    P, Q = head.combine(v, h, s)
    assert (P / Q).item() == pytest.approx(0.7 + torch.tanh(s).item() / -2.0)
    assert Q.item() == pytest.approx(-2.0 / 5**0.5)


def test_the_gated_head_is_a_value_behind_a_gate() -> None:
    head = GatedHead(3, 1)
    v, gate, s = torch.tensor([0.7]), torch.tensor([-2.0]), torch.tensor([0.3])
    P, Q = head.combine(v, gate, s)
    q = 1 / (1 + math.exp(2.0))
    assert Q.item() == pytest.approx(q)
    assert P.item() == pytest.approx(0.7 * q + math.tanh(0.3) * (1 - q))


def test_a_ready_model_has_the_shape_asked_for() -> None:
    x = torch.rand(5, 3)
    for head in ("free", "gated", "pole"):
        assert ProjectiveMLP(3, head=head)(x)[0].shape == (5,)
        assert ProjectiveMLP(3, 2, hidden=(), head=head)(x)[1].shape == (5, 2)
        assert ProjectiveMLP(3, 1, head=head)(x)[0].shape == (5, 1)
        P, Q = HEADS[head](3, 2)(torch.rand(2, 5, 3))
        assert P.shape == Q.shape == (2, 5, 2)
    widths = [layer.out_features for layer in ProjectiveMLP(3).body[::2]]
    assert widths == [64, 64]
    with pytest.raises(ValueError, match="head must be one of free, gated, pole, got 'best'"):
        ProjectiveMLP(3, head="best")


def test_the_first_layer_starts_in_the_scale_asked_for() -> None:
    def first(features: int, **options: float) -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(0)
        weight, bias = ProjectiveMLP(features, **options).body[0].parameters()
        return weight, bias

    plain, (weight, bias) = first(1, input_scale=1.0), first(1, input_scale=5.0)
    assert torch.equal(weight, 5 * plain[0])
    assert torch.equal(bias, 3 * plain[1])
    for features, scale in ((1, 5.0), (2, 2.5), (5, 1.0), (300, 1.0)):
        assert torch.equal(first(features)[0], first(features, input_scale=scale)[0])
    assert len(ProjectiveMLP(3, hidden=()).body) == 0
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"input_scale must be in \(0, ∞\), got"):
            ProjectiveMLP(1, input_scale=wrong)


def test_a_half_precision_model_gives_float32_tuples() -> None:
    P, Q = ProjectiveMLP(3).to(torch.bfloat16)(torch.rand(5, 3, dtype=torch.bfloat16))
    assert P.dtype == Q.dtype == torch.float32


def test_features_of_another_width_are_refused_whatever_makes_the_weights(unchecked: None) -> None:
    model = ProjectiveMLP(3)
    torch.nn.utils.parametrizations.weight_norm(model.body[0])
    with pytest.raises(ValueError, match=r"^x must have 3 features along its last dimension"):
        model(torch.zeros(5, 2))


@pytest.mark.parametrize("policy", ["clamp", "project", "reject", "passthrough"])
@pytest.mark.parametrize("head", HEADS.values())
def test_a_checkpointed_head_has_its_gradient(head: type[ProjectiveHead], policy: str) -> None:
    """Though its forward runs again outside of the scope, where it must save as many tensors."""
    layer, found = head(4, 2), []
    for checkpointed in (False, True):
        x = torch.linspace(-2.0, 2.0, 12).reshape(3, 4).requires_grad_()
        with gradient_policy(policy):
            P, Q = checkpoint(layer, x, use_reentrant=False) if checkpointed else layer(x)
        (5 * P.sum() + Q.sum()).backward()
        found.append(x.grad)
    assert torch.equal(*found)  # type: ignore[arg-type]


def test_the_outputs_of_a_head_can_be_changed_in_place() -> None:
    x = torch.rand(5, 2)
    for model in (ProjectiveMLP(2), ProjectiveMLP(2, 2), ProjectiveMLP(2, 2, head="gated")):
        P, Q = model(x)
        P += 1
        Q.clamp_(min=0.1)
        (P / Q).sum().backward()
        assert all(p.grad is not None for p in model.parameters())
