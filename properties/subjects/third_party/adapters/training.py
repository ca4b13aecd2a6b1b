"""Plans carried out by ``SCMTrainer``."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from properties.assertions import Unsupported
from properties.subjects.third_party.adapters.coverage import Thresholds, share
from spec.runs import Epoch, Event, Kind, MicroBatch, Plan

training: Any = import_module("zeroproof.training")

RENAMED = {"val_tau_eval": "val_tau"}
SMALLEST = 5e-324
"""The threshold nearest to 0."""

Batch = tuple[Tensor, Tensor]
Hook = Callable[[Mapping[str, Any]], None]


class Scripted(nn.Module):
    """Tuples of ``w·slope`` and 1, or 0 where the inputs say so."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Batch:
        """Return ``(P, Q)``."""
        return self.w * x[:, 0], x[:, 1]


class Own(nn.Module):
    """The mean of the numerators, plus ``v·slope``, with the faults that the inputs ask for."""

    def __init__(self, called: Callable[[float], None]) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.called = called

    def forward(
        self, outputs: Batch, lifted: Batch, *, inputs: Tensor, tau: float, **others: Any
    ) -> Tensor:
        """Return the loss of a micro-batch."""
        self.called(tau)
        value = outputs[0].mean()
        weight: float = others.get("loss_weights", {"fit": 1.0})["fit"]
        loss: Tensor = (value + self.v * inputs[0, 0]) * weight
        if inputs[0, 2] == 1:
            return loss * math.nan
        if inputs[0, 2] == 2:
            return loss + (value - value.detach()).square().sqrt()  # 0, whose slope is ∞ · 0
        return loss


def tensors(batch: MicroBatch) -> Batch:
    """Return a micro-batch as a loader yields it."""
    inputs, targets = batch.inputs, batch.targets
    return torch.tensor(inputs, dtype=torch.float64), torch.tensor(targets, dtype=torch.float64)


def curriculum(weights: Sequence[float]) -> Any:
    """Return the epochs' weights as a ramp, whose values they are."""
    ramp = type("Steps", (training.LinearRamp,), {"value": lambda self, epoch: weights[epoch]})
    return training.LossWeightsCurriculum({"fit": ramp(0.0, 0.0)}) if weights else None


class Pause(Exception):
    """There is no further epoch for now."""


class Loader:
    """Yields an epoch each time it is asked, and knows where in the plan it is."""

    def __init__(self, epochs: Sequence[Epoch], first: int, last: int) -> None:
        self.epochs, self.next, self.last = epochs, first, last
        self.micro_step = sum(map(len, epochs[:first])) - 1

    def __iter__(self) -> Iterator[Batch]:
        if self.next == self.last:
            raise Pause
        self.next += 1
        for batch in self.epochs[self.next - 1]:
            self.micro_step += 1
            self.batch = batch
            yield tensors(batch)

    def unreported(self, tau: float) -> dict[str, float]:
        """Return the entries of a record that the trainer does not claim to make.

        They are as they should be at a threshold, so that it is not held to them.
        """
        counts = self.batch.counts(tau)
        singular = counts.samples - counts.finite
        lost = singular - (counts.covered - counts.covered_finite)
        return {
            "samples": counts.samples,
            "coverage_finite": counts.covered_finite / counts.finite if counts.finite else math.nan,
            "bottom_recall": lost / singular if singular else math.nan,
            "epoch": self.next - 1,
            "micro_step": self.micro_step,
        }


class Told(dict[str, float]):
    """A record, which may lack what no package claims to report."""

    def __missing__(self, name: str) -> float:
        raise Unsupported(f"{name!r} in a record")


def told(record: Mapping[str, Any]) -> Told:
    """Return a record with the names and the precision that clauses want."""
    shares = [name for name in record if name.endswith(("coverage", "bottom_frac"))]
    found = {**record, **{name: share(record[name]) for name in shares}}
    return Told({RENAMED.get(name, name): value for name, value in found.items()})


@dataclass(frozen=True)
class Run:
    """A trace, of a trainer that has no limit to the records it keeps."""

    events: tuple[Event, ...]
    weights: tuple[float, ...]
    thresholds: tuple[float, ...]
    val_history: tuple[Told, ...]
    rate: float

    @property
    def parameters(self) -> tuple[float, ...]:
        """The weights, with the same NaN for every NaN."""
        return tuple(math.nan if w != w else w for w in self.weights)

    @property
    def records(self) -> tuple[Told, ...]:
        """The records that are kept."""
        raise Unsupported("a limit to the records that are kept")

    def of(self, *kinds: Kind) -> list[Event]:
        """Return the events of some kinds, in order."""
        return [event for event in self.events if event.kind in kinds]


