"""Robust scales, and the training of an ensemble that stops by rows its networks left out."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping
from typing import Any, TypeAlias

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from zeroproof.layers.ensemble import ProjectiveEnsemble
from zeroproof.losses.weighted import Weighed, WeightedLikelihood
from zeroproof.training import SCMTrainer, TensorBatches, TrainingConfig
from zeroproof.training.batches import map_tensors
from zeroproof.training.checkpoint import checkpoints
from zeroproof.training.config import LogHook
from zeroproof.training.state import save_latest
from zeroproof.training.targets import Targets, ends

Array: TypeAlias = NDArray[np.float64]
CHUNK = 4096  # rows of one forward without a gradient
SECONDS_BETWEEN_CHECKPOINTS = 5.0
STATE = "least", "best_epoch", "weights", "history", "fingerprint"


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

    Where the trainer has a ``checkpoint_dir`` it also saves, now and then and at the end.

    Args:
        patience: epochs without a better one that stop training.
        history: takes ``loss`` and ``val_loss`` of each epoch.
        fingerprint: what a fit must have in common with one that it continues.
    """

    def __init__(self, patience: int, history: dict[str, list[float]], fingerprint: str) -> None:
        self.patience, self.history, self.fingerprint = patience, history, fingerprint
        self.trainer: SCMTrainer
        self.log_hook: LogHook | None = None
        self.least, self.best_epoch, self.weights = math.inf, 0, dict[str, Any]()
        self._saved = time.monotonic()

    def __call__(self, record: dict[str, float]) -> None:
        """Take a micro-batch's record, or a validation's."""
        trainer = self.trainer
        if "val_loss" in record:
            self.history["loss"].append(trainer.records.totals.record()["loss"])
            self.history["val_loss"].append(record["val_loss"])
            epoch = len(self.history["loss"])
            if record["val_loss"] < self.least or not self.weights:
                self.least, self.best_epoch = record["val_loss"], epoch
                self.weights = copy.deepcopy(trainer.model.state_dict())
            trainer.stopped |= epoch - self.best_epoch >= self.patience
            done = trainer.stopped or trainer.epoch == trainer.config.max_epochs
            if done or time.monotonic() - self._saved > SECONDS_BETWEEN_CHECKPOINTS:
                save_latest(trainer)
                self._saved = time.monotonic()
        if self.log_hook is not None:
            self.log_hook(record)

    def fit(self) -> None:
        """Train, from the latest checkpoint if there is one; the model gets the best weights."""
        trainer = self.trainer
        if (folder := trainer.config.checkpoint_dir) is not None and checkpoints(folder):
            trainer.load_checkpoint(folder)
        if not trainer.stopped and len(self.history["loss"]) < trainer.config.max_epochs:
            trainer.fit()
        trainer.model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it."""
        return {name: getattr(self, name) for name in STATE}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; ValueError for that of another fit."""
        if state["fingerprint"] != self.fingerprint:
            raise ValueError("checkpoint_dir has a fit of other rows or options")
        self.history.update(state["history"])  # the same dict, which hooks may read
        self.least, self.best_epoch, self.weights = (state[name] for name in STATE[:3])


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
    rows: tuple[Tensor, Tensor, Tensor, Targets],
    validated: Tensor,
    history: dict[str, list[float]],
    params: dict[str, Any],
    seed: int,
) -> int:
    """Train; the network then has the weights of the best epoch, whose number is returned.

    Args:
        network: the ensemble.
        rows: inputs, weights for each member to train and to validate with, and targets.
        validated: numbers of the rows to validate.
        history: takes the losses of each epoch.
        params: the regressor's.
        seed: of the order of the rows.
    """
    x, weights, held, targets = rows
    size = params["batch_size"] or int(np.clip(2 ** round(math.log2(len(x) / 15)), 32, 512))
    loader = TensorBatches((x, weights / weights.mean()), targets, batch_size=size, seed=seed)
    epochs = params["max_epochs"] or int(np.clip(4000 / len(loader), 20, 400))
    same = params | {"max_epochs": 0, "trainer_options": 0, "random_state": seed}
    arrays = [part.numpy() for part in (x, weights, held, *ends(targets), validated)]
    best = EarlyStopping(params["n_iter_no_change"], history, joblib.hash([same, arrays]))
    options = {"history_limit": 1, **(params["trainer_options"] or {}), "seed": seed}
    best.log_hook = options.get("log_hook")
    options["extra_state"] = {**(options.get("extra_state") or {}), "best": best}
    held, targets = held[validated], map_tensors(targets, lambda part: part[validated])
    inputs = x[validated], held / held.mean()
    options["val_loader"] = TensorBatches(inputs, targets, batch_size=CHUNK, shuffle=False)
    config = TrainingConfig(**options | {"max_epochs": epochs, "log_hook": best})
    optimizer = adam(network, params["learning_rate"], params["weight_decay"])
    half = math.pi / (epochs * len(loader))
    # Not CosineAnnealingLR, whose length a checkpoint restores: a continued fit may be longer.
    cosine = LambdaLR(optimizer, lambda step: (1.0 + math.cos(half * step)) / 2)
    parts = Weighed(network), optimizer, WeightedLikelihood(), loader
    best.trainer = SCMTrainer(*parts, scheduler=cosine, config=config)
    best.fit()
    return best.best_epoch
