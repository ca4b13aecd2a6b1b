"""Batches: from what a loader yields to the device, and a loader of tensors that lie there."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from zeroproof.training.distributed import rank_and_size
from zeroproof.training.targets import Interval, Targets, check_interval, ends
from zeroproof.utils.checks import check_integer, check_type, describe


def map_tensors(data: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function to tensors, arrays, and what can be moved, such as a PackedSequence."""
    array = hasattr(data, "__array_interface__") and getattr(data, "shape", None)  # PIL has none
    if hasattr(data, "to") or array:
        return function(data)
    if isinstance(data, Mapping):
        found = {key: map_tensors(value, function) for key, value in data.items()}
        if type(data) is dict or not isinstance(data, dict):
            return found
        with suppress(Exception):  # a dict of its own kind may refuse changes
            copied = copy.copy(data)
            copied.update(found)
            return copied
        return found
    if isinstance(data, (list, tuple)):
        mapped = [map_tensors(value, function) for value in data]
        return type(data)(*mapped) if hasattr(data, "_fields") else type(data)(mapped)
    return data


def samples_of(name: str, x: Any) -> int:
    """Return a tensor's number of samples; TypeError for another type or no dimension."""
    if not isinstance(x, Tensor) or not x.dim():
        remedy = "torch.as_tensor makes one of an array"
        raise TypeError(f"{name} must be tensors of samples, got {describe(x)}; {remedy}")
    return len(x)


def split_batch(
    batch: Any, device: torch.device, prepare: Callable[[Any], Any] | None = None
) -> tuple[Any, Targets]:
    """Return a batch's inputs and targets, on the device.

    A batch is a pair of a tensor or a nest of them, and a tensor or Interval, samples along the
    first dimension; or what ``prepare``, the user's ``prepare_batch``, makes such a pair of. Raises
    TypeError for another, and ValueError without samples or for intervals that LIFT-9 refuses.

    Meets: STEP-13.
    """

    def moved(x: Any) -> Any:
        if not hasattr(x, "to"):
            raise TypeError(f"inputs hold {describe(x)}; torch.as_tensor makes a tensor of it")
        return x.to(device, non_blocking=True)

    if prepare is not None:
        batch = prepare(batch)
    pair = isinstance(batch, (list, tuple)) and len(batch) == 2
    if not pair or not isinstance(batch[1], (Tensor, Interval)):
        parts = [type(part).__name__ for part in batch] if isinstance(batch, (list, tuple)) else ""
        raise TypeError(
            "the loader must yield pairs (inputs, targets) with a tensor or Interval of targets, "
            f"got {type(batch).__name__} {parts}; give a prepare_batch that makes one of it"
        )
    if isinstance(batch[1], Interval):
        check_interval(batch[1])
    inputs, targets = map_tensors(batch, moved)
    lower, _ = ends(targets)
    if lower.dim() == 0 or len(lower) == 0:
        raise ValueError(
            f"the loader yielded targets of shape {tuple(lower.shape)}; "
            "a micro-batch needs at least one sample along the first dimension"
        )
    return inputs, targets


class TensorBatches:
    """A loader of tensors that lie on the device already, without the cost of a ``DataLoader``.

    Its order follows from (seed, epoch) alone. Ranks share each batch, so that any number of ranks
    makes the same updates; a last batch with fewer samples than ranks is left out. Its place
    within an epoch is saved and restored.

    Args:
        inputs: a tensor, or a nest of tensors; samples along the first dimension.
        targets: a tensor, or an Interval, of as many samples.
        batch_size: samples of a micro-batch, over all ranks; ≥ 1.
        shuffle: shuffle in each epoch, by ``seed`` ≥ 0.
        drop_last: leave out a last batch that is smaller.

    Raises TypeError for what is no tensor or no integer, and ValueError for no samples, unequal
    lengths, and a size or seed out of range.

    Meets: RES-1, STEP-15.

    Example:
        >>> x = torch.arange(5.0)
        >>> [y.tolist() for _, y in TensorBatches(x, 2 * x, batch_size=2, shuffle=False)]
        [[0.0, 2.0], [4.0, 6.0], [8.0]]
    """

    def __init__(
        self,
        inputs: Any,
        targets: Targets,
        *,
        batch_size: int,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        lengths = set[int]()
        map_tensors(inputs, lambda x: lengths.add(samples_of("inputs", x)))
        if isinstance(targets, Interval):
            check_interval(targets, sync=True)
        samples = samples_of("targets", ends(targets)[0])
        if not samples or lengths != {samples}:
            raise ValueError(
                f"inputs have {sorted(lengths)} samples and targets {samples}; there must be "
                "as many of both, and at least one"
            )
        self._data, self._samples = (inputs, targets), samples
        self._size = check_integer("batch_size", batch_size, 1)
        self._seed = check_integer("seed", seed, 0)
        for name, flag in (("shuffle", shuffle), ("drop_last", drop_last)):
            check_type(name, flag, bool, "True or False")
        self._shuffle, self._drop_last = shuffle, drop_last
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch, and start at its beginning."""
        self._epoch, self._start, self._next = epoch, 0, 0

    def __len__(self) -> int:
        whole, left = divmod(self._samples, self._size)
        least = self._size if self._drop_last else rank_and_size()[1]
        return whole + (left >= least)

    def __iter__(self) -> Iterator[tuple[Any, Targets]]:
        rank, ranks = rank_and_size()
        order = self._order()
        start, self._start = self._start, 0
        for index in range(start, len(self)):
            self._next = index + 1
            rows = order[index * self._size : (index + 1) * self._size][rank::ranks]
            yield map_tensors(self._data, itemgetter(rows))

    def _order(self) -> Tensor:
        order = torch.arange(self._samples, device="cpu")  # whatever the default device is
        if self._shuffle:
            seed = random.Random(self._seed << 64 | self._epoch).getrandbits(63)
            generator = torch.Generator().manual_seed(seed)
            order = torch.randperm(self._samples, generator=generator, device="cpu")
        device = ends(self._data[1])[0].device
        if device.type == "cuda":
            order = order.pin_memory()
        return order.to(device, non_blocking=True)

    def state_dict(self) -> dict[str, int]:
        """Return the epoch, the number of its batches that were yielded, and what makes them."""
        names = "samples", "size", "seed", "shuffle", "drop_last"
        made = {name: getattr(self, f"_{name}") for name in names}
        return {"epoch": self._epoch, "next": self._next, "batches": len(self), **made}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Let the next iteration continue where another one was.

        Raises ValueError within an epoch of other batches.
        """
        own, saved = (
            {name: x for name, x in found.items() if name not in ("epoch", "next")}
            for found in (self.state_dict(), state)
        )
        if saved != own and 0 < state["next"] < saved["batches"]:
            raise ValueError(f"inside an epoch of TensorBatches with {saved}, this one has {own}")
        self.set_epoch(state["epoch"])
        self._start = self._next = state["next"]
