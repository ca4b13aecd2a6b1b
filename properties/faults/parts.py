"""Parts of a trainer that go wrong: STEP-14, STEP-15, AMP-6 and CUR-2."""

from dataclasses import replace

import torch

from properties.faults.register import fault, zeroproof_fault

fault("AMP-6.1", "A NaN loss resets the count of applied updates.",
      loss_scales=lambda real, outcomes: real([("overflow", 0) if kind == "fault" else (kind, n)
          for kind, n in outcomes]))
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
fault("STEP-15.2", "The order follows from 31 times the seed, plus the epoch.",
      batches=lambda real, loader, epoch, done: real(replace(loader, seed=min(loader.seed, 0)),
          31 * loader.seed + (epoch or 0), done))
fault("STEP-15.2", "The order follows from the bits in which seed and epoch differ.",
      batches=lambda real, loader, epoch, done: real(replace(loader, seed=min(loader.seed, 0)),
          abs(loader.seed) ^ (epoch or 0), done))
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
