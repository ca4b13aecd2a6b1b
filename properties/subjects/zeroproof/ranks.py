"""Plans carried out by other processes: several ranks joined by gloo, or one that resumes."""

from __future__ import annotations

import multiprocessing
import pickle
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist

from spec.runs import MicroBatch, Plan

SECONDS = 60
T = TypeVar("T")


def share(plan: Plan, rank: int) -> Plan:
    """Return what one of a plan's ranks trains on; the last one alone has losses with a fault."""

    def own(batch: MicroBatch) -> MicroBatch:
        faultless = batch.fault == "loss" and rank < plan.ranks - 1
        samples, fault = batch.samples[rank :: plan.ranks], "" if faultless else batch.fault
        return replace(batch, samples=samples, fault=fault)

    epochs = tuple(tuple(map(own, epoch)) for epoch in plan.epochs)
    return replace(plan, epochs=epochs, validation=tuple(map(own, plan.validation)), ranks=1)


def _run(task: Callable[[int], object], folder: Path, rank: int, ranks: int) -> None:
    torch.set_num_threads(1)
    if ranks > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=ranks
        )
    try:
        found = task(rank)
    except Exception as error:
        found = error
    (folder / str(rank)).write_bytes(pickle.dumps(found))
    if ranks > 1:
        dist.destroy_process_group()


def on_ranks(task: Callable[[int], T], ranks: int) -> list[T]:
    """Return what a task returns on each rank; raise what it raises on any."""
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        processes = [
            context.Process(target=_run, args=(task, folder, rank, ranks)) for rank in range(ranks)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(SECONDS)
            process.kill()
        missing = [rank for rank in range(ranks) if not (folder / str(rank)).exists()]
        if missing:
            raise TimeoutError(f"ranks {missing} of {ranks} did not come to an end")
        found = [pickle.loads((folder / str(rank)).read_bytes()) for rank in range(ranks)]
    for result in found:
        if isinstance(result, Exception):
            raise result
    return found


def in_new_process(task: Callable[[], T]) -> T:
    """Return what a task returns in a process that has done nothing before."""
    return task() if torch.cuda.is_available() else on_ranks(lambda _: task(), 1)[0]
