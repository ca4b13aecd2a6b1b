"""Plans carried out by ``SCMTrainer``."""

from __future__ import annotations

import copy
import inspect
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from properties.subjects.ours.ranks import on_ranks, share
from properties.subjects.ours.unchecked import unchecked
from spec.epochs import OFFERED, Hooked
from spec.runs import Epoch, Event, MicroBatch, Plan, Trace
from spec.update import Phases, Precision
from zeroproof.training.stopping import CoverageStop
from zeroproof.training.trainer import NonFiniteError, SCMTrainer, TrainingConfig
from zeroproof.training.transfer import Transfer

Batch = tuple[Tensor, Tensor]


class Scripted(nn.Module):
    """``w·slope``, and ⊥ where the inputs say so."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return values and their mask of ⊥."""
        return self.w * x[:, 0], x[:, 1] != 0


class Own(nn.Module):
    """The mean of the values, plus ``v·slope``, with the faults that the inputs ask for."""

    def __init__(self, watched: Callable[[float], None]) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.watched = watched

    def forward(
        self, outputs: Batch, lifted: Batch, *, inputs: Tensor, tau: float | Tensor
    ) -> Tensor:
        """Return the loss of a micro-batch."""
        if self.training:
            self.watched(float(tau))
        value = outputs[0].mean()
        loss = value + self.v * inputs[0, 0]
        if inputs[0, 2] == 1:
            return loss * math.nan
        if inputs[0, 2] == 2:
            return loss + (value - value.detach()).square().sqrt()  # 0, whose slope is ∞ · 0
        return loss


def tensors(batch: MicroBatch) -> Batch:
    """Return a micro-batch as a loader yields it."""
    fault = {"": 0.0, "loss": 1.0, "gradient": 2.0}[batch.fault]
    rows = [[float(batch.slope), float(s in "bB"), fault] for s in batch.samples]
    targets = [math.inf if s in "VB" else 0.0 for s in batch.samples]
    return torch.tensor(rows, dtype=torch.float64), torch.tensor(targets, dtype=torch.float64)


class Pause(Exception):
    """There is no further epoch for now."""


class Loader:
    """Yields the next epoch each time it is asked; None in its place is a Ctrl-C.

    It pauses before the epoch that it does not have, and after a number of micro-batches.
    """

    def __init__(self, epochs: Sequence[Sequence[MicroBatch | None]], most: float) -> None:
        self.epochs, self.left = list(epochs), most

    def __len__(self) -> int:
        return len(self.epochs[0]) if self.epochs else 0

    def __iter__(self) -> Iterator[Batch]:
        if not self.epochs:
            raise Pause
        for batch in self.epochs.pop(0):
            if not self.left:
                raise Pause
            if batch is None:
                raise KeyboardInterrupt
            self.left -= 1
            yield tensors(batch)


