"""Rational layers and heads: their quotients, and gradients that no bad element spoils."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.func import functional_call

from zeroproof.autodiff.policies import gradient_policy
from zeroproof.layers import ProjectiveRationalHead, SCMRationalLayer

NAN, INF = torch.nan, torch.inf


def test_a_rational_layer_is_the_quotient_of_its_polynomials() -> None:
    layer = SCMRationalLayer(2, 1, tau=0.1)
    with torch.no_grad():
        layer.head.numerator.copy_(torch.tensor([1.0, 2.0, 3.0]))
        layer.head.denominator.copy_(torch.tensor([-1.0, 1.0]))
    x = torch.tensor([3.0, 1.0, 1.05, NAN, -1e30])
    value, bottom = layer(x)
    assert bottom.tolist() == [False, True, True, True, True]
    assert value.tolist() == [17.0, 0.0, 0.0, 0.0, 0.0]
    value.sum().backward()
    assert layer.head.numerator.grad is not None
    assert torch.isfinite(layer.head.numerator.grad).all()
    with pytest.raises(ValueError, match=r"^denominator_degree must be ≥ 0, got -1"):
        SCMRationalLayer(1, -1)
    with pytest.raises(ValueError, match=r"^tau must be in"):
        SCMRationalLayer(1, 1, tau=-1.0)
    P, Q = ProjectiveRationalHead(0, 0)(x)
    assert P[:3].tolist() == [0.0] * 3
    assert Q[:3].tolist() == [1.0] * 3


def test_a_rational_layer_takes_no_infinity_for_a_number() -> None:
    value, bottom = SCMRationalLayer(0, 0)(torch.tensor([INF, -INF, NAN, 2.0]))
    assert bottom.tolist() == [True, True, True, False]
    assert value.tolist() == [0.0] * 4


def test_a_rational_layer_has_no_threshold_and_clamps_unless_told_otherwise() -> None:
    layer = SCMRationalLayer(1, 0)
    with torch.no_grad():
        layer.head.denominator.fill_(1e-3)
    x = torch.tensor([2.0, 3.0], requires_grad=True)
    value, bottom = layer(x)
    assert not bottom.any()
    (slope,) = torch.autograd.grad((5.0 * value).sum(), x)
    assert slope.tolist() == pytest.approx([1e3, 1e3]), "the gradient of the value is clamped to 1"


def random_layer(*degrees: int, tau: float = 0.0) -> SCMRationalLayer:
    layer = SCMRationalLayer(*degrees, tau=tau).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer


@pytest.mark.parametrize("degrees", [(0, 0), (1, 0), (0, 2), (3, 2)])
@pytest.mark.parametrize("shape", [(), (4,), (2, 0), (2, 2)])
def test_rational_layers_are_differentiable_twice(degrees: Any, shape: Any) -> None:
    layer = random_layer(*degrees, tau=0.1)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    rows = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    names = [name for name, _ in layer.named_parameters()]

    def value(x: Any, *rows: Any) -> Any:
        return functional_call(layer, dict(zip(names, rows, strict=True)), (x,))[0]

    with gradient_policy("passthrough"):
        assert torch.autograd.gradcheck(value, (x, *rows))
        assert torch.autograd.gradgradcheck(value, (x, *rows))
        assert torch.autograd.gradgradcheck(lambda *rows: value(x.detach(), *rows), rows)


def test_a_gradient_to_differentiate_again_is_the_gradient() -> None:
    layer = random_layer(3, 2, tau=0.1)
    x = torch.tensor([0.5, -INF, NAN, 2.0], dtype=torch.float64, requires_grad=True)
    wanted = x, *layer.parameters()
    with gradient_policy("passthrough"):
        value, bottom = layer(x)
    total = value[~bottom].square().sum()
    once = torch.autograd.grad(total, wanted, retain_graph=True)
    again = torch.autograd.grad(total, wanted, create_graph=True)
    assert all(g.isfinite().all() and g.any() for g in once)
    for first, second in zip(once, again, strict=True):
        assert torch.allclose(first, second)
        assert second.requires_grad


def test_a_rational_head_with_frozen_coefficients_still_has_a_slope_in_x() -> None:
    head = random_layer(2, 1).head.requires_grad_(False)
    x = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(head(x)[0].sum(), x)
    c = head.numerator
    assert torch.allclose(slope, c[1] + 2 * c[2] * x.detach())


def test_a_rational_head_keeps_nothing_but_its_input_coefficients_and_one_mask() -> None:
    head, kept = random_layer(3, 2).head, []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    x = torch.randn(3, 30_000, dtype=torch.float64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        P, Q = head(x.t())
    masks = {t.data_ptr() for t in kept if t.dtype == torch.bool}
    assert len(masks) == 1
    others = {t.data_ptr() for t in (x, *head.parameters())}
    assert {t.data_ptr() for t in kept} == masks | others
    c, d, z = head.numerator, head.denominator, x.t()
    exact = (c[0] + c[1] * z + c[2] * z**2 + c[3] * z**3, d[0] + d[1] * z + d[2] * z**2)
    results = []
    for tuples in ((P, Q), exact):
        weighed = tuples[0].sum() - 2 * tuples[1].sum()
        results.append([*tuples, *torch.autograd.grad(weighed, (x, c, d))])
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one, other)


@pytest.mark.parametrize(
    ("bad", "tau"), [(None, 0.3), (INF, 0.3), (NAN, 0.0), (1.0, 0.0), (1e30, 0.0), (0.9, 0.3)]
)
def test_one_bad_element_spoils_no_gradient(bad: float | None, tau: float) -> None:
    """It is ⊥, and beside it a gradient of 0 arrives."""
    layer = SCMRationalLayer(3, 2, tau=tau)
    with torch.no_grad():
        layer.head.numerator.copy_(torch.tensor([0.5, 1.0, -0.25, 1e10]))
        layer.head.denominator.copy_(torch.tensor([1.0, 0.0, -1.0]))  # a pole at ±1
    x = torch.linspace(-0.5, 0.5, 40)
    if bad is not None:
        x[25] = bad
    x.requires_grad_()
    value, bottom = layer(x)
    weights = torch.linspace(-1.0, 1.0, 39)  # one of them is 0
    in_x, *others = torch.autograd.grad((value[1:] * weights).sum(), [x, *layer.parameters()])
    assert bottom.tolist() == [n == 25 and bad is not None for n in range(40)]
    sound = ~bottom
    z = x.detach()[sound].requires_grad_()
    powers = torch.stack([z**0, z, z**2, z**3])
    plain = (layer.head.numerator @ powers) / (layer.head.denominator @ powers[:3])
    arriving = torch.cat([torch.zeros(1), weights])[sound]
    inputs = [z, *layer.parameters()]
    expected = torch.autograd.grad(plain, inputs, arriving)
    torch.testing.assert_close([in_x[sound], *others], list(expected), rtol=1e-4, atol=1e-5)


def test_a_power_that_overflows_spoils_no_gradient_in_x() -> None:
    x = torch.tensor([1e30, 2.0, INF, 1e38], requires_grad=True)
    layer = SCMRationalLayer(3, 2)
    layer(x)[0].sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 1.0, 0.0, 1.0]
    layer = random_layer(3, 0).float()
    x = torch.tensor([1e30, 0.0], requires_grad=True)
    value, bottom = layer(x)
    value.sum().backward()
    assert bottom.tolist() == [True, False]
    assert x.grad is not None
    assert x.grad[0] == 0.0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


def test_a_rational_head_starts_as_the_identity() -> None:
    x = torch.tensor([-1.0, 0.5, 3.0])
    for degrees in ((1, 0), (1, 1), (3, 2)):
        P, Q = ProjectiveRationalHead(*degrees)(x)
        assert torch.equal(P, x)
        assert torch.equal(Q, torch.ones(3))
    with pytest.raises(ValueError, match=r"^numerator_degree must be ≥ 0, got -1"):
        ProjectiveRationalHead(-1, 1)


DOMAIN = (14.0, 852.0)


def test_a_domain_is_mapped_to_the_interval_of_one() -> None:
    x = torch.tensor([14.0, 433.0, 852.0, 1271.0, INF, NAN])
    P, _ = ProjectiveRationalHead(1, 2, domain=DOMAIN)(x)
    assert P[:4].tolist() == [-1.0, 0.0, 1.0, 2.0]
    assert P[4] == INF
    assert P[5].isnan()
    value, bottom = SCMRationalLayer(1, 0, domain=DOMAIN)(x.double())
    assert value.dtype == torch.float64
    assert value.tolist() == [-1.0, 0.0, 1.0, 2.0, 0.0, 0.0]
    assert bottom.tolist() == [False] * 4 + [True] * 2
    P, _ = ProjectiveRationalHead(1, 0, domain=(-3e38, 3e38))(torch.tensor([1.5e38, -3e38]))
    assert P.tolist() == [0.5, -1.0]
    P, _ = ProjectiveRationalHead(1, 0, domain=DOMAIN)(x[1])
    assert (P.shape, P.dtype) == ((), torch.float32)


def test_a_domain_may_be_made_on_the_meta_device() -> None:
    with torch.device("meta"):
        head = ProjectiveRationalHead(2, 1, domain=DOMAIN)
    assert head.domain is not None
    assert head.domain.is_meta


def test_a_checkpoint_carries_the_domain() -> None:
    head = ProjectiveRationalHead(2, 1, domain=DOMAIN)
    other = ProjectiveRationalHead(2, 1, domain=(0.0, 1.0))
    other.load_state_dict(head.state_dict())
    assert other.domain is not None
    assert other.domain.tolist() == list(DOMAIN)
    plain = ProjectiveRationalHead(2, 1)
    assert "domain" not in plain.state_dict()
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "domain"'):
        plain.load_state_dict(head.state_dict())
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "domain"'):
        head.load_state_dict(plain.state_dict())


def test_the_gradient_of_a_domain_is_that_of_the_mapped_input() -> None:
    layer = SCMRationalLayer(3, 2, domain=(-2.0, 6.0), gradient_policy="passthrough").double()
    with torch.no_grad():
        layer.head.denominator[1:] = torch.tensor([0.25, 0.25])
    x = torch.tensor([-2.0, 0.5, 6.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], (x,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("domain", [(1000.0, 1001.0), (1e5, 2e5)])
def test_a_head_in_half_precision_keeps_its_domain(dtype: torch.dtype, domain: Any) -> None:
    layer = SCMRationalLayer(1, 1, domain=domain).double().to(dtype)
    low, high = domain
    for x in (torch.tensor([low, (low + high) / 2, high]), torch.tensor([low, low, high]).double()):
        value, bottom = layer(x)
        assert value.dtype == x.dtype
        assert value.tolist() == (2 * (x - low) / (high - low) - 1).tolist()
        assert not bottom.any()
    same = torch.tensor([1000.0], dtype=dtype)
    assert layer(same)[0].dtype == dtype
    assert layer(same)[0].item() == pytest.approx(2 * (1000 - low) / (high - low) - 1, rel=0.01)
    kept = layer.float().head.domain
    assert kept is not None
    assert kept.tolist() == [low, high]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_head_keeps_a_domain_that_a_narrower_dtype_would_merge(dtype: torch.dtype) -> None:
    low = 1.7e9
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    layer = SCMRationalLayer(1, 1, domain=(low, low + 60.0))
    torch.set_default_dtype(default)
    value, bottom = layer.to(dtype)(torch.tensor([low, low + 60.0], dtype=torch.float64))
    assert value.tolist() == [-1.0, 1.0]
    assert not bottom.any()


@pytest.mark.parametrize(
    "domain", [(1.0,), (0.0, 1.0, 2.0), (2.0, 1.0), (1.0, 1.0), (1.0, 1.0 + 1e-12), (0.0, 1e-45),
               (0.0, INF), (NAN, 1.0), ()],
)  # fmt: skip
def test_a_domain_needs_two_finite_ends_that_ascend(unchecked: None, domain: Any) -> None:
    message = r"^domain must be two finite numbers .*also in torch.float32, got \("
    with pytest.raises(ValueError, match=message):
        ProjectiveRationalHead(1, 1, domain=domain)
