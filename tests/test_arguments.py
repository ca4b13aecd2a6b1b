"""Arguments of the wrong type or shape: which one, what came, what is allowed, what to do."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from zeroproof.autodiff import apply_policy, register_policy
from zeroproof.inference import (
    InferenceConfig,
    SCMInferenceWrapper,
    central_interval,
    certainty,
    certify_threshold,
    choose_threshold,
    probability,
    strict_inference,
    unit_denominator,
)
from zeroproof.layers import FreeHead, ProjectiveMLP, ProjectiveRationalHead, SCMRationalLayer
from zeroproof.losses import (
    LossConfig,
    SCMTrainingLoss,
    chordal_loss,
    coverage,
    implicit_loss,
    interval_loss,
    likelihood_loss,
    margin_loss,
    rejection_loss,
    sign_consistency_loss,
    squares_loss,
)
from zeroproof.scm import SCMTensor
from zeroproof.scm.outputs import tuple_bottom
from zeroproof.training import Interval, TensorBatches, TrainingConfig, lift_targets
from zeroproof.training.curriculum import GeometricRamp, LinearRamp, LossWeightsCurriculum
from zeroproof.training.thresholds import perturbed_threshold

pytestmark = pytest.mark.usefixtures("unchecked")

ONE, COLUMN, ARRAY = torch.ones(3), torch.ones(3, 1), np.ones(3, np.float32)
INTEGERS, COMPLEX, MASK = ONE.long(), ONE.to(torch.complex64), ONE.bool()
LIFTED = (ONE, ONE)

NUMBERS: list[tuple[str, Callable[[Any], Any]]] = [
    ("tau_train_min", lambda x: TrainingConfig(tau_train_min=x, tau_train_max=1.0)),
    ("tau_train_max", lambda x: TrainingConfig(tau_train_max=x)),
    ("coverage_threshold", lambda x: TrainingConfig(coverage_threshold=x)),
    ("max_grad_norm", lambda x: TrainingConfig(max_grad_norm=x)),
    (r"loss_weights\['fit'\]", lambda x: TrainingConfig(loss_weights={"fit": x})),
    ("tau_infer", lambda x: InferenceConfig(tau_infer=x, tau_train=1.0)),
    ("lower", lambda x: InferenceConfig(lower=x)),
    ("upper", lambda x: InferenceConfig(upper=x)),
    ("gamma", lambda x: LossConfig(gamma=x)),
    ("first_resolution", lambda x: LossConfig(first_resolution=x)),
    ("lambda_margin", lambda x: LossConfig(lambda_margin=x)),
    ("target_coverage", lambda x: LossConfig(target_coverage=x)),
    ("tau_train", lambda x: LossConfig(tau_train=x)),
    ("tau_max", lambda x: perturbed_threshold(0.0, x)),
    ("level", lambda x: central_interval(ONE, ONE, x)),
    ("rate", lambda x: certify_threshold(*[torch.ones(9)] * 2, torch.full((9,), math.inf), rate=x)),
    ("unit", lambda x: choose_threshold(ONE, ONE, torch.tensor([1.0, 2.0, math.inf]), unit=x)),
    ("gamma", lambda x: implicit_loss(ONE, ONE, ONE, ONE, gamma=x)),
    ("target_coverage", lambda x: rejection_loss(ONE, ONE, 0.1, target_coverage=x)),
    ("input_scale", lambda x: ProjectiveMLP(2, input_scale=x)),
    ("tau", lambda x: SCMRationalLayer(1, 1, tau=x)),
    ("start_value", lambda x: LinearRamp(x, 1.0)),
    ("end_value", lambda x: GeometricRamp(1.0, x)),
    (r"ramps\['fit'\]", lambda x: LossWeightsCurriculum({"fit": x})),
]
INTEGER_OPTIONS: list[tuple[str, Callable[[Any], Any]]] = [
    ("max_epochs", lambda n: TrainingConfig(max_epochs=n)),
    ("seed", lambda n: TrainingConfig(seed=n)),
    ("batch_size", lambda n: len(TensorBatches(ONE, ONE, batch_size=n))),
    ("seed", lambda n: [*TensorBatches(ONE, ONE, batch_size=1, seed=n)]),
    ("in_features", lambda n: ProjectiveMLP(n)),
    ("out_features", lambda n: ProjectiveMLP(2, n)),
    ("in_features", lambda n: FreeHead(n, 1)),
    ("a width of hidden", lambda n: ProjectiveMLP(2, hidden=(n,))),
    ("numerator_degree", lambda n: ProjectiveRationalHead(n, 1)),
    ("denominator_degree", lambda n: SCMRationalLayer(1, n)),
]
LOSSES: list[Callable[..., Tensor]] = [
    chordal_loss,
    implicit_loss,
    likelihood_loss,
    sign_consistency_loss,
    squares_loss,
]


@pytest.mark.parametrize(("name", "call"), NUMBERS)
def test_a_number_is_a_number(name: str, call: Callable[[Any], Any]) -> None:
    """NumPy's are taken, as in a sweep over ``np.linspace``; what only looks like one is not."""
    call(np.float32(0.5))
    for wrong in (True, "0.5", [0.5], torch.tensor(0.5), np.array([0.5]), 1j):
        with pytest.raises(TypeError, match=f"^{name} must be a number in .*, got .*; float"):
            call(wrong)
    with pytest.raises(ValueError, match=rf"^{name} must be in .*, got nan"):
        call(math.nan)


