"""All that training goes on from, as plain values and tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zeroproof.training.checkpoint import unwrap

if TYPE_CHECKING:
    from zeroproof.training.trainer import SCMTrainer


def capture(trainer: SCMTrainer) -> dict[str, Any]:
    """Return a trainer's state between two updates. Meets: RES-1, RES-6."""
    window, scheduler = trainer.window, trainer.cadence.scheduler
    extra = trainer.config.extra_state or {}
    return {
        "model": unwrap(trainer.model).state_dict(),
        "loss": [module.state_dict() for module in trainer.objective.modules],
        "optimizer": window.optimizer.state_dict(),
        "free": [p.detach() for p in _free(trainer)],
        "extra": {name: stateful.state_dict() for name, stateful in extra.items()},
        "scheduler": None if scheduler is None else scheduler.state_dict(),
        "scale": None if window.scale is None else window.scale.state_dict(),
        "counters": {
            "epoch": trainer.epoch,
            "micro_step": trainer.micro_step,
            "micro_batches": trainer.micro_batches,
            "global_step": window.global_step,
            "skipped": window.skipped,
            "skipped_in_row": window.skipped_in_row,
            "bad_epochs": trainer.stop.bad_epochs,
            "stopped": trainer.stopped,
        },
        "val_history": trainer.val_history,
        "last_thresholds": trainer.last_thresholds,
        "base_samples": window.base_samples,
        "totals": trainer.log.totals.state_dict(),
        "position": trainer.position.state_dict(),
    }


def _free(trainer: SCMTrainer) -> list[Tensor]:
    """Return the parameters that the optimizer steps, and neither model nor loss owns."""
    modules = [trainer.model, *trainer.objective.modules]
    owned = {id(p) for module in modules for p in module.parameters()}
    groups = trainer.window.optimizer.param_groups
    return [p for group in groups for p in group["params"] if id(p) not in owned]


def restore(trainer: SCMTrainer, state: dict[str, Any]) -> None:
    """Put back what :func:`capture` returned; any error may leave a part of it done."""
    window, counters = trainer.window, state["counters"]
    unwrap(trainer.model).load_state_dict(state["model"])
    for module, module_state in zip(trainer.objective.modules, state["loss"], strict=True):
        module.load_state_dict(module_state)
    window.optimizer.load_state_dict(state["optimizer"])
    with torch.no_grad():
        for parameter, value in zip(_free(trainer), state.get("free", ()), strict=True):
            parameter.copy_(value)
    extra = trainer.config.extra_state or {}
    saved = state.get("extra", {})
    if extra.keys() != saved.keys():
        raise ValueError(f"extra_state has {list(extra)}, the checkpoint {list(saved)}")
    for name, stateful in extra.items():
        stateful.load_state_dict(saved[name])
    for name, mine in (("scheduler", trainer.cadence.scheduler), ("scale", window.scale)):
        if (mine is None) != (state[name] is None):
            raise ValueError(f"one of the file and this trainer has a {name}, the other none")
        if mine is not None:
            mine.load_state_dict(state[name])
    trainer.epoch, trainer.micro_step = counters["epoch"], counters["micro_step"]
    window.global_step, window.skipped = counters["global_step"], counters["skipped"]
    window.skipped_in_row = counters["skipped_in_row"]
    trainer.stop.bad_epochs, trainer.stopped = counters["bad_epochs"], counters["stopped"]
    trainer.val_history = list(state["val_history"])
    window.base_samples = state["base_samples"]
    trainer.start_epoch()
    trainer.last_thresholds = list(state["last_thresholds"])
    trainer.position.load_state_dict(state["position"], inside=counters["micro_batches"] > 0)
    trainer.micro_batches = counters["micro_batches"]
    trainer.log.totals.load_state_dict(state["totals"])
    if trainer.micro_batches:
        for _ in trainer.last_thresholds:
            trainer.tau_generator.random()
