"""The training loop: targets → lift → (model, τ) → loss → window → step → epoch → stop."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from tqdm import tqdm

from zeroproof.autodiff.policies import gradient_unit
from zeroproof.training.batches import split_batch
from zeroproof.training.cadence import Cadence
from zeroproof.training.checkpoint import (
    CheckpointError,
    checkpoint_path,
    keep_latest,
    read_checkpoint,
    write_checkpoint,
)
from zeroproof.training.config import TrainingConfig
from zeroproof.training.evaluation import Evaluation, training_device
from zeroproof.training.gap import between, midpoint
from zeroproof.training.interrupts import Interrupts, raise_signal
from zeroproof.training.isolation import undisturbed_eval
from zeroproof.training.metrics import EpochTotals
from zeroproof.training.objective import Objective
from zeroproof.training.position import Position
from zeroproof.training.ranks import Ranks, length, set_epoch
from zeroproof.training.records import RecordLog
from zeroproof.training.state import capture, restore
from zeroproof.training.stopping import CoverageStop
from zeroproof.training.update import NonFiniteError, UpdateWindow

__all__ = ["CheckpointError", "NonFiniteError", "SCMTrainer", "TrainingConfig"]


class SCMTrainer:
    """Trains a model through singular targets.

    Args:
        model: called with a batch's inputs; returns a tensor (NaN for ⊥), an ``SCMTensor``,
            ``(value, bottom mask)`` or a projective tuple ``(P, Q)``.
        optimizer: of the model's parameters, and of the loss's own where it has some.
        loss_fn: called as ``loss_fn(outputs, (Y_n, Y_d))``; by keyword it is also given those
            of ``tau, targets, inputs, epoch, global_step, loss_weights`` that it accepts.
            Returns a scalar, or a scalar and a dict of terms to log.
        train_loader: yields ``(inputs, targets)``; targets may hold ±∞ and NaN.
        scheduler: stepped once per applied update, or as ``config.scheduler_step`` says.
        config: options; None takes the defaults of
            :class:`~zeroproof.training.config.TrainingConfig`.

    Raises:
        ValueError, TypeError: an option that cannot work with this model or loss.
        RuntimeError: a device or precision that this machine does not have.

    Meets: LIFT-10, TAU-7, TAU-8, TAU-9, POL-9, POL-12, STOP-3, STOP-5, ACC-3, AMP-1, AMP-3,
    STEP-1, STEP-5, LOG-1, VAL-1, RES-1, RES-6.

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
        self.config = config = config or TrainingConfig()
        self.cadence = Cadence(scheduler, config)
        self.ranks = Ranks(None if config.device is None else torch.device(config.device))
        self.device = training_device(model, config, self.ranks)
        self.objective = Objective(loss_fn, config)
        self.model = self.ranks.wrap(model.to(self.device), self.device)
        self.train_loader = train_loader
        self._evaluate = Evaluation(self.model, self.objective, config, self.device)
        losses = [module.to(self.device) for module in self.objective.modules]
        self._modules = [self.model, *losses]
        own = [p for module in losses for p in module.parameters() if p.requires_grad]
        self.ranks.align(own)
        self.window = UpdateWindow(
            optimizer,
            self.cadence.update,
            config,
            self.device,
            self._modules,
            own,
            self.ranks,
            constant_rate=scheduler is None,
        )
        self.stop = CoverageStop(config.coverage_threshold, config.coverage_patience)
        self.log = RecordLog(config.log_hook, config.history_limit, self.ranks)
        self._kept: list[tuple[Any, Tensor, float, dict[str, Any]]] = []
        self.val_history: list[dict[str, float]] = []
        self.epoch: int = 0
        self.micro_step: int = 0
        self.micro_batches: int = 0
        self.stopped = False
        self.position = Position(train_loader, self.ranks)
        self._interrupts = Interrupts()
        self.start_epoch()

    @property
    def global_step(self) -> int:
        """Number of applied updates."""
        return self.window.global_step

    @property
    def skipped_steps(self) -> int:
        """Number of updates skipped because something was not finite."""
        return self.window.skipped

    def fit(self) -> list[dict[str, float]]:
        """Train until ``max_epochs`` or the early stop; return the records.

        They are this call's, the latest ``history_limit`` of them.

        Raises:
            RuntimeError: there is nothing left to train.
            ValueError: a loader without samples, or a loss without a gradient.
            NonFiniteError: too many updates in a row were skipped.
        """
        if self.stopped or self.epoch >= self.config.max_epochs:
            reason, remedy = "max_epochs is reached", "load a checkpoint into one with more"
            if self.stopped:
                reason, remedy = "coverage stopped it", "lower coverage_threshold there"
            raise RuntimeError(
                f"fit() has nothing to do: {self.epoch} epochs are done and {reason}; "
                f"make a new trainer, or {remedy}"
            )
        self.log.records.clear()
        batches = length(self.train_loader)
        total = None if batches is None else batches * self.config.max_epochs
        done = self.epoch * (batches or 0) + self.micro_batches
        shown = self.config.progress and self.ranks.rank == 0
        bar = tqdm(total=total, initial=done, disable=not shown)
        with bar, self._interrupts:
            while self.epoch < self.config.max_epochs and not self.stopped:
                self._train_epoch(bar)
                self.cadence.epoch()
                if self.config.val_loader is not None:
                    record = self._validation()
                    self.cadence.validated(record)  # first: the hook may save
                    self.log.deliver(record, keep=False)
                self._pause(max(self.ranks.share(self._interrupts.received or 0)))
        return list(self.log.records)

    def _train_epoch(self, bar: tqdm[Any]) -> None:
        self.ranks.equal_lengths(self.train_loader, "train_loader")
        if not self.position.resumed:
            self.start_epoch()
        show = not bar.disable
        for module in self._modules:
            module.train()
        try:
            for batch in self.position.walk(self.micro_batches):
                self._micro_batch(batch)
                if self.window.full:
                    self._update()
                    self._between_updates()
                if show:
                    self._show(bar)
            if self.window.micro_batches:
                self._update()
                self._between_updates()
        finally:
            self._flush()
        if show:
            self._show(bar, steps=0)
        if not self.micro_batches:
            raise ValueError(
                f"train_loader yielded nothing in epoch {self.epoch}; an iterator can be read "
                "only once: pass a list or a DataLoader"
            )
        self.stopped = self.stop.observe(self.log.totals.monitored_coverage)
        self.epoch += 1
        self.micro_batches = 0

    def _between_updates(self) -> None:
        every = self.config.checkpoint_every
        due = every > 0 and self.window.closed % every == 0
        received = self._interrupts.received if self.ranks.size == 1 else self.window.signal
        if received or due:
            self._pause(received or 0, due=due)

    def _pause(self, received: int, *, due: bool = False) -> None:
        """Save, if it is time, and honour a signal that has come to some rank (RES-4)."""
        config = self.config
        if config.checkpoint_dir is not None and (received or due):
            self.save_checkpoint(checkpoint_path(config.checkpoint_dir, self.micro_step))
            if self.ranks.rank == 0:
                keep_latest(config.checkpoint_dir, config.keep_checkpoints)
        if received:
            raise_signal(received)

    def start_epoch(self) -> None:
        """Reset what belongs to one epoch; its thresholds follow from (seed, epoch) alone."""
        self.log.totals = EpochTotals()
        self.last_thresholds: list[float] = []
        set_epoch(self.train_loader, self.epoch)
        self._length = length(self.train_loader)
        self.micro_batches = 0
        self.tau_generator = random.Random(self.config.seed << 64 | self.epoch)
        self.position.start()
        self._kept.clear()
        self.window.start()

    def train_step(self, batch: tuple[Any, Tensor]) -> dict[str, float]:
        """Train on one micro-batch, updating where it closes a window; return its record.

        For loops written by hand; :meth:`fit` does the same for every batch of its loader. The
        model's mode is the caller's. Raises the errors of :meth:`fit`.
        """
        self._micro_batch(batch)
        if self.window.full:
            self._update()
        self._flush()
        return self.log.records[-1]

    def _micro_batch(self, batch: Any) -> None:
        config = self.config
        tau = between(config.tau_train_min, config.tau_train_max, self.tau_generator.random())
        inputs, targets = split_batch(batch, self.device, config.prepare_batch)
        samples, offered = len(targets), self._offered(tau, self.epoch)
        with self.ranks.reduction(self.model, self._closes_window):
            with gradient_unit(self.window.unit(samples)):
                loss, seen = self._evaluate(inputs, targets, tau, offered)
            self.window.backward(loss, samples)
        if self.window.needs_closure:
            self._kept.append((inputs, targets, tau, offered))
        self.last_thresholds.append(tau)
        known: dict[str, float] = {
            "epoch": self.epoch,
            "micro_step": self.micro_step,
            "samples": samples,
            "tau_train": tau,
        }
        self.log.add(known, seen)
        self.micro_step += 1
        self.micro_batches += 1

    def _closes_window(self) -> bool:
        """Tell whether the micro-batch under way is the last of its window."""
        window = self.window.micro_batches + 1 == self.config.gradient_accumulation_steps
        return window or self.micro_batches + 1 == self._length

    def _update(self) -> None:
        self._settle(but=self.window.micro_batches)
        try:
            again = self._again if self.window.needs_closure else None
            self.window.step(self._interrupts.received or 0, again)
        finally:
            self._kept.clear()
            if not self.window.skips_on_device:
                self.log.complete(self.window.progress)
        self.log.deliver_complete()

    def _again(self) -> None:
        """Evaluate the window's micro-batches once more, at the thresholds that they had."""

        def last() -> bool:
            return self.window.micro_batches + 1 == len(self._kept)

        for inputs, targets, tau, offered in self._kept:
            with self.ranks.reduction(self.model, last):
                loss, _ = self._evaluate(inputs, targets, tau, offered)
                self.window.backward(loss, len(targets))

    def _settle(self, but: int = 0) -> None:
        """Read whether the last step was applied; the newest records belong to the next one."""
        try:
            self.window.settle()
        finally:
            self.log.complete(self.window.progress, but)

    def _flush(self) -> None:
        try:
            self._settle()
        finally:
            self.log.flush()

    def _offered(self, tau: float, epoch: int) -> dict[str, Any]:
        """Return the numbers that the loss accepts."""
        accepted, offered = self.objective.accepted, dict[str, Any]()
        if "tau" in accepted:
            offered["tau"] = tau
        if "epoch" in accepted:
            offered["epoch"] = epoch
        if "global_step" in accepted:
            self._settle(but=self.window.micro_batches)
            offered["global_step"] = self.global_step
        if (weights := self.objective.weights(epoch)) is not None:
            offered["loss_weights"] = weights
        return offered

    def _show(self, bar: tqdm[Any], steps: int = 1) -> None:
        bar.update(steps)
        if self.log.records:
            record = self.log.records[-1]
            bar.set_description(f"epoch {self.epoch + 1}/{self.config.max_epochs}", refresh=False)
            bar.set_postfix(
                loss=f"{record['loss']:.3g}", coverage=f"{record['coverage']:.2f}", refresh=False
            )

    def validate(self) -> dict[str, float]:
        """Evaluate ``val_loader`` at the midpoint threshold; return the ``val_`` record.

        Parameters, buffers, modes and random state are left as they were. The record's epoch is
        the latest one trained.

        Raises:
            ValueError: there is no ``val_loader``, or it yields no samples.
        """
        record = self._validation()
        self.log.deliver(record, keep=False)
        return record

    def _validation(self) -> dict[str, float]:
        config, log = self.config, RecordLog(None, 1, self.ranks)
        if config.val_loader is None:
            raise ValueError("validate() needs TrainingConfig(val_loader=...)")
        self.ranks.equal_lengths(config.val_loader, "val_loader")
        tau = midpoint(config.tau_train_min, config.tau_train_max)
        epoch = max(self.epoch - 1, 0)
        with undisturbed_eval(self._modules, self.train_loader, config.val_loader):
            for batch in config.val_loader:
                inputs, targets = split_batch(batch, self.device, config.prepare_batch)
                offered = self._offered(tau, epoch)
                _, seen = self._evaluate(inputs, targets, tau, offered)
                log.add({"samples": len(targets), "global_step": 0}, seen)
            log.flush()
        record = {f"val_{name}": value for name, value in log.totals.record().items()}
        record |= {"epoch": epoch, "global_step": self.global_step, "val_tau": tau}
        self.val_history.append(record)
        return record

    def state_dict(self) -> dict[str, Any]:
        """Return everything that training goes on from.

        Raises RuntimeError inside an accumulation window, whose gradients would be lost.
        """
        if self.window.micro_batches:
            raise RuntimeError(
                f"{self.window.micro_batches} micro-batches wait for their update; save between "
                "updates: ask for it by checkpoint_every, or accumulate fewer"
            )
        self._flush()
        return capture(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`state_dict` returned.

        Raises:
            CheckpointError: it does not fit this model, optimizer or scheduler. Nothing of it is
                then kept; an epoch under way starts anew.
        """
        before = copy.deepcopy(capture(self))
        try:
            restore(self, state)
        except Exception as error:
            restore(self, before)
            raise CheckpointError(f"the state does not fit this trainer: {error}") from error

    def save_checkpoint(self, path: str | PathLike[str]) -> None:
        """Write the training state atomically; RuntimeError inside an accumulation window.

        Meets: RES-1.
        """
        state = self.state_dict()
        if self.ranks.rank == 0:
            write_checkpoint(path, state)

    def load_checkpoint(self, path: str | PathLike[str]) -> None:
        """Go on from a checkpoint, exactly as if training had not been interrupted.

        Takes a file or a folder, and raises, as
        :func:`~zeroproof.training.checkpoint.read_checkpoint` and :meth:`load_state_dict` do.

        Meets: RES-1, RES-3.
        """
        self.load_state_dict(read_checkpoint(path))
