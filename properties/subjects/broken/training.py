"""Trainers that go wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from properties.subjects.broken.register import breaks
from properties.subjects.exact import Exact
from properties.subjects.exact.training import Session
from spec.automaton import Automaton, run
from spec.checkpoints import Interrupted, Loaded
from spec.runs import Epoch, Event, Plan, Trace
from spec.update import Phases, Precision


def _with_slopes(plan: Plan, slopes: Sequence[Fraction]) -> Plan:
    """Return the plan with other slopes, in order."""
    rest = iter(slopes)
    epochs = tuple(tuple(replace(b, slope=next(rest)) for b in epoch) for epoch in plan.epochs)
    return replace(plan, epochs=epochs)


def _changed(trace: Trace, kind: str, **factors: float) -> Trace:
    """Return the trace with numbers of some events multiplied."""
    events = [
        Event(e.kind, {**e.values, **{name: e.values[name] * factors[name] for name in factors}})
        if e.kind == kind
        else e
        for e in trace.events
    ]
    return replace(trace, events=tuple(events))


@breaks("ACC-1")
class MeanOfMeans(Exact):
    """A window's gradient is the mean of its micro-batches', whatever their sizes."""

    def train(self, plan: Plan) -> Trace:
        """Train on micro-batches of one sample each."""
        shrunk = tuple(tuple(replace(b, samples=b.samples[:1]) for b in e) for e in plan.epochs)
        return run(replace(plan, epochs=shrunk))


@breaks("ACC-1")
class MultipliedOwnParameter(Exact):
    """The loss's own parameter is left out of the division by the window's samples."""

    def train(self, plan: Plan) -> Trace:
        """Multiply what the loss's parameter moves."""
        return _changed(run(plan), "update", v=float(plan.accumulation))


class _Dropping(Automaton):
    def epoch(self, batches: Epoch) -> Iterator[Event]:
        whole = len(batches) - len(batches) % self.plan.accumulation
        return super().epoch(batches[:whole] or batches)


@breaks("ACC-2")
class DroppedLastWindow(Exact):
    """An epoch's short last window is never stepped."""

    def train(self, plan: Plan) -> Trace:
        """Train on whole windows."""
        return run(plan, _Dropping)


@breaks("ACC-2")
class CarriedOverWindow(Exact):
    """A short window goes on in the next epoch."""

    def train(self, plan: Plan) -> Trace:
        """Train on one long epoch."""
        return run(replace(plan, epochs=(tuple(plan.micro_batches),)))


@breaks("ACC-2")
class StaleGradient(Exact):
    """Gradients are cleared after a step, but not before the first."""

    def train(self, plan: Plan) -> Trace:
        """Add what was there to the first slope."""
        slopes = [batch.slope for batch in plan.micro_batches]
        return run(_with_slopes(plan, [slopes[0] + plan.stale, *slopes[1:]]))


@breaks("ACC-3")
class DividedLoss(Exact):
    """The logged loss is the one that was divided by N."""

    def train(self, plan: Plan) -> Trace:
        """Divide what is logged."""
        return _changed(run(plan), "log", loss=1 / plan.accumulation)


@breaks("AMP-1")
class HalfLoss(Exact):
    """The loss is computed inside autocast, in half precision."""

    def precision(self, dtype: str) -> Precision:
        """Give the loss what the forward gave."""
        return replace(super().precision(dtype), loss=(dtype, "float32"))


@breaks("AMP-2")
class ScaledBfloat(Exact):
    """bfloat16 goes through the scaler, too."""

    def precision(self, dtype: str) -> Precision:
        """Scale always."""
        return replace(super().precision(dtype), scaled=True)


@breaks("AMP-3")
class LeftoverPrecision(Exact):
    """A dtype that is set but off still rounds the learning rate."""

    def train(self, plan: Plan) -> Trace:
        """Report another rate."""
        trace = run(plan)
        return replace(trace, rate=trace.rate * (1 + bool(plan.precision)))


@breaks("AMP-4")
class SilentSwap(Exact):
    """float16 where there is none becomes bfloat16 without a word."""

    def precision(self, dtype: str) -> Precision:
        """Take bfloat16."""
        return super().precision("bfloat16")


@breaks("STEP-1")
class ClippedTooEarly(Exact):
    """Micro-batches are clipped before the window's gradient is normalised."""

    def train(self, plan: Plan) -> Trace:
        """Clip each slope, and no gradient."""
        bound = Fraction(plan.max_norm or 10**6)
        slopes = [max(-bound, min(bound, batch.slope)) for batch in plan.micro_batches]
        return run(_with_slopes(replace(plan, max_norm=None), slopes))


