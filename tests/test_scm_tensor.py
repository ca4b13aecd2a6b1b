"""The carrier, policies, targets and strict inference, as examples."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import operator
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, jacrev, vmap

from zeroproof import scm
from zeroproof.autodiff.policies import (
    GradientPolicy,
    apply_policy,
    get_policy,
    gradient_policy,
    register_policy,
)
from zeroproof.inference import (
    InferenceConfig,
    SCMInferenceWrapper,
    strict_inference,
    unit_denominator,
)
from zeroproof.layers import ProjectiveMLP, ProjectiveRationalHead, SCMRationalLayer
from zeroproof.layers.projective import HEADS, FreeHead, GatedHead, PoleHead
from zeroproof.scm import SCMTensor
from zeroproof.scm.outputs import tuple_bottom, widen_outputs
from zeroproof.training.targets import lift_targets, orientation
from zeroproof.training.thresholds import perturbed_threshold

NAN, INF = torch.nan, torch.inf


def values(x: SCMTensor) -> list[Any]:
    """Numbers, with None for ⊥."""
    return [None if b else v for v, b in zip(x.payload.tolist(), x.bottom.tolist(), strict=True)]


def test_division_is_total_and_bottom_absorbs() -> None:
    x = SCMTensor(torch.tensor([6.0, 1.0, 0.0, NAN, INF]))
    y = SCMTensor(torch.tensor([3.0, 0.0, 0.0, 1.0, 1.0]))
    assert values(x / y) == [2.0, None, None, None, None]
    assert values(0 * (x / y)) == [0.0, None, None, None, None]
    assert values(x / y + 1) == values(1 + x / y) == [3.0, None, None, None, None]
    assert values(1 - y) == [-2.0, 1.0, 1.0, 0.0, 0.0]
    assert values(2**y) == [8.0, 1.0, 1.0, 2.0, 2.0]
    assert values(abs(-y)) == [3.0, 0.0, 0.0, 1.0, 1.0]
    assert values((x / y)[:2]) == [2.0, None]
    assert (x / y).payload.tolist() == [2.0, 0.0, 0.0, 0.0, 0.0]
    assert repr(1 / y[:2]) == "SCMTensor(tensor([0.3333,    nan]))"
    assert (x / y).shape == (5,)
    assert values(y * torch.tensor(2.0)) == [6.0, 0.0, 0.0, 2.0, 2.0]


@pytest.mark.parametrize("number", [0.1, -3.0, 1e-9, 1e9, 7.0])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_operators_are_the_functions_and_commute_with_indexing(
    dtype: torch.dtype, number: float
) -> None:
    x = SCMTensor(torch.tensor([3.0, 1e-5, 0.0, NAN, INF, -2.0], dtype=dtype))
    chosen = torch.tensor([5, 0, 3, 0])
    operations = [
        (scm.add, operator.add),
        (scm.sub, operator.sub),
        (scm.mul, operator.mul),
        (scm.div, operator.truediv),
    ]
    for function, symbol in operations:
        for left, right in ((x, number), (number, x), (x, x)):
            assert values(symbol(left, right)) == values(function(left, right))
        assert values(function(x, number)[chosen]) == values(function(x[chosen], number))


@pytest.mark.parametrize(
    "operation",
    [
        scm.add,
        scm.sub,
        scm.mul,
        scm.div,
        scm.power,
        scm.neg,
        scm.inv,
        scm.absolute,
        scm.sign,
        scm.exp,
        scm.log,
        scm.sqrt,
    ],
)
def test_every_operation_can_be_bottom_and_a_value(operation: Callable[..., SCMTensor]) -> None:
    one = SCMTensor(torch.ones(2), torch.tensor([False, True]))
    binary = operation in (scm.add, scm.sub, scm.mul, scm.div, scm.power)
    assert operation(*[one] * (1 + binary)).bottom.tolist() == [False, True]


@pytest.mark.parametrize(
    ("operation", "argument", "expected"),
    [
        (scm.log, [1.0, 0.0, -1.0], [0.0, None, None]),
        (scm.sqrt, [4.0, 0.0, -1.0], [2.0, 0.0, None]),
        (scm.exp, [0.0, 1000.0, -1000.0], [1.0, None, 0.0]),
        (scm.inv, [4.0, 0.0, 1e-45], [0.25, None, None]),
        (scm.sign, [-3.0, 0.0, NAN], [-1.0, 0.0, None]),
        (lambda x: x**-1, [2.0, 0.0, INF], [0.5, None, None]),
        (lambda x: x**0.5, [4.0, 0.0, -4.0], [2.0, 0.0, None]),
        (lambda x: x - x, [1.0, INF, NAN], [0.0, None, None]),
    ],
)
def test_operations_outside_their_domain_are_bottom(
    operation: Callable[[SCMTensor], SCMTensor], argument: list[float], expected: list[Any]
) -> None:
    assert values(operation(SCMTensor(torch.tensor(argument)))) == expected


def test_a_bottom_element_has_zero_gradient_and_leaves_the_others_alone() -> None:
    x = torch.tensor([0.0, 2.0, 1e-30], requires_grad=True)
    y = torch.tensor([0.0, 4.0, 1e-38], requires_grad=True)
    result = scm.log(SCMTensor(x)) / SCMTensor(y)
    result.payload.sum().backward()
    assert result.bottom.tolist() == [True, False, True]
    assert x.grad is not None
    assert y.grad is not None
    assert x.grad.tolist() == [0.0, 0.125, 0.0]
    assert y.grad[0] == y.grad[2] == 0.0


def test_carriers_of_the_wrong_kind_are_named(unchecked: None) -> None:
    with pytest.raises(TypeError, match=r"payload must be floating point, got torch\.int64"):
        SCMTensor(torch.tensor([1]))
    with pytest.raises(TypeError, match="bottom must be a boolean mask"):
        SCMTensor(torch.ones(2), torch.zeros(2))
    with pytest.raises(ValueError, match=r"mask has shape \(3,\), the tensors \(2,\)"):
        SCMTensor(torch.ones(2), torch.zeros(3, dtype=torch.bool))
    with pytest.raises(TypeError, match="at least one tensor"):
        scm.add(1.0, 2.0)


def test_a_carrier_does_not_change_and_compares_by_identity() -> None:
    x = SCMTensor(torch.ones(2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        x.payload = torch.zeros(2)  # type: ignore[misc]
    assert x == x
    assert x != SCMTensor(torch.ones(2))
    assert len({x, x}) == 1


def test_a_denominator_at_the_threshold_is_a_number() -> None:
    P, Q = torch.ones(3), torch.tensor([0.5, -0.5, 0.25])
    assert scm.bottom_mask((P, Q), tau=0.5).tolist() == [False, False, True]
    assert not scm.bottom_mask((P, Q)).any()


def test_what_is_no_output_is_named(unchecked: None) -> None:
    for outputs in ((torch.ones(2), None), (None, torch.ones(2)), "P"):
        with pytest.raises(TypeError, match="expected a tensor, an SCMTensor"):
            scm.bottom_mask(outputs)  # type: ignore[arg-type]


def test_pairs_of_different_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"a pair of shapes \(2,\) and \(3,\)"):
        scm.bottom_mask((torch.ones(2), torch.ones(3)))


def gradient_under(policy: Any, incoming: list[float], bottom: list[bool]) -> list[float]:
    x = torch.zeros(len(incoming), requires_grad=True)
    apply_policy(x, torch.tensor(bottom), policy).backward(torch.tensor(incoming))
    assert x.grad is not None
    return x.grad.tolist()


def test_the_four_policies() -> None:
    incoming, bottom = [5.0, -0.5, INF, -INF, NAN], [False] * 4 + [True]
    assert gradient_under("clamp", incoming, bottom) == [1.0, -0.5, 1.0, -1.0, 0.0]
    assert gradient_under("project", incoming, bottom) == [5.0, -0.5, INF, -INF, 0.0]
    assert gradient_under("reject", incoming, bottom) == [0.0] * 5
    assert gradient_under("clamp", [NAN], [False]) == [0.0]
    passed = gradient_under(GradientPolicy.PASSTHROUGH, incoming, bottom)
    assert passed[:4] == incoming[:4]
    assert passed[4] != passed[4]


def test_policies_nest_yield_to_an_explicit_one_and_end_with_their_scope() -> None:
    assert get_policy() is GradientPolicy.CLAMP
    with gradient_policy("reject"):
        inner = gradient_policy(GradientPolicy.PROJECT)
        assert inner.__enter__() is get_policy() is GradientPolicy.PROJECT
        assert not inner.__exit__(None, None, None)
        with pytest.raises(KeyError), gradient_policy("project"):
            raise KeyError
        assert get_policy() is GradientPolicy.REJECT
        assert gradient_under("project", [5.0], [False]) == [5.0]
        assert gradient_under(None, [5.0], [False]) == [0.0]
    assert get_policy() is GradientPolicy.CLAMP


def test_layer_defaults_are_overridden_by_a_scope() -> None:
    register_policy("mine", "project")
    try:
        assert get_policy("mine") is GradientPolicy.PROJECT
        with gradient_policy("reject"):
            assert get_policy("mine") is GradientPolicy.REJECT
        assert get_policy("other") is GradientPolicy.CLAMP
    finally:
        register_policy("mine", None)
    assert get_policy("mine") is GradientPolicy.CLAMP
    with pytest.raises(ValueError, match="gradient policy 'clip' is unknown; use one of CLAMP"):
        register_policy("mine", "clip")


def test_the_policy_that_counts_is_the_one_in_force_at_the_forward() -> None:
    x = torch.ones(1, requires_grad=True)
    with gradient_policy("reject"):
        y = apply_policy(x, torch.tensor([False]))
    with gradient_policy("passthrough"):
        y.backward()
    assert x.grad is not None
    assert x.grad.item() == 0.0


def test_a_scope_is_local_to_its_thread_and_its_task() -> None:
    seen: list[GradientPolicy] = []
    with gradient_policy("reject"):
        thread = threading.Thread(target=lambda: seen.append(get_policy()))
        thread.start()
        thread.join()

    async def task(policy: str, entered: asyncio.Event, wait: asyncio.Event) -> None:
        with gradient_policy(policy):
            entered.set()
            await wait.wait()
            seen.append(get_policy())

    async def both() -> None:
        first, second = asyncio.Event(), asyncio.Event()
        await asyncio.gather(task("project", first, second), task("reject", second, first))

    asyncio.run(both())
    assert seen[0] is GradientPolicy.CLAMP
    assert set(seen[1:]) == {GradientPolicy.PROJECT, GradientPolicy.REJECT}


def test_apply_policy_refuses_another_shape(unchecked: None) -> None:
    with pytest.raises(ValueError, match="they must be equal"):
        apply_policy(torch.ones(2), torch.zeros(3, dtype=torch.bool))


def test_targets_of_every_kind() -> None:
    y = torch.tensor([2.0, -0.0, INF, -INF, NAN], dtype=torch.float64)
    Y_n, Y_d = lift_targets(y)
    assert Y_n.tolist() == [2.0, 0.0, 1.0, -1.0, 1.0]
    assert torch.signbit(Y_n[1])
    assert Y_d.tolist() == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert orientation(y).tolist() == [0, 0, 1, -1, 0]
    assert lift_targets(torch.tensor([3]))[0].dtype == torch.float32
    for bad in (torch.tensor([True]), torch.tensor([1j])):
        with pytest.raises(TypeError, match="pass floats or integers"):
            lift_targets(bad)


def test_thresholds_without_a_generator_leave_torchs_random_state() -> None:
    state = torch.get_rng_state()
    draws = {perturbed_threshold(0.0, 1.0) for _ in range(5)}
    assert len(draws) == 5
    given = torch.Generator().manual_seed(0)
    draws |= {perturbed_threshold(0.0, 1.0, generator=given) for _ in range(5)}
    assert all(draw * 2**32 % 1 for draw in draws), "drawn in float64"
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ValueError, match=r"tau_min \(2.0\) must not exceed tau_max \(1.0\)"):
        perturbed_threshold(2.0, 1.0)
    with pytest.raises(ValueError, match=r"^tau_min must be a finite number ≥ 0, got -1.0"):
        perturbed_threshold(-1.0, 1.0)
    with pytest.raises(ValueError, match="tau_max must be a finite number ≥ 0, got nan"):
        perturbed_threshold(0.0, NAN)


def test_strict_inference_decodes_to_values_bottom_and_gap() -> None:
    P = torch.tensor([1.0, 1.0, 1.0, NAN, 1.0, 3e38])
    Q = torch.tensor([2.0, 0.05, 0.005, 1.0, INF, 0.1])
    decoded = strict_inference(P, Q, InferenceConfig(tau_infer=0.01, tau_train=0.1))
    assert decoded.bottom.tolist() == [False, False, True, True, True, True]
    assert decoded.gap.tolist() == [False, True, False, False, False, False]
    assert decoded.value[:2].tolist() == [0.5, 20.0]
    assert decoded.value[2:].isnan().all()


def test_the_unit_gauge_does_not_see_the_tuples_scale() -> None:
    P, Q = torch.tensor([3.0, 30.0]), torch.tensor([0.4, 0.4])
    config = InferenceConfig(tau_infer=0.1, tau_train=0.1, gauge="unit")
    for scale in (1.0, 1e-20, -1e20):
        decoded = strict_inference(scale * P, scale * Q, config)
        assert decoded.bottom.tolist() == [False, True]
        assert decoded.value[0].item() == pytest.approx(7.5)
    raw = InferenceConfig(tau_infer=0.1, tau_train=0.1)
    assert strict_inference(P, Q, raw).bottom.tolist() == [False, False]
    assert strict_inference(P / 10, Q / 10, raw).bottom.tolist() == [True, True]


def test_a_threshold_below_the_dtypes_resolution_still_counts() -> None:
    tiny = torch.tensor([2.0**-24], dtype=torch.float16)  # the smallest float16
    config = InferenceConfig(tau_infer=2.0**-23, tau_train=1.0)
    assert strict_inference(tiny, tiny, config).bottom.item()
    config = InferenceConfig(tau_infer=2.0**-40, tau_train=1.0)
    assert not strict_inference(tiny, tiny, config).bottom.item()


def test_the_wrapper_decodes_in_eval_mode_only(unchecked: None) -> None:
    model = ProjectiveMLP(2)
    wrapper = SCMInferenceWrapper(model, InferenceConfig(tau_infer=0.0, tau_train=0.0))
    assert wrapper.config.tau_infer == 0.0
    assert SCMInferenceWrapper(model).config == InferenceConfig()
    x = torch.rand(5, 2)
    P, Q = wrapper(x)
    assert torch.equal(wrapper.eval()(x).value, P / Q)
    with pytest.raises(TypeError, match="needs a model that returns"):
        SCMInferenceWrapper(torch.nn.Linear(2, 1)).eval()(x)
    with pytest.raises(ValueError, match="a tuple needs both alike"):
        strict_inference(torch.ones(2), torch.ones(3))
    with pytest.raises(ValueError, match=r"^tau_infer must be a finite number"):
        InferenceConfig(tau_infer=-1.0)


class Scaled(torch.nn.Module):
    def forward(self, x: Tensor, *, by: float) -> tuple[Tensor, Tensor]:
        return x, x * by


def test_the_wrapper_passes_arguments_on_and_decodes_by_its_own_thresholds() -> None:
    wrapper = SCMInferenceWrapper(Scaled(), InferenceConfig(tau_infer=0.5, tau_train=2.0)).eval()
    x = torch.tensor([1.0, 3.0, 9.0])
    found = wrapper(x, by=0.25)
    assert found.bottom.tolist() == [True, False, False]
    assert found.gap.tolist() == [False, True, False]
    assert found.value[1:].tolist() == [4.0, 4.0]


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
    with pytest.raises(ValueError, match=r"^tau must be a finite number"):
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


def test_a_rational_head_keeps_nothing_but_its_input_and_coefficients() -> None:
    head, kept = random_layer(3, 2).head, []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    x = torch.randn(3, 30_000, dtype=torch.float64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        P, Q = head(x.t())
    assert {t.data_ptr() for t in kept} == {t.data_ptr() for t in (x, *head.parameters())}
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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_size_is_compared_with_a_threshold_exactly(dtype: torch.dtype) -> None:
    numbers = torch.tensor([0.0, 1e-45, 1e-7, 0.1, 0.25, 1.0, 3.0, 6e4, INF, NAN]).to(dtype)
    near = torch.cat([numbers, torch.nextafter(numbers, torch.tensor(INF, dtype=dtype))])
    sizes = near.double()
    for tau in (0.0, 5e-324, 1e-46, 0.1, 0.25, 0.25 + 1e-15, 0.25 - 1e-15, 1.0, 7e4, 1e300):
        for threshold in (tau, *sizes[sizes.isfinite()].tolist()):
            exact = ~((sizes >= threshold) & (sizes > 0) & sizes.isfinite())
            exactly = torch.tensor(threshold, dtype=torch.float64)
            assert torch.equal(tuple_bottom(torch.zeros_like(near), near, threshold), exact)
            assert torch.equal(tuple_bottom(torch.zeros_like(near), -near, exactly), exact)


@pytest.mark.parametrize("layer", [SCMRationalLayer, ProjectiveRationalHead])
def test_layers_honour_the_policy_of_the_scope(layer: Any) -> None:
    module = layer(2, 1)
    for policy, moves in (("reject", False), ("project", True)):
        module.zero_grad()
        with gradient_policy(policy):
            first = module(torch.rand(5))[0]
        first.sum().backward()
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        assert any(bool(g.any()) for g in gradients) == moves


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


def test_a_rational_head_starts_as_the_identity() -> None:
    x = torch.tensor([-1.0, 0.5, 3.0])
    for degrees in ((1, 0), (1, 1), (3, 2)):
        P, Q = ProjectiveRationalHead(*degrees)(x)
        assert torch.equal(P, x)
        assert torch.equal(Q, torch.ones(3))
    with pytest.raises(ValueError, match=r"^numerator_degree must be ≥ 0, got -1"):
        ProjectiveRationalHead(-1, 1)


def test_the_unit_denominator_of_tuples_of_any_size() -> None:
    for size in (1e-300, 1.0, 1e300):
        P, Q = torch.tensor([[3 * size, -4 * size], [-4 * size, 3 * size]], dtype=torch.float64)
        assert unit_denominator(P, Q).tolist() == pytest.approx([0.8, 0.6])


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


def test_a_half_precision_model_gives_float32_tuples() -> None:
    P, Q = ProjectiveMLP(3).to(torch.bfloat16)(torch.rand(5, 3, dtype=torch.bfloat16))
    assert P.dtype == Q.dtype == torch.float32


def bits(x: Tensor) -> list[int]:
    return x.view(torch.int32).tolist()


def test_outputs_of_half_precision_are_widened_whatever_their_form() -> None:
    half, flags = torch.ones(2, dtype=torch.float16), torch.tensor([True, False])
    first, second = widen_outputs((half, half))  # type: ignore[misc]
    assert first.dtype == second.dtype == torch.float32
    first, second = widen_outputs((half, flags))  # type: ignore[misc]
    assert (first.dtype, second.dtype) == (torch.float32, torch.bool)


def test_a_bottom_output_is_the_tuple_of_an_unoriented_target() -> None:
    P, Q = scm.as_tuple(torch.tensor([NAN, 3.0]))
    assert (P.tolist(), Q.tolist()) == ([1.0, 3.0], [0.0, 1.0])


def test_operands_of_two_dtypes_are_promoted() -> None:
    single, double = torch.tensor([0.1]), torch.tensor([0.1], dtype=torch.float64)
    found = scm.add(SCMTensor(single), double)
    assert found.payload.dtype == torch.float64
    assert found.payload.item() == single.item() + 0.1


def test_gating_leaves_values_as_they_are() -> None:
    P, Q = torch.tensor([1.0, -0.0, NAN]), torch.tensor([0.0, -0.0, 1.0])
    P.requires_grad_()
    Q.requires_grad_()
    gated = scm.gate_outputs((P, Q), GradientPolicy.PROJECT)
    assert bits(gated[0]) == bits(P.detach())
    (gated[0] + gated[1]).backward(torch.full((3,), 5.0))
    assert P.grad is not None
    assert P.grad.tolist() == [5.0, 0.0, 0.0], "a point at infinity is an ordinary point"
    assert scm.gate_outputs((P, Q), GradientPolicy.PASSTHROUGH)[0] is P


def test_gating_keeps_the_form_of_the_outputs() -> None:
    value, mask = torch.ones(2, requires_grad=True), torch.tensor([True, False])
    gated = scm.gate_outputs((value, mask), GradientPolicy.PROJECT)
    assert isinstance(gated, tuple)
    assert gated[1] is mask
    gated[0].sum().backward()
    assert value.grad is not None
    assert value.grad.tolist() == [0.0, 1.0]
    carrier = scm.gate_outputs(SCMTensor(value, mask), GradientPolicy.REJECT)
    assert isinstance(carrier, SCMTensor)
    assert values(carrier) == [None, 1.0]
    (gradient,) = torch.autograd.grad(carrier.payload.sum(), value)
    assert gradient.tolist() == [0.0, 0.0]


# In a process of its own: the tests' checks of shapes and dtypes are no code to compile.
GRAPHS = """
import torch
from zeroproof import scm
from zeroproof.autodiff.policies import GradientPolicy, traced_setting
from zeroproof.inference import InferenceConfig, strict_inference
from zeroproof.layers import ProjectiveMLP, SCMRationalLayer

