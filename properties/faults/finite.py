"""Steps to NaN that go unseen, and settings that do not last: STEP-8 and STEP-9."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from properties.faults.register import fault, zeroproof_fault

fault("STEP-8.1", "NaN parameters are validated.",
      spoiled=lambda real, cause: replace(real(cause), validated=1))
fault("STEP-8.1", "NaN parameters are saved.",
      spoiled=lambda real, cause: replace(real(cause), saved=1))
zeroproof_fault("STEP-8.1", "Parameters are not looked at.",
      "zeroproof.training.update.Update.check_finite", lambda real, update: update.settle())
zeroproof_fault("STEP-8.2", "The cause is always the size of the learning rate.",
      "zeroproof.training.finite.SteppedParameters.fault",
      lambda real, stepped: real(stepped) and "'w' is not finite; lower the learning rate of 0.1")
fault("STEP-8.2", "Every cause is named, whichever it is.", spoiled=lambda real, cause:
      replace(real(cause), error="'w': a rate of inf or 3e38, float16, or eps"))
fault("STEP-8.2", "The parameter is not named.",
      spoiled=lambda real, cause: replace(real(cause), error=real(cause).error.replace("'w'", "")))
zeroproof_fault("STEP-8.3", "A mask of infinity ends the run.",
      "zeroproof.training.finite.SteppedParameters._lost",
      lambda real, stepped, known: real(stepped, {}))


def _thawed(start: Any, trainer: Any) -> None:
    start(trainer)
    for module in trainer.modules:
        module.train()


zeroproof_fault("STEP-9.1", "What has a train() of its own is put in train mode.",
      "zeroproof.training.trainer.train_mode", lambda real, module: (real(module), [part.train() for
          part in module.modules() if type(part).train is not torch.nn.Module.train]))
zeroproof_fault("STEP-9.1", "Each epoch puts all submodules in train mode.",
      "zeroproof.training.trainer.SCMTrainer.start_epoch", _thawed)
fault("STEP-9.1", "A validation leaves all submodules in train mode.",
      modes=lambda real, frozen, validates: real([still and not validates for still in frozen],
          validates))
fault("STEP-9.2", "Parameters that train at first are trained to the end.",
      freezes=lambda real, trained: real([trained[0]] * len(trained)))
zeroproof_fault("STEP-9.3", "Buffers keep what a skipped update wrote.",
      "zeroproof.training.finite.KeptBuffers.restore", lambda *_: None)
fault("STEP-9.3", "What was infinite before becomes 0.",
      buffer=lambda real, before, written, fault: [0.0 if math.isinf(x) and fault else x for x in
          real(before, written, fault)])
fault("STEP-9.4", "A skipped update takes back the whole buffer.",
      buffer=lambda real, before, written, fault: [*(before if fault else written)])
fault("STEP-9.4", "Buffers are mended after applied updates, too.",
      buffer=lambda real, before, written, fault: real(before, written, True))
zeroproof_fault("STEP-8.1", "Parameters of the loss are not looked at.",
      "zeroproof.training.finite.SteppedParameters._lost",
      lambda real, *a: [found for found in real(*a) if "loss" not in found[2]])
zeroproof_fault("STEP-9.3", "Buffers of the loss are not kept.",
      "zeroproof.training.finite.KeptBuffers.__init__",
      lambda real, kept, modules: real(kept, modules[:1]))
zeroproof_fault("STEP-9.3", "Buffers are kept as the first micro-batch has left them.",
      "zeroproof.training.update.Update._gradients", lambda real, update, window: (
          real(update, window[:1]), update._buffers.keep(), real(update, window))[2])
