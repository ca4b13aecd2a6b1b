"""Updates that go wrong: ACC, AMP and STEP."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch

from properties.faults.register import automaton_fault, fault, zeroproof_fault
from spec.automaton import Automaton
from spec.runs import Epoch, Event, Plan, Trace
from spec.update import Precision

Method = Callable[..., Any]


def also(method: Method, *arguments: Any, **changes: Callable[[Any], object]) -> Any:
    """Call an automaton's method, and then change fields of its state."""
    found, automaton = method(*arguments), method.__self__  # type: ignore[attr-defined]
    state = automaton.state
    automaton._set(**{name: change(getattr(state, name)) for name, change in changes.items()})
    return found


def changed(trace: Trace, kind: str, **changes: Callable[[Any], Any]) -> Trace:
    """Return a trace with some values of events of a kind changed."""

    def change(event: Event) -> Event:
        values = {name: new(event.values[name]) for name, new in changes.items()}
        return Event(event.kind, {**event.values, **values})

    return replace(trace, events=tuple(change(e) if e.kind == kind else e for e in trace.events))


def with_slopes(plan: Plan, change: Callable[[int, Fraction], Fraction]) -> Plan:
    """Return a plan with slopes changed, given their number in the run."""
    rest = (change(i, batch.slope) for i, batch in enumerate(plan.micro_batches))
    epochs = tuple(tuple(replace(b, slope=next(rest)) for b in epoch) for epoch in plan.epochs)
    return replace(plan, epochs=epochs)


def whole_windows(epoch: Callable[[Epoch], Iterator[Event]], batches: Epoch) -> Iterator[Event]:
    """Train on an epoch without its short last window."""
    automaton: Automaton = epoch.__self__  # type: ignore[attr-defined]
    kept = len(batches) - len(batches) % automaton.plan.accumulation
    return epoch(batches[:kept] or batches)


automaton_fault("ACC-1.1",
      "A window's gradient is the mean of its micro-batches', whatever their sizes.",
      gradient=lambda gradient, sizes, slopes: gradient([1] * len(sizes), slopes))
automaton_fault("ACC-1.1", "A gradient is divided by the number of micro-batches, too.",
      gradient=lambda gradient, sizes, slopes: gradient(sizes, slopes) / len(sizes))
fault("ACC-1.2", "The loss's own parameter is left out of the division by the window's samples.",
      train=lambda train, plan: changed(train(plan), "update", v=lambda v: v * plan.accumulation))
automaton_fault("ACC-2.1", "An epoch's short last window is never applied.", epoch=whole_windows)
fault("ACC-2.1", "A short window is filled up from the next epoch.",
      train=lambda train, plan: train(replace(plan, epochs=(tuple(plan.micro_batches),))))
fault("ACC-2.2", "Gradients are cleared after a step, but not before the first.",
      train=lambda train, plan: train(with_slopes(plan, lambda i, slope: slope + (plan.stale and i
          == 0))))
automaton_fault("ACC-3.1", "The logged loss is the one that was divided by N.",
      measure=lambda measure, *a: (measure(*a) | {"loss": measure(*a)["loss"] /
          measure.__self__.plan.accumulation}))

fault("AMP-1.1", "The forward runs in float32.",
      precision=lambda precision, *a: replace(precision(*a), forward="float32"))
zeroproof_fault("AMP-1.1", "A validation runs without autocast.",
      "zeroproof.training.evaluation.Evaluation._autocast",
      lambda real, evaluation: real(evaluation) if evaluation.model.training else nullcontext())
fault("AMP-1.2", "The loss is given what the forward gave.",
      precision=lambda precision, dtype, *a: replace(precision(dtype), loss=(dtype, "float32")))
zeroproof_fault("AMP-1.2", "Outputs are not widened.",
      "zeroproof.training.evaluation.widen_outputs", lambda widen, outputs: outputs)


def _under_autocast(call: Method, *given: Any) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        return call(*given)


zeroproof_fault("AMP-1.3", "The loss runs under autocast.",
      "zeroproof.training.loss_adapter.LossAdapter.__call__", _under_autocast)
fault("AMP-2.1", "float16 is not scaled.",
      precision=lambda precision, *a: replace(precision(*a), scaled=False))
fault("AMP-2.2", "bfloat16 is scaled, too.",
      precision=lambda precision, *a: replace(precision(*a), scaled=True))
