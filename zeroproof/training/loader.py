"""A loader's place: where a run is in an epoch, and how another process gets there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from zeroproof.training.batches import TensorBatches, map_tensors
from zeroproof.training.checkpoint import CheckpointError
from zeroproof.training.distributed import Ranks
from zeroproof.training.parts import (
    fingerprint,
    global_state_moved,
    numbers,
    parts,
    random_state,
    restore_numbers,
    restore_random_state,
)


class LoaderState:
    """Iterates over a loader's epoch, and tracks the position in it.

    A loader with a ``state_dict`` restores its own place. Any other is replayed: it begins the
    epoch from the state of its parts at the epoch's start, and batches already trained on are
    skipped. The first of them and the latest must be those that were trained on. Between epochs it
    starts the finished epoch twice; a first micro-batch that differs shows state that no checkpoint
    restores.

    Meets: RES-1, RES-8.
    """

    def __init__(self, loader: Any, ranks: Ranks) -> None:
        self.loader, self._ranks = loader, ranks
        self._stateful = hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")
        self._saved: dict[str, Any] | None = None
        self._draws: bool | None = None  # at a fetch, from a global random state
        self.start(0)
        self._made, self._changed = self._at_start["numbers"], set[str]()

    def start(self, epoch: int) -> None:
        """Begin an epoch."""
        set_epoch(self.loader, epoch)
        self.done = self._taken = 0  # micro-batches trained on, and taken from the loader
        self._first: Any = None, None  # micro-batch, and its tensors' versions
        self._newest: Any = None, None  # micro-batch, and the random state before its fetch
        self._latest, self._exhausted = self._newest, False
        self._at_start = self._state() | {"epoch": epoch}
        self._before: dict[str, Any] | None = None  # random state before the next fetch
        self._to_save: dict[str, Any] | None = None  # instead of the current random state

    @property
    def resumed(self) -> bool:
        """Whether the next iteration continues inside an epoch."""
        return self._saved is not None and self.done > 0

    @property
    def broken_off(self) -> bool:
        """Whether an iteration ended inside an epoch."""
        return self._saved is None and self.done > 0

    @property
    def ahead(self) -> bool:
        """Whether micro-batches were taken that are not trained on."""
        return self._taken > self.done

    def iterate(self) -> Iterator[Any]:
        """Iterate over the epoch's micro-batches; after a resume over the remaining ones.

        Raises CheckpointError, on every rank, if the loader does not repeat its micro-batches, and
        ValueError if it writes into one of a window that waits for the others.
        """
        batches = iter(self.loader) if self._saved is None else self._resume(self._saved)
        versions: list[int] = []
        self._before, self._to_save = random_state(None) if self.done else None, None
        for batch in batches:
            if versions and self.ahead and _versions(self._newest[0]) != versions:
                raise ValueError(
                    f"train_loader wrote into micro-batch {self._taken - 1} before it was trained "
                    "on; gradient_accumulation_steps needs new tensors, such as batch.clone()"
                )
            versions = _versions(batch)
            if self._draws is None and self._before is not None:
                self._draws = global_state_moved(self._before, random_state(None))
            self._take(batch, self._before if self._draws else None)
            yield batch
            self._before = None if self._draws is False else random_state(None)
        self._exhausted, self._saved = True, None

    def _take(self, batch: Any, before: Any) -> None:
        self._taken, self._newest = self._taken + 1, (batch, before)
        if self._taken == 1:
            self._first = batch, _versions(batch)

    def commit(self) -> None:
        """Count what was taken from the loader as trained on."""
        self._previous = self.done, self._latest, self._saved
        self.done, self._latest, self._saved = self._taken, self._newest, None

    def finish(self) -> None:
        """End an epoch; ValueError for one without a micro-batch."""
        if not self.done:
            raise ValueError(
                f"train_loader yielded nothing in epoch {self._at_start['epoch']}; an iterator can "
                "be read only once: pass a list or a DataLoader; drop_last=True leaves out a batch "
                "that is not full"
            )
        self.done = self._taken = 0

    def undo(self, committed: int) -> bool:
        """Undo a fetch that failed, or those of micro-batches that were not trained on (RES-9).

        Returns False if a fetch may have changed what is not restored.
        """
        if committed:
            self.done, self._latest, self._saved = self._previous
        if self._saved is not None or (committed and not self._taken):  # taken elsewhere
            return True
        if not self.done:
            self._to_save = self._at_start
        elif self._before is not None:
            restore_random_state(self._before, None)
        if isinstance(self.loader, TensorBatches):
            self.loader.load_state_dict({**self.loader.state_dict(), "next": self.done})
            return True
        # A state_dict is that of the place that the loader has reached itself.
        moved = self._stateful and not getattr(self.loader, "num_workers", 0)
        drew = bool(self.done and self._draws) and self.ahead
        return not moved and not drew

    def _resume(self, saved: dict[str, Any]) -> Iterator[Any]:
        """Return the epoch's remaining micro-batches, or raise CheckpointError."""
        stateful, over, right = saved["loader"] is not None, self._is_over(saved), True
        if stateful:
            batches = self._reopen(saved, over)
        else:
            batches, right = self._begin_again(saved, over)
        if not all(self._ranks.all_gather_object(right)):
            raise CheckpointError(
                "train_loader does not repeat the micro-batches that were trained on, so that the "
                "run would differ from one without interruption; let samplers and data sets hold "
                "their random generators, or use a loader with a state_dict, such as TensorBatches "
                "or torchdata's StatefulDataLoader; for other data, load the model alone"
            )
        restore_random_state(saved["random"], None if stateful else self.loader)
        if not over or self.done:
            return batches
        self._at_start = self._state() | {"epoch": self._at_start["epoch"]}
        return iter(self.loader)

    def _reopen(self, saved: dict[str, Any], over: bool) -> Iterator[Any]:
        """Return what is left of the epoch of a loader that has restored its own place."""
        if not over:
            restore_random_state(saved["at_start"], None)
            return iter(self.loader)
        if isinstance(self.loader, DataLoader):
            iter(self.loader)  # leaves the iterator that had finished, and draws
            restore_random_state(saved["random"], self.loader)
        return iter(())  # its next micro-batches would be those of the next epoch

    def _begin_again(self, saved: dict[str, Any], over: bool) -> tuple[Iterator[Any], bool]:
        """Return what is left of the saved epoch, and whether it repeats what was trained on."""
        if saved["random" if over else "at_start"]["open"]:
            for part in _persistent(parts(self.loader)):
                iter(part)  # starts the workers; what that draws is restored
        if not over:
            return self._replay(saved, self.done)
        right, epoch = True, self._at_start["epoch"]
        if saved["prints"][0] is not None:
            right = all(self._replay(saved, 1)[1] for _ in range(2))
        self._taken = self.done
        self._restore(saved["random"])
        if not self.done:
            set_epoch(self.loader, epoch)
        return iter(()), right

    def _is_over(self, saved: dict[str, Any]) -> bool:
        return bool(saved["exhausted"]) or not self.done

    def _replay(self, saved: dict[str, Any], count: int) -> tuple[Iterator[Any], bool]:
        """Begin the saved epoch, take ``count`` micro-batches; tell whether they are the same."""
        at_start, (first, latest) = saved["at_start"], saved["prints"]
        set_epoch(self.loader, at_start["epoch"])
        self._restore(at_start)
        for part in _persistent(parts(self.loader)):
            if part._iterator is not None and not at_start["open"]:
                iter(part._index_sampler)  # as the start of the workers did in this epoch
                torch.empty((), dtype=torch.int64).random_(generator=part.generator)
        batches, right, self._taken = iter(self.loader), True, 0
        for index in range(1, count + 1):
            before = saved["before"] if index == self.done else None
            if before is not None:
                restore_random_state(before, None)
            batch = next(batches, None)
            self._take(batch, before)
            for place, known in ((1, first), (self.done, latest)):
                right &= index != place or known in (None, fingerprint(batch))
        return batches, right

    def state_dict(self) -> dict[str, Any]:
        """Return the place and the random states, of all ranks."""
        if (own := self._saved) is None:
            states = self._at_start, self._to_save or self._state()
            for state in states:
                known = state["numbers"].items()
                self._changed |= {path for path, x in known if x != self._made.get(path, x)}
            at_start, now = (
                s | {"numbers": {p: x for p, x in s["numbers"].items() if p in self._changed}}
                for s in states
            )
            loader, (first, versions), (latest, before) = self.loader, self._first, self._latest
            hidden = first is None or versions != _versions(first)  # written to in place since
            place: Any = loader.state_dict() if self._stateful else None
            if isinstance(loader, TensorBatches) and self.done:
                place = place | {"next": self.done}  # a hook may iterate over it
            own = {
                "exhausted": self._exhausted and self._taken == self.done,
                "at_start": at_start,
                "random": now,
                "prints": [None if hidden else fingerprint(batch) for batch in (first, latest)],
                "before": before,
                "loader": place,
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
        own = self._saved = state["ranks"][self._ranks.rank]
        self.done = self._taken = done
        stateful = own["loader"] is not None
        self._restore(own["at_start" if stateful and not self._is_over(own) else "random"])
        if stateful:
            self.loader.load_state_dict(own["loader"])
            restore_random_state(own["random"], None)
        self._changed |= own["random"]["numbers"].keys()
        if done:
            self._at_start, self._exhausted = own["at_start"], own["exhausted"]

    def _state(self) -> dict[str, Any]:
        opened = any(part._iterator is not None for part in _persistent(parts(self.loader)))
        return random_state(self.loader) | {"numbers": numbers(self.loader), "open": opened}

    def _restore(self, state: dict[str, Any]) -> None:
        restore_random_state(state, self.loader)
        restore_numbers(self.loader, {**self._made, **state["numbers"]})


def set_epoch(loader: Any, epoch: int) -> None:
    """Call ``set_epoch`` of a loader, and of the samplers and data sets that it is made of.

    Raises ValueError for a data set of persistent workers, whose copies it would not reach.
    """
    found = parts(loader)
    for owner in _persistent(found):
        held = parts(owner.dataset).values()
        storages = (x.untyped_storage() for x in held if isinstance(x, Tensor))
        shared = any(hasattr(x, "get_lock") for x in held) or any(x.is_shared() for x in storages)
        if not shared and any(hasattr(x, "set_epoch") for x in held):
            raise ValueError(
                f"train_loader: set_epoch of {type(owner.dataset).__name__} does not reach the "
                "copies that persistent workers have; use persistent_workers=False, or hold the "
                "epoch in a tensor of shared memory"
            )
    for part in found.values():
        if hasattr(part, "set_epoch"):
            part.set_epoch(epoch)


def _persistent(found: dict[str, Any]) -> list[Any]:
    """Return the loaders whose workers live on between epochs."""
    loaders = (part for part in found.values() if isinstance(part, DataLoader))
    return [part for part in loaders if part.persistent_workers]


def _versions(batch: Any) -> list[int]:
    """Return how often each tensor of a nest was written to in place."""
    found = list[Any]()
    map_tensors(batch, found.append)
    return [x._version for x in found if isinstance(x, Tensor) and not x.is_inference()]
