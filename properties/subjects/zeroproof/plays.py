"""Whole plans carried out by ``SCMTrainer``, from interrupt to interrupt."""

from __future__ import annotations

import math
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from properties.subjects.scripted import Pause
from properties.subjects.zeroproof.ranks import in_new_process
from properties.subjects.zeroproof.scripted import CompiledSession, Session, numbered
from spec.runs import Event, Plan, Trace


@dataclass(frozen=True)
class _Part:
    """A part of a run, up to an interrupt, and where it left off."""

    trace: Trace
    epoch: int
    global_step: int


def _train_part(plan: Plan, folder: str, before: _Part | None, stop: int, **options: Any) -> _Part:
    """Train up to a number of micro-batches, from the latest checkpoint of a folder."""
    starts = [sum(map(len, plan.epochs[:k])) for k in range(len(plan.epochs) + 1)]
    first, at_end = before.epoch if before else 0, stop in starts
    last = starts.index(stop) if at_end else len(plan.epochs)
    most = math.inf if at_end else stop - starts[first]
    saves = {} if at_end else {"checkpoint_dir": folder, "checkpoint_every": 1}
    kind = CompiledSession if options.get("compile") else Session
    session = kind(plan, first, last, most, resumes=before is not None, **options, **saves)
    trainer = session.trainer
    reductions = _counted_reductions(trainer.model)
    if before:
        session.load_latest(folder)
    with suppress(Pause):
        session.fit()
    if (at_end or trainer.stopped) and plan.interrupts:
        trainer.save_checkpoint(Path(folder) / f"step-{stop:010d}-{trainer.run:012x}.pt")
    trace = Trace(
        tuple(session.events),
        (session.model.w.item(), session.loss.v.item()),
        tuple(trainer.last_thresholds),
        tuple(trainer.records.records),
        tuple(trainer.val_history),
        float(session.optimizer.param_groups[0]["lr"]),
        tuple(session.loader.epochs_set),
        len(reductions),
    )
    return _Part(trace, trainer.epoch, trainer.global_step)


def _counted_reductions(model: Any) -> list[object]:
    """Return a list that grows whenever gradients are reduced over ranks."""
    reductions: list[object] = []
    if isinstance(model, DistributedDataParallel):

        def reduce(_, bucket):  # type: ignore[no-untyped-def]  # DDP reads annotations
            reductions.append(bucket.index())
            return allreduce_hook(dist.group.WORLD, bucket)  # type: ignore[arg-type]

        model.register_comm_hook(None, reduce)
    return reductions


def played(plan: Plan, folder: str = "", **options: Any) -> Trace:
    """Carry out a plan, in as many trainers as there are interrupts, each in a new process.

    Ranks stay in theirs, and have a folder for checkpoints, which they share.
    """
    ends = [sum(map(len, plan.epochs[: k + 1])) for k in range(len(plan.epochs))]
    events: list[Event] = []
    part: _Part | None = None
    with tempfile.TemporaryDirectory() as own:
        for stop in dict.fromkeys([*sorted(plan.interrupts), ends[-1]]):
            task = partial(_train_part, plan, folder or own, part, stop, **options)
            part = in_new_process(task) if part and not folder else task()
            events += part.trace.events
            if part.trace.of("error"):
                break
    assert part is not None
    return replace(part.trace, events=numbered(events, part.global_step))
