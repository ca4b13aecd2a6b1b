"""Robust scales, and the training of an ensemble that stops by rows its networks left out."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from numbers import Real
from typing import Any, TypeAlias

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit
from sklearn.utils import check_array, check_consistent_length
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from zeroproof.sklearn.ensemble import ProjectiveEnsemble, WeightedLikelihood
from zeroproof.training import SCMTrainer, TensorBatches, TrainingConfig
from zeroproof.training.batches import map_tensors
from zeroproof.training.checkpoint import checkpoints
from zeroproof.training.config import LogHook
from zeroproof.training.state import save_latest
from zeroproof.training.targets import Targets, ends
from zeroproof.utils.checks import check_integer, check_number

Array: TypeAlias = NDArray[np.float64]
CHUNK = 4096  # rows of one forward without a gradient
SECONDS_BETWEEN_CHECKPOINTS = 5.0
NEUTRAL = {  # options of the trainer that a continued fit may change
    *("max_epochs", "log_hook", "extra_state", "progress", "history_limit"),
    *("checkpoint_dir", "checkpoint_every", "keep_checkpoints"),
}


def check_params(params: dict[str, Any]) -> None:
    """Raise TypeError or ValueError for a parameter of the regressor out of its range."""
    for name in ("n_estimators", "n_iter_no_change"):
        check_integer(name, params[name], 1)
    if (decay := params["weight_decay"]) is not None:
        check_number("weight_decay", decay, "[0, ∞)")
    limits = (-math.inf, math.inf) if params["limits"] is None else params["limits"]
    pair = isinstance(limits, (tuple, list)) and len(limits) == 2
    if not pair or not all(isinstance(end, Real) for end in limits) or not limits[0] < limits[1]:
        raise ValueError(
            f"limits must be two numbers (lowest, highest), ±inf for none, got {limits!r}"
        )
    options = params["trainer_options"] or {}
    if taken := {"max_epochs", "scheduler_step", "seed", "val_loader"} & {*options}:
        raise ValueError(
            f"trainer_options has {sorted(taken)}, which SCMRegressor sets itself; leave it "
            "out, and use max_epochs, random_state and validation_fraction"
        )
    if "best" in (options.get("extra_state") or {}):
        raise ValueError("extra_state has 'best', which SCMRegressor saves itself; rename it")
    if params["random_state"] is None and options.get("checkpoint_dir") is not None:
        raise ValueError(
            "a fit with a checkpoint_dir needs a random_state, got None; give a number, such as "
            "random_state=0, by which another call of fit can continue this one"
        )


def target_ends(X: Any, y: Any, y_upper: Any, *, shared: bool) -> list[Array]:
    """Return lower and upper ends, (rows, outputs); of exact targets the targets twice.

    Raises ValueError for ends of other shapes, or that cross.
    """
    if y is None:
        raise ValueError("SCMRegressor requires y to be passed, but the target y is None")
    ends = []
    for name, part in (("y", y), ("y_upper", y if y_upper is None else y_upper)):
        options = {"ensure_2d": False, "ensure_all_finite": False, "input_name": name}
        part = check_array(part, dtype=np.float64, **options)
        check_consistent_length(X, part)
        ends.append(part.reshape(len(part), -1))
    lower, upper = ends
    if lower.shape != upper.shape:
        raise ValueError(f"y has the shape {lower.shape}, y_upper {upper.shape}; it must be one")
    crossed = ~((lower <= upper) | (np.isnan(lower) & np.isnan(upper))).all(axis=1)
    if crossed.any():
        rows = f"{crossed.sum()} rows, the first is row {crossed.argmax()}"
        raise ValueError(f"y ≤ y_upper must hold, or both be NaN; it does not in {rows}")
    if lower.shape[1] > 1 and shared and (lower < upper).any():
        raise ValueError("intervals of several outputs need shared_denominator=False")
    # NaN is no end of an interval; as a target it is the same line as ∞ (LIFT-3).
    return ends if y_upper is None else [np.where(np.isnan(e), np.inf, e) for e in ends]


def by_row(name: str, end: Any, shape: Sequence[int]) -> Array:
    """Broadcast an end to (rows, outputs), one dimension by rows; ValueError for another shape."""
    end = np.asarray(end, dtype=np.float64)
    try:
        return np.broadcast_to(end[:, None] if end.ndim == 1 else end, shape)
    except ValueError:
        raise ValueError(
            f"{name} has the shape {end.shape}; give one number, one for each of {shape[0]} rows, "
            f"or what broadcasts to {tuple(shape)}, as [[0, 5]] with one for each of 2 outputs"
        ) from None


def robust_scale(values: Array, weights: Array) -> tuple[Array, Array]:
    """Return medians and robust deviations, 1 for a constant; ValueError for huge numbers."""
    rare = min(max(0.01, 1.5 / len(values)), 0.25)  # at least one row at each end
    shares = [rare, 0.25, 0.5, 0.75, 1 - rare]
    least, low, centre, high, most = np.quantile(
        values, shares, axis=0, weights=weights, method="inverted_cdf"
    )
    with np.errstate(over="ignore", invalid="ignore"):
        deviation, rough = (high - low) / 1.349, values.std(axis=0)
        # One huge number must not decide: by it all others would be the same.
        clipped = values.clip(least, most).std(axis=0)
    if not np.isfinite(deviation + rough).all():
        raise ValueError("a column has numbers too large to be scaled; take another unit for it")
    rough = np.where(clipped > 0, clipped, rough)
    deviation = np.where(deviation > 1e-9 * rough, deviation, rough)
    varies = (values.max(axis=0) > values.min(axis=0)) & (deviation > 0)
    return centre, np.where(varies, deviation, 1.0)


def finite_part(lower: Array, upper: Array) -> Array:
    """Return the middles of intervals, of half-open ones the finite end, else ±∞ or NaN."""
    with np.errstate(invalid="ignore"):  # of −∞ and ∞
        middle = np.where(lower == upper, lower, lower / 2 + upper / 2)
    return np.where(np.isfinite(middle), middle, np.where(np.isfinite(lower), lower, upper))


def target_scale(ends: list[Array], weight: Array) -> tuple[Array, Array]:
    """Return centre and unit of each output, by its finite ends; ValueError if it has none."""
    found = []
    for known in finite_part(*ends).T:
        finite = np.isfinite(known)
        if not finite.any():
            raise ValueError("y contains no finite target: infinity and NaN have no scale")
        found.append(robust_scale(known[finite, None], weight[finite]))
    centre, deviation = np.array(found)[..., 0].T
    return centre, 1.5 * deviation


def held_out(rows: int, members: int, share: float, groups: Any, seed: int) -> NDArray[np.bool_]:
    """Return which rows each member leaves out, (rows, members); rows of a group together."""
    splitter = ShuffleSplit if groups is None else GroupShuffleSplit
    parts = splitter(members, test_size=share, random_state=seed)
    held = np.zeros((rows, members), dtype=bool)
    for member, (_, left_out) in enumerate(parts.split(held, groups=groups)):
        held[left_out, member] = True
    return held


class EarlyStopping:
    """A log hook that keeps the best epoch's weights, and stops ``patience`` epochs after it.

    Where the trainer has a ``checkpoint_dir`` it also saves, now and then and at the end; a fit
    continues only one that has its ``fingerprint``. Another hook gets the epoch's loss, too, with
    each validation.
    """

    def __init__(self, patience: int, fingerprint: str, log_hook: LogHook | None) -> None:
        self.patience, self.fingerprint, self.log_hook = patience, fingerprint, log_hook
        self.trainer: SCMTrainer
        self.history: dict[str, list[float]] = {"loss": [], "val_loss": []}
        self.weights = dict[str, Any]()
        self._saved = time.monotonic()

    def __call__(self, record: dict[str, float]) -> None:
        """Take a micro-batch's record, or a validation's."""
        trainer, validations = self.trainer, self.history["val_loss"]
        validated = "val_loss" in record
        if validated:
            record = {**record, "loss": trainer.records.totals.record()["loss"]}
            for name, losses in self.history.items():
                losses.append(record[name])
            worse = len(validations) - 1 - validations.index(min(validations))
            if not worse:
                self.weights = copy.deepcopy(trainer.model.state_dict())
            trainer.stopped |= worse >= self.patience
        if self.log_hook is not None:  # first, lest a checkpoint be ahead of what it writes
            self.log_hook(record)
        if validated and time.monotonic() - self._saved > SECONDS_BETWEEN_CHECKPOINTS:
            save_latest(trainer)
            self._saved = time.monotonic()

    def fit(self) -> None:
        """Train, from the latest checkpoint if there is one; the model gets the best weights."""
        trainer = self.trainer
        if (folder := trainer.config.checkpoint_dir) is not None and checkpoints(folder):
            trainer.load_checkpoint(folder)
        made, wanted = len(self.history["loss"]), trainer.config.max_epochs
        if made > wanted:
            raise ValueError(
                f"checkpoint_dir has a fit of {made} epochs, more than max_epochs={wanted}; give "
                "another folder"
            )
        if not trainer.stopped and made < wanted:
            trainer.fit()
        trainer.model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it."""
        return {name: getattr(self, name) for name in ("fingerprint", "history", "weights")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; ValueError for that of another fit."""
        if state["fingerprint"] != self.fingerprint:
            raise ValueError("checkpoint_dir has a fit of other rows or options")
        self.history, self.weights = state["history"], state["weights"]


def adam(network: ProjectiveEnsemble, rows: int, params: Any) -> torch.optim.Optimizer:
    """Return an optimizer that shrinks gates and first weights less, the more rows there are."""
    rate, decay = params["learning_rate"], params["weight_decay"]
    check_number("learning_rate", rate, "(0, ∞)")
    usual = min(max(0.012 * network.gates.shape[-1] / max(rows, 240), 1e-4), 1e-2)
    first = [network.gates, network.weights[0]], usual if decay is None else decay
    others = [*network.weights[1:], *network.biases], 1e-4
    groups = [{"params": part, "weight_decay": share / rate} for part, share in (first, others)]
    return torch.optim.AdamW(groups, lr=rate)


def fingerprint(params: dict[str, Any], config: TrainingConfig, arrays: list[Any]) -> str:
    """Return a hash of what decides a fit, in which options that cannot be pickled do not count."""
    hashes = list[Any]()
    for name, option in sorted(vars(config).items()):
        if name not in NEUTRAL:
            with suppress(Exception):  # whatever a lambda, or what holds one, does to pickle
                hashes.append((name, joblib.hash(option)))
    # Limits are those of predictions alone.
    own = params | dict.fromkeys(("max_epochs", "trainer_options", "random_state", "limits"))
    own["hidden"] = [int(width) for width in own["hidden"]]
    return str(joblib.hash([own, hashes, arrays]))


def fit_network(
    network: ProjectiveEnsemble,
    rows: tuple[Tensor, Tensor, Tensor, Targets],
    validated: Tensor,
    params: dict[str, Any],
    seed: int,
) -> dict[str, list[float]]:
    """Train; the network then has the weights of the best epoch. Return losses of each epoch.

    Rows are inputs, weights for each member to train and to validate with, and targets; those to
    validate come by their numbers. Params are the regressor's.
    """
    x, weights, held, targets = rows
    size, epochs = params["batch_size"], params["max_epochs"]
    if size is None:
        size = int(np.clip(2 ** round(math.log2(len(x) / 15)), 32, 512))
    loader = TensorBatches((x, weights / weights.mean()), targets, batch_size=size, seed=seed)
    if epochs is None:
        epochs = int(np.clip(4000 / len(loader), 20, 400))
    options = {"history_limit": 1, **(params["trainer_options"] or {}), "seed": seed}
    found = ""
    if options.get("checkpoint_dir") is not None:  # a hash of large tables takes its time
        arrays = [part.numpy() for part in (x, weights, held, *ends(targets), validated)]
        found = fingerprint(params, TrainingConfig(**options), arrays)
    best = EarlyStopping(params["n_iter_no_change"], found, options.get("log_hook"))
    options["extra_state"] = {**(options.get("extra_state") or {}), "best": best}
    held, targets = held[validated], map_tensors(targets, lambda part: part[validated])
    inputs = x[validated], held / held.mean()
    options["val_loader"] = TensorBatches(inputs, targets, batch_size=CHUNK, shuffle=False)
    config = TrainingConfig(**options | {"max_epochs": epochs, "log_hook": best})
    optimizer = adam(network, len(x), params)
    half = math.pi / (config.planned_updates(loader) or 1)
    # Not CosineAnnealingLR, whose length a checkpoint restores: a continued fit may be longer.
    cosine = LambdaLR(optimizer, lambda step: (1.0 + math.cos(half * step)) / 2)
    parts = network, optimizer, WeightedLikelihood(), loader
    best.trainer = SCMTrainer(*parts, scheduler=cosine, config=config)
    best.fit()
    return best.history