@pytest.mark.parametrize(("name", "call"), INTEGER_OPTIONS)
def test_an_integer_is_an_integer(name: str, call: Callable[[Any], Any]) -> None:
    call(np.int64(3))
    for wrong in (True, "3", 3.0, np.float64(3), torch.tensor(3), [3]):
        with pytest.raises(TypeError, match=f"^{name} must be an integer, got .*; int"):
            call(wrong)
    with pytest.raises(ValueError, match=rf"^{name} must be ≥ \d, got -1"):
        call(-1)


def test_numbers_of_numpy_are_kept_as_built_in_ones() -> None:
    """So that a checkpoint that holds them can be loaded."""
    config = TrainingConfig(
        max_epochs=np.int64(2),
        seed=np.int32(3),
        tau_train_max=np.float32(0.5),
        loss_weights={"fit": np.float64(0.5)},
    )
    kept = config.max_epochs, config.seed, config.tau_train_max, config.loss_weights["fit"]
    assert [type(x) for x in kept] == [int, int, float, float]
    assert type(InferenceConfig(tau_infer=np.float32(0.0)).tau_infer) is float
    assert TrainingConfig(checkpoint_dir=Path("runs")).checkpoint_dir == Path("runs")


@pytest.mark.parametrize("wrong", [ARRAY, [1.0] * 3, 1.0, None, "x", INTEGERS, MASK, COMPLEX])
def test_tuples_and_targets_are_tensors_of_floats(wrong: Any) -> None:
    message = "must be a floating-point tensor, got .*; convert it, as torch.as_tensor"
    for loss in LOSSES:
        for index, name in enumerate(("P", "Q", "Y_n", "Y_d")):
            parts: list[Any] = [ONE] * 4
            parts[index] = wrong
            with pytest.raises(TypeError, match=f"^{name} {message}"):
                loss(*parts)
    calls: list[Callable[..., Any]] = [
        lambda x: strict_inference(x, ONE),
        lambda x: unit_denominator(x, ONE),
        lambda x: certainty(x, ONE),
        lambda x: central_interval(x, ONE, 0.5),
        lambda x: choose_threshold(x, ONE, ONE),
        lambda x: probability(x, ONE, LIFTED, LIFTED),
        lambda x: tuple_bottom(x, ONE),
        lambda x: interval_loss(x, ONE, LIFTED, LIFTED),
        lambda x: rejection_loss(x, ONE, 0.1),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=f"^P {message}"):
            call(wrong)
    named: dict[str, Callable[..., Any]] = {
        "Q": lambda x: margin_loss(x, 0.1),
        "targets": lambda x: certify_threshold(ONE, ONE, x, rate=0.5),
        "payload": SCMTensor,
        "x": lambda x: apply_policy(x, MASK),
        r"lower\[0\]": lambda x: interval_loss(ONE, ONE, (x, ONE), LIFTED),
    }
    for name, call in named.items():
        with pytest.raises(TypeError, match=f"^{name} {message}"):
            call(wrong)


