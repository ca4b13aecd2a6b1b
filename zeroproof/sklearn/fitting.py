"""Robust scales, and the training of an ensemble that stops by rows its networks left out."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from zeroproof.layers.ensemble import ProjectiveEnsemble
from zeroproof.losses.weighted import Weighed, WeightedLikelihood
from zeroproof.training import SCMTrainer, TensorBatches, TrainingConfig
from zeroproof.training.batches import map_tensors
from zeroproof.training.targets import Targets

Array: TypeAlias = NDArray[np.float64]
CHUNK = 4096  # rows of one forward without a gradient


def robust_scale(values: Array, weights: Array | None) -> tuple[Array, Array]:
    """Return medians and robust deviations of columns; 1 for the deviation of a constant."""
    low, centre, high = np.quantile(
        values, [0.25, 0.5, 0.75], axis=0, weights=weights, method="inverted_cdf"
    )
    deviation, rough = (high - low) / 1.349, values.std(axis=0)
    deviation = np.where(deviation > 1e-9 * rough, deviation, rough)
    constant = (values.max(axis=0) == values.min(axis=0)) | ~(deviation > 0)
    return centre, np.where(constant, 1.0, deviation)


def finite_part(lower: Array, upper: Array) -> Array:
    """Return the middles of intervals, of half-open ones the finite end, else ±∞ or NaN."""
    middle = np.where(lower == upper, lower, lower / 2 + upper / 2)
    return np.where(np.isfinite(middle), middle, np.where(np.isfinite(lower), lower, upper))


def r_squared(found: Array, lower: Array, upper: Array, weight: Array) -> float:
    """Return R² of predictions, (rows, outputs), by their distances to intervals.

    Targets without a finite end do not count.
    """
    known = finite_part(lower, upper)
    finite = np.isfinite(known)
    weights = weight[:, None] * finite
    mean = np.average(np.where(finite, known, 0.0), axis=0, weights=weights)
    missed, spread = (
        (weights * np.where(finite, guess - np.clip(guess, lower, upper), 0.0) ** 2).sum(axis=0)
        for guess in (found, np.broadcast_to(mean, found.shape))
    )
    return float(np.mean(np.where(spread > 0, 1.0 - missed / np.maximum(spread, 1e-300), 0.0)))


def held_out(rows: int, members: int, share: float, groups: Any, seed: int) -> NDArray[np.bool_]:
    """Return which rows each member leaves out, (rows, members); rows of a group together."""
    splitter = ShuffleSplit if groups is None else GroupShuffleSplit
    parts = splitter(members, test_size=share, random_state=seed)
    held = np.zeros((rows, members), dtype=bool)
    for member, (_, left_out) in enumerate(parts.split(held, groups=groups)):
        held[left_out, member] = True
    return held


class EarlyStopping:
    """A log hook that keeps the best epoch's weights, and stops after some epochs without a better.

    Args:
        model: what is trained.
        patience: epochs without a better one that stop training.
    """

    def __init__(self, model: nn.Module, patience: int) -> None:
        self.model, self.patience = model, patience
        self.trainer: SCMTrainer | None = None
        self.least, self.best_epoch, self.weights = math.inf, 0, model.state_dict()
        self.history: dict[str, list[float]] = {"loss": [], "val_loss": []}
        self._total = self._samples = 0.0

    def __call__(self, record: dict[str, float]) -> None:
        """Take a micro-batch's record, or a validation's."""
        if "val_loss" not in record:
            self._total += record["samples"] * record["loss"]
            self._samples += record["samples"]
            return
        self.history["loss"].append(self._total / self._samples)
        self.history["val_loss"].append(record["val_loss"])
        self._total = self._samples = 0.0
        epoch = len(self.history["loss"])
        if record["val_loss"] < self.least:
            self.least, self.best_epoch = record["val_loss"], epoch
            self.weights = copy.deepcopy(self.model.state_dict())
        elif epoch - self.best_epoch >= self.patience and self.trainer is not None:
            self.trainer.stopped = True


def adam(network: ProjectiveEnsemble, rate: float, decay: float | None) -> torch.optim.Optimizer:
    """Return an optimizer that shrinks gates and first weights more than the others."""
    features = network.gates.shape[-1]
    decay = min(max(5e-5 * features, 1e-4), 1e-2) if decay is None else decay
    selecting = [network.gates, network.weights[0]]
    others = [*network.weights[1:], *network.biases]
    groups = [
        {"params": selecting, "weight_decay": decay / rate},
        {"params": others, "weight_decay": 1e-4 / rate},
    ]
    return torch.optim.AdamW(groups, lr=rate)


def train_ensemble(
    network: ProjectiveEnsemble,
    rows: tuple[Tensor, Tensor, Targets],
    validated: tuple[Tensor, Tensor],
    *,
    seed: int,
    batch_size: int | None,
    epochs: int | None,
    patience: int,
    rate: float,
    decay: float | None,
    options: Mapping[str, Any],
) -> EarlyStopping:
    """Train; the network then has the weights of the best epoch.

    Args:
        network: the ensemble.
        rows: inputs, the weight of each row for each member, and targets.
        validated: numbers of the rows to validate, and their weights for each member.
        seed: of the order of the rows.
        batch_size, epochs, rate, decay, patience: as the regressor says.
        options: more of the trainer's.
    """
    x, weights, targets = rows
    size = batch_size or int(np.clip(2 ** round(math.log2(len(x) / 15)), 32, 512))
    loader = TensorBatches((x, weights / weights.mean()), targets, batch_size=size, seed=seed)
    chosen, held = validated
    inputs = x[chosen], held / held.mean()
    targets = map_tensors(targets, lambda part: part[chosen])
    validation = TensorBatches(inputs, targets, batch_size=CHUNK, shuffle=False)
    epochs = epochs or int(np.clip(4000 / len(loader), 20, 400))
    optimizer = adam(network, rate, decay)
    best = EarlyStopping(model := Weighed(network), patience)
    own = {"max_epochs": epochs, "val_loader": validation, "log_hook": best, "seed": seed}
    config = TrainingConfig(**{"history_limit": 1, **options, **own})
    steps, loss = CosineAnnealingLR(optimizer, epochs * len(loader)), WeightedLikelihood()
    best.trainer = SCMTrainer(model, optimizer, loss, loader, scheduler=steps, config=config)
    best.trainer.fit()
    model.load_state_dict(best.weights)
    return best