class Session:
    """A trainer of a plan from an epoch on, and what it was seen to do.

    The options are more of the trainer's.
    """

    def __init__(
        self, plan: Plan, first: int, last: int, most: float = math.inf, **options: Any
    ) -> None:
        self.events: list[Event] = []
        self.plan, self.model = plan, Scripted()
        self.loss = Own(lambda tau: self.events.append(Event("draw", {"tau": tau})))
        groups = [*self.model.parameters(), *(self.loss.parameters() if plan.own_parameter else ())]
        self.optimizer = torch.optim.SGD(groups, lr=1 / 8)
        self.optimizer.register_step_post_hook(lambda *_: self._updated())
        if plan.stale:
            for parameter in groups:
                parameter.grad = torch.ones_like(parameter)
        precision, _, switch = plan.precision.partition(" ")
        self.loader = Loader(plan.epochs[first:], most)
        self.trainer = SCMTrainer(
            self.model,
            self.optimizer,
            self.loss,
            self.loader,
            scheduler=torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda k: 0.5**k),
            config=TrainingConfig(
                max_epochs=last,
                gradient_accumulation_steps=plan.accumulation,
                coverage_threshold=plan.threshold,
                coverage_patience=plan.patience,
                max_nonfinite_steps=plan.max_nonfinite,
                tau_train_min=plan.tau_min,
                tau_train_max=plan.tau_max,
                seed=plan.seed,
                max_grad_norm=plan.max_norm,
                val_loader=[tensors(batch) for batch in plan.validation] or None,
                history_limit=plan.history_limit,
                log_hook=self._logged,
                mixed_precision=bool(precision) and not switch,
                amp_dtype=precision or "float16",
                **options,
            ),
        )
        self.skipped = 0.0

    def _updated(self) -> None:
        values = {"w": self.model.w.item(), "v": self.loss.v.item()}
        self.events.append(Event("update", values | {"global_step": math.nan}))

    def _logged(self, record: dict[str, float]) -> None:
        kind: Any = "validate" if "val_loss" in record else "log"
        self.events.append(Event(kind, record))
        if kind == "log" and record["skipped"] > self.skipped:
            self.skipped = record["skipped"]
            self.events.append(Event("skip", {"skipped": self.skipped}))

    def fit(self) -> int:
        """Train, and return the number of records kept."""
        try:
            self.trainer.fit()
        except NonFiniteError as error:
            named = f"global step {self.trainer.global_step}" in str(error)
            step = self.trainer.global_step if named else math.nan
            self.events.append(Event("error", {"global_step": step}))
        if self.trainer.stopped:
            self.events.append(Event("stop", {"epoch": self.trainer.epoch - 1}))
        return len(self.trainer.log.records)

    def epoch(self, batches: Epoch) -> list[Event]:
        """Train one more epoch."""
        self.events.clear()
        self.loader.epochs = [batches]
        with suppress(Pause):
            self.fit()
        return list(_numbered(self.events, self.trainer.global_step))

    def break_off(self, batches: Epoch) -> None:
        """Start an epoch, and break it off after these micro-batches."""
        self.loader.epochs = [(*batches, None)]
        with suppress(KeyboardInterrupt):
            self.trainer.fit()

    def validate(self) -> Event:
        """Validate out of turn."""
        self.trainer.validate()
        return self.events.pop()

    def save(self) -> dict[str, Any]:
        """Return the state."""
        return copy.deepcopy(self.trainer.state_dict())

    def load_latest(self, folder: str) -> None:
        """Go on from the latest checkpoint of a folder."""
        self.trainer.load_checkpoint(folder)
        self.skipped = self.trainer.skipped_steps

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.trainer.load_state_dict(copy.deepcopy(state))
        self.skipped = self.trainer.skipped_steps


def _numbered(events: list[Event], last: int) -> tuple[Event, ...]:
    """Number the updates so that the last one carries the trainer's own count."""
    first = last - sum(event.kind == "update" for event in events)
    numbered = []
    for event in events:
        first += event.kind == "update"
        own = {"global_step": first} if event.kind == "update" else {}
        numbered.append(Event(event.kind, {**event.values, **own}))
    return tuple(numbered)


