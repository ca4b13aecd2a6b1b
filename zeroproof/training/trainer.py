"""The training loop: epochs of windows, each of them one update."""

from __future__ import annotations

import secrets
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from zeroproof.training.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from zeroproof.training.compiled import CompiledEvaluation, CompiledUpdate
from zeroproof.training.config import TrainingConfig
from zeroproof.training.distributed import Ranks, length
from zeroproof.training.evaluation import Evaluation, MicroBatch, training_device
from zeroproof.training.finite import NonFiniteError, warn_of_skips
from zeroproof.training.hooks import GuardedHook
from zeroproof.training.loader import LoaderState
from zeroproof.training.loss_adapter import LossAdapter
from zeroproof.training.optimizers import check_parts, training_weights
from zeroproof.training.records import EpochTotals, RecordQueue
from zeroproof.training.schedulers import SchedulerStepper
from zeroproof.training.signals import DeferredSignals
from zeroproof.training.state import (
    before_step,
    capture,
    check_saves,
    continue_epoch,
    restore,
    save_if_due,
    save_last_update,
    save_latest,
    threshold_generator,
)
from zeroproof.training.stopping import CoverageStop, nothing_left
from zeroproof.training.thresholds import lerp
from zeroproof.training.update import Update
from zeroproof.training.validation import train_mode, validate
from zeroproof.utils.checks import instance_or_default
from zeroproof.utils.logging import ProgressBar

__all__ = ["CheckpointError", "NonFiniteError", "SCMTrainer", "TrainingConfig"]