fault("AMP-3.1", "A dtype that is set but off still rounds the learning rate.",
      train=lambda train, plan: replace(train(plan), rate=train(plan).rate * (1 +
          bool(plan.precision))))
zeroproof_fault("AMP-3.1", "Autocast is always on.",
      "zeroproof.training.evaluation.Evaluation._autocast",
      lambda real, evaluation: torch.autocast(evaluation.device.type, torch.bfloat16))
fault("AMP-4.1", "What there is no autocast to becomes bfloat16 in silence.",
      precision=lambda precision, *a: precision("bfloat16"))
fault("AMP-5.1", "use_amp is ignored.",
      precision=lambda precision, dtype, option="mixed_precision": (Precision("float32",
          ("float32",), "float32", False) if option == "use_amp" else precision(dtype)))


def _unread(normalise: Any, config: Any) -> None:
    normalise(config)
    object.__setattr__(config, "mixed_precision", config.mixed_precision and not config.use_amp)


zeroproof_fault("AMP-5.1", "use_amp is ignored.",
      "zeroproof.training.config.TrainingConfig._normalise", _unread)

fault("STEP-1.1", "The scheduler steps before the optimizer.",
      phases=lambda phases, n: replace(phases(n), order=(*phases(n).order[:-3], "schedule", "step",
          "zero")))
fault("STEP-1.2", "Micro-batches are clipped before the window's gradient is normalised.",
      train=lambda train, plan: train(replace(with_slopes(plan, lambda i, g: max(min(g,
          Fraction(plan.max_norm)), -Fraction(plan.max_norm))), max_norm=None)))
zeroproof_fault("STEP-1.2", "Each parameter is clipped by a norm of its own.",
      "torch.nn.utils.clip_grads_with_norm_",
      lambda clip, parameters, limit, norm: [clip([p], limit, p.grad.norm()) for p in parameters if
          p.grad is not None])
for claim, wrong, field, change in (
    ("STEP-2.1", "Skips advance the global step.", "global_step", lambda step: step + 1),
    ("STEP-2.2", "The scheduler steps on skipped updates, too.", "scheduled", lambda n: n + 1),
    ("STEP-2.3", "Skipped micro-batches are not counted.", "micro_step", lambda step: step - 1),
    ("STEP-3.1", "A fault reaches the weights.", "w", lambda w: w * 2),
    ("STEP-3.1", "A skipped step clears the optimizer's momentum.", "w_momentum", lambda m: m * 0),
    ("STEP-3.3", "NaN after NaN is skipped in silence.", "failed", lambda _: False),
):
    automaton_fault(claim, wrong,
          skip=lambda skip, *a, changes={field: change}: also(skip, *a, **changes))
automaton_fault("STEP-3.2", "Records do not count skips.",
      progress=lambda progress, *a: progress(*a) | {"skipped": 0})
zeroproof_fault("STEP-3.2", "A skip is in the records of the next window.",
      "zeroproof.training.records.RecordQueue.add", lambda add, queue, known, rows:
          add(queue, {**known, "skipped": max(known["skipped"] - 1, 0)}, rows))
automaton_fault("STEP-3.3", "Skips are counted over the run, not in a row.",
      update=lambda real, *a: also(real, *a, skipped_in_row=lambda _: real.__self__.state.skipped))
automaton_fault("STEP-3.4", "Skips count also while the scale falls.",
      skip=lambda skip, *a: also(skip, *a, failed=lambda _: skip.__self__.plan.max_nonfinite == 1))
zeroproof_fault("STEP-3.4", "With float16 no skip counts.",
      "zeroproof.training.scaler.LossScale.update",
      lambda update, scale, *outcome: torch.ones_like(update(scale, *outcome)))
automaton_fault("STEP-3.4", "A fall of the scale ends a row of skips.",
      skip=lambda skip, batches: also(skip, batches, skipped_in_row=lambda row:
          row * all(batch.fault != "overflow" for batch in batches)))
zeroproof_fault("STEP-3.4", "No skip counts by which the scale would fall below 1.",
      "zeroproof.training.scaler.LossScale.update",
      lambda update, scale, applied, overflowed: overflowed | update(scale, applied, overflowed))
zeroproof_fault("STEP-3.4", "Skips count also while the scale falls.",
      "zeroproof.training.scaler.LossScale.update",
      lambda update, scale, *outcome: torch.zeros_like(update(scale, *outcome)))