class OursTraining:
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
            _numbered(events, trainer.global_step),
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
        """Train one window with a watcher at every public place."""
        seen, modes = list[str](), list[bool]()
        layer = nn.Linear(2, 1).eval()

        def forward(module: nn.Module, inputs: Any) -> None:
            seen.append("forward")
            modes.append(module.training)

        layer.register_forward_pre_hook(forward)
        weight: Any = layer.weight
        weight.register_post_accumulate_grad_hook(lambda p: seen.append("backward"))
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        optimizer.register_step_post_hook(lambda *_: seen.append("step"))
        clear, scheduler = optimizer.zero_grad, torch.optim.lr_scheduler.LambdaLR(optimizer, float)
        step = scheduler.step

        def zero_grad(set_to_none: bool = True) -> None:
            seen.append("zero")
            clear(set_to_none)

        def schedule(epoch: int | None = None) -> None:
            seen.append("schedule")
            step(epoch)

        def loss(outputs: Tensor, lifted: Batch) -> Tensor:
            seen.append("loss")
            return outputs.square().mean()

        optimizer.zero_grad, scheduler.step = zero_grad, schedule  # type: ignore[method-assign]
        batches = [(torch.ones(3, 2), torch.ones(3, 1))] * micro_batches
        config = TrainingConfig(max_epochs=1, gradient_accumulation_steps=micro_batches)
        SCMTrainer(layer, optimizer, loss, batches, scheduler=scheduler, config=config).fit()
        first = seen.index("forward")
        return Phases(tuple(seen[first:]), tuple(modes))

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
        reads = HostReads(layer)
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
            lambda outputs, lifted: outputs.square().mean(),
            Ends([(torch.ones(3, 2), torch.ones(3, 2))] * updates),
            scheduler=torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: 0.5**k),
            config=config,
        )
        trainer.window.skips_on_device = True  # as on CUDA
        with reads:
            trainer.fit()
        return reads.count

    def validation_traces(self, fails: bool) -> tuple[str, ...]:
        """Validate a model that a validation could change in many ways."""
        norm, still = nn.BatchNorm1d(2), nn.Linear(2, 1)
        model = nn.Sequential(norm, nn.Dropout(0.5), still)
        still.eval()
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(torch.randn(6, 2), torch.randn(6, 1)),
            batch_size=3,
            shuffle=True,
        )

        def loss(outputs: Tensor, lifted: Batch) -> Tensor:
            torch.rand(3)
            if fails:
                raise KeyError("validation fails")
            return outputs.square().mean()

        trainer = SCMTrainer(
            model,
            torch.optim.SGD(model.parameters(), lr=0.1),
            loss,
            loader,
            config=TrainingConfig(val_loader=loader),
        )
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)

        def state() -> dict[str, str]:
            return {
                "parameters": repr([p.tolist() for p in model.parameters()]),
                "gradients": repr([p.grad for p in model.parameters()]),
                "buffers": repr([b.tolist() for b in model.buffers()]),
                "random state": repr(torch.get_rng_state().tolist()),
                "modes": repr([m.training for m in model.modules()]),
            }

        before, raised = state(), False
        try:
            trainer.validate()
        except KeyError:
            raised = True
        after = state() | ({} if raised == fails else {"error": "swallowed"})
        return tuple(name for name, value in after.items() if before.get(name) != value)

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


class HostReads(TorchFunctionMode):
    """Counts what makes the host wait, until the epoch ends.

    These are calls by which Python reads a tensor's elements, but for those of a transfer that
    began before the latest forward of the model.
    """

    READS = frozenset({"item", "tolist", "__bool__", "__float__", "__int__", "__index__", "cpu"})

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.count, self._forwards, self._old, self._ended = 0, 0, False, False
        model.register_forward_hook(lambda *_: self._forward())
        self._patches = [
            mock.patch.object(Transfer, "__init__", self._begun(Transfer.__init__)),
            mock.patch.object(Transfer, "read", self._read(Transfer.read)),
        ]

    def __enter__(self) -> HostReads:
        """Look at transfers, too."""
        for patch in self._patches:
            patch.start()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        """Leave transfers alone again."""
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for patch in self._patches:
            patch.stop()

    def end(self) -> None:
        """From here on the host may wait."""
        self._ended = True

    def _forward(self) -> None:
        self._forwards += 1

    def _begun(self, init: Callable[..., None]) -> Callable[..., None]:
        def begun(transfer: Any, x: Tensor) -> None:
            transfer.born = self._forwards
            init(transfer, x)

        return begun

    def _read(self, read: Callable[..., Any]) -> Callable[..., Any]:
        def old(transfer: Any) -> Any:
            self._old = transfer.born < self._forwards
            try:
                return read(transfer)
            finally:
                self._old = False

        return old

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch, and count it where it reads."""
        reads = getattr(func, "__name__", "") in self.READS
        self.count += reads and not self._old and not self._ended
        return func(*args, **(kwargs or {}))
