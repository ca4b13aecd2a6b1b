"""From what a loader yields to inputs and targets on the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor


def _to_device(data: Any, device: torch.device) -> Any:
    if hasattr(data, "to"):  # a tensor, or what moves itself, such as a PackedSequence
        return data.to(device, non_blocking=True)
    if isinstance(data, Mapping):
        return {key: _to_device(value, device) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        moved = [_to_device(value, device) for value in data]
        return type(data)(*moved) if hasattr(data, "_fields") else type(data)(moved)
    return data


def split_batch(
    batch: Any, device: torch.device, prepare: Callable[[Any], Any] | None = None
) -> tuple[Any, Tensor]:
    """Return a batch's inputs and targets, on the device.

    Args:
        batch: a pair of inputs (a tensor, or a nest of them) and a tensor of targets, samples
            along the first dimension; or what ``prepare`` makes such a pair of.
        device: where to move both.
        prepare: the user's ``prepare_batch``.

    Raises:
        TypeError: the batch is no such pair.
        ValueError: the targets hold no samples.

    Meets: STEP-13.
    """
    if prepare is not None:
        batch = prepare(batch)
    if not isinstance(batch, (list, tuple)) or len(batch) != 2 or not isinstance(batch[1], Tensor):
        parts = [type(part).__name__ for part in batch] if isinstance(batch, (list, tuple)) else ""
        raise TypeError(
            "the loader must yield pairs (inputs, targets) with a tensor of targets, "
            f"got {type(batch).__name__} {parts}; give a prepare_batch that makes one of it"
        )
    inputs, targets = _to_device(batch[0], device), batch[1].to(device, non_blocking=True)
    if targets.dim() == 0 or len(targets) == 0:
        raise ValueError(
            f"the loader yielded targets of shape {tuple(targets.shape)}; "
            "a micro-batch needs at least one sample along the first dimension"
        )
    return inputs, targets