@pytest.mark.parametrize("wrong", [MASK.numpy(), [True] * 3, ONE, INTEGERS, True])
def test_a_mask_is_a_tensor_of_bool(wrong: Any) -> None:
    """Of integers, coverage was −2."""
    calls: dict[str, list[Callable[[Any], Any]]] = {
        "mask": [
            lambda m: chordal_loss(ONE, ONE, ONE, ONE, mask=m),
            lambda m: squares_loss(ONE, ONE, ONE, ONE, mask=m),
            lambda m: likelihood_loss(ONE, ONE, ONE, ONE, mask=m),
            lambda m: margin_loss(ONE, 0.1, mask=m),
            lambda m: rejection_loss(ONE, ONE, 0.1, mask=m),
        ],
        "oriented": [lambda m: sign_consistency_loss(ONE, ONE, ONE, ONE, oriented=m)],
        "is_bottom": [lambda m: coverage(ONE, m)],
        "bottom": [lambda m: SCMTensor(ONE, m), lambda m: apply_policy(ONE, m)],
    }
    for name, rows in calls.items():
        for call in rows:
            with pytest.raises(TypeError, match=f"^{name} must be a tensor of torch.bool, got"):
                call(wrong)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: unit_denominator(x, ONE),
        lambda x: tuple_bottom(x, ONE),
        lambda x: margin_loss(ONE, x),
        lambda x: rejection_loss(ONE, ONE, x),
        lambda x: squares_loss(ONE, ONE, ONE, ONE, tau=x),
        lambda x: coverage((ONE, ONE), tau=x),
        lambda x: SCMTrainingLoss()(LIFTED, LIFTED, tau=x),
        lambda x: SCMTrainingLoss()(LIFTED, LIFTED, loss_weights={"fit": x}),
        lambda x: likelihood_loss(ONE, ONE, ONE, ONE, resolution=x),
    ],
)
def test_a_column_is_never_broadcast_against_a_row(call: Callable[[Tensor], Any]) -> None:
    with pytest.raises(ValueError, match=r"\(3, 1\)"):
        call(COLUMN)


def test_tensors_on_two_devices_are_named() -> None:
    elsewhere = torch.ones(3, device="meta")
    with pytest.raises(ValueError, match=r"devices of P cpu, Q cpu, Y_n meta, Y_d cpu must be one"):
        chordal_loss(ONE, ONE, elsewhere, ONE)


def test_tuples_and_targets_of_two_precisions_count_as_the_wider() -> None:
    for loss in LOSSES:
        mixed = loss(ONE.double() * 2, ONE.double(), ONE, ONE)
        assert mixed == loss(*(x.double() for x in (ONE * 2, ONE, ONE, ONE)))
        assert mixed.dtype == torch.float64


