"""Options are refused at construction, with an error that names field, value and remedy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from zeroproof.autodiff import apply_policy
from zeroproof.inference import InferenceConfig
from zeroproof.layers import SCMRationalLayer
from zeroproof.losses import LossConfig
from zeroproof.training.curriculum import GeometricRamp, LinearRamp, LossWeightsCurriculum
from zeroproof.training.trainer import TrainingConfig

BAD_VALUES = [
    ("max_epochs", 0),
    ("gradient_accumulation_steps", 0),
    ("coverage_patience", 0),
    ("seed", -1),
    ("max_nonfinite_steps", 0),
    ("history_limit", 0),
    ("checkpoint_every", -1),
    ("checkpoint_every", 1),
    ("keep_checkpoints", 0),
    ("scheduler_step", "step"),
    ("scheduler_step", "val"),
    ("tau_train_min", -1e-9),
    ("tau_train_min", 1.0),
    ("tau_train_max", float("inf")),
    ("tau_train_max", float("nan")),
    ("coverage_threshold", 1.1),
    ("coverage_threshold", float("nan")),
    ("max_grad_norm", 0.0),
    ("max_grad_norm", float("inf")),
    ("amp_dtype", "fp8"),
    ("amp_dtype", torch.float64),
    ("gradient_policy", "clip"),
    ("device", "toaster"),
    ("loss_weights", {"fit": float("nan")}),
    ("loss_weights", {"resolution": -1.0}),
]
BAD_TYPES = [
    ("max_epochs", 1.5),
    ("max_epochs", True),
    ("mixed_precision", "yes"),
    ("progress", 1),
    ("compile", "yes"),
    ("log_hook", "print"),
    ("loss_curriculum", {"fit": 1.0}),
    ("val_loader", 3),
    ("prepare_batch", "dict"),
    ("extra_state", {"average": 1.0}),
]


@pytest.mark.parametrize(("name", "value"), BAD_VALUES)
def test_a_value_out_of_range_names_the_option(unchecked: None, name: str, value: Any) -> None:
    with pytest.raises(
        ValueError, match=rf"\b{name}".replace("gradient_policy", "gradient policy")
    ):
        TrainingConfig(**{name: value})


@pytest.mark.parametrize(("name", "value"), BAD_TYPES)
def test_a_value_of_the_wrong_type_names_the_option(unchecked: None, name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=name):
        TrainingConfig(**{name: value})


@pytest.mark.parametrize(
    "options",
    [
        {"max_epochs": 1, "gradient_accumulation_steps": 1, "coverage_patience": 1, "seed": 0},
        {"max_nonfinite_steps": 1, "history_limit": 1},
        {"checkpoint_dir": "runs", "checkpoint_every": 1, "keep_checkpoints": 1},
        {"tau_train_min": 0.0, "tau_train_max": 0.0, "coverage_threshold": 0.0},
        {"tau_train_min": 0.5, "tau_train_max": 0.5, "coverage_threshold": 1.0},
        {"max_grad_norm": 1e-9, "use_amp": None},
    ],
)
def test_the_ends_of_the_ranges_are_allowed(options: dict[str, Any]) -> None:
    assert vars(TrainingConfig(**options)).items() >= options.items()


@pytest.mark.parametrize(
    "config",
    [
        TrainingConfig(),
        LossConfig(),
        InferenceConfig(),
        LinearRamp(0.0, 1.0),
        LossWeightsCurriculum({}),
    ],
)
def test_options_do_not_change_after_their_check(config: Any) -> None:
    for field in dataclasses.fields(config):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, field.name, None)


@pytest.mark.parametrize(
    ("call", "keyword", "error"),
    [
        (TrainingConfig, "learning_rate", r"^TrainingConfig\(\) takes no 'learning_rate': it is"),
        (SCMRationalLayer, "basis", r"^SCMRationalLayer\(\) takes no 'basis': it has powers"),
        (SCMRationalLayer, "singular_epsilon", "it is called tau"),
        (apply_policy, "gradient", r"^apply_policy\(\) takes no 'gradient': give x"),
        (apply_policy, "is_bottom", "it is called bottom"),
    ],
)
def test_a_keyword_of_zeroproofml_is_explained(
    call: Callable[..., object], keyword: str, error: str
) -> None:
    with pytest.raises(TypeError, match=error):
        call(**{keyword: None})


def test_options_of_training_are_given_by_name() -> None:
    with pytest.raises(TypeError, match="positional"):
        TrainingConfig(3)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["fp16", "float16", "bf16", "bfloat16"])
def test_a_precision_has_a_short_and_a_long_name(name: str) -> None:
    wanted = torch.bfloat16 if name.startswith("bf") else torch.float16
    assert TrainingConfig(amp_dtype=name, use_amp=True).autocast_dtype == wanted


def test_the_defaults_train_plainly() -> None:
    """No accumulation, clipping, mixed precision, policy or stop that was not asked for."""
    assert vars(TrainingConfig()) == {
        "max_epochs": 100,
        "gradient_accumulation_steps": 1,
        "mixed_precision": False,
        "use_amp": None,
        "amp_dtype": None,
        "tau_train_min": 1e-4,
        "tau_train_max": 1e-4,
        "coverage_threshold": 0.0,
        "coverage_patience": 1,
        "log_hook": None,
        "val_loader": None,
        "prepare_batch": None,
        "gradient_policy": None,
        "loss_weights": None,
        "loss_curriculum": None,
        "device": None,
        "seed": 0,
        "max_grad_norm": None,
        "max_nonfinite_steps": 10,
        "compile": False,
        "scheduler_step": "update",
        "scheduler_metric": "val_loss",
        "checkpoint_dir": None,
        "checkpoint_every": 0,
        "keep_checkpoints": 3,
        "extra_state": None,
        "progress": False,
        "history_limit": 20_000,
    }


def test_the_ends_of_other_ranges_are_allowed() -> None:
    for edge in (0.0, 1.0):
        assert LossConfig(target_coverage=edge).target_coverage == edge
    free = LossConfig(lambda_margin=0.0, lambda_sign=0.0, lambda_rej=0.0, tau_train=0.0)
    assert free.weights == {"fit": 1.0, "margin": 0.0, "sign": 0.0, "rejection": 0.0}
    assert InferenceConfig(tau_infer=0.0, tau_train=0.0).tau_train == 0.0
    assert LinearRamp(1.0, 2.0)(0) == 1.0


def test_the_thresholds_of_training_and_inference_agree_by_default() -> None:
    assert InferenceConfig().tau_train == LossConfig().tau_train == TrainingConfig().tau_train_max
    assert InferenceConfig() == InferenceConfig(tau_infer=1e-6, tau_train=1e-4, gauge="raw")
    assert (LossConfig().fit, LossConfig().gamma) == ("chordal", 1e-9)
    assert LossConfig().target_coverage == 0.95


@pytest.mark.parametrize("name", ["use_amp", "mixed_precision"])
@pytest.mark.parametrize("on", [True, False, None])
def test_two_names_of_one_option_agree_after_construction(name: str, on: bool | None) -> None:
    config = TrainingConfig(**{name: on})
    assert config.mixed_precision is bool(on)
    if name == "mixed_precision":
        assert dataclasses.replace(config, use_amp=True).mixed_precision is True
    with pytest.raises(ValueError, match="disagree; give one of them"):
        TrainingConfig(mixed_precision=True, use_amp=False)


def test_a_dtype_without_mixed_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="amp_dtype='bf16' has no effect without mixed precision"):
        TrainingConfig(amp_dtype="bf16")
    for name in ("use_amp", "mixed_precision"):
        off = TrainingConfig(amp_dtype="bf16", **{name: False})
        assert (off.mixed_precision, off.autocast_dtype) == (False, torch.bfloat16)
    assert TrainingConfig(use_amp=True).autocast_dtype == torch.float16


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fit", "cosine"),
        ("gamma", 0.0),
        ("lambda_sign", -1.0),
        ("lambda_rej", float("nan")),
        ("lambda_margin", float("inf")),
        ("target_coverage", 2.0),
        ("tau_train", float("nan")),
    ],
)
def test_loss_options_are_checked(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        LossConfig(**{name: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau_infer": 1.0, "tau_train": 0.5}, "tau_infer .* must not exceed tau_train"),
        ({"tau_infer": -1.0}, r"tau_infer must be in \[0, ∞\), got -1"),
        ({"gauge": "metric"}, "gauge must be 'raw' or 'unit'"),
    ],
)
def test_inference_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InferenceConfig(**options)


def test_a_device_is_kept_as_one() -> None:
    assert TrainingConfig(device="cpu").device == torch.device("cpu")


def test_a_curriculum_holds_numbers_and_functions() -> None:
    curriculum = LossWeightsCurriculum({"fit": 2, "sign": LinearRamp(0.0, 1.0, end_epoch=2)})
    assert curriculum(1) == {"fit": 2.0, "sign": 0.5}


def test_ramps_are_checked() -> None:
    with pytest.raises(ValueError, match="end_epoch must be > start_epoch"):
        LinearRamp(0.0, 1.0, end_epoch=0)
    with pytest.raises(ValueError, match="start_epoch must be"):
        LinearRamp(0.0, 1.0, start_epoch=-1)
    ramp = LinearRamp(2.0, 1.0, start_epoch=3, end_epoch=5)
    assert [ramp(epoch) for epoch in range(7)] == [2.0, 2.0, 2.0, 2.0, 1.5, 1.0, 1.0]


def test_precision_that_the_device_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.helpers import make_trainer, small_model

    monkeypatch.setattr(torch.amp.autocast_mode, "is_autocast_available", lambda device: False)
    with pytest.raises(RuntimeError, match=r"amp_dtype bf16 is not available on .*cpu"):
        make_trainer(small_model(), [], use_amp=True, amp_dtype="bf16")


@pytest.mark.parametrize("ends", [(0.3, 0.003), (7.0, 7.0), (1e-300, 1e300)])
def test_a_geometric_ramp_begins_and_ends_with_its_values(ends: tuple[float, float]) -> None:
    ramp = GeometricRamp(*ends, start_epoch=2, end_epoch=6)
    assert (ramp(0), ramp(2), ramp(6), ramp(9)) == (ends[0], ends[0], ends[1], ends[1])
    assert ramp(4) == pytest.approx((ends[0] * ends[1]) ** 0.5, rel=1e-15)
