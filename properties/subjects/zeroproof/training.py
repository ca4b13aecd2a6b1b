"""Plans carried out by ``SCMTrainer``."""

from __future__ import annotations

import inspect
import math
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from properties.subjects.tasks import Disturbed, Plateau, Window
from properties.subjects.zeroproof.ranks import on_ranks, share
from properties.subjects.zeroproof.reads import HostReads
from properties.subjects.zeroproof.scripted import (
    Batch,
    Pause,
    Scripted,
    Session,
    numbered,
    tensors,
)
from properties.subjects.zeroproof.unchecked import unchecked
from spec.epochs import OFFERED, Hooked
from spec.runs import Event, MicroBatch, Plan, Trace
from spec.update import Phases, Precision
from zeroproof.losses import SCMTrainingLoss
from zeroproof.training.stopping import CoverageStop
from zeroproof.training.trainer import SCMTrainer, TrainingConfig


class ZeroProofTraining:
    """``SCMTrainer``."""

    def watch(
        self, coverages: Sequence[float | None], threshold: float, patience: int
    ) -> list[tuple[int, bool]]:
        """Show coverages to the early stop."""
        stop, seen = CoverageStop(threshold=threshold, patience=patience), []
        for coverage in coverages:
            stops = stop.observe(coverage)
            seen.append((stop.bad_epochs, stops))
            if stops:
                break
        return seen

    def begin(self, plan: Plan) -> Session:
        """Return a trainer with no epoch to train on yet."""
        return Session(plan, 0, 10**6)

    def train_compiled(self, plan: Plan) -> Trace:
        """Fit in compiled code."""
        torch.compiler.reset()
        with unchecked(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tracing itself, which the tests make errors
            return self.train(plan, compile=True)

    def train(self, plan: Plan, **options: Any) -> Trace:
        """Fit, in as many trainers as there are interrupts."""
        if plan.ranks > 1:
            return on_ranks(lambda rank: self.train(share(plan, rank), **options), plan.ranks)[0]
        starts = [sum(map(len, plan.epochs[:k])) for k in range(len(plan.epochs) + 1)]
        events: list[Event] = []
        kept, first = 0, 0
        with tempfile.TemporaryDirectory() as folder:
            for stop in dict.fromkeys([*sorted(plan.interrupts), starts[-1]]):
                between = stop in starts
                last = starts.index(stop) if between else len(plan.epochs)
                most = math.inf if between else stop - starts[first]
                saves = {} if between else {"checkpoint_dir": folder, "checkpoint_every": 1}
                session = Session(plan, first, last, most, **options, **saves)
                if events:
                    session.load_latest(folder)
                with suppress(Pause):
                    session.fit()
                kept += len(session.trainer.log.records)
                events += session.events
                if session.trainer.stopped or session.events[-1].kind == "error":
                    break
                first = session.trainer.epoch
                if between:
                    session.trainer.save_checkpoint(Path(folder) / f"step-{stop:010d}.pt")
        trainer = session.trainer
        return Trace(
            numbered(events, trainer.global_step),
            (session.model.w.item(), session.loss.v.item()),
            tuple(trainer.last_thresholds),
            min(kept, plan.history_limit),
            session.optimizer.param_groups[0]["lr"],
        )

    def train_unequal(self, ranks: int) -> None:
        """Train on as many micro-batches as the rank's number says, and one."""

        def train(rank: int) -> None:
            Session(Plan(((MicroBatch("vv"),) * (1 + rank),)), 0, 1).trainer.fit()

        on_ranks(train, ranks)

    def precision(self, dtype: str) -> Precision:
        """Train a linear layer, looking at dtypes."""
        layer, forward, seen = nn.Linear(2, 1), list[str](), list[str]()
        layer.register_forward_hook(lambda m, i, o: forward.append(_name(o)))

        def loss(outputs: Tensor, lifted: Batch) -> Tensor:
            seen.extend(_name(x) for x in (outputs, *lifted))
            return outputs.square().mean()

        trainer = SCMTrainer(
            layer,
            torch.optim.SGD(layer.parameters(), lr=0.1),
            loss,
            [(torch.ones(3, 2), torch.ones(3, 1))],
            config=TrainingConfig(max_epochs=1, mixed_precision=True, amp_dtype=dtype),
        )
        trainer.fit()
        return Precision(forward[0], tuple(seen), scaled=trainer.state_dict()["scale"] is not None)

    def phases(self, micro_batches: int) -> Phases:
        """Train one window."""
        task = Window(micro_batches)
        config = TrainingConfig(max_epochs=1, gradient_accumulation_steps=micro_batches)
        given = task.layer, task.optimizer, task.loss, task.loader
        SCMTrainer(*given, scheduler=task.scheduler, config=config).fit()
        return task.phases()

    def watched(self, losses: Sequence[float]) -> list[float]:
        """Train under a scheduler that steps after validations."""
        task = Plateau(losses)
        config = TrainingConfig(
            max_epochs=len(losses), val_loader=task.validation, scheduler_step="val"
        )
        given = task.layer, task.optimizer, task.loss, task.loader
        SCMTrainer(*given, scheduler=task.scheduler, config=config).fit()
        return task.scheduler.rates

    def untrainable(self, case: str) -> None:
        """Fit what cannot be trained."""
        layer = nn.Linear(2, 1)
        batches = [] if case == "empty loader" else [(torch.ones(3, 2), torch.ones(3, 1))]

        def loss(outputs: Tensor, lifted: Batch) -> Tensor:
            mean = outputs.mean()
            return mean.detach() if case == "loss without gradient" else mean

        trainer = SCMTrainer(
            layer,
            torch.optim.SGD(layer.parameters(), lr=0.1),
            loss,
            iter(batches) if case == "exhausted loader" else batches,
            config=TrainingConfig(max_epochs=2),
        )
        trainer.fit()
        trainer.fit()

    def host_reads(self, updates: int) -> int:
        """Count what makes the host wait, with a fused optimizer and float16's loss scale."""
        layer = nn.Linear(2, 2)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, fused=True)
        reads, losses = HostReads(layer), SCMTrainingLoss()
        config = TrainingConfig(
            max_epochs=1,
            mixed_precision=True,
            log_hook=lambda record: None,
            max_grad_norm=1.0,
            tau_train_max=0.5,
        )

        class Ends(list[Batch]):
            def __iter__(self) -> Iterator[Batch]:
                yield from super().__iter__()
                reads.end()

        trainer = SCMTrainer(
            layer,
            optimizer,
            lambda outputs, lifted, tau: losses((outputs, 2 * outputs), lifted, tau=tau),
            Ends([(torch.ones(3, 2), torch.ones(3, 2))] * updates),
            scheduler=torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: 0.5**k),
            config=config,
        )
        trainer.window.skips_on_device = True  # as on CUDA
        with reads:
            trainer.fit()
        return reads.count

    def validation_traces(self, fails: bool) -> tuple[str, ...]:
        """Validate."""
        task = Disturbed(fails)
        config = TrainingConfig(val_loader=task.loader)
        trainer = SCMTrainer(task.model, task.optimizer, task.loss, task.loader, config=config)
        return task.traces(trainer.validate)

    def hook_types(self, plan: Plan) -> list[Mapping[str, type]]:
        """Fit, and look at what the hook gets."""
        session = Session(plan, 0, len(plan.epochs))
        session.fit()
        records = [event.values for event in session.events if event.kind in ("log", "validate")]
        return [{name: type(value) for name, value in record.items()} for record in records]

    def raising_hook(self, plan: Plan, record: int) -> Hooked:
        """Fit with a hook that raises."""
        session, got = Session(plan, 0, len(plan.epochs)), list[dict[str, float]]()

        def hook(metrics: dict[str, float]) -> None:
            got.append(metrics)
            if len(got) > record:
                raise KeyError(record)

        session.trainer.log._hook = hook
        try:
            session.trainer.fit()
        except Exception as error:
            return Hooked(type(error).__name__, len(got))
        return Hooked("", len(got))

    def loss_arguments(
        self, accepts: Sequence[str], weights: Sequence[Mapping[str, float]]
    ) -> list[Mapping[str, object]]:
        """Fit with a loss of that signature."""
        model, arrived = Scripted(), list[Mapping[str, object]]()

        def loss(outputs: Batch, lifted: Batch, **given: Any) -> Tensor:
            plain = {k: v.tolist() if isinstance(v, Tensor) else v for k, v in given.items()}
            arrived.append(plain)
            return outputs[0].mean()

        kind = inspect.Parameter.KEYWORD_ONLY
        positional = list(inspect.signature(loss).parameters.values())[:2]
        keywords = [inspect.Parameter(name, kind) for name in OFFERED if name in accepts]
        loss.__signature__ = inspect.Signature([*positional, *keywords])  # type: ignore[attr-defined]
        trainer = SCMTrainer(
            model,
            torch.optim.SGD(model.parameters(), lr=0.1),
            loss,
            [tensors(MicroBatch("v"))],
            config=TrainingConfig(
                max_epochs=len(weights),
                loss_curriculum=(lambda epoch: weights[epoch]) if any(weights) else None,
            ),
        )
        trainer.fit()
        return arrived


def _name(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")