class SCMTrainer:
    """Trains a model through singular targets.

    Args:
        model: called with a batch's inputs; returns a tensor (NaN for ⊥), an ``SCMTensor``,
            ``(value, bottom mask)`` or a projective tuple ``(P, Q)``.
        optimizer: of the model's parameters, and of the loss's own if it has some.
        loss_fn: called as ``loss_fn(outputs, (Y_n, Y_d))``; by keyword it is also given those
            of ``tau, targets, inputs, epoch, global_step, loss_weights`` that it accepts.
            Returns a scalar, or a scalar and a dict of terms to log. For CUR-3 a wrapper of a
            likelihood must have its ``default_curriculum``, and pass on ``loss_weights``.
        train_loader: yields ``(inputs, targets)``; targets may hold ±∞ and NaN.
        scheduler: stepped once per applied update, or as ``config.scheduler_step`` says.
        config: options; None takes the defaults of
            :class:`~zeroproof.training.config.TrainingConfig`.

    Raises:
        ValueError, TypeError: an option that cannot work with this model or loss.
        RuntimeError: a device or precision that this machine does not have.

    Meets: LIFT-10, TAU-7, TAU-8, TAU-9, POL-9, POL-12, STOP-3, STOP-5, ACC-3, AMP-1, AMP-3,
    STEP-1, STEP-5, STEP-6, LOG-1, VAL-1, RES-1, RES-6.

    Example:
        >>> from zeroproof.layers import ProjectiveMLP
        >>> from zeroproof.losses import SCMTrainingLoss
        >>> x = torch.linspace(-1, 1, 64)[:, None]
        >>> model = ProjectiveMLP(1)
        >>> trainer = SCMTrainer(model, torch.optim.Adam(model.parameters()), SCMTrainingLoss(),
        ...                      [(x, 1 / x[:, 0])], config=TrainingConfig(max_epochs=2))
        >>> [record["epoch"] for record in trainer.fit()]
        [0.0, 1.0]
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        loss_fn: Callable[..., Any],
        train_loader: Iterable[Any],
        *,
        scheduler: LRScheduler | None = None,
        config: TrainingConfig | None = None,
    ) -> None:
        self.config = config = instance_or_default("config", config, TrainingConfig)
        validates = config.val_loader is not None
        check_parts(model, optimizer, train_loader, scheduler, validates=validates)
        self.ranks = Ranks(None if config.device is None else torch.device(config.device))
        device = training_device(model, config, self.ranks)
        loss = LossAdapter(loss_fn, config)
        self.scheduler = SchedulerStepper(scheduler, config, optimizer)
        self.model = self.ranks.wrap(model.to(device), device)
        losses = [loss_fn.to(device)] if isinstance(loss_fn, nn.Module) else []
        self.modules = [self.model, *losses]
        whole_graph = config.compile and device.type in ("cpu", "cuda") and self.ranks.size == 1
        evaluation = CompiledEvaluation if config.compile and not whole_graph else Evaluation
        self.evaluate = evaluation(self.model, loss, config, device)
        self._hook = GuardedHook(config.log_hook if self.ranks.rank == 0 else None, self.modules)
        self.records = RecordQueue(self._hook, config.history_limit)
        parts = self.evaluate, config, self.modules, self.ranks, self.records
        update = CompiledUpdate if whole_graph else Update
        self.update = update(optimizer, *parts, applied=partial(self.scheduler.after, "update"))
        self.ranks.broadcast(self.update.unwrapped())
        self.loader = LoaderState(train_loader, self.ranks)
        self.stop = CoverageStop(config.coverage_threshold, config.coverage_patience)
        self.stopped = self.validation_due = False
        self.epoch = self.trained_epoch = self.micro_step = 0
        self.run = self.ranks.all_gather_object(secrets.randbits(48))[0]
        self.val_history: list[dict[str, float]] = []
        # Weakly: a cycle would keep a loader alive after its workers' queues, and it would hang.
        save = partial(save_last_update, weakref.proxy(self))
        self.signals = DeferredSignals(save, alone=self.ranks.size == 1)
        self.start_epoch()

    def fit(self) -> list[dict[str, float]]:
        """Train until ``max_epochs`` or the early stop; return this call's latest records.

        Raises:
            RuntimeError: there is nothing left to train.
            ValueError: no samples, a loss without a gradient, a scheduler that ends before training
                (STEP-10), a NaN for a plateau, or a ``checkpoint_dir`` of another run (RES-7).
            CheckpointError: a state that its ``checkpoint_dir`` could not hold (RES-5).
            NonFiniteError: too many updates in a row were skipped, or a step was not finite.
        """
        self._hook.refuse("fit()")
        if not self._has_work():
            raise RuntimeError(nothing_left(self.epoch, self.stopped))
        if self.loader.broken_off:
            continue_epoch(self)
        check_saves(self)
        place = self.epoch, self.loader.done, self.validation_due
        self.scheduler.check_length(self.train_loader, *place)
        self.records.records.clear()
        self.update.signal = 0  # of an earlier call
        batches = length(self.train_loader) or 0
        total = batches * self.config.max_epochs or None
        done = self.epoch * batches + self.loader.done
        bar = ProgressBar(total, done, shown=self.config.progress and self.ranks.rank == 0)
        with bar, training_weights(self.update.optimizer), self.signals:
            while self._has_work():
                if not self.validation_due:  # which a signal may have broken off
                    self._train_epoch(bar)
                    self.scheduler.after("epoch")
                if self.validation_due:
                    record = validate(self)
                    self.scheduler.after("val", record)
                    self.validation_due = False
                    self.val_history.append(record)
                    self.records.send(record)  # last: the hook may save
                states = self.ranks.all_gather_object((self.signals.received, self.stopped))
                self.update.signal, self.stopped = map(max, zip(*states, strict=True))
                save_if_due(self)
            save_latest(self)
        return list(self.records.records)

    def _train_epoch(self, bar: ProgressBar) -> None:
        self.ranks.check_equal_lengths(self.train_loader, "train_loader")
        if not self.loader.resumed:
            self.start_epoch()
        for module in self.modules:
            train_mode(module)
        batches = self.signals.watch(self.loader.iterate())
        windows, faults = self.update.windows, self.update.faults
        try:
            while window := list(islice(batches, self.config.gradient_accumulation_steps)):
                self._train_window(window, narrows=True)
                bar.show(len(window), self.epoch, self.config.max_epochs, self.records.records)
                save_if_due(self, self.update.windows)
        finally:
            self.update.flush()
        self.update.check_finite()
        if self.update.faults > faults == 0 and self.ranks.rank == 0:
            warn_of_skips(self.update.faults, self.update.windows - windows)
        self.loader.finish()
        self.stopped |= self.stop.observe(self.records.totals.monitored_coverage)
        self.trained_epoch, self.epoch = self.epoch, self.epoch + 1
        self.validation_due = self.config.val_loader is not None

    def _train_window(self, batches: list[Any], *, narrows: bool = False) -> None:
        """Draw thresholds and make the update; ``narrows`` if the loss's own curriculum holds."""
        config, window, headers = self.config, list[MicroBatch](), list[dict[str, float]]()
        prepare = partial(self.evaluate.prepare, narrows=narrows)
        for step, batch in enumerate(batches, self.micro_step):
            tau = lerp(config.tau_train_min, config.tau_train_max, self.tau_generator.random())
            window.append(prepare(batch, tau, self.epoch, lambda: self.global_step))
            headers.append({"epoch": self.epoch, "micro_step": step, "tau_train": tau})
        self.last_thresholds += [header["tau_train"] for header in headers]
        self.micro_step += len(window)
        self.loader.commit()
        self.update(window, headers, self.signals.received)

    def start_epoch(self) -> None:
        """Reset what belongs to one epoch; its thresholds follow from (seed, epoch) alone."""
        self.records.totals = EpochTotals()
        self.last_thresholds: list[float] = []
        self.tau_generator = threshold_generator(self)
        self.loader.start(self.epoch)
        self.update.clear_gradients()

    def train_step(self, *batches: tuple[Any, Tensor]) -> dict[str, float]:
        """Make one update from a window of micro-batches; return the last one's record.

        For loops by hand, which choose the model's mode, set ``trainer.epoch``, call
        :meth:`start_epoch`, and give the likelihood a ``loss_curriculum`` if its resolution is to
        narrow. In ``with trainer.signals:`` a signal ends a loop between updates. Raises what
        :meth:`fit` does, and ValueError without a micro-batch. Meets: LOG-6.
        """
        if not batches:
            raise ValueError("train_step() takes the micro-batches of one update, got none")
        self._hook.refuse("train_step()")
        before_step(self)
        self._train_window(list(batches))
        self.trained_epoch = self.epoch
        self.update.flush()
        save_if_due(self, self.update.windows)
        return self.records.records[-1]

    def validate(self) -> dict[str, float]:
        """Evaluate ``val_loader`` at the midpoint threshold; return the ``val_`` record.

        Parameters, buffers, modes and random state are left as they were. The record's epoch is
        the latest one trained. Meets: VAL-2, VAL-3.

        Raises:
            ValueError: there is no ``val_loader``, or it yields no samples.
            NonFiniteError: a step made a parameter infinite or NaN.
        """
        self._hook.refuse("validate()", ranks=self.ranks.size)
        self.update.check_finite()  # which fit() does at the end of each epoch
        record = validate(self)
        self.val_history.append(record)
        self.records.send(record)
        return record

    def state_dict(self) -> dict[str, Any]:
        """Return everything that training continues from; NonFiniteError as :meth:`fit`."""
        self._hook.refuse("state_dict()", ranks=self.ranks.size)
        self.update.check_finite()
        self._hook.undisturb_random()
        return capture(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises:
            CheckpointError: it does not fit this model, optimizer or scheduler. Nothing of it is
                then kept; an epoch under way starts again.
        """
        self._hook.refuse("load_state_dict()")
        restore(self, state)

    def save_checkpoint(self, path: str | PathLike[str]) -> None:
        """Write the training state atomically, on rank 0; call it on every rank. Meets: RES-1."""
        self.ranks.on_rank_0(partial(write_checkpoint, path, self.state_dict()))

    def load_checkpoint(self, path: str | PathLike[str]) -> None:
        """Continue from a checkpoint, exactly as if training had not been interrupted.

        Takes a file or a folder, and raises, as
        :func:`~zeroproof.training.checkpoint.read_checkpoint` and :meth:`load_state_dict` do.

        Meets: RES-1, RES-3.
        """
        self.load_state_dict(read_checkpoint(path))

    def _has_work(self) -> bool:
        return self.validation_due or not (self.stopped or self.epoch >= self.config.max_epochs)

    @property
    def train_loader(self) -> Any:
        """The loader that the trainer was made with."""
        return self.loader.loader

    @property
    def planned_updates(self) -> int | None:
        """How many updates the run makes; as ``config.planned_updates`` of its loader."""
        return self.config.planned_updates(self.train_loader)

    @property
    def global_step(self) -> int:
        """Number of applied updates."""
        self.update.settle()
        return self.update.global_step

    @property
    def skipped_steps(self) -> int:
        """Number of updates skipped because something was not finite."""
        self.update.settle()
        return self.update.skipped
