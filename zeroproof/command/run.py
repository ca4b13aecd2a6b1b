"""A run's folder: what was trained, and how to use it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

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
        mean, std = _statistics(features)
        target_mean, target_std = _statistics(targets[targets.isfinite()])
        return cls(mean.tolist(), std.tolist(), target_mean.item(), target_std.item())

    def features(self, x: Tensor) -> Tensor:
        """Return standardised features, float32."""
        mean, std = torch.tensor(self.mean).double(), torch.tensor(self.std).double()
        return ((x - mean) / std).float()

    def targets(self, y: Tensor) -> Tensor:
        """Return standardised targets, float32; ±∞ and NaN stay what they are."""
        return ((y - self.target_mean) / self.target_std).float()

    def values(self, standardised: Tensor) -> Tensor:
        """Bring standardised values back to the target's unit, float64."""
        return self.target_std * standardised.double() + self.target_mean


def _statistics(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation along the rows; the deviation of a constant is 1."""
    # The computed deviation of a constant such as 0.1 may be a rounding error above 0.
    constant = numbers.amax(dim=0) == numbers.amin(dim=0)
    std = numbers.std(dim=0, correction=0)
    return numbers.mean(dim=0), std.where(~constant & (std > 0), 1.0)


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
    head: str


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
    hidden: tuple[int, ...] = (64, 64)

    def new_model(self) -> ProjectiveMLP:
        """Return an untrained model of this run's shape."""
        return ProjectiveMLP(len(self.features), hidden=self.hidden, head=self.options.head)

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
            values["hidden"] = tuple(values["hidden"])
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
        state = read_checkpoint(folder / "checkpoint.pt")
        try:
            model.load_state_dict(state["model"])
        except (RuntimeError, KeyError) as error:
            raise UserError(f"{folder}: checkpoint.pt does not fit config.json") from error
        return self.decode(model, table.matrix(self.features), self.tau_infer)

    def tuples(self, model: torch.nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run a model on features in their own units; return tuples of standardised targets."""
        device = next(model.parameters()).device
        with torch.no_grad():
            P, Q = model.eval()(self.scale.features(x).to(device))
        return P.double().cpu(), Q.double().cpu()

    def decode(self, model: torch.nn.Module, x: Tensor, tau_infer: float) -> Predictions:
        """Run a model on features in their own units, and decode strictly."""
        P, Q = self.tuples(model, x)
        config = InferenceConfig(tau_infer=tau_infer, tau_train=tau_infer, gauge=self.gauge)
        # In the standardised unit, so that nothing depends on the one the target came in: an
        # offset μ would add μQ to P, and drown both the denominator and the sign of the pole.
        decoded = strict_inference(P, Q, config)
        value = self.scale.values(decoded.value)
        denominator = torch.nan_to_num(unit_denominator(P, Q))
        return Predictions(decoded._replace(value=value), torch.sign(P), denominator)


@dataclass(frozen=True)
class Predictions:
    """Values in the target's unit; the sign of ``P``, a pole's orientation; denominators.

    The denominators are ``|Q| / ‖(P, Q)‖`` of the tuples of standardised targets.
    """

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