class Session:
    """A trainer of a plan's epochs, and what it was seen to do.

    It would train for one epoch more: if it ends before that, it has stopped. Who wants a run to
    be repeatable seeds torch, for the thresholds come from there. A loss may replace the plan's.
    """

    def __init__(
        self, plan: Plan, first: int, last: int, ends: Mapping[str, float], *,
        hook: Hook | None = None, loss: Any = None,
    ) -> None:  # fmt: skip
        torch.manual_seed(plan.seed)
        self.events, self.taus = list[Event](), set[float]()
        self.model, self.loss = Scripted(), Own(self._called)
        groups = [*self.model.parameters(), *(self.loss.parameters() if plan.own_parameter else ())]
        rate = torch.tensor(1 / 8, dtype=torch.float64) if plan.tensor_rate else 1 / 8
        self.optimizer = torch.optim.SGD(groups, lr=rate, momentum=plan.momentum)
        self.optimizer.register_step_post_hook(lambda *_: self._updated())
        if plan.stale:
            for parameter in groups:
                parameter.grad = torch.ones_like(parameter)
        precision, _, switch = plan.precision.partition(" ")
        self.loader = Loader(plan.epochs, first, last)
        self.trainer = training.SCMTrainer(
            self.model,
            self.optimizer,
            loss or self.loss,
            self.loader,
            scheduler=torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda k: 0.5**k),
            config=training.TrainingConfig(
                max_epochs=len(plan.epochs) + 1,
                gradient_accumulation_steps=plan.accumulation,
                coverage_threshold=plan.threshold,
                coverage_patience=plan.patience,
                val_loader=[tensors(batch) for batch in plan.validation] or None,
                loss_curriculum=curriculum(plan.weights),
                log_hook=hook or self._logged,
                mixed_precision=bool(precision) and not switch,
                amp_dtype=getattr(torch, precision or "float16"),
                **ends,
            ),
        )

    def _called(self, tau: float) -> None:
        if self.model.training:
            self.events.append(Event("draw", {"tau": tau}))
        else:
            self.taus.add(tau)

    def _updated(self) -> None:
        values = {"w": self.model.w.item(), "v": self.loss.v.item()}
        step = {"global_step": float(self.trainer.global_step)}
        self.events.append(Event("update", values | step))

    def _logged(self, record: Mapping[str, Any]) -> None:
        if "val_loss" in record:
            tau = self.taus.pop() if len(self.taus) == 1 else math.nan
            self.events.append(Event("validate", Told(told(record) | {"loss_tau": tau})))
            self.taus.clear()
        else:
            unreported = self.loader.unreported(record["tau_train"])
            self.events.append(Event("log", Told(told(record) | unreported)))

    def fit(self) -> bool:
        """Train, and tell whether training stopped."""
        with suppress(Pause):
            self.trainer.fit()
            self.events.append(Event("stop", {"epoch": self.loader.next - 1}))
            return True
        return False


def untried(plan: Plan) -> str:
    """Return what a plan wants that the trainer does not claim to have, if anything."""
    ends = [sum(map(len, plan.epochs[:k])) for k in range(1, len(plan.epochs) + 1)]
    wanted = {
        "the clipping of gradients": plan.max_norm is not None,
        "several ranks": plan.ranks > 1,
        "values with a mask, which no threshold marks": plan.tau_max > 1,
        "a shuffled loader, and a loss that draws": plan.random,
        "a scale of the loss on the CPU": any(b.fault == "overflow" for b in plan.micro_batches),
        "a checkpoint within an epoch": not set(plan.interrupts) <= set(ends),
    }
    return ", ".join(name for name, wants in wanted.items() if wants)


class PublicTraining(Thresholds):
    """``SCMTrainer.fit``."""

    def _session(self, plan: Plan, first: int, last: int, **options: Any) -> Session:
        """Return a trainer of some epochs of a plan.

        What is ⊥ in a plan is so at any threshold, also at 0, which COV-1 is about.
        """
        ends = [max(end, SMALLEST) for end in (plan.tau_min, plan.tau_max)]
        return Session(plan, first, last, self._ends(*ends), **options)

    def train(self, plan: Plan) -> Run:
        """Fit, in as many trainers as there are interrupts."""
        if missing := untried(plan):
            raise Unsupported(missing)
        ends = [sum(map(len, plan.epochs[:k])) for k in range(len(plan.epochs) + 1)]
        events, first = list[Event](), 0
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "run.pt")
            for last in sorted({ends.index(stop) for stop in (*plan.interrupts, ends[-1])}):
                session = self._session(plan, first, last)
                if first:
                    session.trainer.load_checkpoint(path)
                stopped = session.fit()
                events += session.events
                if stopped:
                    break
                session.trainer.save_checkpoint(path)
                first = last
        return Run(
            tuple(events),
            (session.model.w.item(), session.loss.v.item()),
            tuple(session.trainer.last_thresholds),
            tuple(map(told, session.trainer.val_history)),
            float(session.optimizer.param_groups[0]["lr"]),
        )
