"""``zeroproof train``: from a table to a run's folder."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from pathlib import Path

import torch
from torch import Tensor

import zeroproof
from zeroproof.command.report import summary, write_plot, write_report
from zeroproof.command.run import Options, Quality, Run, Scale
from zeroproof.command.table import Table, UserError, read_table
from zeroproof.inference import choose_threshold
from zeroproof.losses import SCMTrainingLoss
from zeroproof.training.batches import TensorBatches
from zeroproof.training.targets import lift_targets, orientation
from zeroproof.training.trainer import SCMTrainer, TrainingConfig
from zeroproof.utils.logging import JsonlLogger, read_jsonl

HELD_OUT = 0.2
TAU_TRAIN = 0.1
SECONDS_BETWEEN_CHECKPOINTS = 1.0


def train(options: Options, folder: Path, *, resume: bool) -> str:
    """Train, choose the threshold, fill the folder; return a summary for people.

    Raises:
        UserError: the table, the options or the folder do not allow it.
    """
    table = read_table(Path(options.data))
    targets = table.numbers(options.target, finite=False)
    training, validation = split(targets, options.seed)
    run = describe(options, table, targets, training)
    features = table.matrix(run.features)
    x, y = run.scale.features(features), run.scale.targets(targets)
    keeper = Keeper(folder, options.epochs)
    torch.manual_seed(options.seed)
    try:
        trainer = new_trainer(
            run, (x[training], y[training]), (x[validation], y[validation]), keeper
        )
    except (ValueError, RuntimeError) as error:  # a device or precision that is not there
        raise UserError(str(error)) from error
    prepare(folder, run, resume=resume)
    keeper.start(trainer, resume=resume)
    started = time.monotonic()
    try:
        if trainer.epoch < options.epochs:
            trainer.fit()
    finally:
        keeper.close()
    seconds = time.monotonic() - started

    features, measured = features[validation], targets[validation]
    P, Q = run.tuples(trainer.model, features)
    tau = choose_threshold(P, Q, run.scale.targets(measured), unit=1.0)
    run = dataclasses.replace(run, tau_infer=tau)
    run.write(folder)
    predictions = run.decode(trainer.model, features, tau)
    quality = Quality.of(predictions, measured)
    plotted = write_plot(folder, run, predictions, measured)
    write_report(folder, run, quality, len(training), seconds)
    return summary(folder, run, quality, plotted=plotted)


def split(targets: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return the rows to train on and those held out, the same share of every kind of target.

    UserError if either part would have no finite target.
    """
    generator = torch.Generator().manual_seed(seed)
    finite = lift_targets(targets)[1] != 0
    kinds = torch.where(finite, 2, orientation(targets))
    parts: tuple[list[Tensor], list[Tensor]] = ([], [])
    for kind in (2, 1, -1, 0):
        rows = torch.nonzero(kinds == kind).flatten()
        rows = rows[torch.randperm(len(rows), generator=generator)]
        held_out = round(HELD_OUT * len(rows))
        parts[0].append(rows[held_out:])
        parts[1].append(rows[:held_out])
    training, validation = (torch.cat(part).sort().values for part in parts)
    if not finite.any():
        raise UserError("no finite target: there is nothing to learn a value from")
    if not finite[training].any() or not finite[validation].any():
        raise UserError(
            f"too few rows: {int(finite.sum())} finite targets cannot be split into a training "
            "and a validation part; 3 are needed at least"
        )
    return training, validation


def describe(options: Options, table: Table, targets: Tensor, training: Tensor) -> Run:
    """Return the run that these options and data define; UserError without features."""
    features = [name for name in table.numeric_columns() if name != options.target]
    if not features:
        raise UserError(f"{table.path}: no column of numbers beside the target {options.target!r}")
    scale = Scale.of(table.matrix(features)[training], targets[training])
    wide = zip(
        [*features, options.target],
        [*scale.mean, scale.target_mean],
        [*scale.std, scale.target_std],
        strict=True,
    )
    for name, mean, std in wide:
        if not (math.isfinite(mean) and math.isfinite(std)):
            raise UserError(f"{table.path}: column {name!r} has numbers too large to standardise")
    return Run(
        version=zeroproof.__version__,
        options=options,
        data_sha256=hashlib.sha256(table.path.read_bytes()).hexdigest(),
        features=features,
        scale=scale,
    )


def prepare(folder: Path, run: Run, *, resume: bool) -> None:
    """Make the folder, or see that it holds the same run."""
    if resume:
        before = Run.read(folder)
        if not (folder / "checkpoint.pt").exists():
            raise UserError(
                f"{folder} holds no checkpoint yet; delete it and train without --resume"
            )
        # The same data may be named by another path; its digest tells.
        same_path = dataclasses.replace(before.options, data=run.options.data)
        if dataclasses.replace(before, options=same_path, tau_infer=None) != run:
            raise UserError(
                f"{folder} holds a run with other data or options; give those of "
                f"{folder / 'config.json'}, or another --out"
            )
        return
    for name in ("config.json", "metrics.jsonl"):
        if (folder / name).exists():
            raise UserError(
                f"{folder} holds a run already ({name}); add --resume to go on, or use another "
                "--out"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        run.write(folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror})") from error


def new_trainer(
    run: Run, training: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor], keeper: Keeper
) -> SCMTrainer:
    """Return a trainer of this run's model on standardised features and targets."""
    options = run.options
    loader = TensorBatches(*training, batch_size=options.batch_size, seed=options.seed)
    model = run.new_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)
    updates = options.epochs * len(loader)
    config = TrainingConfig(
        max_epochs=options.epochs,
        tau_train_min=TAU_TRAIN,
        tau_train_max=TAU_TRAIN,
        mixed_precision=options.amp != "off",
        amp_dtype=None if options.amp == "off" else options.amp,
        device=options.device,
        seed=options.seed,
        val_loader=[validation],
        log_hook=keeper,
        progress=True,
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    return SCMTrainer(
        model, optimizer, SCMTrainingLoss(), loader, scheduler=scheduler, config=config
    )


class Keeper:
    """The log hook of a run: writes every record, and checkpoints after validations."""

    def __init__(self, folder: Path, epochs: int) -> None:
        self.checkpoint, self._metrics = folder / "checkpoint.pt", folder / "metrics.jsonl"
        self._epochs, self._saved = epochs, -math.inf

    def start(self, trainer: SCMTrainer, *, resume: bool) -> None:
        """Take the trainer, and where a run is resumed its state and the records up to it."""
        self._trainer = trainer
        if resume:
            trainer.load_checkpoint(self.checkpoint)
            records = [
                record
                for record in read_jsonl(self._metrics, partial=True)
                if record["epoch"] < trainer.epoch
            ]
            rewritten = self._metrics.with_suffix(".tmp")  # a kill leaves the old records
            rewritten.unlink(missing_ok=True)
            with JsonlLogger(rewritten) as log:
                for record in records:
                    log(record)
            rewritten.replace(self._metrics)
        self._log = JsonlLogger(self._metrics)

    def __call__(self, metrics: dict[str, float]) -> None:
        """Write a record; after a validation, now and then and at the end, save."""
        self._log(metrics)
        if "val_loss" not in metrics:
            return
        age = time.monotonic() - self._saved
        if self._trainer.epoch == self._epochs or age > SECONDS_BETWEEN_CHECKPOINTS:
            self._trainer.save_checkpoint(self.checkpoint)
            self._saved = time.monotonic()

    def close(self) -> None:
        """Close the file of records."""
        self._log.close()
