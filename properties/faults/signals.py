"""Signals, with failures that come after them: RES-9."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from properties.faults.register import fault, zeroproof_fault

HELD = "zeroproof.training.signals.DeferredSignals"

fault("RES-9.1", "The failure is raised, as if no signal had come.",
      broken_off=lambda real, what, signal: replace(real(what, signal), raised="OSError"))
zeroproof_fault("RES-9.1", "The failure is raised, as if no signal had come.",
      f"{HELD}.__exit__", lambda leave, self, *error: (
          self.__dict__.update(received=0), leave(self, *error))[1])
fault("RES-9.2", "Nothing is saved if a failure comes before the save.",
      broken_off=lambda broken_off, what, signal: replace(broken_off(what, signal), saved=0))
zeroproof_fault("RES-9.2", "Nothing is saved if a failure comes before the save.",
      "zeroproof.training.trainer.save_last_update", lambda save, trainer, fetching: None)
fault("RES-9.3", "The death of a worker is raised in an update.",
      broken_off=lambda broken_off, what, signal: replace(broken_off(what, signal),
          begun=broken_off(what, signal).made + (what == "worker")))
fault("RES-9.4", "A validation that is broken off is never made.",
      broken_off=lambda broken_off, what, signal: replace(broken_off(what, signal),
          validated=(0,) if what == "validation" else (0, 1)))
fault("RES-9.6", "What could not be saved is not told.",
      broken_off=lambda broken_off, what, signal: replace(broken_off(what, signal), warned=False))
fault("RES-9.5", "An update that failed is saved as if it had been made.",
      broken_off=lambda real, what, signal: replace(real(what, signal), **(
          {"saved": 6, "same": False} if what == "loss" else {})))
zeroproof_fault("RES-9.6", "What could not be saved is not told.",
      "zeroproof.training.state.warnings.warn", lambda warn, *a, **given: None)
fault("RES-9.5", "The resumed run differs.",
      broken_off=lambda broken_off, what, signal: replace(broken_off(what, signal), same=False))


def _at_once(note: Any, self: Any, number: int, frame: Any) -> None:
    if self.received:  # whatever torch's handler finds of the worker
        raise RuntimeError("a worker has died")
    note(self, number, frame)


zeroproof_fault("RES-9.3", "The death of a worker is raised in an update.",
      f"{HELD}._note_death", _at_once)


def _without_validation(apply: Any, trainer: Any, state: Any) -> None:
    apply(trainer, state)
    trainer.validation_due = False


zeroproof_fault("RES-9.4", "A validation that is broken off is never made.",
      "zeroproof.training.state.apply", _without_validation)
zeroproof_fault("RES-9.5", "The draws of a fetch that failed are lost.",
      "zeroproof.training.loader.LoaderState.undo", lambda undo, self, committed: True)
