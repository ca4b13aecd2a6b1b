"""On CUDA a compiled update is replayed as a graph, which costs the host one call."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from zeroproof.training.batches import map_tensors
from zeroproof.training.evaluation import MicroBatch

Row = tuple[Tensor, tuple[str, ...]]


class Capture(NamedTuple):
    """A graph, the tensors of a batch that it reads, and the row that each replay overwrites."""

    graph: torch.cuda.CUDAGraph
    read: list[Tensor]
    row: Row


class Captured:
    """Calls a compiled update, or replays it.

    Of calls of the same form the first compiles, the second captures a graph, and it and all later
    ones replay that. A replay checks nothing, and uses the memory of the capture, to which a batch
    is copied.

    Args:
        function: the compiled update, of a micro-batch, its numbers, which always lie in the same
            place, and whether the micro-batch is the first and the last of its window.
        fixed: returns what else the graph depends on; a graph is captured for each value.
    """

    def __init__(self, function: Callable[..., Row], fixed: Callable[[], Hashable]) -> None:
        self._function, self._fixed = function, fixed
        self._captures: dict[Hashable, Capture | None] = {}
        self._pool: Any = None

    def __call__(self, batch: MicroBatch, numbers: Tensor, first: bool, last: bool) -> Row:
        """Make the update; what is returned is overwritten by the next call."""
        given = list[Tensor]()

        def described(x: Tensor) -> tuple[torch.Size, torch.dtype]:
            given.append(x)
            return x.shape, x.dtype

        form = repr(map_tensors(batch[:2], described))  # with what is no tensor
        key = form, tuple(batch.loss_kwargs.items()), first, last, self._fixed()
        if key not in self._captures:
            self._captures[key] = None
            return self._function(batch, numbers, first, last)
        capture = self._captures[key]
        if capture is None:
            capture = self._captures[key] = self._capture(batch, numbers, first, last)
        torch._foreach_copy_(capture.read, given)
        capture.graph.replay()
        return capture.row

    def _capture(self, batch: MicroBatch, numbers: Tensor, first: bool, last: bool) -> Capture:
        inputs, targets = map_tensors(batch[:2], torch.clone)
        graph, read = torch.cuda.CUDAGraph(), list[Tensor]()
        map_tensors((inputs, targets), read.append)
        batch = batch._replace(inputs=inputs, targets=targets)
        # Other threads, such as a loader's, may allocate meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            row = self._function(batch, numbers, first, last)
        self._pool = self._pool or graph.pool()
        return Capture(graph, read, row)


def pack(batch: MicroBatch, weight: float | Tensor) -> tuple[MicroBatch, list[float]]:
    """Return a micro-batch without its numbers, and the numbers, which are not compiled in."""
    numbers, names = [float(weight), float(batch.tau)], dict[str, tuple[str, ...] | None]()
    for name, value in batch.loss_kwargs.items():
        nested = isinstance(value, Mapping)
        names[name] = tuple(value) if nested else None
        numbers += map(float, value.values() if nested else [value])
    return MicroBatch(batch.inputs, batch.targets, 0.0, names), numbers


def unpack(batch: MicroBatch, numbers: Tensor) -> tuple[MicroBatch, Tensor]:
    """Return the micro-batch and its weight, from what :func:`pack` returned."""
    weight, tau, *rest = numbers.unbind()
    values = iter(rest)  # and perhaps learning rates
    kwargs = {
        name: next(values) if nested is None else {key: next(values) for key in nested}
        for name, nested in batch.loss_kwargs.items()
    }
    return MicroBatch(batch.inputs, batch.targets, tau, kwargs), weight