@breaks("STEP-1")
class ScheduledFirst(Exact):
    """The scheduler goes before the optimizer."""

    def phases(self, micro_batches: int) -> Phases:
        """Swap the two."""
        *order, step, zero, schedule = super().phases(micro_batches).order
        return Phases((*order, schedule, step, zero), (True,))


@breaks("STEP-2")
class ScheduledSkips(Exact):
    """The scheduler advances on skipped updates, too."""

    def train(self, plan: Plan) -> Trace:
        """Halve the rate at the end for each skip."""
        trace = run(plan)
        return replace(trace, rate=trace.rate / 2 ** len(trace.of("skip")))


class _Eaten(Automaton):
    def _skip(self) -> None:
        super()._skip()
        self._set(w=self.state.w * 2, skipped_in_row=0, failed=False)


@breaks("STEP-3")
class EatenWeights(Exact):
    """A fault reaches the weights, and never ends in an error."""

    def train(self, plan: Plan) -> Trace:
        """Damage ``w`` at each fault."""
        return run(plan, _Eaten)


@breaks("STEP-4")
class ReadsLoss(Exact):
    """The loss is read for a progress bar, at every step."""

    def host_reads(self, updates: int) -> int:
        """Return one read a step."""
        return updates


@breaks("STEP-5")
class EvalMode(Exact):
    """A model that was left in eval mode is trained in it."""

    def phases(self, micro_batches: int) -> Phases:
        """Leave the mode."""
        return replace(super().phases(micro_batches), training=(False,) * micro_batches)


@breaks("STEP-5")
class SilentFit(Exact):
    """``fit`` returns where there was nothing to train."""

    def untrainable(self, case: str) -> None:
        """Return."""


@breaks("STEP-7")
class WatchesCoverage(Exact):
    """The scheduler is shown the coverage, as if it were a loss."""

    def watched(self, losses: Sequence[float]) -> list[float]:
        """Show it full coverage."""
        return super().watched([1.0] * len(losses))


@breaks("STEP-6")
class StaleThreshold(Exact):
    """Compiled code keeps the first threshold that it saw."""

    def train_compiled(self, plan: Plan) -> Trace:
        """Repeat the first threshold."""
        trace = run(plan)
        first = trace.of("draw")[0].values
        events = [Event("draw", first) if e.kind == "draw" else e for e in trace.events]
        return replace(trace, events=tuple(events))


@breaks("STOP-1")
class EqualityIsBelow(Exact):
    """An epoch at the threshold is bad."""

    def watch(
        self, coverages: Sequence[float | None], threshold: float, patience: int
    ) -> list[tuple[int, bool]]:
        """Watch a threshold just above."""
        return super().watch(coverages, threshold + 1e-300 + threshold * 2.0**-52, patience)


@breaks("STOP-2")
class NeverForgets(Exact):
    """Bad epochs add up over the run."""

    def watch(
        self, coverages: Sequence[float | None], threshold: float, patience: int
    ) -> list[tuple[int, bool]]:
        """Look at nothing but the bad epochs."""
        bad = [None if c is None or c >= threshold else c for c in coverages]
        return super().watch(bad, threshold, patience)


class _LastBatch(Automaton):
    def epoch(self, batches: Epoch) -> Iterator[Event]:
        last = batches[-1].samples
        return super().epoch(
            tuple(replace(b, samples=(last * 9)[: len(b.samples)]) for b in batches)
        )


@breaks("STOP-3")
class LastBatchStops(Exact):
    """The stop watches the last micro-batch's coverage."""

    def train(self, plan: Plan) -> Trace:
        """Let every micro-batch look like the last."""
        return run(plan, _LastBatch)


@breaks("STOP-4")
class RankStops(Exact):
    """Each rank watches its own samples; the first to stop leaves the others waiting."""

    def train(self, plan: Plan) -> Trace:
        """Watch the samples of rank 0."""
        own = tuple(
            tuple(replace(b, samples=b.samples[:: plan.ranks]) for b in epoch)
            for epoch in plan.epochs
        )
        return run(replace(plan, epochs=own))


class _Forgetful(Automaton):
    def load(self, state: dict[str, object]) -> None:
        super().load(state | {"bad_epochs": 0})


