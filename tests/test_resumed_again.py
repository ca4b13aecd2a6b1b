"""A run that is interrupted again soon, and one that goes back to an earlier state."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.helpers import Noisy, ScaledLoss, make_trainer, pole_batches, same, small_model, weights
from tests.loaders import EXACT
from zeroproof.training.trainer import SCMTrainer


@pytest.mark.parametrize("first", [1, 2])
def test_a_run_goes_on_that_is_interrupted_one_update_after_a_resume(
    tmp_path: Path, first: int, unchecked: None
) -> None:
    def run(name: str, seed: int, resumed: Path | None = None) -> tuple[list[Path], object]:
        torch.manual_seed(seed)
        saves = {"checkpoint_dir": tmp_path / name, "checkpoint_every": 1, "keep_checkpoints": 9}
        trainer = make_trainer(Noisy(), EXACT["noise between the model's"](), **saves)
        if resumed is not None:
            trainer.load_checkpoint(resumed)
        trainer.fit()
        return sorted((tmp_path / name).iterdir()), weights(trainer.model)

    files, expected = run("whole", 1)
    files, _ = run("second", 2, files[first - 1])
    _, found = run("third", 3, files[0])
    assert same(found, expected)  # type: ignore[arg-type]


def test_a_state_of_the_start_takes_a_run_back_with_the_counters_of_its_samplers() -> None:
    trainer = make_trainer(small_model(), EXACT["a sampler's counter"](), max_epochs=2)
    start = trainer.state_dict()
    start |= {"model": {name: x.clone() for name, x in start["model"].items()}}
    trainer.fit()
    expected = weights(trainer.model)
    trainer.load_state_dict(start)
    assert trainer.train_loader.sampler.epoch == 0
    trainer.fit()
    assert same(weights(trainer.model), expected)


def test_a_state_shares_no_lists_with_its_trainer() -> None:
    trainer = make_trainer(small_model(), pole_batches((4,)), val_loader=pole_batches((4,)))
    start = trainer.state_dict()
    trainer.fit()
    trainer.load_state_dict(start)
    assert (trainer.val_history, trainer.last_thresholds) == ([], [])


def test_a_compiled_loss_is_saved_under_its_own_names() -> None:
    plain, compiled = ScaledLoss(), torch.compile(ScaledLoss(), backend="eager")
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainers = [SCMTrainer(model, optimizer, loss, []) for loss in (compiled, plain)]
    state = trainers[0].state_dict()
    assert list(state["loss"][0]) == ["scale"]
    state["loss"][0]["scale"] = torch.tensor(3.0)
    for trainer in trainers:
        trainer.load_state_dict(state)
    assert plain.scale == compiled.scale == 3
