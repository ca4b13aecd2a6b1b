"""Plans carried out by ``SCMTrainer``."""

from __future__ import annotations

import math
import tempfile
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from properties.subjects.reporting import Reporting
from properties.subjects.scripted import tensors
from properties.subjects.tasks import Batch, Tasks, mean_square, ones
from properties.subjects.zeroproof.plays import played
from properties.subjects.zeroproof.ranks import on_ranks, share
from properties.subjects.zeroproof.reads import HostReads
from properties.subjects.zeroproof.scripted import Session, trainer_of
from properties.subjects.zeroproof.unchecked import unchecked
from spec.accumulation import windows
from spec.options import Outcome, Parameters, Tensors
from spec.runs import MicroBatch, Plan, Record, Trace
from zeroproof.losses import SCMTrainingLoss
from zeroproof.training.batches import TensorBatches
from zeroproof.training.curriculum import GeometricRamp, LinearRamp
from zeroproof.training.stopping import CoverageStop
from zeroproof.training.thresholds import perturbed_threshold
from zeroproof.training.trainer import SCMTrainer, TrainingConfig

Pair = namedtuple("Pair", "first second")


class Looking(nn.Linear):
    """Looks at its inputs, of which it takes nothing."""

    outputs = "value"

    def forward(self, x: Any) -> Any:
        self.seen = repr(x)
        y = super().forward(torch.ones(3, 2))
        found = {"value": y, "three": (y, y, y), "dict": {"value": y}, "and text": (y, "text")}
        return found[self.outputs]


class Searching(torch.optim.SGD):
    """Evaluates the window three times, and makes the step of SGD, or one to NaN.

    Of four times it once evaluates elsewhere first, twice, and twice clears the gradients first. It
    takes the gradient of the first evaluation after that.
    """

    losses: list[list[float]]
    finite: bool

    def step(self, closure: Callable[[], float]) -> None:  # type: ignore[override]
        values = [p.detach() for group in self.param_groups for p in group["params"]]
        elsewhere, case = {0.0}, len(self.losses) % 4
        if case > 1:
            self.zero_grad(set_to_none=case == 2)
        if case == 1:
            kept = [x.clone() for x in values]
            torch._foreach_add_(values, 1.0)
            elsewhere = {float(closure()) for _ in range(2)}
            torch._foreach_copy_(values, kept)
        losses, parameters = [float(closure())], [p for g in self.param_groups for p in g["params"]]
        gradients = [None if p.grad is None else p.grad.clone() for p in parameters]
        losses += [float(closure()) for _ in range(2)]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        self.losses.append(losses if len(elsewhere) == 1 else [])
        made = next(iter(self.state.values()))["made"]
        spoils = not self.finite and not made  # else an earlier step was not undone
        made += 1
        super().step()
        for value in values if spoils else ():
            value.fill_(math.nan)


def _scaling() -> SCMTrainer:
    """Return a trainer with float16's loss scale."""
    layer = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    return trainer_of(layer, optimizer, mean_square, ones(1), mixed_precision=True)


