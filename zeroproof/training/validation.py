"""Validation: at the midpoint threshold, with nothing changed afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from zeroproof.training.batches import TensorBatches
from zeroproof.training.evaluation import undone
from zeroproof.training.optimizers import averaged_weights
from zeroproof.training.parts import numbers, parts, restore_numbers
from zeroproof.training.records import EpochTotals, merge, named_rows
from zeroproof.training.state import unwrap
from zeroproof.training.thresholds import midpoint

if TYPE_CHECKING:
    from zeroproof.training.trainer import SCMTrainer


def validate(trainer: SCMTrainer) -> dict[str, float]:
    """Evaluate a trainer's ``val_loader``; return the ``val_`` record.

    Raises ValueError without a ``val_loader``, or without samples. Meets: TAU-8, VAL-1, VAL-3.
    """
    config, ranks = trainer.config, trainer.ranks
    if config.val_loader is None:
        raise ValueError("validate() needs TrainingConfig(val_loader=...)")
    ranks.check_equal_lengths(config.val_loader, "val_loader")
    totals = EpochTotals()
    tau, epoch = midpoint(config.tau_train_min, config.tau_train_max), trainer.trained_epoch
    with evaluation_mode(trainer, trainer.train_loader, config.val_loader):
        step = trainer.global_step
        for batch in trainer.signals.watch(config.val_loader, breaks_off=ranks.size == 1):
            prepared = trainer.evaluate.prepare(batch, tau, epoch, lambda: step)
            names, row = trainer.evaluate(prepared)[1:]  # without the loss, which may hold a graph
            totals.add(merge(named_rows(names, torch.cat(ranks.all_gather(row)).tolist())))
    if not totals.state_dict()["values"]["samples"]:
        raise ValueError(
            "val_loader yielded no samples, so that there is no coverage; an iterator can be read "
            "only once: pass a list or a DataLoader"
        )
    record = {f"val_{name}": value for name, value in totals.record().items()}
    record |= {"epoch": float(epoch), "global_step": float(step), "val_tau": tau}
    return record


def train_mode(module: nn.Module) -> None:
    """Put a module in train mode; if it already is, submodules keep theirs (STEP-9).

    A submodule with a ``train`` of its own, which may leave a BatchNorm alone, is asked each time.
    """
    if not unwrap(module).training:
        module.train()
    for part in unwrap(module).modules():
        if part.training and type(part).train is not nn.Module.train:
            part.train()


def _shared_numbers(trainer: SCMTrainer) -> dict[str, float]:
    """Return the numbers of samplers and data sets that both loaders have, such as counters."""
    own, others = (parts(x) for x in (trainer.train_loader, trainer.config.val_loader))
    shared = {id(part) for part in others.values()}
    known = numbers(trainer.train_loader).items()
    return {path: x for path, x in known if id(own.get(path.rpartition(".")[0])) in shared}


@contextmanager
def evaluation_mode(trainer: SCMTrainer, *loaders: object) -> Iterator[None]:
    """Put model and loss in eval mode, where only inputs can require gradients (VAL-3).

    Afterwards, also on exceptions, everything is as it was, submodule by submodule. Meets: VAL-2.
    """
    modules, update = trainer.modules, trainer.update
    owned = [p for module in modules for p in module.parameters()]
    trained = {p for p in (*owned, *update.parameters()) if p.requires_grad}
    # FSDP makes tensors of its own from parameters, which would stay frozen.
    freezes = not any(hasattr(p, "full_tensor") for p in trained)
    with ExitStack() as stack:
        submodules = [m for parent in modules for m in parent.modules()]
        for part in submodules:
            stack.callback(setattr, part, "training", part.training)
        for part in reversed(submodules):  # one of its own may merge weights
            if type(part).train is not nn.Module.train:
                stack.callback(part.train, part.training)
        stack.callback(restore_numbers, trainer.train_loader, _shared_numbers(trainer))
        for module in modules:
            module.eval()
        if isinstance(val := trainer.config.val_loader, TensorBatches):  # may be train_loader, too
            stack.callback(vars(val).update, dict(vars(val)))
            val.set_epoch(val.state_dict()["epoch"])
        stack.enter_context(averaged_weights(update.optimizer))
        for p in trained if freezes else ():
            stack.callback(p.requires_grad_, p.requires_grad)
            p.requires_grad_(False)
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(freezes))
        stack.enter_context(trainer.ranks.reduction(trainer.model, last=False))
        stack.enter_context(undone(modules, *loaders))
        yield