MISTAKES: list[tuple[Callable[[], Any], str]] = [
    (lambda: TrainingConfig(loss_weights=[1.0]), r"^loss_weights must be a dict .*, got \[1.0\]"),
    (lambda: TrainingConfig(extra_state=FreeHead(1, 1)), "^extra_state must be a dict of objects"),
    (lambda: TrainingConfig(checkpoint_dir=1), "^checkpoint_dir must be a str or a Path, or None"),
    (lambda: TrainingConfig(scheduler_metric=3), "^scheduler_metric must be a name"),
    (lambda: TrainingConfig(log_hook=dict), "^log_hook must be .* an instance, .* the class dict"),
    (lambda: TrainingConfig(val_loader=ONE), "^val_loader must be a loader .*, got Tensor"),
    (lambda: TrainingConfig(val_loader="abc"), "^val_loader must be a loader .*, got 'abc'"),
    (lambda: SCMTrainingLoss("chordal"), r"^config must be an instance LossConfig\(...\)"),
    (lambda: SCMTrainingLoss(TrainingConfig()), "got an object of type TrainingConfig"),
    (lambda: strict_inference(ONE, ONE, 1e-3), r"must be an instance InferenceConfig\(...\)"),
    (lambda: SCMInferenceWrapper(lambda x: x), "^model must be a torch.nn.Module"),
    (lambda: SCMInferenceWrapper(FreeHead), "^model must be .* got the class FreeHead"),
    (lambda: SCMTrainingLoss()(LIFTED, ONE), r"^lifted must be a pair of tensors \(n, d\)"),
    (lambda: SCMTrainingLoss()(LIFTED, (ONE,) * 3), "^lifted must be a pair of tensors"),
    (lambda: SCMTrainingLoss()(LIFTED, (ARRAY, ARRAY)), "^lifted must be a pair .* ndarray"),
    (lambda: SCMTrainingLoss()(LIFTED, LIFTED, targets=ARRAY), "^targets must be a tensor"),
    (lambda: SCMTrainingLoss()(LIFTED, LIFTED, tau="0.1"), "^tau must be a number or a 0-d"),
    (lambda: SCMTrainingLoss()(LIFTED, LIFTED, loss_weights={"fit": 1j}), r"\['fit'\] must be a"),
    (lambda: SCMTrainingLoss()(LIFTED, LIFTED, loss_weights=[1.0]), "^loss_weights must be a dict"),
    (lambda: SCMTrainingLoss()((ARRAY, ARRAY), LIFTED), "returned tuple of ndarray, ndarray; exp"),
    (lambda: SCMTrainingLoss()((ONE, INTEGERS), LIFTED), "^Q must be a floating-point tensor"),
    (lambda: interval_loss(ONE, ONE, ONE, LIFTED), "^lower must be a pair of tensors"),
    (lambda: probability(ONE, ONE, LIFTED, ONE), r"^upper must be a pair .* lift_targets\(upper\)"),
    (lambda: probability(ONE, ONE, "1", 2.0), "^lower must be a pair of tensors"),
    (lambda: perturbed_threshold(0.0, 1.0, generator=0), "^generator must be a torch.Generator"),
    (lambda: lift_targets(ARRAY), "^y must be a tensor, as torch.as_tensor.*, got ndarray"),
    (lambda: lift_targets([1.0]), r"^y must be a tensor, .*, got \[1.0\]"),
    (lambda: lift_targets(Interval(ARRAY, ARRAY)), "^lower must be a tensor"),
    (lambda: lift_targets(Interval(ONE, 2.0)), r"^upper must be a tensor, .*, got 2.0"),
    (lambda: ProjectiveMLP(2)(np.ones((3, 2))), "^x must be a floating-point tensor, got ndarray"),
    (lambda: ProjectiveMLP(2)(torch.ones(3, 2).double()), "^x is of torch.float64, .* convert"),
    (lambda: ProjectiveMLP(2)(torch.ones(3, 2).long()), "^x must be a floating-point tensor"),
    (lambda: FreeHead(2, 1)(torch.ones(3, 2).half()), "^features is of torch.float16"),
    (lambda: ProjectiveMLP(2, hidden=8), "^hidden must be a tuple of widths"),
    (lambda: ProjectiveMLP(2, 3, shared_denominator="yes"), "^shared_denominator must be True"),
    (lambda: ProjectiveRationalHead(1, 1)([1.0]), "^x must be a tensor"),
    (lambda: SCMRationalLayer(1, 1)(COMPLEX), "^x must hold real numbers, got Tensor of"),
    (lambda: ProjectiveRationalHead(1, 1, domain="01"), "^domain must be two numbers"),
    (lambda: SCMTensor(ONE) + "x", "^an operand cannot be 'x'"),
    (lambda: SCMTensor(ONE) + 1j, "^an operand cannot be 1j"),
    (lambda: register_policy([FreeHead], "reject"), "^layer must be hashable"),
    (lambda: TensorBatches(COLUMN.numpy(), ONE, batch_size=2), "^inputs must be .* ndarray .*as_"),
    (lambda: TensorBatches(ONE, ARRAY, batch_size=2), "^targets must be tensors of samples, got"),
    (lambda: TensorBatches(ONE, torch.tensor(1.0), batch_size=2), "^targets must be tensors of"),
    (lambda: TensorBatches(ONE, ONE, batch_size=2, shuffle="no"), "^shuffle must be True or False"),
]


@pytest.mark.parametrize(("call", "message"), MISTAKES)
def test_what_is_of_another_type_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: InferenceConfig(tau_infer=1e-3), r"\(0.0001\); give both, since one"),
        (lambda: TrainingConfig(tau_train_min=1.0), r"\(1.0\) must not exceed .*; give both"),
        (lambda: TrainingConfig(device=1.5), r"^device 1.5 is unknown"),
        (lambda: TrainingConfig(device=["cpu"]), r"^device \['cpu'\] is unknown"),
        (lambda: ProjectiveMLP(0), "^in_features must be ≥ 1, got 0"),
        (lambda: ProjectiveMLP(2, 0), "^out_features must be ≥ 1, got 0"),
        (lambda: ProjectiveMLP(2)(torch.ones(3)), r"^x must have 2 features .* the shape \(3,\)"),
        (lambda: ProjectiveMLP(2, hidden=())(ONE), "^features must have 2 features"),
        (lambda: ProjectiveMLP(2, head=["free"]), "^head must be one of free, gated, pole"),
        (lambda: SCMRationalLayer(1, 1, gradient_policy=False), "policy False is unknown"),
        (lambda: SCMRationalLayer(1, 1, gradient_policy=""), "policy '' is unknown"),
    ],
)
def test_what_is_out_of_range_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
