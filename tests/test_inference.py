"""Targets are lifted, thresholds drawn and outputs decoded, as examples."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zeroproof.inference import (
    InferenceConfig,
    SCMInferenceWrapper,
    strict_inference,
    unit_denominator,
)
from zeroproof.layers import ProjectiveMLP
from zeroproof.training.targets import lift_targets, orientation
from zeroproof.training.thresholds import perturbed_threshold

NAN, INF = torch.nan, torch.inf


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
    with pytest.raises(ValueError, match=r"^tau_min must be in \[0, ∞\), got -1.0"):
        perturbed_threshold(-1.0, 1.0)
    with pytest.raises(ValueError, match=r"tau_max must be in \[0, ∞\), got nan"):
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


def test_the_unit_denominator_of_tuples_of_any_size() -> None:
    for size in (1e-300, 1.0, 1e300):
        P, Q = torch.tensor([[3 * size, -4 * size], [-4 * size, 3 * size]], dtype=torch.float64)
        assert unit_denominator(P, Q).tolist() == pytest.approx([0.8, 0.6])


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
    with pytest.raises(ValueError, match=r"P \(2,\), Q \(3,\) must all be equal"):
        strict_inference(torch.ones(2), torch.ones(3))
    with pytest.raises(ValueError, match=r"^tau_infer must be in"):
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