@breaks("STOP-5")
@breaks("RES-1")
class ForgottenCounter(Exact):
    """A checkpoint holds weights and optimizer, and not the early stop."""

    def train(self, plan: Plan) -> Trace:
        """Forget the counter at each resume."""
        return run(plan, _Forgetful)


class _Unmoved(Session):
    def load(self, state: dict[str, object]) -> None:
        super().load(state | {"micro_step": self.automaton.state.micro_step})


@breaks("STOP-3")
class UnmovedCount(Exact):
    """A load leaves the count of micro-batches as it is."""

    def begin(self, plan: Plan) -> Session:
        """Return a session that loads all but the count."""
        return _Unmoved(plan)


@breaks("TAU-7")
class AllThresholds(Exact):
    """``last_thresholds`` grows over the whole run."""

    def train(self, plan: Plan) -> Trace:
        """Return every draw."""
        trace = run(plan)
        return replace(trace, thresholds=tuple(float(e.values["tau"]) for e in trace.of("draw")))


@breaks("TAU-8")
class PerturbedValidation(Exact):
    """Validation draws its thresholds as training does."""

    def train(self, plan: Plan) -> Trace:
        """Validate at the upper end."""
        trace = run(plan)
        end = plan.tau_max / (0.5 * (plan.tau_min + plan.tau_max) or 1)
        return _changed(trace, "validate", val_tau=end)


@breaks("VAL-1")
class UnweightedValidation(Exact):
    """Validation averages over micro-batches, not samples."""

    def train(self, plan: Plan) -> Trace:
        """Give every micro-batch as many samples, by repeating them."""
        size = 720720  # a multiple of every size drawn
        even = tuple(
            replace(b, samples=b.samples * (size // len(b.samples) // 12012))
            for b in plan.validation
        )
        return run(replace(plan, validation=even))


@breaks("VAL-2")
class LeftInEval(Exact):
    """After validation the model is in train mode, whatever each part was in."""

    def validation_traces(self, fails: bool) -> tuple[str, ...]:
        """Change the modes."""
        return ("modes",)


@breaks("LOG-1")
class LateRecords(Exact):
    """The last record of an epoch comes after its validation."""

    def train(self, plan: Plan) -> Trace:
        """Swap neighbours."""
        events = list(run(plan).events)
        for i, event in enumerate(events):
            if event.kind == "validate":
                before = max(j for j in range(i) if events[j].kind == "log")
                events[before], events[i] = events[i], events[before]
        return replace(run(plan), events=tuple(events))


@breaks("LOG-2")
class EndlessHistory(Exact):
    """Every record is kept."""

    def train(self, plan: Plan) -> Trace:
        """Keep all."""
        return run(replace(plan, history_limit=10**9))


@breaks("CUR-1")
class IgnoredWeights(Exact):
    """Weights that the loss does not accept are passed over in silence."""

    def loss_arguments(
        self, accepts: Sequence[str], weights: Sequence[Mapping[str, float]]
    ) -> list[Mapping[str, object]]:
        """Drop the weights."""
        if "loss_weights" not in accepts:
            weights = [{} for _ in weights]
        return super().loss_arguments(accepts, weights)


@breaks("RES-2")
class Overwriting(Exact):
    """A checkpoint is written over the old one."""

    SAVE = ("overwrite", "write half", "write", "flush", "rename")


@breaks("RES-2")
class Unflushed(Exact):
    """A checkpoint is renamed before it is on the disk."""

    SAVE = ("create", "write half", "write", "rename")


@breaks("RES-3")
class Unpickling(Exact):
    """A checkpoint is unpickled, whoever wrote it."""

    def load(self, what: str) -> Loaded:
        """Run the code of the hostile."""
        return replace(super().load(what), ran_code=what == "hostile")


@breaks("RES-3")
class HalfLoaded(Exact):
    """What fits of another model is kept when the rest does not."""

    def load(self, what: str) -> Loaded:
        """Change the trainer, and raise."""
        return replace(super().load(what), changed=True)


@breaks("RES-4")
class SwallowedInterrupt(Exact):
    """Ctrl-C ends training as if it were done."""

    def interrupted(self, signal: str) -> Interrupted:
        """Raise nothing."""
        return replace(super().interrupted(signal), raised="")


@breaks("DDP-1")
class SummedRanks(Exact):
    """Gradients are summed over ranks, not averaged by samples."""

    def train(self, plan: Plan) -> Trace:
        """Multiply the slopes by the ranks."""
        return run(_with_slopes(plan, [b.slope * plan.ranks for b in plan.micro_batches]))
