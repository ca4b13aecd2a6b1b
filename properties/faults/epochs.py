"""Epochs that go wrong: LIFT-10, TAU-7 to TAU-9, VAL, LOG and CUR."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch

from properties.faults.register import automaton_fault, fault, zeroproof_fault
from properties.faults.update import also, changed
from spec.epochs import Call
from spec.logs import Hooked
from spec.runs import Event, Plan, Trace

fault("LIFT-10.1", "The trainer lifts −∞ as it lifts +∞.",
      call=lambda call, *a: replace(call(*a), lifted=([n if d else 1.0 for n, d in
          zip(*call(*a).lifted, strict=True)], call(*a).lifted[1])))
zeroproof_fault("LIFT-10.1", "The trainer lifts −∞ as it lifts +∞.",
      "zeroproof.training.evaluation.lift_targets",
      lambda lift, y: lift(torch.where(y == -torch.inf, torch.inf, y)))

fault("TAU-7.1", "Records have the midpoint of the thresholds.",
      train=lambda train, plan: changed(train(plan), "log", tau_train=lambda _: (plan.tau_min +
          plan.tau_max) / 2))
automaton_fault("TAU-7.2", "Micro-batches are measured at threshold 0.",
      measure=lambda measure, batch, tau, factor: measure(batch, 0.0, factor))
zeroproof_fault("TAU-7.2", "Micro-batches are measured at threshold 0.",
      "zeroproof.training.evaluation.measure",
      lambda measure, *given: measure(*given[:3], 0.0))
automaton_fault("TAU-7.3", "``last_thresholds`` grows over the whole run.",
      trace=lambda trace, events: replace(trace(events), thresholds=tuple(e.values["tau"] for e in
          events if e.kind == "draw")))
fault("TAU-8.1", "Validation uses the upper end.",
      train=lambda train, plan: changed(train(plan), "validate", loss_tau=lambda _: plan.tau_max))
zeroproof_fault("TAU-8.1", "The midpoint overflows.", "zeroproof.training.validation.midpoint",
      lambda midpoint, low, high: (low + high) / 2)
automaton_fault("TAU-8.2", "A validation is measured at the upper end.",
      measure=lambda real, batch, tau, factor: real(batch, real.__self__.plan.tau_max, factor))
automaton_fault("TAU-9.1", "u² is drawn.",
      uniform=lambda uniform, epoch, index: uniform(epoch, index) ** 2)
zeroproof_fault("TAU-9.1", "u² is drawn.", "zeroproof.training.trainer.lerp",
      lambda between, low, high, u: between(low, high, u * u))
automaton_fault("TAU-9.2", "Thresholds repeat every epoch.",
      uniform=lambda uniform, _, index: uniform(0, index))


def _restarted(start: Any, trainer: Any) -> None:
    start(trainer)
    trainer.tau_generator = random.Random(trainer.config.seed)


zeroproof_fault("TAU-9.2", "Thresholds repeat every epoch.",
      "zeroproof.training.trainer.SCMTrainer.start_epoch", _restarted)


def _summed(start: Any, trainer: Any) -> None:
    start(trainer)
    trainer.tau_generator = random.Random(trainer.config.seed + trainer.epoch)


zeroproof_fault("TAU-9.3", "Thresholds follow from the sum of seed and epoch.",
      "zeroproof.training.trainer.SCMTrainer.start_epoch", _summed)
automaton_fault("TAU-9.3", "The seed is ignored.",
      uniform=lambda *_: Fraction(random.getrandbits(53), 2**53))

automaton_fault("TAU-9.3", "All seeds give the same thresholds.", uniform=lambda real, *place:
      Fraction(random.Random(repr(place)).getrandbits(53), 2**53))
automaton_fault("TAU-9.4", "Thresholds are drawn from the generator of the loss.",
      draw=lambda draw: also(draw, random=lambda count: count
      + (draw.__self__.plan.tau_max > draw.__self__.plan.tau_min)))
zeroproof_fault("TAU-9.4", "Thresholds are drawn from the global generator.",
      "zeroproof.training.trainer.lerp",
      lambda real, low, high, u: real(low, high, float(torch.rand(()))) if low < high else low)

fault("VAL-1.1", "The last epoch is not validated.",
      train=lambda train, plan: replace(train(plan), events=_without_last(train(plan))))
automaton_fault("VAL-1.1", "Validation uses the parameters from before training.",
      validation=lambda validation, epoch: validation(epoch) | {"val_loss": Fraction(1, 3)})
automaton_fault("VAL-1.2", "Validation averages over micro-batches, not samples.",
      validation=lambda validation, epoch: (validation(epoch) | {"val_coverage":
          _unweighted(validation.__self__.plan)}))
zeroproof_fault("VAL-1.2", "coverage_finite is that of all samples.",
      "zeroproof.training.records.EpochTotals.record",
      lambda real, totals: (record := real(totals)) | {"coverage_finite": record["coverage"]})
automaton_fault("VAL-1.3", "A minimum that is NaN hides the others.",
      validation=lambda real, epoch: (real(epoch) | ({} if all(b.denominators for b in
          real.__self__.plan.validation) else {"val_denom_abs_min": math.nan})))
automaton_fault("VAL-1.3", "A minimum is the last micro-batch's.",
      validation=lambda validation, epoch: (validation(epoch) | {"val_denom_abs_min":
          min(validation.__self__.plan.validation[-1].denominators)}))
automaton_fault("VAL-1.3", "A mean that is NaN hides the others.",
      validation=lambda real, epoch: (real(epoch) | ({} if all(b.denominators for b in
          real.__self__.plan.validation) else {"val_denom_abs_mean": math.nan})))
zeroproof_fault("VAL-1.3", "The mean of |Q| weighs micro-batches by their samples.",
      "zeroproof.training.validation.merge",
      lambda real, rows: (found := real(rows)) | {"known": found["samples"]})
fault("VAL-2.1", "After a validation the whole model is in train mode.",
      validation_traces=lambda traces, fails: ("modes",))
zeroproof_fault("VAL-2.1", "The loss's buffers keep what a validation wrote.",
      "zeroproof.training.validation.undone",
      lambda real, modules, *loaders: real(modules[:1], *loaders))
zeroproof_fault("VAL-2.1", "The loss stays in eval mode.",
      "zeroproof.training.trainer.validate", lambda real, trainer:
          (real(trainer), [module.eval() for module in trainer.modules[1:]])[0])
zeroproof_fault("VAL-2.1", "An optimizer that only has modes stays in eval mode.",
      "zeroproof.training.optimizers.fixed_options", lambda real, optimizer: {})
fault("VAL-2.2", "A validation that raises leaves NumPy's generator where it is.",
      validation_traces=lambda traces, fails: ("numpy",) if fails else ())
zeroproof_fault("VAL-2.2", "A validation draws on the generator of the training loader.",
      "zeroproof.training.validation.undone", lambda real, modules, *loaders: real(modules, None))
zeroproof_fault("VAL-2.2", "The generator of the validation's loader is left where it is.",
      "zeroproof.training.validation.undone",
      lambda real, modules, *loaders: real(modules, loaders[0]))
zeroproof_fault("VAL-2.2", "A validation restores torch's generator only.",
      "zeroproof.training.evaluation.restore_random_state",
      lambda restore, state, loader: torch.set_rng_state(state["torch"]))
automaton_fault("VAL-2.3", "A validation draws from the generator of training.",
      validation=lambda validation, epoch: also(validation, epoch, random=lambda count: count + 1))


def _without_last(trace: Trace) -> tuple[Event, ...]:
    last = max(i for i, event in enumerate(trace.events) if event.kind == "validate")
    return trace.events[:last] + trace.events[last + 1 :]


def _unweighted(plan: Plan) -> Fraction:
    counts = [batch.counts((plan.tau_min + plan.tau_max) / 2) for batch in plan.validation]
    return sum((Fraction(c.covered, c.samples) for c in counts), Fraction(0)) / len(counts)


def _swapped(trace: Trace) -> Trace:
    events = list(trace.events)
    logs = [i for i, event in enumerate(events) if event.kind == "log"]
    events[logs[0]], events[logs[-1]] = events[logs[-1]], events[logs[0]]
    return replace(trace, events=tuple(events))


fault("LOG-1.1", "The first record comes last.", train=lambda train, plan: _swapped(train(plan)))
fault("LOG-1.2", "Counts are integers.",
      hook_types=lambda types, plan: [{**record, "epoch": int} for record in types(plan)])
fault("LOG-1.3", "Records have no tau_train.",
      hook_types=lambda types, plan: [{name: kind for name, kind in record.items() if name !=
          "tau_train"} for record in types(plan)])
zeroproof_fault("LOG-1.3", "Records have no tau_train.",
      "zeroproof.training.records.RecordQueue.send",
      lambda send, queue, record: send(queue, {name: value for name, value in record.items()
          if name != "tau_train"}))
fault("LOG-1.4", "Later errors of the hook are swallowed.", raising_hook=lambda real, plan, record:
      Hooked("", record + 1) if record else real(plan, record))
fault("LOG-1.4", "An error of the hook is swallowed.",
      raising_hook=lambda hooked, plan, record: Hooked("", 1))
for wrong, change in (
    ("Of |Q| = ∞ the mean is ∞.", lambda b, r: r | ({"denom_abs_mean": math.inf} if "i" in
        b.samples else {})),
    ("Without |Q| the minimum is ∞.", lambda b, r: r | ({} if b.denominators else
        {"denom_abs_min": math.inf})),
    ("bottom_frac is the coverage.", lambda b, r: r | {"bottom_frac": r["coverage"]}),
):
    automaton_fault("LOG-1.5", wrong, measure=lambda real, batch, *a, change=change: change(batch,
        real(batch, *a)))
zeroproof_fault("LOG-1.5", "bottom_frac is the fraction of samples that are not covered.",
      "zeroproof.training.records.merge",
      lambda merge, rows: (r := merge(rows)) | {"bottom_frac": 1 - r["covered"] / r["samples"]})
zeroproof_fault("LOG-2.1", "The hook is given the record that is kept.",
      "zeroproof.training.records.RecordQueue.send", lambda _, queue, record: queue._hook(record))
automaton_fault("LOG-2.1", "Every record is kept.",
      trace=lambda trace, events: replace(trace(events), records=tuple(e.values for e in events if
          e.kind == "log")))


def _first_kept(deliver: Any, queue: Any) -> None:
    kept = list(queue.records)
    deliver(queue)
    if len(kept) == queue.records.maxlen:
        queue.records.extend(kept)


zeroproof_fault("LOG-2.1", "The first records are kept.",
      "zeroproof.training.records.RecordQueue.deliver", _first_kept)
automaton_fault("LOG-2.2", "``val_history`` has the last record only.",
      trace=lambda real, events: replace(real(events), val_history=real(events).val_history[-1:]))


def _forgotten(validation: Any, trainer: Any) -> Any:
    record = validation(trainer)
    trainer.val_history.clear()
    return record


zeroproof_fault("LOG-2.2", "``val_history`` stays empty.",
      "zeroproof.training.trainer.validate", _forgotten)
automaton_fault("LOG-4.1", "A record has the global step of the next update.",
      progress=lambda real, rate: (real(rate) | {"global_step": real(rate)["global_step"] + 1}))
zeroproof_fault("LOG-4.1", "A window's records have the step before it.",
      "zeroproof.training.records.RecordQueue.add", lambda add, queue, known, rows:
          add(queue, {**known, "global_step": known["global_step"] - 1}, rows))
automaton_fault("LOG-4.2", "A record has the rate of the next update.",
      progress=lambda progress, rate: progress(rate / 2))
zeroproof_fault("LOG-4.2", "A record holds the tensor that the scheduler changes.",
      "zeroproof.training.update.current_rate",
      lambda rate, optimizer: optimizer.param_groups[0]["lr"])


def _given(call: Call, **changes: object) -> Call:
    return replace(call, given={n: changes.get(n, x) for n, x in call.given.items()})


fault("CUR-1.1", "inputs reach no loss.",
      call=lambda call, accepts, *a: call([n for n in accepts if n != "inputs"], *a))
fault("CUR-1.2", "A validation has the weights of the first epoch.",
      call=lambda call, accepts, plan, *a: _given(call(accepts, plan, *a), **({"loss_weights":
          {"fit": plan.weights[0]}} if a[4] and plan.weights else {})))
zeroproof_fault("CUR-1.2", "All epochs have the weights of the first.",
      "zeroproof.training.loss_adapter.LossAdapter.weights",
      lambda weights, objective, epoch, narrows: weights(objective, 0, narrows=narrows))
fault("CUR-1.3", "A validation has the next epoch's number.",
      call=lambda call, *a: _given(call(*a), epoch=a[3] + a[6]))
zeroproof_fault("CUR-1.3", "global_step counts skipped updates, too.",
      "zeroproof.training.trainer.SCMTrainer.global_step",
      lambda real, trainer: real(trainer) + trainer.skipped_steps)
fault("CUR-1.3", "global_step counts micro-batches.",
      call=lambda call, *a: _given(call(*a), global_step=a[4] * a[1].accumulation))
fault("CUR-1.4", "A validation has the lower end as its threshold.",
      call=lambda call, *a: _given(call(*a), tau=a[1].tau_min if a[6] else a[5]))
fault("CUR-1.5", "targets are the lifted numerators.",
      call=lambda call, *a: _given(call(*a), targets=list(call(*a).lifted[0])))
zeroproof_fault("CUR-1.5", "targets are the lifted numerators.",
      "zeroproof.training.loss_adapter.LossAdapter.__call__",
      lambda call, adapter, loss_fn, outputs, lifted, kwargs: call(adapter, loss_fn, outputs,
          lifted, {n: lifted[0] if n == "targets" else x for n, x in kwargs.items()}))
fault("CUR-1.6", "Weights that the loss does not accept are ignored.",
      loss_arguments=lambda arguments, accepts, plan: arguments(accepts, plan if "loss_weights" in
          accepts else replace(plan, weights=())))
fault("CUR-1.7", "Fixed weights are taken for those of the first epoch.",
      call=lambda call, *a: _given(call(*a), **({"loss_weights": {"fit": 1.0}} if a[3] else {})))
zeroproof_fault("CUR-1.2", "Fixed weights count before the curriculum.",
      "zeroproof.training.loss_adapter.LossAdapter.weights",
      lambda weights, objective, epoch, narrows: objective._fixed)
zeroproof_fault("LOG-4.1", "A validation's record has the step of the run's start.",
      "zeroproof.training.trainer.validate",
      lambda real, trainer: real(trainer) | {"global_step": 0.0})
fault("LOG-5.1", "Terms are not logged.", train=lambda real, plan: real(replace(plan, tells=False)))
automaton_fault("LOG-5.2", "Of a validation only the loss is reported.",
      validation=lambda real, epoch: {name: x for name, x in real(epoch).items()
          if not name.startswith("val_loss_")})
zeroproof_fault("LOG-5.2", "Terms of a validation are averaged over micro-batches.",
      "zeroproof.training.records._weight",
      lambda real, name, values: 1.0 if name.startswith("loss_") else real(name, values))
zeroproof_fault("LOG-5.1", "Terms are logged in single precision.",
      "zeroproof.training.evaluation.Evaluation._scalar",
      lambda scalar, evaluation, x: scalar(evaluation, x).float())
fault("LOG-6.1", "An update returns the record of the first one.",
      by_hand=lambda real, plan: real(plan)[:1] * len(real(plan)))
zeroproof_fault("LOG-6.1", "An update returns the first record that is kept.",
      "zeroproof.training.trainer.SCMTrainer.train_step",
      lambda step, trainer, *window: step(trainer, *window) and trainer.records.records[0])
