"""What a run consists of: everything that a checkpoint saves is listed in ``capture``."""

from __future__ import annotations

import copy
import random
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn

from zeroproof.training.checkpoint import CheckpointError, check_folder, plain_state, write_latest
from zeroproof.training.optimizers import copy_values
from zeroproof.training.signals import raise_signal

if TYPE_CHECKING:
    from zeroproof.training.trainer import SCMTrainer


def capture(trainer: SCMTrainer) -> dict[str, Any]:
    """Return a trainer's state between two updates. Meets: RES-1, RES-6."""
    if trainer.update.unmade:  # after an error within an update
        undo_untrained(trainer)
    return {**_parts(trainer), "position": trainer.loader.state_dict()}


def _parts(trainer: SCMTrainer) -> dict[str, Any]:
    """Return the state without the loader's, for which a loader may open an iterator."""
    update, scheduler = trainer.update, trainer.scheduler.scheduler
    extra = trainer.config.extra_state or {}
    return {
        "run": trainer.run,
        "model": unwrap(trainer.model).state_dict(),
        "loss": [unwrap(module).state_dict() for module in trainer.modules[1:]],
        "optimizer": update.optimizer.state_dict(),
        "optimizer_type": type(update.optimizer).__name__,
        "free": [p.detach() for p in update.free_parameters()],
        "extra": {name: stateful.state_dict() for name, stateful in extra.items()},
        "scheduler": None if scheduler is None else scheduler.state_dict(),
        "scale": None if update.scale is None else update.scale.state_dict(),
        "counters": {
            "micro_batches": trainer.loader.done,
            **{name: getattr(owner, name) for name, owner in _counters(trainer).items()},
        },
        "val_history": list(trainer.val_history),
        "last_thresholds": list(trainer.last_thresholds),
        "totals": trainer.records.totals.state_dict(),
    }


def _counters(trainer: SCMTrainer) -> dict[str, Any]:
    """Return the attributes that count, with their owners."""
    owners: tuple[tuple[Any, str], ...] = (
        (trainer, "epoch trained_epoch micro_step stopped validation_due"),
        (trainer.update, "global_step skipped skipped_in_row"),
        (trainer.stop, "bad_epochs"),
    )
    return {name: owner for owner, names in owners for name in names.split()}


def restore(trainer: SCMTrainer, state: dict[str, Any]) -> None:
    """Restore what :func:`capture` returned, or raise CheckpointError and change nothing."""
    before = copy.deepcopy(capture(trainer))
    try:
        apply(trainer, state)
    except Exception as error:
        apply(trainer, before)
        raise CheckpointError(f"the state does not fit this trainer: {error}") from error


def apply(trainer: SCMTrainer, state: dict[str, Any]) -> None:
    """Restore a state; an error may leave a part of it done."""
    update, counters, trainer.run = trainer.update, state["counters"], int(state["run"])
    unwrap(trainer.model).load_state_dict(state["model"])
    for module, module_state in zip(trainer.modules[1:], state["loss"], strict=True):
        unwrap(module).load_state_dict(module_state)
    kind = type(update.optimizer).__name__
    if state["optimizer_type"] != kind:
        raise ValueError(f"the optimizer is {kind}, the checkpoint's {state['optimizer_type']}")
    update.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))  # it would share tensors
    free, saved_free = update.free_parameters(), state["free"]
    ours, theirs = ([tuple(x.shape) for x in part] for part in (free, saved_free))
    if ours != theirs:  # a copy would broadcast
        raise ValueError(f"parameters of neither model nor loss: {ours}, the checkpoint's {theirs}")
    copy_values(free, saved_free)
    extra, saved = trainer.config.extra_state or {}, state["extra"]
    if extra.keys() != saved.keys():
        raise ValueError(f"extra_state has {list(extra)}, the checkpoint {list(saved)}")
    for name, stateful in extra.items():
        stateful.load_state_dict(copy.deepcopy(saved[name]))
    for name, own in (("scheduler", trainer.scheduler.scheduler), ("scale", update.scale)):
        if (own is None) != (state[name] is None):
            raise ValueError(
                f"the checkpoint has a {name} and this trainer has none (or the reverse)"
            )
        if own is not None:
            own.load_state_dict(state[name])
    for name, owner in _counters(trainer).items():
        setattr(owner, name, counters[name])
    trainer.validation_due &= trainer.config.val_loader is not None
    update.unmade, update.begun = 0, False
    trainer.val_history = list(state["val_history"])
    trainer.start_epoch()
    trainer.last_thresholds = list(state["last_thresholds"])
    trainer.loader.load_state_dict(state["position"], done=counters["micro_batches"])
    trainer.records.totals.load_state_dict(state["totals"])
    trainer.tau_generator = threshold_generator(trainer)