fault("STEP-4.1", "Each loss is read, for a progress bar.", host_reads=lambda reads, n, _: n)
fault("STEP-4.2", "Each norm is read beside each loss.",
      host_reads=lambda reads, n, on_device: 2 * reads(n, on_device))
fault("STEP-5.1", "A model that was left in eval mode is trained in it.",
      phases=lambda phases, n: replace(phases(n), training=(False,) * n))
fault("STEP-5.2", "``fit`` returns where it trained nothing.", untrainable=lambda *_: None)
fault("STEP-5.3", "A second ``fit`` returns at once.", untrainable=lambda *_: None)
fault("STEP-5.3", "After an early stop ``fit`` returns at once.",
      untrainable=lambda real, case: case.endswith("stop") or real(case))
fault("STEP-6.1", "Compiled code leaves a buffer as it was.",
      left=lambda real, compiled: [x + compiled for x in real(compiled)])
fault("STEP-6.1", "Compiled code keeps the first threshold that it saw.",
      train_compiled=lambda train, plan: changed(train(plan), "draw", tau=lambda _: plan.tau_min))
fault("STEP-6.1", "Compiled code keeps the first epoch's weights.",
      train_compiled=lambda train, plan: train(replace(plan, weights=plan.weights[:1] *
          len(plan.epochs))))
fault("STEP-6.2", "What cannot be compiled is trained eagerly.", uncompilable=lambda *_: None)
fault("STEP-7.1", "The scheduler is shown the coverage.",
      watched=lambda watched, losses, *mode: watched([1.0] * len(losses), *mode))

fault("STEP-11.1", "Options are not checked.", configure=lambda *_: None)
fault("STEP-11.2", "An end of a range is outside it.",
      configure=lambda real, option, value: real(option, -0.5 if value == 0.0 else value))
for claim, cadence in ("STEP-12.1", "epoch"), ("STEP-12.2", "validation"):
    automaton_fault(claim, f"The scheduler never follows a {cadence}.",
          schedule=lambda real, place: real(place) if place == "update" else None)
    automaton_fault(claim, f"The scheduler of {cadence}s follows updates, too.",
          schedule=lambda real, place: (real(place), real(real.__self__.plan.cadence)))
fault("STEP-12.3", "A scheduler's mode is not looked at.",
      watched=lambda watched, losses, mode="min": watched(losses))
fault("STEP-13.1", "Named tuples become tuples.", train_on=lambda *_: False)
fault("STEP-11.5", "True is the number 1.",
      configure=lambda real, option, value: real(option, 1.0 if value is True else value))
zeroproof_fault("STEP-11.5", "A string is read as a number.",
      "zeroproof.utils.checks.check_number",
      lambda real, name, value, *a: real(name, float(value) if value == "1" else value, *a))
for claim, wrong, kind in (
    ("STEP-13.2", "Targets without samples are trained on.", "empty"),
    ("STEP-13.3", "A list of targets is trained on.", "list"),
    ("STEP-13.4", "The losses of samples are added.", "samples"),
    ("STEP-13.5", "A term of samples is averaged.", "samples term"),
    ("STEP-13.5", "What a loss returns after its terms is dropped.", "third"),
    ("STEP-13.6", "Of three outputs the first two are taken.", "three"),
):
    fault(claim, wrong, train_on=lambda real, *given, kind=kind, **named: (
        kind in given or kind in named.values() or real(*given, **named)))
zeroproof_fault("STEP-13.5", "A term that is None is left out.",
      "zeroproof.training.loss_adapter.checked_scalar",
      lambda real, name, x: real(name, 0.0 if x is None else x))

fault("AMP-6.1", "A NaN loss resets the count of applied updates.",
      loss_scales=lambda real, outcomes: real([("overflow", 0) if kind == "fault" else (kind, n)
          for kind, n in outcomes]))
zeroproof_fault("STEP-1.2", "Each group of parameters is clipped by itself.",
      "zeroproof.training.update.Update._normalise",
      lambda real, update: [torch.nn.utils.clip_grad_norm_(group["params"],
          update._config.max_grad_norm or torch.inf) for group in update.optimizer.param_groups])
zeroproof_fault("STEP-3.1", "Gradients of the first parameter alone are looked at.",
      "zeroproof.training.update.Update._normalise", lambda real, update: real(update)[:1])
zeroproof_fault("STEP-3.2", "The gradient alone decides whether an update is skipped.",
      "zeroproof.training.update.Update._judge",
      lambda real, update, norms, losses, *a: real(update, norms, [torch.zeros(())], *a))