x = torch.tensor([0.5, -1.0, 2.0, torch.inf, 0.1, torch.nan], requires_grad=True)
config = InferenceConfig(0.1, 0.5, gauge="unit")
rational, network = SCMRationalLayer(3, 2, tau=0.3), ProjectiveMLP(1, hidden=(3,), head="pole")

def carrier(x):
    found = 1.0 / scm.SCMTensor(x) - scm.log(x) ** 2.0
    return found.payload, found.bottom

for policy in (None, GradientPolicy.REJECT, GradientPolicy.PASSTHROUGH):
    with traced_setting(policy, 1.0):
        for f in (rational, carrier, lambda x: strict_inference(*network(x[:, None]), config)):
            torch.compiler.reset()
            found = []
            for g in (f, torch.compile(f, fullgraph=True, backend="aot_eager")):
                value, *flags = g(x)
                leaves = [x, *rational.parameters(), *network.parameters()]
                total = 3 * value.nan_to_num().sum()
                slopes = torch.autograd.grad(total, leaves, materialize_grads=True)
                found.append([value, *flags, *slopes])
            for eager, compiled in zip(*found, strict=True):
                torch.testing.assert_close(compiled, eager, equal_nan=True)
"""


def test_layers_carriers_and_decodes_compile_into_one_graph_with_the_eager_gradients() -> None:
    command = [sys.executable, "-W", "ignore", "-c", GRAPHS]
    done = subprocess.run(command, timeout=300, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_carriers_and_decodes_have_functional_gradients() -> None:
    x, y = torch.tensor([[1.0, 2.0, 0.5, NAN], [4.0, 0.0, -2.0, 1.0]])

    def total(x: Tensor, y: Tensor) -> Tensor:
        quotient = SCMTensor(x) / SCMTensor(y)
        return quotient.payload.sum() + strict_inference(x, y).value.nan_to_num().sum()

    wanted = torch.tensor([0.5, 0.0, -1.0, 0.0])
    assert torch.equal(grad(total)(x, y), wanted)
    assert torch.equal(vmap(grad(total))(x, y), wanted)
    assert torch.equal(jacrev(total)(x, y), wanted)
    second = jacrev(jacrev(total, argnums=1), argnums=1)(x, y).diagonal()
    torch.testing.assert_close(second, torch.tensor([4.0 / 64, 0.0, 2.0 / -8, 0.0]))
