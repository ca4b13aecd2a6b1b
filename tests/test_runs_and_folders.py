"""RES-7: a folder belongs to one run."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from properties.subjects.zeroproof.ranks import on_ranks
from tests.helpers import make_trainer, pole_batches, same, small_model, weights
from zeroproof.training import checkpoint
from zeroproof.training.trainer import CheckpointError, SCMTrainer


@pytest.fixture(autouse=True)
def unflushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk, which other tests do."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def run_in(folder: Path, epochs: int = 1, **options: Any) -> SCMTrainer:
    """Return a trainer of six micro-batches an epoch, which writes every second."""
    saves = {"checkpoint_dir": folder, "checkpoint_every": 2, "keep_checkpoints": 2}
    given = {**saves, "max_epochs": epochs, **options}
    return make_trainer(small_model(), pole_batches([4] * 6), **given)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def another(folder: Path) -> SCMTrainer:
    return run_in(folder)


def not_loaded(folder: Path) -> SCMTrainer:
    """Make a longer trainer of the same script."""
    return run_in(folder, 5)


def earlier(folder: Path) -> SCMTrainer:
    """Go back to an earlier checkpoint, with later ones in the folder."""
    trainer = run_in(folder, 5)
    trainer.load_checkpoint(min(folder.iterdir()))
    return trainer


def branched(folder: Path) -> SCMTrainer:
    """Continue a run elsewhere, less far than it came in its own folder."""
    trainer = run_in(folder.parent / "elsewhere", 1)
    trainer.load_checkpoint(min(folder.iterdir()))
    trainer.save_checkpoint(folder.parent / "branch.pt")
    moved = run_in(folder, 2)
    moved.load_checkpoint(folder.parent / "branch.pt")
    return moved


def without_saves(folder: Path) -> SCMTrainer:
    """Ask for no checkpoints but those of signals."""
    return run_in(folder, checkpoint_every=0)


@pytest.mark.parametrize("case", [another, not_loaded, earlier, branched, without_saves])
def test_a_folder_of_another_run_is_refused_before_the_first_update(
    case: Callable[[Path], SCMTrainer], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    run_in(folder, 2).fit()
    trainer = case(folder)
    before, steps = files(folder), trainer.global_step
    with pytest.raises(ValueError, match=r"^checkpoint_dir .*run holds step-.*another folder"):
        trainer.fit()
    assert files(folder) == before
    assert trainer.global_step == steps


def latest(folder: Path, **options: Any) -> SCMTrainer:
    trainer = run_in(folder, 3, **options)
    trainer.load_checkpoint(folder)
    return trainer


def copied(folder: Path) -> SCMTrainer:
    return latest(Path(shutil.copytree(folder, folder.parent / "copy")))


def elsewhere(folder: Path) -> SCMTrainer:
    return latest(folder, checkpoint_dir=folder.parent / "new")


def twice(folder: Path) -> SCMTrainer:
    latest(folder, max_epochs=2).save_checkpoint(folder / "best.pt")
    (folder / "step-best.pt").write_bytes(b"of the user")
    return latest(folder)


@pytest.mark.parametrize("case", [latest, copied, elsewhere, twice])
def test_a_run_that_is_loaded_goes_on(case: Callable[[Path], SCMTrainer], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_in(folder).fit()
    trainer = case(folder)
    trainer.fit()
    assert trainer.config.checkpoint_dir is not None
    found = checkpoint.checkpoints(trainer.config.checkpoint_dir)
    assert [path.name[:15] for path in found] == ["step-0000000016", "step-0000000018"]
    whole = make_trainer(small_model(), pole_batches([4] * 6), max_epochs=3)
    whole.fit()
    assert same(weights(trainer.model), weights(whole.model))
    latest(Path(trainer.config.checkpoint_dir), max_epochs=4).fit()


def test_a_trainer_that_fits_again_keeps_its_folder(tmp_path: Path) -> None:
    stopped: list[bool] = []

    def stop(record: dict[str, float]) -> None:
        if record["micro_step"] == 3 and not stopped:
            stopped.append(True)
            raise KeyError

    trainer = run_in(tmp_path, log_hook=stop)
    with pytest.raises(KeyError):
        trainer.fit()
    trainer.fit()
    assert len(checkpoint.checkpoints(tmp_path)) == 2


def test_two_runs_that_start_at_once_delete_nothing_of_each_other(tmp_path: Path) -> None:
    first, other = run_in(tmp_path, keep_checkpoints=1), run_in(tmp_path)
    started = first.state_dict()
    checkpoint.write_latest(tmp_path, started, 1)
    with pytest.raises(ValueError, match="which another run wrote"):
        other.fit()
    checkpoint.write_checkpoint(tmp_path / f"step-0000000002-{other.run:012x}.pt", started)
    before = files(tmp_path)
    with pytest.raises(ValueError, match="which another run wrote"):
        checkpoint.write_latest(tmp_path, started, 1)
    assert files(tmp_path) == before
    with pytest.raises(
        CheckpointError, match=r"several runs; load one of these files: .*step-.*, .step-"
    ):
        other.load_checkpoint(tmp_path)


def test_a_new_run_draws_on_no_random_state_that_the_user_has(unchecked: None) -> None:
    model = small_model()
    random.seed(0)
    before = [repr(x) for x in (random.getstate(), np.random.get_state(), torch.get_rng_state())]
    assert len({make_trainer(model, []).run for _ in range(9)}) == 9
    after = [repr(x) for x in (random.getstate(), np.random.get_state(), torch.get_rng_state())]
    assert before == after


@pytest.mark.parametrize("run", ["../../stranger", [1], None])
def test_the_run_of_a_strangers_file_is_a_number(run: Any, tmp_path: Path) -> None:
    trainer = run_in(tmp_path)
    with pytest.raises(CheckpointError, match="does not fit this trainer"):
        trainer.load_state_dict(trainer.state_dict() | {"run": run})


def test_ranks_are_of_one_run_and_refuse_a_folder_together(tmp_path: Path) -> None:
    def task(rank: int) -> Any:
        trainer = run_in(tmp_path / str(rank))
        with pytest.raises(ValueError, match="another run wrote") as caught:
            trainer.fit()
        return trainer.run, str(caught.value)

    run_in(tmp_path / "0").fit()
    first, second = on_ranks(task, 2)
    assert first == second
