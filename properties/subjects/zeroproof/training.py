"""Plans carried out by ``SCMTrainer``."""

from __future__ import annotations

import inspect
import math
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from properties.subjects.tasks import Disturbed, Plateau, Window
from properties.subjects.zeroproof.plays import played
from properties.subjects.zeroproof.ranks import on_ranks, share
from properties.subjects.zeroproof.reads import HostReads
from properties.subjects.zeroproof.scripted import (
    Batch,
    Loader,
    Scripted,
    Session,
    config_of,
)
from properties.subjects.zeroproof.unchecked import unchecked
from spec.epochs import OFFERED, Call
from spec.logs import Hooked
from spec.precision import Precision
from spec.runs import MicroBatch, Plan, Trace
from spec.update import Phases
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
        """Fit, in as many trainers as there are interrupts, each in a process of its own."""
        if plan.ranks > 1:
            return self.train_ranks(plan, **options)[0]
        with unchecked():  # the checks draw from Python's generator, which a plan may watch
            return played(plan, **options)

    def train_ranks(self, plan: Plan, **options: Any) -> list[Trace]:
        """Fit on several ranks, each of which is asked to write into a folder of its own."""

        def train(rank: int) -> Trace:
            with tempfile.TemporaryDirectory() as folder:
                own = {"checkpoint_dir": folder, "checkpoint_every": 1}
                trace = self.train(share(plan, rank), **own, **options)
                return replace(trace, written=len(list(Path(folder).iterdir())))

        return on_ranks(train, plan.ranks)

    def train_unequal(self, ranks: int) -> None:
        """Train on as many micro-batches as the rank's number says, and one."""

        def train(rank: int) -> None:
            Session(Plan(((MicroBatch("vv"),) * (1 + rank),)), 0, 1).trainer.fit()

        on_ranks(train, ranks)

    def precision(self, dtype: str, option: str = "mixed_precision") -> Precision:
        """Train a linear layer, looking at dtypes."""
        layer, forward, seen, inside = nn.Linear(2, 1), list[str](), list[str](), list[str]()
        layer.register_forward_hook(lambda m, i, o: forward.append(_name(o)))

        def loss(outputs: Tensor, lifted: Batch) -> Tensor:
            seen.extend(_name(x) for x in (outputs, *lifted))
            inside.append(_name(torch.ones(2, 2) @ torch.ones(2, 2)))
            return outputs.square().mean()

        config: dict[str, Any] = {option: True, "amp_dtype": dtype}
        trainer = SCMTrainer(
            layer,
            torch.optim.SGD(layer.parameters(), lr=0.1),
            loss,
            [(torch.ones(3, 2), torch.ones(3, 1))],
            config=TrainingConfig(max_epochs=1, **config),
        )
        trainer.fit()
        scaled = trainer.state_dict()["scale"] is not None
        return Precision(forward[0], tuple(seen), inside[0], scaled)

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

    def host_reads(self, updates: int, skips_on_device: bool) -> int:
        """Count what makes the host wait, also with float16's loss scale."""
        layer = nn.Linear(2, 2)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, fused=skips_on_device)
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
        trainer.window.skips_on_device = skips_on_device  # as on CUDA
        with reads:
            trainer.fit()
        return reads.count

    def validation_traces(self, fails: bool) -> tuple[str, ...]:
        """Validate."""
        task = Disturbed(fails)
        config = TrainingConfig(val_loader=task.loader)
        trainer = SCMTrainer(task.model, task.optimizer, task.loss, task.loader, config=config)
        with unchecked():  # as in train
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

    def loss_arguments(self, accepts: Sequence[str], plan: Plan) -> list[Call]:
        """Fit with a loss of that signature."""
        model, calls = Scripted(), list[Call]()

        def loss(outputs: Batch, lifted: Batch, **given: Any) -> Tensor:
            plain = {k: v.tolist() if isinstance(v, Tensor) else v for k, v in given.items()}
            Y_n, Y_d = (part.tolist() for part in lifted)
            calls.append(Call(not model.training, (Y_n, Y_d), plain))
            return outputs[0].mean()

        kind = inspect.Parameter.KEYWORD_ONLY
        positional = list(inspect.signature(loss).parameters.values())[:2]
        keywords = [inspect.Parameter(name, kind) for name in OFFERED if name in accepts]
        loss.__signature__ = inspect.Signature([*positional, *keywords])  # type: ignore[attr-defined]
        trainer = SCMTrainer(
            model,
            torch.optim.SGD(model.parameters(), lr=0.1),
            loss,
            Loader(plan.epochs, math.inf),
            config=config_of(plan, max_epochs=len(plan.epochs)),
        )
        trainer.fit()
        return calls


def _name(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")
