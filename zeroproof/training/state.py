"""What a run consists of: everything that a checkpoint saves is listed in ``capture``."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zeroproof.training.checkpoint import CheckpointError
from zeroproof.training.distributed import Ranks

if TYPE_CHECKING:
    from zeroproof.training.trainer import SCMTrainer


def capture(trainer: SCMTrainer) -> dict[str, Any]:
    """Return a trainer's state between two updates. Meets: RES-1, RES-6."""
    update, scheduler = trainer.update, trainer.scheduler.scheduler
    extra = trainer.config.extra_state or {}
    return {
        "run": trainer.run,
        "model": unwrap(trainer.model).state_dict(),
        "loss": [module.state_dict() for module in trainer.modules[1:]],
        "optimizer": update.optimizer.state_dict(),
        "free": [p.detach() for p in _free(trainer)],
        "extra": {name: stateful.state_dict() for name, stateful in extra.items()},
        "scheduler": None if scheduler is None else scheduler.state_dict(),
        "scale": None if update.scale is None else update.scale.state_dict(),
        "counters": {
            "epoch": trainer.epoch,
            "micro_step": trainer.micro_step,
            "micro_batches": trainer.loader.done,
            "global_step": update.global_step,
            "skipped": update.skipped,
            "skipped_in_row": update.skipped_in_row,
            "bad_epochs": trainer.stop.bad_epochs,
            "stopped": trainer.stopped,
        },
        "val_history": trainer.val_history,
        "last_thresholds": trainer.last_thresholds,
        "totals": trainer.records.totals.state_dict(),
        "position": trainer.loader.state_dict(),
    }


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
    update, counters = trainer.update, state["counters"]
    trainer.run = int(state.get("run", 0))
    unwrap(trainer.model).load_state_dict(state["model"])
    for module, module_state in zip(trainer.modules[1:], state["loss"], strict=True):
        module.load_state_dict(module_state)
    update.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))  # it would share tensors
    free, values = _free(trainer), state.get("free", ())
    ours, theirs = ([tuple(x.shape) for x in part] for part in (free, values))
    if ours != theirs:  # a copy would broadcast
        raise ValueError(f"parameters of neither model nor loss: {ours}, the checkpoint's {theirs}")
    with torch.no_grad():
        for parameter, value in zip(free, values, strict=True):
            parameter.copy_(value)
    extra, saved = trainer.config.extra_state or {}, state.get("extra", {})
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
    trainer.epoch, trainer.micro_step = counters["epoch"], counters["micro_step"]
    for name in ("global_step", "skipped", "skipped_in_row"):
        setattr(update, name, counters[name])
    trainer.stop.bad_epochs, trainer.stopped = counters["bad_epochs"], counters["stopped"]
    trainer.val_history = list(state["val_history"])
    trainer.start_epoch()
    trainer.last_thresholds = list(state["last_thresholds"])
    trainer.loader.load_state_dict(state["position"], done=counters["micro_batches"])
    trainer.records.totals.load_state_dict(state["totals"])
    if trainer.loader.done:
        for _ in trainer.last_thresholds:
            trainer.tau_generator.random()


def _free(trainer: SCMTrainer) -> list[Tensor]:
    """Return the parameters that the optimizer steps, and neither model nor loss owns."""
    owned = {id(p) for module in trainer.modules for p in module.parameters()}
    return [p for p in trainer.update.parameters() if id(p) not in owned]


def unwrap(model: nn.Module) -> nn.Module:
    """Return the user's own module, without the wrappers that prefix its keys (RES-3)."""
    while True:
        parallel = isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel))
        inner = getattr(model, "module" if parallel else "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


class LoaderState:
    """Iterates over a loader's epoch, and knows its place there.

    A loader with a ``state_dict`` restores its own place. Any other is replayed: it begins the
    epoch from the random state saved at the epoch's start, and batches already trained on are
    skipped.

    Args:
        loader: yields the micro-batches of an epoch each time it is iterated over.
        ranks: the ranks, each with a loader.

    Meets: RES-1.
    """

    def __init__(self, loader: Any, ranks: Ranks) -> None:
        self.loader, self._ranks = loader, ranks
        self.start()

    def start(self) -> None:
        """Begin an epoch."""
        self.done = 0  # micro-batches trained on
        self._at_start = random_state(self.loader)
        self._exhausted = False
        self._resumed: dict[str, Any] | None = None

    @property
    def resumed(self) -> bool:
        """Whether the next iteration continues inside an epoch."""
        return self._resumed is not None

    def iterate(self) -> Iterator[Any]:
        """Iterate over the epoch's micro-batches; after a resume over the remaining ones."""
        resumed, self._resumed = self._resumed, None
        if resumed is None:
            yield from self.loader
        else:
            if resumed["loader"] is None:
                restore_random_state(self._at_start, self.loader)
            # Exhausted, its next batches would be those of the next epoch.
            batches = iter(() if resumed["exhausted"] else self.loader)
            for _ in range(self.done if resumed["loader"] is None else 0):
                next(batches, None)
            restore_random_state(resumed["random"], self.loader)
            yield from batches
        self._exhausted = True

    def state_dict(self) -> dict[str, Any]:
        """Return the place and the random states, of all ranks."""
        loader = self.loader
        own = {
            "exhausted": self._exhausted,
            "at_start": self._at_start,
            "random": random_state(loader),
            "loader": loader.state_dict() if hasattr(loader, "state_dict") else None,
        }
        return {"ranks": self._ranks.all_gather_object(own)}

    def load_state_dict(self, state: dict[str, Any], *, done: int) -> None:
        """Restore the random states, and the place after ``done`` micro-batches.

        Raises ValueError for the state of another number of ranks.
        """
        if len(state["ranks"]) != self._ranks.size:
            raise ValueError(
                f"saved with {len(state['ranks'])} ranks; this run has {self._ranks.size}"
            )
        own = state["ranks"][self._ranks.rank]
        if own["loader"] is not None:
            self.loader.load_state_dict(own["loader"])
        restore_random_state(own["random"], self.loader)
        self.done = done
        if done:
            self._at_start, self._resumed = own["at_start"], own
            self._exhausted = own["exhausted"]


def _generators(loader: object) -> list[torch.Generator]:
    """Return the distinct generators of a loader and of its samplers, in a fixed order."""
    sampler, batch_sampler = (getattr(loader, n, None) for n in ("sampler", "batch_sampler"))
    nested = [getattr(s, "sampler", None) for s in (sampler, batch_sampler)]
    owners = [loader, sampler, batch_sampler, *nested]
    found = [getattr(owner, "generator", None) for owner in owners]
    return list(dict.fromkeys(g for g in found if isinstance(g, torch.Generator)))


def random_state(loader: object) -> dict[str, Any]:
    """Return the global random states, and those of the generators a loader draws on."""
    numpy: Any = sys.modules.get("numpy")
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": None if numpy is None else numpy.random.get_state(legacy=False),
        "loader": [generator.get_state() for generator in _generators(loader)],
    }


def restore_random_state(state: dict[str, Any], loader: object) -> None:
    """Restore what :func:`random_state` returned."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    random.setstate(state["python"])
    if state["numpy"] is not None and "numpy" in sys.modules:
        sys.modules["numpy"].random.set_state(state["numpy"])
    for generator, generator_state in zip(_generators(loader), state["loader"], strict=False):
        generator.set_state(generator_state)
