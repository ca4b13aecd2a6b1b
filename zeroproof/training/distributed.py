"""Training on several processes: which rank this is, and what the ranks exchange."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from zeroproof.training.transfer import from_host


class Ranks:
    """Rank and world size; 1 without ``torchrun``.

    A script that ``torchrun`` started joins the process group here, unless it did so before.
    Ranks differ in their data only: each gets its own share of every micro-batch.

    Args:
        device: where this rank trains; None takes its own GPU, or else the CPU.

    Meets: DDP-1, DDP-2, STOP-4.
    """

    def __init__(self, device: torch.device | None) -> None:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
            on_gpu = torch.cuda.is_available() and (device is None or device.type == "cuda")
            dist.init_process_group("nccl" if on_gpu else "gloo")
        self.rank, self.size = rank_and_size()

    def own_device(self) -> torch.device | None:
        """Return this rank's GPU, if there are several ranks and GPUs."""
        if self.size == 1 or not torch.cuda.is_available():
            return None
        number = os.environ.get("LOCAL_RANK")  # as torchrun sets it
        return torch.device("cuda", int(number) if number else torch.cuda.current_device())

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return the model in DistributedDataParallel, unless a wrapper reduces its gradients."""
        reduces = any(hasattr(model, name) for name in ("no_sync", "set_requires_gradient_sync"))
        if self.size == 1 or reduces or not any(p.requires_grad for p in model.parameters()):
            return model
        return DistributedDataParallel(model, [device] if device.type == "cuda" else None)

    def frozen(self, model: nn.Module) -> list[nn.Parameter]:
        """Return parameters that are frozen now, which the wrapper never reduces."""
        shards = hasattr(model, "set_requires_gradient_sync")
        return [p for p in model.parameters() if not (p.requires_grad or shards)]

    def reduction(self, model: Any, *, last: bool) -> AbstractContextManager[None]:
        """Return the context of a forward and backward; gradients are averaged in the last one."""
        if self.size > 1 and hasattr(model, "set_requires_gradient_sync"):  # FSDP 2
            model.set_requires_gradient_sync(last)
        waits = self.size > 1 and not last and hasattr(model, "no_sync")
        return model.no_sync() if waits else nullcontext()

    def broadcast(self, parameters: Iterable[Tensor]) -> None:
        """Give parameters the values of rank 0."""
        for parameter in parameters if self.size > 1 else ():
            dist.broadcast(parameter.detach(), 0)

    def all_reduce(self, x: Tensor) -> Tensor:
        """Add up a tensor over the ranks, in place."""
        if self.size > 1:
            dist.all_reduce(x)
        return x

    def all_gather(self, x: Tensor) -> list[Tensor]:
        """Return the tensors of all ranks, which have one shape."""
        if self.size == 1:
            return [x]
        found = [torch.empty_like(x) for _ in range(self.size)]
        dist.all_gather(found, x)
        return found

    def all_gather_object(self, value: Any) -> list[Any]:
        """Return the values of all ranks; a sync, for use between epochs."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def on_rank_0(self, task: Callable[[], object]) -> None:
        """Run a task on rank 0; what it raises is raised on every rank."""
        error = None
        try:
            if self.rank == 0:
                task()
        except Exception as raised:
            error = raised
        if error := self.all_gather_object(error)[0]:
            raise error

    def reduce_window(
        self, losses: list[Tensor], signal: int, unwrapped: Callable[[], Iterable[nn.Parameter]]
    ) -> tuple[list[Tensor], Tensor | None]:
        """Reduce a window's faults, its signal, and the gradients that no wrapper reduces.

        Returns losses that are finite iff they are on every rank, and the largest signal that any
        rank received, or 0. A gradient that no rank has stays None.
        """
        if self.size == 1:
            return losses, None
        parameters = [p for p in unwrapped() if p.requires_grad]
        reached = [p.grad is not None for p in parameters]
        fault = ~torch.isfinite(torch.stack(losses)).all()
        numbers = from_host([signal, *reached], fault.device)
        dist.all_reduce(tally := torch.cat([fault.double()[None], numbers]), dist.ReduceOp.MAX)
        fault, received, *anywhere = tally
        for parameter, somewhere in zip(parameters, anywhere, strict=True):
            if parameter.grad is None and somewhere:  # which is read only then
                parameter.grad = torch.zeros_like(parameter)
            if parameter.grad is not None:
                self.all_reduce(parameter.grad).div_(self.size)
        return [torch.where(fault > 0, torch.nan, 0.0)], received

    def check_equal_lengths(self, loader: Any, name: str) -> None:
        """Raise ValueError on every rank unless all loaders yield as many micro-batches."""
        if self.size == 1:
            return
        lengths = self.all_gather_object(length(loader))
        if None in lengths or len(set(lengths)) > 1:
            raise ValueError(
                f"{name} has {lengths} micro-batches on the {self.size} ranks; they must be known "
                "and equal, as with torch.utils.data.DistributedSampler, or drop_last=True"
            )


def rank_and_size() -> tuple[int, int]:
    """Return this process's rank and the world size; 0 and 1 without a process group."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def full_tensor(x: Any) -> Tensor:
    """Return a tensor that is sharded over ranks, such as FSDP's, in one piece."""
    whole: Tensor = x.full_tensor() if hasattr(x, "full_tensor") else x
    return whole


def length(loader: Any) -> int | None:
    """Return the number of micro-batches that a loader promises, or None."""
    try:
        return len(loader)
    except TypeError:  # a generator, or a DataLoader over an iterable data set
        return None