def threshold_generator(trainer: SCMTrainer) -> random.Random:
    """Return the generator of thresholds, after those that were drawn in this epoch."""
    generator = random.Random(trainer.config.seed << 64 | trainer.epoch)
    for _ in trainer.last_thresholds:
        generator.random()
    return generator


def check_saves(trainer: SCMTrainer) -> None:
    """Raise before training what a save into the ``checkpoint_dir`` would raise after it."""
    if (folder := trainer.config.checkpoint_dir) is not None:
        trainer.ranks.on_rank_0(partial(plain_state, _parts(trainer)))
        trainer.ranks.on_rank_0(partial(check_folder, folder, trainer.run, trainer.micro_step))


def before_step(trainer: SCMTrainer) -> None:
    """Undo what an error left of the last step; before the first one, check saves."""
    if trainer.update.unmade:
        undo_untrained(trainer)
    if not trainer.update.windows:
        check_saves(trainer)


def save_if_due(trainer: SCMTrainer, windows: int = 0) -> None:
    """Save, if it is time, and raise a signal that every rank knows of. Meets: RES-4."""

    def known_signal() -> int:
        return trainer.signals.received if trainer.ranks.size == 1 else trainer.update.signal

    every = trainer.config.checkpoint_every
    if known_signal() or (every > 0 and windows > 0 and windows % every == 0):
        save_latest(trainer)
        if signal := known_signal():  # which may have come meanwhile
            raise_signal(signal)


def save_latest(trainer: SCMTrainer) -> None:
    """Write a checkpoint into the trainer's ``checkpoint_dir``, if it has one."""
    if (folder := trainer.config.checkpoint_dir) is not None:
        write = partial(write_latest, folder, trainer.state_dict(), trainer.config.keep_checkpoints)
        trainer.ranks.on_rank_0(write)


def continue_epoch(trainer: SCMTrainer) -> None:
    """Let training go on after the last update of an epoch that was broken off."""
    undo_untrained(trainer)
    apply(trainer, copy.deepcopy(trainer.state_dict()))


def undo_untrained(trainer: SCMTrainer, *, fetching: bool = False) -> bool:
    """Undo fetches of what was not trained on; return False if some may remain."""
    trainer.update.begun = False
    if unmade := trainer.update.unmade:
        trainer.micro_step -= unmade
        del trainer.last_thresholds[-unmade:]
        trainer.tau_generator = threshold_generator(trainer)
        trainer.update.unmade = 0
    fetching |= trainer.loader.ahead
    undone = unmade or (fetching and not trainer.validation_due)
    return not undone or trainer.loader.undo(unmade)


def save_last_update(trainer: SCMTrainer, fetching: bool) -> None:
    """Save the last update after an error, or warn that it could not be saved. Meets: RES-9."""
    message = ""
    try:
        if trainer.update.begun or trainer.ranks.size > 1:
            raise RuntimeError("an error came within an update, or on one of several ranks")
        if not undo_untrained(trainer, fetching=fetching):
            message = "what the loader drew for a micro-batch that was not trained on is saved, too"
        save_latest(trainer)
    except Exception as error:
        message = f"the last update was not saved: {error}; load an earlier checkpoint"
    if message and trainer.config.checkpoint_dir is not None:
        warnings.warn(message, RuntimeWarning, stacklevel=2)


def unwrap(model: nn.Module) -> nn.Module:
    """Return the user's own module, without the wrappers that prefix its keys (RES-3)."""
    while True:
        parallel = isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel))
        inner = getattr(model, "module" if parallel else "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner
