"""TAU, and STOP to DDP by the exact reference: the automaton, and models of what surrounds it."""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from spec.accumulation import windows
from spec.automaton import Automaton, run
from spec.checkpoints import LOADABLE, Interrupted, Killed, Loaded, Saved, Second
from spec.epochs import Call
from spec.finite import CAUSES, Broken
from spec.lifting import lift
from spec.logs import Hooked
from spec.options import (
    OPTIONS,
    Parameters,
    Tensors,
    is_number,
    loss_scales,
    ramp,
    window_losses,
)
from spec.runs import DONE, Epoch, Event, MicroBatch, Plan, Record, Trace
from spec.signals import BrokenOff
from spec.stopping import watch
from spec.thresholds import check, midpoint, threshold
from spec.update import Phases, Precision, watched_rates

RAISED = {"SIGINT": "KeyboardInterrupt", "SIGTERM": "SystemExit"}


class Session:
    """The automaton, an epoch at a time."""

    def __init__(self, automaton: Automaton) -> None:
        self.automaton = automaton
        self.validate, self.save, self.load = automaton.validate, automaton.save, automaton.load

    def epoch(self, batches: Epoch) -> list[Event]:
        self.automaton.start_epoch()
        return list(self.automaton.epoch(batches))

    def break_off(self, batches: Epoch) -> None:
        """Start an epoch, and break it off after these micro-batches."""
        self.automaton.start_epoch()
        more = self.automaton.epoch(batches)
        while next(more, None) and len(self.automaton.state.thresholds) < len(batches):
            pass


class ExactTraining:
    """Carries out plans by the automaton, or by a variant of it."""

    automaton: type[Automaton] = Automaton
    loss_scales, ramp = staticmethod(loss_scales), staticmethod(ramp)

    def draw(self, tau_min: float, tau_max: float, seed: int | None, count: int) -> list[float]:
        check(tau_min, tau_max)
        source = random.Random(seed)
        return [float(threshold(tau_min, tau_max, Fraction(source.random()))) for _ in range(count)]

    def global_random_state(self) -> Hashable:
        """Return the state of Python's own generator."""
        return random.getstate()

    def watch(
        self, coverages: Sequence[float | None], threshold: float, patience: int
    ) -> list[tuple[int, bool]]:
        return watch(coverages, threshold, patience)

    def begin(self, plan: Plan) -> Session:
        return Session(self.automaton(plan))

    def train(self, plan: Plan) -> Trace:
        return run(plan, self.automaton)

    def train_compiled(self, plan: Plan) -> Trace:
        """Run the automaton, which nothing compiles."""
        return self.train(plan)

    def left(self, compiled: bool) -> list[float]:
        return [float(x) for x in self.train(Plan(((MicroBatch("v"),),))).parameters]

    def uncompilable(self, case: str) -> None:
        raise ValueError(f"{case} cannot be compiled")

    def interrupted_ranks(self, signal: str, ranks: int) -> list[Interrupted]:
        return [self.interrupted(signal)] * ranks

    def train_unequal(self, ranks: int, loader: str = "train") -> None:
        raise ValueError(f"{ranks} ranks have loaders of unequal length")

    def train_ranks(self, plan: Plan) -> list[Trace]:
        """Run an automaton for every rank, of which only the first reports and writes."""
        return [self.rank_trace(self.train(plan), rank) for rank in range(plan.ranks)]

    def rank_trace(self, trace: Trace, rank: int) -> Trace:
        """Return what a rank shows of a run."""
        if rank == 0:
            return replace(trace, written=1)
        silent = tuple(e for e in trace.events if e.kind in (*DONE, "stop", "error"))
        return replace(trace, events=silent)

    def host_reads(self, updates: int, skips_on_device: bool) -> int:
        """Return the reads of an optimizer that cannot skip: one an update."""
        return 0 if skips_on_device else updates

    def precision(self, dtype: str, option: str = "mixed_precision") -> Precision:
        if dtype not in ("float16", "bfloat16"):
            raise ValueError(f"no autocast to {dtype}")
        return Precision(dtype, ("float32", "float32"), "float32", scaled=dtype == "float16")

    def phases(self, micro_batches: int) -> Phases:
        order = ("forward", "loss", "backward") * micro_batches + ("step", "zero", "schedule")
        return Phases(order, (True,) * micro_batches)

    def watched(self, losses: Sequence[float], mode: str = "min") -> list[float]:
        if mode != "min":
            raise ValueError("a loss is better when it is smaller")
        return [float(rate) for rate in watched_rates(losses)]

    def untrainable(self, case: str) -> None:
        """Refuse what leaves the automaton nothing to do."""
        if case.startswith("nothing"):
            raise RuntimeError("all epochs are done")
        raise ValueError(case)

    def configure(self, option: str, value: object) -> None:
        default, _, outside = OPTIONS[option]
        if isinstance(default, int) and type(value) is not int:
            raise TypeError(f"{option} cannot be {value}")
        if is_number(option) and type(value) not in (int, float, type(None)):
            raise TypeError(f"{option} cannot be {value}")
        if value in outside:
            raise ValueError(f"{option} cannot be {value}")

    def option_default(self, option: str) -> object:
        return OPTIONS[option][0]

    def search(self, plan: Plan, finite: bool) -> tuple[list[list[float]], Parameters, int]:
        """Take the means of the losses that are logged."""
        if plan.precision == "float16":
            raise ValueError("a scaled loss cannot be searched")
        trace = self.train(plan)
        found = [[float(loss)] * 3 for loss in window_losses(plan, trace)]
        return found, trace.parameters if finite else (1, 0), 0 if finite else len(found)

    def batches(self, loader: Tensors, epoch: int | None, done: int) -> list[list[int]]:
        size, order = loader.size, list(range(loader.inputs))
        if loader.targets != len(order) or min(len(order), size) < 1 or loader.seed < 0:
            raise ValueError(f"{loader} has no micro-batches")
        if loader.shuffle:
            random.Random(f"{loader.seed}, {epoch or 0}").shuffle(order)
        found = [order[i : i + size] for i in range(0, len(order), size)]
        return [b for b in found if len(b) == size or not loader.drop_last][done:]

    def train_on(self, targets: str, loss: str = "scalar", outputs: str = "value") -> bool:
        """Refuse targets without samples."""
        if (targets, loss, outputs) != ("good", "scalar", "value"):
            error = TypeError if targets in ("list", "good") else ValueError
            raise error(f"targets: {targets}, loss: {loss}")
        return True

    def validation_traces(self, fails: bool) -> tuple[str, ...]:
        """Return nothing: a state is only ever replaced, and a validation replaces none."""
        return ()

    def hook_types(self, plan: Plan) -> list[Mapping[str, type]]:
        """Return the types of the records, which leave as floats."""
        records = [event.values for event in self.train(plan).of("log", "validate")]
        return [{name: type(float(value)) for name, value in r.items()} for r in records]

    def by_hand(self, plan: Plan) -> list[Record]:
        logs = iter(self.train(plan).of("log"))
        ours = windows(plan.epochs[0], plan.accumulation)
        return [[next(logs) for _ in window][-1].values for window in ours]

    def raising_hook(self, plan: Plan, record: int) -> Hooked:
        """Pass the records on until one raises."""
        return Hooked("KeyError", len(self.train(plan).of("log", "validate")[: record + 1]))

    def loss_arguments(self, accepts: Sequence[str], plan: Plan) -> list[Call]:
        if plan.weights and "loss_weights" not in accepts:
            raise ValueError("the loss accepts no loss_weights")
        calls, steps = list[Call](), 0
        for epoch, batches in enumerate(plan.epochs):
            for window in windows(batches, plan.accumulation):
                for batch in window:
                    tau = self.automaton(plan).draw()
                    calls.append(self.call(accepts, plan, batch, epoch, steps, tau, False))
                steps += not any(batch.fault for batch in window)
            tau = float(midpoint(plan.tau_min, plan.tau_max))
            for batch in plan.validation:
                calls.append(self.call(accepts, plan, batch, epoch, steps, tau, True))
        return calls

    def call(
        self, accepts: Sequence[str], plan: Plan, batch: MicroBatch, epoch: int, steps: int,
        tau: float, validation: bool,
    ) -> Call:  # fmt: skip
        offered: dict[str, object] = {
            "loss_weights": {"fit": float(plan.weight(epoch))},
            "epoch": epoch,
            "global_step": steps,
            "tau": tau,
            "inputs": batch.inputs,
            "targets": batch.targets,
        }
        Y_n, Y_d = zip(*map(lift, batch.targets), strict=True)
        given = {n: offered[n] for n in accepts if n != "loss_weights" or plan.weights}
        return Call(validation, (Y_n, Y_d), given)

    def spoiled(self, cause: str) -> Broken:
        """Name the parameter and the cause, if it is one."""
        words = CAUSES[cause]
        return Broken(f"'w': {words[0]}", 0, 0) if words else Broken("", validated=1, saved=1)

    def modes(self, frozen: Sequence[bool], validates: bool) -> list[list[bool]]:
        return [[not x for x in frozen]]

    def freezes(self, trained: Sequence[bool]) -> list[bool]:
        return list(trained)

    def buffer(self, before: Sequence[float], written: Sequence[float], fault: bool) -> list[float]:
        pairs = zip(before, written, strict=True)
        return [new if math.isfinite(new) or not fault else old for old, new in pairs] * 2

    def survives(self, what: str) -> bool:
        return True

    def saved(self, value: str) -> Saved:
        """Look at all of a state before a file is made."""
        good = value in LOADABLE
        return Saved("" if good else f"place is a {value}", loaded=good, kept=not good)

    def in_folder(self, case: str) -> Second:
        """Compare the run and the step of each file with those of the trainer."""
        files = set() if case == "at once" else {("first", 2), ("first", 3)}
        if case == "several runs":
            return Second("CheckpointError", 0, kept=True, found=False)
        run, step = {"later checkpoints": ("first", 2), "loaded": ("first", 3)}.get(case, ("", 0))
        if any(name != run or at > step for name, at in files):
            return Second("ValueError", 0, kept=True, found=False)
        late = case == "at once"  # the first save then finds the other's files
        return Second("ValueError" if late else "", 1 if late else 3, kept=True, found=not late)

    def save_steps(self) -> tuple[str, ...]:
        """Return the calls of a save to the operating system."""
        return ("create", "write half", "write", "flush", "rename")

    def save_killed(self, at: int) -> Killed:
        """Save in a model of a file system, in which what is not flushed may be lost."""
        temporary, flushed, target = "", False, "old"
        for step in self.save_steps()[:at]:
            if step.startswith("write"):
                temporary, flushed = ("new" if step == "write" else "half"), False
            flushed = flushed or step == "flush"
            if step == "rename":
                target = temporary if flushed else "neither"
            if step == "overwrite":
                target = "neither"
        return Killed(
            target if target in ("old", "new") else "neither", at >= len(self.save_steps())
        )

    def save_failed(self) -> tuple[str, list[str]]:
        return "OSError", []

    def load(self, what: str) -> Loaded:
        """Read a file's format, version and fit before anything is changed."""
        good = what == "good"
        return Loaded("" if good else "CheckpointError", changed=good, ran_code=False)

    def checkpoint_keys(self, wrapper: str) -> list[str]:
        return [f"{wrapper}{name}".removeprefix(wrapper) for name in ("w", "v")]

    def interrupted(self, signal: str, place: str = "update") -> Interrupted:
        """Finish the update, save, and raise."""
        return Interrupted(RAISED[signal], updates_after=0, saved=True)

    def broken_off(self, what: str, signal: str) -> BrokenOff:
        """Save what was made until then, of four updates an epoch; raise the signal's error."""
        made = 4 if what in ("first fetch", "resumed fetch", "validation") else 6
        kept = what not in ("save", "loss")
        return BrokenOff(RAISED[signal], made, made, made * kept, (0, 1), True, warned=not kept)