class ZeroProofTraining(Tasks, Reporting):
    """``SCMTrainer``."""

    _trainer_of = staticmethod(trainer_of)
    _session = staticmethod(Session)

    def draw(self, tau_min: float, tau_max: float, seed: int | None, count: int) -> list[float]:
        """Return draws of one generator, or of none, under a default dtype of few digits."""
        source = None if seed is None else torch.Generator().manual_seed(seed)
        dtype = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        try:
            return [perturbed_threshold(tau_min, tau_max, generator=source) for _ in range(count)]
        finally:
            torch.set_default_dtype(dtype)

    def watch(
        self, coverages: Sequence[float | None], threshold: float, patience: int
    ) -> list[tuple[int, bool]]:
        stop, seen = CoverageStop(threshold=threshold, patience=patience), []
        for coverage in coverages:
            stops = stop.observe(coverage)
            seen.append((stop.bad_epochs, stops))
            if stops:
                break
        return seen

    def begin(self, plan: Plan) -> Session:
        return Session(plan, 0, 10**6)

    def train(self, plan: Plan, **options: Any) -> Trace:
        """Fit, in as many trainers as there are interrupts, each in a process of its own."""
        if plan.ranks > 1:
            return self.train_ranks(plan, **options)[0]
        with unchecked():  # the checks draw from Python's generator, which a plan may watch
            return played(plan, **options)

    def train_ranks(self, plan: Plan, **options: Any) -> list[Trace]:
        """Fit on several ranks, each of which is asked to write into a folder of its own.

        If they are interrupted, they resume from a folder that they share.
        """

        def train(rank: int) -> Trace:
            with tempfile.TemporaryDirectory() as folder:
                own = {"checkpoint_dir": folder, "checkpoint_every": 1}
                own = {"folder": shared} if plan.interrupts else own
                trace = self.train(share(plan, rank), **own, **options)
                return replace(trace, written=len(list(Path(folder).iterdir())))

        with tempfile.TemporaryDirectory() as shared:
            return on_ranks(train, plan.ranks)

    def train_unequal(self, ranks: int, loader: str = "train") -> None:
        """Train, or validate, on as many micro-batches as the rank's number says, and one."""

        def train(rank: int) -> None:
            one = (MicroBatch("vv"),)
            many = one * (1 + rank)
            plan = Plan((many,)) if loader == "train" else Plan((one,), validation=many)
            Session(plan, 0, 1).trainer.fit()

        on_ranks(train, ranks)

    def by_hand(self, plan: Plan) -> list[Record]:
        with unchecked():
            step = Session(plan, 0, 1).trainer.train_step
            ours = windows(plan.epochs[0], plan.accumulation)
            return [step(*map(tensors, window)) for window in ours]

    def _scales(self, trainer: SCMTrainer) -> bool:
        return trainer.state_dict()["scale"] is not None

    def watched(self, losses: Sequence[float], mode: str = "min") -> list[float]:
        return self._rates(losses, mode, scheduler_step="val")

    def configure(self, option: str, value: object) -> None:
        ends: dict[str, Any] = {"tau_train_min": 0.0, "tau_train_max": 1.0}
        with unchecked():
            TrainingConfig(**ends | {"mixed_precision": True, option: value})

    def option_default(self, option: str) -> object:
        return getattr(TrainingConfig(), option)

    def search(self, plan: Plan, finite: bool) -> tuple[list[list[float]], Parameters, int]:
        with unchecked():
            session = type("", (Session,), {"_optimizer": Searching})(plan, 0, len(plan.epochs))
            session.optimizer.losses, session.optimizer.finite = [], finite
            session.optimizer.state[session.model.w]["made"] = torch.zeros(())
            session.fit()
        parameters = session.model.w.item(), session.loss.v.item()
        return session.optimizer.losses, parameters, session.trainer.skipped_steps

    def batches(self, loader: Tensors, epoch: int | None, done: int) -> list[list[int]]:
        def made() -> TensorBatches:
            inputs, targets, size, seed, shuffle, drop_last = vars(loader).values()
            given: Any = {"batch_size": size, "shuffle": shuffle, "drop_last": drop_last}
            return TensorBatches(*map(torch.arange, (inputs, targets)), seed=seed, **given)

        batches, rest = made(), made()
        if epoch is not None:
            batches.set_epoch(epoch)
        if done:
            list(islice(batches, done))
            rest.load_state_dict(batches.state_dict())
        return [inputs.tolist() for inputs, _ in (rest if done else batches)]

    def loss_scales(self, outcomes: Sequence[tuple[Outcome, int]]) -> list[float]:
        trainer, found = _scaling(), []
        for outcome, count in outcomes:
            scale: Any = trainer.update.scale
            flags = [torch.tensor(outcome == kind) for kind in ("applied", "overflow")]
            for _ in range(count):
                scale.update(*flags)
            found.append(float(scale.value))
            state, trainer = trainer.state_dict(), _scaling()
            trainer.load_state_dict(state)
        return found

    def ramp(self, kind: str, ends: Sequence[float], epochs: Sequence[int], epoch: int) -> float:
        ramp: Any = {"linear": LinearRamp, "geometric": GeometricRamp}[kind]
        return float(ramp(*ends, *epochs)(epoch))

    def train_on(self, targets: str, loss: str = "scalar", outputs: str = "value") -> bool:
        model, tensor = Looking(2, 1), torch.ones(3)
        model.outputs = outputs
        inputs = Pair({"x": tensor}, [tensor, (2 * tensor, "name")])
        kinds = {"empty": torch.ones(0, 1), "scalar": torch.ones(()), "list": [1.0] * 3}
        loader = [(inputs, kinds.get(targets, torch.ones(3, 1)))]
        losses: dict[str, Callable[..., Any]]
        losses = {"scalar": mean_square, "samples": lambda y, _: y[:, 0], "number": lambda *_: 1.0}
        losses["third"] = lambda y, _: (y.mean(), {}, {})
        for name, term in (("samples term", tensor), ("text term", "1"), ("no term", None)):
            losses[name] = lambda y, _, term=term: (y.mean(), {"term": term})
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        trainer_of(model, optimizer, losses[loss], loader).fit()
        return model.seen == repr(inputs)

    def host_reads(self, updates: int, skips_on_device: bool) -> int:
        """Count what makes the host wait, also with float16's loss scale."""
        layer = nn.Linear(2, 2)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, fused=skips_on_device)
        reads, losses = HostReads(layer), SCMTrainingLoss()

        class Ends(list[Batch]):
            def __iter__(self) -> Iterator[Batch]:
                yield from super().__iter__()
                reads.end()

        trainer = trainer_of(
            layer,
            optimizer,
            lambda outputs, lifted, tau: losses((outputs, 2 * outputs), lifted, tau=tau),
            Ends([(torch.ones(3, 2), torch.ones(3, 2))] * updates),
            LambdaLR(optimizer, lambda k: 0.5**k),
            mixed_precision=True,
            log_hook=lambda record: None,
            max_grad_norm=1.0,
            tau_train_max=0.5,
        )
        trainer.update.skips_on_device = skips_on_device  # as on CUDA
        with reads:
            trainer.fit()
        return reads.count

    def validation_traces(self, fails: bool) -> tuple[str, ...]:
        with unchecked():  # as in train
            return super().validation_traces(fails)
