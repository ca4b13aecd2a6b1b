"""ARG by ``zeroproof``: calls with right arguments, but for one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader

from properties.subjects.tasks import mean_square, ones, surroundings
from properties.subjects.zeroproof.replays import Numbers
from properties.subjects.zeroproof.unchecked import unchecked
from spec.refusals import Refusal
from zeroproof import inference, losses
from zeroproof.autodiff import register_policy
from zeroproof.inference import InferenceConfig, SCMInferenceWrapper
from zeroproof.layers import FreeHead, ProjectiveMLP, ProjectiveRationalHead, SCMRationalLayer
from zeroproof.scm import bottom_mask
from zeroproof.training.batches import TensorBatches
from zeroproof.training.targets import lift_targets, orientation
from zeroproof.training.thresholds import perturbed_threshold
from zeroproof.training.trainer import SCMTrainer, TrainingConfig


class Told(Numbers):
    """A data set that is to be told of each epoch."""

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


def _default(layer: Any, policy: str) -> None:
    register_policy(layer, policy)
    register_policy(layer, None)


def _validate(val_loader: Any) -> None:
    with torch.random.fork_rng():
        model = nn.Linear(2, 1)
    optimizer, config = SGD(model.parameters()), TrainingConfig(val_loader=val_loader)
    SCMTrainer(model, optimizer, mean_square, ones(1), config=config).validate()


def _called(kind: Any, name: str) -> Callable[..., object]:
    def call(**given: Any) -> object:
        inputs = given.pop(name)
        with torch.random.fork_rng():  # which draws first parameters
            made = kind(**given)
        return made(inputs)

    return call


def _composite(config: Any, **given: Any) -> None:
    losses.SCMTrainingLoss(config)(**given)


def _wrapped(model: Any) -> object:
    found = SCMInferenceWrapper(model).eval()(torch.ones(1, 2))
    model.train()
    return found


def _rational(x: Any, **given: Any) -> None:
    ProjectiveRationalHead(**given)(x)
    SCMRationalLayer(**given)(x)


def _right(operation: str) -> tuple[Callable[..., object], dict[str, Any], nn.Module]:
    """Return an operation with right arguments, and a model that no refusal may change."""
    x, mask, model = torch.tensor([1.0, 0.5]), torch.tensor([True, False]), ProjectiveMLP(2)
    P: dict[str, Any] = {"P": x, "Q": x.clone()}
    Y = {**P, "Y_n": x.clone(), "Y_d": x.clone()}
    ends = {"lower": (x, x), "upper": (x, x)}
    rows = {**P, "targets": torch.tensor([1.0, math.inf])}
    members = {name: part[None, :, None] for name, part in P.items()}
    counted, tau, pairs = {"mask": mask}, {"tau": 0.1}, torch.ones(3, 2)
    sizes = {"in_features": 2, "out_features": 2}
    parts = {"model": model, "optimizer": SGD(model.parameters()), "train_loader": ones(1)}
    parts |= {"loss_fn": mean_square, "scheduler": None, "config": None}
    operations: dict[str, tuple[Callable[..., object], dict[str, Any]]] = {
        "chordal_loss": (losses.chordal_loss, Y | counted),
        "implicit_loss": (losses.implicit_loss, Y | counted | {"gamma": 1.0}),
        "squares_loss": (losses.squares_loss, Y | counted | tau),
        "sign_consistency_loss": (losses.sign_consistency_loss, Y | {"oriented": mask}),
        "margin_loss": (losses.margin_loss, {"Q": x} | counted | tau),
        "rejection_loss": (losses.rejection_loss, P | counted | tau | {"target_coverage": 0.5}),
        "likelihood_loss": (losses.likelihood_loss, Y | counted | {"resolution": 0.1}),
        "interval_loss": (losses.interval_loss, P | ends | {"resolution": 0.1}),
        "training loss": (_composite, {"config": None, "outputs": (x, x), "lifted": (x, x),
                                       "loss_weights": {"fit": 1.0}, "targets": x} | tau),
        "certainty": (inference.certainty, P),
        "median_and_scale": (inference.median_and_scale, P),
        "combine_tuples": (inference.combine_tuples, {**members, "weights": x[None]}),
        "choose_threshold": (inference.choose_threshold, {**rows, "unit": 1.0}),
        "certify_threshold": (inference.certify_threshold,
                              {**rows, "rate": 0.9, "confidence": 0.5}),
        "bottom_mask": (bottom_mask, {"outputs": (x, x), "tau": 0.75}),
        "lift_targets": (lift_targets, {"y": rows["targets"]}),
        "orientation": (orientation, {"y": rows["targets"]}),
        "coverage": (losses.coverage, {"outputs": (x, x), "is_bottom": mask} | tau),
        "probability": (inference.probability, P | ends),
        "central_interval": (inference.central_interval, P | {"level": 0.5}),
        "strict_inference": (inference.strict_inference, P | {"config": InferenceConfig()}),
        "inference wrapper": (_wrapped, {"model": model}),
        "projective head": (_called(FreeHead, "features"),
                            sizes | {"shared_denominator": False, "features": pairs}),
        "network": (_called(ProjectiveMLP, "x"),
                    {"in_features": 2, "input_scale": 1.0, "hidden": (3,), "x": pairs}),
        "rational head": (_rational, {"numerator_degree": 2, "denominator_degree": 1,
                                      "domain": (0.0, 8.0), "x": x}),
        "default policy": (_default, {"layer": type("Own", (nn.Module,), {}), "policy": "clamp"}),
        "tensor batches": (TensorBatches, {"inputs": x, "targets": x.clone(), "batch_size": 2}),
        "drawn threshold": (perturbed_threshold, {"tau_min": 0.1, "tau_max": 1.0}),
        "trainer": (SCMTrainer, parts),
        "configuration": (TrainingConfig, {}),
        "validation": (_validate, {"val_loader": ones(1)}),
    }  # fmt: skip
    return *operations[operation], model


WRONG: Final[dict[str, Any]] = {
    "text": "one", "a list": [1.0, 0.5], "integers": torch.tensor([1, 0]), "negative": -1,
    "numbers": torch.ones(2), "NaN": math.nan, "zero": 0, "fraction": 1.5, "none": None,
    "negative numbers": -torch.ones(1, 2),
    "a vector of one number": torch.ones(1), "another width": torch.ones(3, 4),
    "no pair": torch.ones(2),
    "another precision": torch.ones(3, 2, dtype=torch.float64),
    "a function": torch.tanh, "of one output": nn.Linear(2, 1), "keyword": 0.5,
    "crossed ends": (1.0, 0.0), "equal ends": (1.0, 1.0), "an infinite end": (0.0, math.inf),
    "three numbers": (0.0, 1.0, 2.0), "a class of no policy": nn.Linear,
    "the name of a class": "SCMRationalLayer",
}  # fmt: skip


def _wrong(wrong: str, argument: str, right: Any) -> Any:
    if wrong == "another shape":
        like = right[0] if isinstance(right, tuple) else right
        other = torch.ones(3, dtype=like.dtype)
        return (other, other) if isinstance(right, tuple) else other
    if wrong == "a class":
        return {"optimizer": SGD, "scheduler": StepLR}.get(argument, TrainingConfig)
    if wrong == "another optimizer's":
        return StepLR(SGD(nn.Linear(2, 1).parameters()), 1)
    if wrong == "an epoch that workers keep":
        return DataLoader(Told(), 3, num_workers=1, persistent_workers=True)
    return WRONG[wrong]


class ZeroProofRefusals:
    """Calls, and what surrounds them."""

    def refuse(self, operation: str, argument: str = "", wrong: str = "") -> Refusal:
        with unchecked():
            call, given, model = _right(operation)
            if argument:
                given[argument] = _wrong(wrong, argument, given.get(argument))
            before, error = _seen(model, given), None
            try:
                call(**given)
            except Exception as raised:
                error = raised
            after = _seen(model, given)
        return Refusal(error, tuple(name for name in before if before[name] != after[name]))


PLAIN: Final = Tensor, tuple, list, dict


def _seen(model: nn.Module, given: dict[str, Any]) -> dict[str, str]:
    return surroundings(model) | {
        "parameters": repr([p.tolist() for p in model.parameters()]),
        "arguments": repr([x for x in given.values() if isinstance(x, PLAIN)]),
    }
