"""Outputs of every form: which elements are ⊥, and how they are widened, gated and made tuples."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers import values
from zeroproof import scm
from zeroproof.autodiff.policies import GradientPolicy
from zeroproof.scm import SCMTensor
from zeroproof.scm.outputs import tuple_bottom, widen_outputs

NAN, INF = torch.nan, torch.inf


def test_a_denominator_at_the_threshold_is_a_number() -> None:
    P, Q = torch.ones(3), torch.tensor([0.5, -0.5, 0.25])
    assert scm.bottom_mask((P, Q), tau=0.5).tolist() == [False, False, True]
    assert not scm.bottom_mask((P, Q)).any()


def test_what_is_no_output_is_named(unchecked: None) -> None:
    for outputs in ((torch.ones(2), None), (None, torch.ones(2)), "P"):
        with pytest.raises(TypeError, match="expected a tensor, an SCMTensor"):
            scm.bottom_mask(outputs)  # type: ignore[arg-type]


@pytest.mark.parametrize("tau", [NAN, -1.0, None])
def test_a_mask_has_a_threshold_that_is_one(tau: Any, unchecked: None) -> None:
    for outputs in ((torch.ones(2), torch.ones(2)), torch.ones(2)):
        with pytest.raises((TypeError, ValueError), match=r"^tau must be"):
            scm.bottom_mask(outputs, tau)


def test_integer_outputs_are_named(unchecked: None) -> None:
    one = torch.ones(2).long()
    for outputs, name in ((one, "outputs"), ((one, one > 1), "value")):
        with pytest.raises(TypeError, match=f"^{name} must be a floating-point tensor"):
            scm.bottom_mask(outputs)


def test_pairs_of_different_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"a pair of shapes \(2,\) and \(3,\)"):
        scm.bottom_mask((torch.ones(2), torch.ones(3)))


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


@pytest.mark.parametrize(
    ("P", "Q", "bottom"), [(1e300, 1e-30, True), (1e300, 1e-3, False), (1e-300, 1e-30, False)]
)
def test_parts_of_two_precisions_overflow_in_the_wider(P: float, Q: float, bottom: bool) -> None:
    wide, narrow = torch.tensor([P], dtype=torch.float64), torch.tensor([Q])
    assert tuple_bottom(wide, narrow).item() is bottom
    assert (wide / narrow).isinf().item() is bottom
    assert tuple_bottom(torch.ones(1), torch.tensor([1e-310], dtype=torch.float64)).item()


def test_outputs_of_half_precision_are_widened_whatever_their_form() -> None:
    half, flags = torch.ones(2, dtype=torch.float16), torch.tensor([True, False])
    first, second = widen_outputs((half, half))  # type: ignore[misc]
    assert first.dtype == second.dtype == torch.float32
    first, second = widen_outputs((half, flags))  # type: ignore[misc]
    assert (first.dtype, second.dtype) == (torch.float32, torch.bool)


def test_a_bottom_output_is_the_tuple_of_an_unoriented_target() -> None:
    P, Q = scm.as_tuple(torch.tensor([NAN, 3.0]))
    assert (P.tolist(), Q.tolist()) == ([1.0, 3.0], [0.0, 1.0])


def bits(x: Tensor) -> list[int]:
    return x.view(torch.int32).tolist()


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
