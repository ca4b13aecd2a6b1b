"""``SCMTrainer``, and the loop that one would write by hand for the same arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from benchmarks.contestants.problem import Batch, Feed, start
from benchmarks.job import Job, Work
from zeroproof.losses import SCMTrainingLoss
from zeroproof.training.compiling import compile_options
from zeroproof.training.targets import lift_targets
from zeroproof.training.trainer import SCMTrainer, TrainingConfig

TAU = TrainingConfig().tau_train_min
AMP = {"bf16": torch.bfloat16, "fp16": torch.float16}

Taken = ParamSpec("Taken")
Given = TypeVar("Given")


def compiled(function: Callable[Taken, Given], device: str) -> Callable[Taken, Given]:
    """Compile a function as the trainer does, for the very shapes that it is called with."""
    return torch.compile(function, dynamic=False, options=compile_options(torch.device(device)))


def trainer(
    device: str,
    batch: int,
    *,
    width: int = 64,
    amp: str | None = None,
    compile: bool = False,
    fused: bool = False,
    hook: bool = False,
    accumulation: int = 1,
) -> Job:
    """``SCMTrainer.fit`` for one epoch of as many batches as asked."""
    options: dict[str, Any] = {"gradient_accumulation_steps": accumulation}
    if amp:
        options |= {"use_amp": True, "amp_dtype": amp}
    if hook:
        options["log_hook"] = lambda record: None
    options["compile"] = compile
    model, optimizer = start(width, device, fused=fused)
    feed = Feed(batch, device)
    config = TrainingConfig(max_epochs=1, **options)
    fitted = SCMTrainer(model, optimizer, SCMTrainingLoss(), feed, config=config)

    def job(steps: int) -> Work:
        # The same trainer goes on each time, since a new one would have to compile again, and so
        # would one with another state.
        fitted.epoch = 0
        feed.steps = steps
        return fitted.fit

    return job


def by_hand(
    device: str,
    batch: int,
    *,
    width: int = 64,
    amp: str | None = None,
    compile: bool = False,
    fused: bool = False,
    guarded: bool = True,
) -> Job:
    """The same arithmetic without metrics, records, checks or windows.

    It skips an update that is not finite, as the trainer does (STEP-3), unless it is not guarded;
    a fused optimizer does so without a wait.
    """
    model, optimizer = start(width, device, fused=fused)
    feed, loss_fn = Feed(batch, device), SCMTrainingLoss()
    scaler = torch.amp.GradScaler(device) if amp == "fp16" else None

    def objective(batch: Batch) -> Tensor:
        x, y = batch
        with torch.autocast(device, AMP[amp]) if amp else nullcontext():
            P, Q = model(x)
        loss, _ = loss_fn((P.float(), Q.float()), lift_targets(y), tau=TAU, targets=y)
        return loss

    evaluate = compiled(objective, device) if compile else objective
    step = torch.compile(optimizer.step, dynamic=False) if compile else optimizer.step

    def epoch() -> None:
        for batch in feed:
            optimizer.zero_grad()
            loss = evaluate(batch)
            if scaler is not None:
                scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
                scaler.step(optimizer)
                scaler.update()
                continue
            loss.backward()  # type: ignore[no-untyped-call]
            if guarded:
                gradients = [p.grad for p in model.parameters() if p.grad is not None]
                finite = torch.isfinite(get_total_norm(gradients) + loss.detach())
                if fused:
                    optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
                elif not finite:
                    continue
            step()

    def job(steps: int) -> Work:
        feed.steps = steps
        return epoch

    return job