zeroproof_fault("STEP-3.2", "A loss is not finite only if it is NaN.",
      "zeroproof.training.update.Update._judge",
      lambda real, update, norms, losses, *a: real(update, norms, [x.nan_to_num(math.nan, 0.0, 0.0)
          for x in losses], *a))
zeroproof_fault("AMP-6.1", "A checkpoint lacks the count of applied updates.",
      "zeroproof.training.scaler.LossScale.load_state_dict",
      lambda load, scale, state: load(scale, {**state, "streak": 0}))
fault("AMP-6.2", "The scale falls below 1.",
      loss_scales=lambda real, outcomes: [x / 2 if x == 1 else x for x in real(outcomes)])
fault("AMP-6.3", "A NaN loss halves the scale, as torch's scaler does.",
      loss_scales=lambda real, outcomes: real([("overflow" if kind == "fault" else kind, n)
          for kind, n in outcomes]))
zeroproof_fault("STEP-14.1", "The closure returns the mean over micro-batches.",
      "zeroproof.training.update.Update._mean_loss",
      lambda real, update, window, losses: float(torch.stack(losses).mean()))
zeroproof_fault("STEP-14.2", "The closure leaves a gradient that is not clipped.",
      "zeroproof.training.update.Update._normalise",
      lambda real, update: real(update) if not getattr(update.optimizer, "losses", None) else [])
fault("STEP-14.3", "A step to NaN is undone, but not counted.",
      search=lambda real, *a: (*real(*a)[:2], 0))
fault("STEP-14.4", "float16 is ignored.",
      search=lambda real, plan, finite: real(replace(plan, precision=""), finite))
fault("STEP-15.1", "A smaller last micro-batch is always left out.",
      batches=lambda real, loader, *a: real(replace(loader, drop_last=True), *a))
fault("STEP-15.1", "A last micro-batch of one sample is left out.",
      batches=lambda real, *a: [batch for batch in real(*a) if len(batch) > 1])
fault("STEP-15.2", "The order follows from the sum of seed and epoch.",
      batches=lambda real, loader, epoch, done: real(replace(loader, seed=min(loader.seed, 0)),
          loader.seed + (epoch or 0), done))
fault("STEP-15.2", "The order is the same in every epoch.",
      batches=lambda real, loader, epoch, done: real(loader, 0, done))
fault("STEP-15.2", "The first epoch is 1.",
      batches=lambda real, loader, epoch, done: real(loader, 1 if epoch is None else epoch, done))
zeroproof_fault("STEP-15.3", "A loader that is resumed yields the latest micro-batch again.",
      "zeroproof.training.batches.TensorBatches.load_state_dict",
      lambda load, loader, state: load(loader, {**state, "next": state["next"] - 1}))
fault("STEP-15.4", "A negative seed is taken.",
      batches=lambda real, loader, *a: real(replace(loader, seed=abs(loader.seed)), *a))
fault("CUR-2.1", "A ramp goes on after its end.",
      ramp=lambda real, kind, ends, epochs, epoch: real(kind, ends, epochs, epoch) + (epoch > 9))
fault("CUR-2.1", "By default a ramp takes two epochs.",
      ramp=lambda real, kind, ends, epochs, epoch: real(kind, ends, epochs or (0, 2), epoch))
fault("CUR-2.2", "Every ramp is linear.",
      ramp=lambda real, kind, ends, *a: (real(kind, ends, *a), real("linear", ends, *a))[1])
fault("CUR-2.3", "A ramp without a length is a step.",
      ramp=lambda real, kind, ends, epochs, epoch: real(kind, ends, (epochs[0], epochs[1] + (
          epochs[0] == epochs[1])) if epochs else epochs, epoch))
fault("CUR-2.3", "Only the first epoch −1 is refused.",
      ramp=lambda real, kind, ends, epochs, epoch: real(kind, ends, (max(epochs[0], 0), epochs[1])
          if epochs and epochs[0] < -1 else epochs, epoch))
fault("CUR-2.3", "Two negative values have a ratio, so a ramp is made.",
      ramp=lambda real, kind, ends, *a:
          real(kind, [*map(abs, ends)] if max(ends) < 0 else ends, *a))
fault("STEP-11.3", "True is the integer 1.",
      configure=lambda real, option, value: real(option, 1 if value is True else value))
fault("STEP-11.4", "By default a run has one epoch.",
      option_default=lambda real, option: 1 if option == "max_epochs" else real(option))
