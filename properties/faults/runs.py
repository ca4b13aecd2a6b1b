"""Runs that go wrong: STOP, RES and DDP."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from properties.faults.register import automaton_fault, fault, zeroproof_fault
from properties.faults.update import changed, with_slopes
from spec.checkpoints import Loaded
from zeroproof.training.checkpoint import CheckpointError, checkpoints
from zeroproof.training.state import apply

fault("STOP-1.1", "An epoch at the threshold is bad.",
      watch=lambda watch, coverages, threshold, patience: watch(coverages, threshold + 1e-300 +
          threshold * 2.0**-52, patience))
fault("STOP-1.2", "Training stops one epoch late.",
      watch=lambda watch, coverages, threshold, patience: watch(coverages, threshold, patience + 1))
fault("STOP-2.1", "Bad epochs add up over the run.",
      watch=lambda watch, coverages, threshold, patience: watch([None if c is None or c >= threshold
          else c for c in coverages], threshold, patience))
automaton_fault("STOP-3.1", "The stop watches the last micro-batch's coverage.",
      monitored=lambda monitored, counts: monitored(counts[-1:]))
automaton_fault("STOP-3.2", "A record's samples are all samples so far.",
      progress=lambda progress, *a: progress(*a) | {"samples": 7})
fault("STOP-4.1", "Each rank watches its own samples.",
      train_ranks=lambda ranks, plan: [ranks(replace(plan, ranks=1, epochs=_share(plan, rank)))[0]
          for rank in range(plan.ranks)])
zeroproof_fault("STOP-4.1", "All ranks watch the samples of the first.",
      "zeroproof.training.records.merge", lambda merge, rows: merge(rows[:1]))
for claim, wrong, lost in (
    ("STOP-5.1", "A checkpoint lacks the counter of bad epochs.", {"bad_epochs": 0}),
    ("STOP-5.2", "A checkpoint does not say that the run has stopped.", {"stopped": False}),
    ("RES-1.1", "A checkpoint lacks the optimizer's momentum.", {"w_momentum": Fraction(0)}),
    ("RES-1.2", "A resumed scheduler starts again.", {"scheduled": 0}),
    ("RES-1.3", "A checkpoint lacks the latest epoch's thresholds.", {"thresholds": ()}),
    ("RES-1.4", "A resumed run counts its skips from 0.", {"skipped": 0}),
    ("RES-1.5", "A checkpoint lacks the counter of bad epochs.", {"bad_epochs": 0}),
    ("RES-1.5", "A resumed run counts skips in a row from 0.", {"skipped_in_row": 0}),
):
    automaton_fault(claim, wrong, load=lambda load, state, lost=lost: load({**state, **lost}))


def _share(plan: Any, rank: int) -> Any:
    return tuple(
        tuple(replace(b, samples=b.samples[rank :: plan.ranks]) for b in epoch)
        for epoch in plan.epochs
    )


def _restoring(claim: str, wrong: str, **changes: Any) -> None:
    """Register ``zeroproof`` with parts of the state replaced before they are restored."""

    def changed_restore(real: Any, trainer: Any, state: Any) -> None:
        real(trainer, {**state, **{name: change(state[name]) for name, change in changes.items()}})

    zeroproof_fault(claim, wrong, "zeroproof.training.trainer.restore", changed_restore)


_restoring("STOP-5.2", "A checkpoint does not say that the run has stopped.",
      counters=lambda counters: {**counters, "stopped": False})
_restoring("RES-1.1", "A checkpoint lacks the optimizer's momentum.",
      optimizer=lambda optimizer: {**optimizer, "state": {}})
_restoring("RES-1.1", "A checkpoint lacks the loss scale.",
      scale=lambda scale: scale and {"scale": 2.0**16, "streak": 0})
zeroproof_fault("RES-1.1", "A checkpoint has the random states of the epoch's start alone.",
      "zeroproof.training.loader.LoaderState.state_dict", lambda save, state:
          {"ranks": [{**own, "random": own["at_start"]} for own in save(state)["ranks"]]})
zeroproof_fault("RES-1.1", "Of a folder the last checkpoint but one is loaded.",
      "zeroproof.training.checkpoint.checkpoints",
      lambda real, folder: [*real(folder)[-1:], *real(folder)[:-1]])
zeroproof_fault("RES-1.1", "A loader begins its epoch again.",
      "properties.subjects.scripted.StatefulLoader.state_dict", lambda save, loader:
          {**save(loader), "done": 0})
zeroproof_fault("RES-1.5", "Of an epoch only what follows a resume is watched.",
      "zeroproof.training.records.EpochTotals.load_state_dict", lambda real, totals, state: None)
_restoring("RES-1.4", "A checkpoint lacks ``val_history``.", val_history=lambda history: [])

fault("RES-2.1", "A checkpoint is written over the old one.",
      save_steps=lambda steps: ("overwrite", *steps()[1:]))
fault("RES-2.1", "A checkpoint is renamed before it is on the disk.",
      save_steps=lambda steps: tuple(step for step in steps() if step != "flush"))
fault("RES-2.2", "A checkpoint is never renamed.",
      save_steps=lambda steps: tuple(step for step in steps() if step != "rename"))
zeroproof_fault("RES-2.3", "A failed save leaves its temporary file.",
      "pathlib.Path.unlink", lambda unlink, path, missing_ok=False: None)
fault("RES-3.1", "A checkpoint is unpickled, whoever wrote it.",
      load=lambda load, what: replace(load(what), ran_code=what == "hostile"))
zeroproof_fault("RES-3.1", "A checkpoint is unpickled, whoever wrote it.", "torch.load",
      lambda load, *a, **options: load(*a, **{**options, "weights_only": False}))
fault("RES-3.2", "A load never raises.", load=lambda load, what: Loaded("", False, False))
zeroproof_fault("RES-3.2", "The state of another number of ranks is loaded.",
      "zeroproof.training.loader.LoaderState.load_state_dict", lambda load, loader, state, done:
          load(loader, {"ranks": state["ranks"][:1]}, done=done))
zeroproof_fault("RES-3.2", "The state of another kind of optimizer is loaded.",
      "zeroproof.training.state.apply", lambda apply, trainer, state: apply(trainer,
          {**state, "optimizer_type": type(trainer.update.optimizer).__name__}))
fault("RES-3.3", "What fits is kept when the rest does not.",
      load=lambda load, what: replace(load(what), changed=True))


def _without_rollback(load: Any, trainer: Any, state: Any) -> None:
    try:
        apply(trainer, state)
    except Exception as error:
        raise CheckpointError(str(error)) from error


def _write_and_remove(write: Any, folder: Any, state: Any, count: int) -> None:
    with suppress(ValueError):
        write(folder, state, count)
    for file in checkpoints(folder):
        if f"{state['run']:012x}" not in file.name:
            file.unlink()


zeroproof_fault("RES-3.3", "What fits is kept when the rest does not.",
      "zeroproof.training.trainer.SCMTrainer.load_state_dict", _without_rollback)
fault("RES-3.4", "Keys carry the wrapper's prefix.",
      checkpoint_keys=lambda keys, wrapper: [wrapper + key for key in keys(wrapper)])
zeroproof_fault("RES-3.4", "Keys carry the wrapper's prefix.", "zeroproof.training.state.unwrap",
      lambda _, m: m)
zeroproof_fault("RES-3.4", "Of two wrappers one is taken off.", "zeroproof.training.state.unwrap",
      lambda _, m: getattr(m, "_orig_mod", getattr(m, "module", m)))
fault("RES-4.3", "A signal during a save is seen after another update.",
      interrupted=lambda real, signal, place="update": replace(real(signal, place),
          updates_after=int(place == "save")))
for claim, wrong, field, value in (
    ("RES-4.1", "Ctrl-C ends training as if it were done.", "raised", ""),
    ("RES-4.2", "SIGTERM raises KeyboardInterrupt.", "raised", "KeyboardInterrupt"),
    ("RES-4.3", "The epoch is finished first.", "updates_after", 6),
    ("RES-4.4", "The state is not saved.", "saved", False),
):
    fault(claim, wrong, interrupted=lambda interrupted, *given, changes={field: value}: replace(
        interrupted(*given), **changes))
for claim, wrong, lacking in (
    ("RES-6.1", "Parameters of neither model nor loss are not saved.", "parameter of neither"),
    ("RES-6.2", "Buffers of the loss are not saved.", "buffer of the loss"),
    ("RES-6.3", "Objects of the user are not saved.", "object of the user"),
):
    fault(claim, wrong, survives=lambda survives, what, lacking=lacking: what != lacking)
zeroproof_fault("RES-6.1", "Parameters of neither model nor loss are not saved.",
      "zeroproof.training.update.Update.free_parameters", lambda free, update: [])

fault("RES-5.1", "Arrays are refused.",
      saved=lambda saved, value: replace(saved(value), error="place" * (value == "array")))
zeroproof_fault("RES-5.1", "NumPy's numbers are written as they are.",
      "zeroproof.training.checkpoint.to_builtin", lambda _, value, name: value)
fault("RES-5.2", "What cannot be loaded is written.",
      saved=lambda saved, value: replace(saved(value), error=""))
zeroproof_fault("RES-5.2", "What cannot be loaded is written.",
      "zeroproof.training.checkpoint.to_builtin", lambda _, value, name: value)
fault("RES-5.3", "What cannot be loaded is refused after the old file is gone.",
      saved=lambda saved, value: replace(saved(value), kept=False))
zeroproof_fault("RES-5.3", "What cannot be loaded is refused after the old file is gone.",
      "zeroproof.training.trainer.write_checkpoint", lambda write, path, state:
          (Path(path).write_bytes(b""), write(path, state)))
for claim, wrong, field, value in (
    ("RES-7.1", "The folder is looked at when there is something to save.", "updates", 1),
    ("RES-7.2", "The latest checkpoints stay, whoever wrote them.", "kept", False),
    ("RES-7.3", "A run cannot write where it was loaded from.", "error", "ValueError"),
    ("RES-7.4", "The latest checkpoint is loaded, whoever wrote it.", "error", ""),
):
    fault(claim, wrong, in_folder=lambda in_folder, case, changes={field: value}: replace(
        in_folder(case), **changes))
zeroproof_fault("RES-7.1", "The folder is looked at when there is something to save.",
      "zeroproof.training.state.check_folder", lambda check, folder, run, step: "")
zeroproof_fault("RES-7.4", "All runs have one number.",
      "zeroproof.training.trainer.secrets.randbits", lambda randbits, bits: 1)
zeroproof_fault("RES-7.2", "A run removes all checkpoints but its own.",
      "zeroproof.training.state.write_latest", _write_and_remove)
zeroproof_fault("RES-7.3", "A load keeps the number of the new run.",
      "zeroproof.training.trainer.restore", lambda restore, trainer, state:
          restore(trainer, {**state, "run": trainer.run}))
fault("RES-8.1", "A resumed run has the generator of a new one.",
      remembered=lambda remembered, source, drawn: 0)
zeroproof_fault("RES-8.1", "Of generators, only the global ones are saved.",
      "zeroproof.training.parts._accessors", lambda accessors, part: None)
zeroproof_fault("RES-8.1", "NumPy's older generators are not saved.",
      "zeroproof.training.parts._accessors", lambda accessors, part:
          None if type(part).__name__ == "RandomState" else accessors(part))
zeroproof_fault("RES-8.1", "Of the global generators, draws of torch's alone are seen.",
      "zeroproof.training.loader.global_state_moved",
      lambda real, before, after: not torch.equal(before["torch"], after["torch"]))
zeroproof_fault("RES-8.1", "Numbers that a sampler counts are not saved.",
      "zeroproof.training.loader.numbers", lambda numbers, loader: {})
fault("RES-8.2", "What is replayed is not checked.", repeats=lambda repeats, *orders: True)
zeroproof_fault("RES-8.2", "What is replayed is not checked.",
      "zeroproof.training.loader.fingerprint", lambda fingerprint, batch: "")
zeroproof_fault("RES-8.2", "Of a micro-batch only the inputs are checked.",
      "zeroproof.training.loader.fingerprint", lambda fingerprint, batch:
          fingerprint(batch and next(iter(batch.values() if isinstance(batch, dict) else batch))))
zeroproof_fault("RES-8.2", "Of a mapping only the names are checked.",
      "zeroproof.training.loader.fingerprint", lambda fingerprint, batch:
          fingerprint([*batch] if isinstance(batch, dict) else batch))
zeroproof_fault("RES-8.2", "The latest micro-batch is not checked.",
      "zeroproof.training.loader.LoaderState._replay", lambda replay, loader, saved, count:
          replay(loader, saved | {"prints": [saved["prints"][0], None]}, count))
fault("RES-8.3", "The error names no remedy.", refusal=lambda refusal: "the loader differs")
fault("RES-8.4", "A loader is given its epochs, its parts are not.",
      epochs_told=lambda told, place: told(place) if place == "loader" else ())
zeroproof_fault("RES-8.4", "Samplers of samplers and data sets are not given the epoch.",
      "zeroproof.training.loader.set_epoch", lambda set_epoch, loader, epoch: [part.set_epoch(epoch)
          for part in (loader, *(getattr(loader, n, None) for n in ("sampler", "batch_sampler")))
          if hasattr(part, "set_epoch")])
fault("DDP-1.1", "Gradients are summed over ranks, not averaged by samples.",
      train=lambda train, plan: train(with_slopes(plan, lambda i, slope: slope * plan.ranks)))
fault("DDP-1.2", "Only rank 0 clips.",
      rank_trace=lambda rank_trace, trace, rank: changed(rank_trace(trace, rank), "update", w=lambda
          w: w + rank))
zeroproof_fault("DDP-1.1", "A parameter of neither model nor loss is each rank's own.",
      "zeroproof.training.update.Update.free_parameters", lambda *_: [])
zeroproof_fault("DDP-1.1", "Ranks begin with losses of their own.",
      "zeroproof.training.distributed.Ranks.broadcast", lambda *_: None)
zeroproof_fault("DDP-1.1", "A rank alone skips for a loss that is not finite.",
      "zeroproof.training.distributed.Ranks.reduce_window", lambda reduce, ranks, losses, *a: (
          losses, reduce(ranks, losses, *a)[1]))
fault("DDP-1.3", "Every rank calls the hook.",
      rank_trace=lambda real, trace, rank: replace(real(trace, rank), events=trace.events))
fault("DDP-1.3", "Every rank writes checkpoints.",
      rank_trace=lambda rank_trace, trace, rank: replace(rank_trace(trace, rank), written=1))
fault("DDP-1.4", "Gradients are reduced with each micro-batch.",
      rank_trace=lambda rank_trace, trace, rank: replace(rank_trace(trace, rank),
          reductions=len(trace.of("draw")) + 1))
zeroproof_fault("DDP-1.4", "Gradients are reduced with each micro-batch.",
      "zeroproof.training.distributed.Ranks.reduction",
      lambda reduction, ranks, model, last: nullcontext())
fault("DDP-1.5", "The loader is not told the epoch.",
      rank_trace=lambda rank_trace, trace, rank: replace(rank_trace(trace, rank), epochs_set=()))
zeroproof_fault("DDP-1.5", "The loader is not told the epoch.",
      "zeroproof.training.loader.set_epoch", lambda set_epoch, loader, epoch: None)
fault("DDP-1.6", "Unequal loaders are trained.", train_unequal=lambda *_: None)
fault("DDP-2.1", "Only the rank that gets a signal ends.",
      interrupted_ranks=lambda real, signal, ranks: [
          *real(signal, ranks - 1), replace(real(signal, 1)[0], updates_after=6)])
zeroproof_fault("DDP-2.1", "Ranks hear of a signal at the end of the epoch.",
      "zeroproof.training.distributed.Ranks.reduce_window",
      lambda reduce, ranks, losses, signal, unwrapped: reduce(ranks, losses, 0, unwrapped))
fault("DDP-2.2", "Validations of unequal length are averaged.",
      train_unequal=lambda real, ranks, loader="train": loader == "train" and real(ranks))
