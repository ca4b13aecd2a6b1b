"""Plans carried out by ``SCMTrainer``."""

from __future__ import annotations

import inspect
import math
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from properties.assertions import Unsupported
from properties.subjects import scripted
from properties.subjects.reporting import Reporting
from properties.subjects.scripted import Pause
from properties.subjects.tasks import Batch
from properties.subjects.third_party.adapters.coverage import Thresholds, share
from spec.epochs import Call
from spec.runs import Epoch, Event, MicroBatch, Plan, Trace

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
    ramp = type(
        "Steps",
        (training.LinearRamp,),
        {"value": lambda self, epoch: (weights * (epoch + 1))[epoch]},
    )
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


def as_planned(tau: Any) -> Any:
    """Return a threshold, 0 for the one that is trained with in its place."""
    return 0.0 if tau == SMALLEST else tau


class Told(dict[str, float]):
    """A record, which may lack what no package claims to report."""

    def __missing__(self, name: str) -> float:
        raise Unsupported(f"{name!r} in a record")


def told(record: Mapping[str, Any]) -> Told:
    """Return a record with the names and the precision that clauses want."""
    shares = [name for name in record if name.endswith(("coverage", "bottom_frac"))]
    found = {**record, **{name: share(record[name]) for name in shares}}
    return Told({RENAMED.get(name, name): as_planned(value) for name, value in found.items()})


class Unlimited(tuple[Told, ...]):
    """The records of a trainer that has no limit to those that it keeps."""

    def __len__(self) -> Any:
        raise Unsupported("a limit to the records that are kept")

    __iter__ = __len__


class Session(scripted.Session):
    """A trainer of a plan's epochs, and what it was seen to do.

    It would train for one epoch more: if it ends before that, it has stopped. Who wants a run to
    be repeatable seeds torch, for the thresholds come from there.
    """

    _trainer_of = staticmethod(trainer_of)
    loader: Loader

    def __init__(self, plan: Plan, first: int, last: int, **options: Any) -> None:
        if plan.tells or plan.stateful:
            raise Unsupported("terms of a loss, and loaders with a state")
        torch.manual_seed(plan.seed)
        own = {"max_epochs": len(plan.epochs) + 1, "loss_curriculum": curriculum(plan.weights)}
        loader = Loader(plan.epochs, first, last)
        super().__init__(plan, loader, projective=True, **own | options)

    def _called(self, tau: float, training: bool) -> None:
        super()._called(
            as_planned(tau), self.model.training
        )  # for the loss's own mode is never set

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
        "a scheduler of epochs or validations": plan.cadence != "update",
        "several ranks": plan.ranks > 1,
        "values with a mask, which no threshold marks": plan.tau_max > 1,
        "denominators that are not finite": any(
            "i" in b.samples for b in (*plan.micro_batches, *plan.validation)
        ),
        "a shuffled loader, and a loss that draws": plan.random,
        "a scale of the loss on the CPU": any(
            b.fault in ("overflow", "flood") for b in plan.micro_batches
        ),
        "a checkpoint within an epoch": not set(plan.interrupts) <= set(ends),
    }
    return ", ".join(name for name, wants in wanted.items() if wants)


class PublicTraining(Thresholds, Reporting):
    """``SCMTrainer.fit``, its ``log_hook``, and the arguments of its loss."""

    _renamed = MappingProxyType(RENAMED)

    def loss_arguments(self, accepts: Sequence[str], plan: Plan) -> list[Call]:
        if "loss_weights" in accepts and not plan.weights:
            raise Unsupported("an argument for weights where none are configured")
        return super().loss_arguments(accepts, plan)

    def _session(self, plan: Plan, first: int, last: int, **options: Any) -> Session:
        """Return a trainer of some epochs of a plan.

        What is ⊥ in a plan is so at any threshold, also at 0, which COV-1 is about.
        """
        ends = [max(end, SMALLEST) for end in (plan.tau_min, plan.tau_max)]
        if hook := options.get("log_hook"):  # which 0.6.1 gives the record inside of an envelope
            options["log_hook"] = lambda record: hook(record.get("metrics", record))
        return Session(plan, first, last, **self._ends(*ends), **options)

    def train(self, plan: Plan) -> Trace:
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
        weights = session.model.w.item(), session.loss.v.item()
        return Trace(
            tuple(events),
            tuple(math.nan if w != w else w for w in weights),  # one NaN is as good as another
            tuple(map(as_planned, session.trainer.last_thresholds)),
            Unlimited(),
            tuple(map(told, session.trainer.val_history)),
            float(session.optimizer.param_groups[0]["lr"]),
        )
