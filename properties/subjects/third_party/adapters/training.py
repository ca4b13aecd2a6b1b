"""Plans carried out by ``SCMTrainer``."""

from __future__ import annotations

import inspect
import math
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from properties.assertions import Unsupported
from properties.subjects import scripted
from properties.subjects.scripted import Pause
from properties.subjects.tasks import Batch
from properties.subjects.third_party.adapters.coverage import Thresholds, share
from spec.runs import Epoch, Event, Kind, MicroBatch, Plan

training: Any = import_module("zeroproof.training")

RENAMED = {"val_tau_eval": "val_tau"}
SMALLEST = 5e-324
"""The threshold nearest to 0."""


def trainer_of(
    model: Any, optimizer: Any, loss: Any, loader: Any, scheduler: Any = None, **options: Any
) -> Any:
    """Return a trainer of one epoch, if no options say how many; a dtype is told by its name."""
    if "amp_dtype" in options:
        options["amp_dtype"] = getattr(torch, options["amp_dtype"])
    if isinstance(loss, nn.Module):  # whose own signature would have the trainer offer all
        loss.__signature__ = inspect.signature(loss.forward)  # type: ignore[assignment]
    config = training.TrainingConfig(**options)
    return training.SCMTrainer(model, optimizer, loss, loader, scheduler=scheduler, config=config)


def curriculum(weights: Sequence[float]) -> Any:
    """Return the epochs' weights as a ramp, whose values they are."""
    ramp = type("Steps", (training.LinearRamp,), {"value": lambda self, epoch: weights[epoch]})
    return training.LossWeightsCurriculum({"fit": ramp(0.0, 0.0)}) if weights else None


class Loader(scripted.Loader):
    """A loader that knows where in the plan it is."""

    def __init__(self, epochs: Sequence[Epoch], first: int, last: int) -> None:
        super().__init__(epochs[first:last], math.inf)
        self.last, self.micro_step = last, sum(map(len, epochs[:first])) - 1

    @property
    def next(self) -> int:
        """The number of the epoch that comes next."""
        return self.last - len(self.epochs)

    def made(self, batch: MicroBatch) -> Batch:
        """Note a micro-batch."""
        self.micro_step, self.batch = self.micro_step + 1, batch
        return super().made(batch)

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


class Session(scripted.Session):
    """A trainer of a plan's epochs, and what it was seen to do.

    It would train for one epoch more: if it ends before that, it has stopped. Who wants a run to
    be repeatable seeds torch, for the thresholds come from there.
    """

    _trainer_of = staticmethod(trainer_of)
    loader: Loader

    def __init__(self, plan: Plan, first: int, last: int, **options: Any) -> None:
        torch.manual_seed(plan.seed)
        own = {"max_epochs": len(plan.epochs) + 1, "loss_curriculum": curriculum(plan.weights)}
        loader = Loader(plan.epochs, first, last)
        super().__init__(plan, loader, projective=True, **own | options)

    def _called(self, tau: float, training: bool) -> None:
        super()._called(tau, self.model.training)  # for the loss's own mode is never set

    def _step(self) -> float:
        return float(self.trainer.global_step)

    def _logged(self, record: dict[str, float]) -> None:
        if "val_loss" in record:
            self._validated(told(record))
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
        return Session(plan, first, last, **self._ends(*ends), **options)

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
