"""Schedules, hooks and derivatives that go wrong: STEP-10, LOG-3 and VAL-3."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from properties.faults.register import FAULTS, Fault, fault, zeroproof_fault
from properties.subjects.zeroproof import ZeroProof

fault("STEP-10.1", "Micro-batches are counted.",
      planned_updates=lambda real, plan, sized: real(replace(plan, accumulation=1), sized))
zeroproof_fault("STEP-10.1", "The short last window of an epoch is not counted.",
      "zeroproof.training.config.TrainingConfig.planned_updates",
      lambda real, config, loader: real(config, loader) and config.max_epochs * (len(loader) //
          config.gradient_accumulation_steps))
fault("STEP-10.2", "A loader without a length has none.",
      planned_updates=lambda real, plan, sized: real(plan, sized) if sized else (0, 0))
fault("STEP-10.3", "The scheduler says so in the last epoch.",
      scheduled=lambda real, plan, total, begun: real(plan, total, begun) if begun or
          real(plan, total, begun) is None else total)
zeroproof_fault("STEP-10.3", "The scheduler says so in the last epoch.",
      "zeroproof.training.schedulers._step_limits", lambda *_: ())
fault("STEP-10.4", "A resumed scheduler says so in its last epoch.",
      scheduled=lambda real, plan, total, begun: 1 if begun else real(plan, total, begun))
zeroproof_fault("STEP-10.4", "The steps before a resume are not counted.",
      "zeroproof.training.schedulers._step_limits", lambda real, scheduler, steps:
          [(needed - scheduler.last_epoch, most) for needed, most in real(scheduler, steps)])
zeroproof_fault("STEP-10.5", "A resumed training is as long as a whole one.",
      "zeroproof.training.schedulers.SchedulerStepper.check_length",
      lambda real, stepper, loader, epoch, *place: real(stepper, loader, 0, *place))
zeroproof_fault("STEP-10.5", "Resumed in an epoch, its updates are counted again.",
      "zeroproof.training.schedulers.SchedulerStepper.check_length",
      lambda real, stepper, loader, epoch, done, due: real(stepper, loader, epoch, 0, due))
fault("STEP-10.5", "A scheduler has to be longer than training.",
      scheduled=lambda real, plan, total, begun: real(plan, total - 1, begun))


SLEPT = [0.0]


def _sleep(sleep: Any, seconds: float) -> None:
    SLEPT[0] = seconds
    sleep(seconds)


def _delivered_by_the_clock(deliver: Any, queue: Any) -> None:
    if SLEPT[0] or len(queue._ready) > 1:  # a real clock would tell of a busy machine
        deliver(queue)


@contextmanager
def _without_gradients(mode: Any, trainer: Any, *loaders: object) -> Iterator[None]:
    with mode(trainer, *loaders), torch.no_grad():
        yield


@contextmanager
def _with_graphs(mode: Any, trainer: Any, *loaders: object) -> Iterator[None]:
    with mode(trainer, *loaders):
        for parameter in trainer.update.parameters():
            parameter.requires_grad_(True)
        yield


@contextmanager
def _frozen_afterwards(mode: Any, trainer: Any, *loaders: object) -> Iterator[None]:
    try:
        with mode(trainer, *loaders):
            yield
    finally:
        for parameter in trainer.update.parameters():
            parameter.requires_grad_(False)


fault("LOG-3.1", "Records are delivered when there is time.",
      arrivals=lambda real, updates, slow: real(updates, slow) if slow else [updates] * updates)
FAULTS.append(Fault("LOG-3.1", "Records are delivered when there is time.", ZeroProof, (
      ("time.sleep", _sleep),
      ("zeroproof.training.records.RecordQueue.deliver", _delivered_by_the_clock))))
fault("LOG-3.2", "After an error of the hook NumPy's generator is left where it is.",
      hook_traces=lambda real, fails: ("numpy",) if fails else ())
zeroproof_fault("LOG-3.2", "The random states stay where a hook leaves them.",
      "zeroproof.training.hooks.restore_random_state", lambda *_: None)
zeroproof_fault("LOG-3.2", "NumPy's generator stays where a hook leaves it.",
      "zeroproof.training.parts._numpy_state", lambda *_, **__: None)
fault("LOG-3.3", "A hook may leave the model in eval mode.",
      hook_traces=lambda real, fails: ("modes",))
zeroproof_fault("LOG-3.3", "A hook may leave the loss in eval mode.",
      "zeroproof.training.trainer.GuardedHook", lambda real, hook, modules: real(hook, modules[:1]))
zeroproof_fault("LOG-3.3", "Only the random states are set back.",
      "zeroproof.training.hooks.GuardedHook._restore", lambda *_: None)

fault("VAL-3.1", "Validation runs without gradients.",
      derived=lambda real, place, inputs, fails: replace(real(place, inputs, fails), loss=0.0))
zeroproof_fault("VAL-3.1", "Validation runs without gradients.",
      "zeroproof.training.validation.evaluation_mode", _without_gradients)
fault("VAL-3.2", "Validation makes the graph of training.",
      derived=lambda real, *given: replace(real(*given), attached=True))
zeroproof_fault("VAL-3.2", "Validation makes the graph of training.",
      "zeroproof.training.validation.evaluation_mode", _with_graphs)
fault("VAL-3.3", "All parameters are trained afterwards.",
      derived=lambda real, *given: replace(real(*given), trained=(True, True)))
zeroproof_fault("VAL-3.3", "Parameters stay frozen after a validation.",
      "zeroproof.training.validation.evaluation_mode", _frozen_afterwards)
