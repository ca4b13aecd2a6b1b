"""A run's folder: what was trained, and how to use it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from zeroproof.command.table import Table, UserError
from zeroproof.inference import Decoded, InferenceConfig, strict_inference, unit_denominator
from zeroproof.layers import ProjectiveMLP
from zeroproof.training.checkpoint import read_checkpoint
from zeroproof.training.targets import lift_targets


@dataclass(frozen=True)
class Scale:
    """Means and standard deviations of the training part, which standardise what follows.

    Args:
        mean, std: of the features.
        target_mean, target_std: of the finite targets, in the target's unit.
    """

    mean: list[float]
    std: list[float]
    target_mean: float
    target_std: float

    @classmethod
    def of(cls, features: Tensor, targets: Tensor) -> Scale:
        """Return the statistics of a training part; a constant column has deviation 1."""
        known = targets[targets.isfinite()]
        std, target_std = features.std(dim=0, correction=0), known.std(correction=0)
        return cls(
            features.mean(dim=0).tolist(),
            std.where(std > 0, 1.0).tolist(),
            known.mean().item(),
            target_std.where(target_std > 0, 1.0).item(),
        )

    def features(self, x: Tensor) -> Tensor:
        """Return standardised features, float32."""
        mean, std = torch.tensor(self.mean).double(), torch.tensor(self.std).double()
        return ((x - mean) / std).float()

    def targets(self, y: Tensor) -> Tensor:
        """Return standardised targets, float32; ±∞ and NaN stay what they are."""
        return ((y - self.target_mean) / self.target_std).float()

    def tuples(self, P: Tensor, Q: Tensor) -> tuple[Tensor, Tensor]:
        """Bring tuples of standardised targets back to the target's unit, float64.

        ``y = σ·t + μ`` takes ``P/Q`` to ``(σP + μQ)/Q``, at a pole too.
        """
        P, Q = P.double(), Q.double()
        return self.target_std * P + self.target_mean * Q, Q


@dataclass(frozen=True)
class Options:
    """What the user chose; a resumed run must have the same."""

    data: str
    target: str
    epochs: int
    batch_size: int
    lr: float
    seed: int
    device: str
    amp: str


@dataclass(frozen=True)
class Run:
    """Everything that prediction needs beside the weights; ``config.json`` holds it."""

    version: str
    options: Options
    data_sha256: str
    features: list[str]
    scale: Scale
    tau_infer: float | None = None
    gauge: str = "unit"
    model: dict[str, Any] = field(default_factory=lambda: {"hidden": [64, 64], "head": "pole"})

    def new_model(self) -> ProjectiveMLP:
        """Return an untrained model of this run's shape."""
        return ProjectiveMLP(len(self.features), **self.model)

    def write(self, folder: Path) -> None:
        """Write ``config.json``."""
        text = json.dumps(dataclasses.asdict(self), indent=2, allow_nan=False)
        (folder / "config.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Read ``config.json``; UserError if there is none or it is damaged."""
        path = folder / "config.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            values["options"] = Options(**values["options"])
            values["scale"] = Scale(**values["scale"])
            return cls(**values)
        except OSError as error:
            raise UserError(f"{folder} holds no run ({error.strerror}: config.json)") from error
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path} is damaged ({error})") from error

    def predict(self, folder: Path, table: Table) -> Predictions:
        """Return predictions for a table's rows, with the weights of the checkpoint."""
        if self.tau_infer is None:
            raise UserError(f"the run in {folder} is not finished; go on with train --resume")
        model = self.new_model()
        model.load_state_dict(read_checkpoint(folder / "checkpoint.pt")["model"])
        return self.decode(model, table.matrix(self.features), self.tau_infer)

    def decode(self, model: torch.nn.Module, x: Tensor, tau_infer: float) -> Predictions:
        """Run a model on features in their own units, and decode strictly."""
        device = next(model.parameters()).device
        with torch.no_grad():
            P, Q = model.eval()(self.scale.features(x).to(device))
        P, Q = self.scale.tuples(P.cpu(), Q.cpu())
        config = InferenceConfig(tau_infer=tau_infer, tau_train=tau_infer, gauge=self.gauge)
        return Predictions(
            strict_inference(P, Q, config), torch.sign(P), torch.nan_to_num(unit_denominator(P, Q))
        )


@dataclass(frozen=True)
class Predictions:
    """Decoded values, the sign of ``P`` (the orientation of a pole), and unit denominators."""

    decoded: Decoded
    sign: Float64[Tensor, " rows"]
    denominator: Float64[Tensor, " rows"]


@dataclass(frozen=True)
class Quality:
    """How predictions compare with measurements; a fraction of nothing is NaN.

    Args:
        finite, singular, oriented: numbers of measurements of each kind (±∞ is oriented).
        false_finite: fraction of the singular ones decoded to a number.
        false_bottom: fraction of the finite ones decoded to ⊥.
        error: mean absolute error where both are numbers, in the target's unit.
        orientation: fraction of the oriented ones, decoded to ⊥, whose sign is right.
    """

    finite: int
    singular: int
    oriented: int
    false_finite: float
    false_bottom: float
    error: float
    orientation: float

    @classmethod
    def of(cls, predictions: Predictions, y: Tensor) -> Quality:
        """Compare predictions with measurements ``y``."""
        value, bottom, _ = predictions.decoded
        finite = lift_targets(y)[1] != 0
        poles = y.isinf() & bottom
        return cls(
            int(finite.sum()),
            int((~finite).sum()),
            int(y.isinf().sum()),
            (~bottom)[~finite].double().mean().item(),
            bottom[finite].double().mean().item(),
            (value - y)[finite & ~bottom].abs().mean().item(),
            (predictions.sign == y.sign())[poles].double().mean().item(),
        )


def choose_threshold(denominator: Tensor, finite: Tensor) -> float:
    """Return the threshold with the smallest larger one of the two error rates.

    A threshold τ decodes to ⊥ what has a denominator below it: wrongly so for finite targets,
    rightly for singular ones. Ties go to the smaller sum of the rates, then to the middle of the
    widest interval.

    Args:
        denominator: unit denominators, in [0, 1].
        finite: True where the target is a number.
    """
    order = denominator.argsort()
    edges = torch.cat([torch.zeros(1), denominator[order], torch.ones(1)])
    width = edges[1:] - edges[:-1]
    below = torch.cat([torch.zeros(1), finite[order].double().cumsum(0)])
    rejected = torch.cat([torch.zeros(1), (~finite)[order].double().cumsum(0)])
    false_bottom = below / max(int(finite.sum()), 1)
    false_finite = 1 - rejected / rejected[-1] if rejected[-1] > 0 else torch.zeros_like(below)
    larger, total = torch.maximum(false_bottom, false_finite), false_bottom + false_finite
    # Equal denominators cannot be told apart, so an interval without width is no choice.
    ranked = [k for k in range(len(width)) if width[k] > 0]
    best = min(ranked, key=lambda k: (larger[k].item(), total[k].item(), -width[k].item()))
    return ((edges[best] + edges[best + 1]) / 2).item()
