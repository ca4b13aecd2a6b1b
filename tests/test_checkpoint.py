"""Exact resume at epoch ends, and the random states that it takes."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.helpers import (
    Noisy,
    ScaledLoss,
    finite_batches,
    fit_loss,
    make_trainer,
    pole_batches,
    random_parts,
    same,
    small_model,
    weights,
)
from tests.signal_helpers import Shuffled
from zeroproof.training.checkpoint import CheckpointError, read_checkpoint
from zeroproof.training.parts import random_state, restore_random_state
from zeroproof.training.trainer import NonFiniteError, SCMTrainer


def noisy_trainer(seed: int, max_epochs: int, *, own_generator: bool, **options: Any) -> SCMTrainer:
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    model, loss = Noisy(), ScaledLoss()
    optimizer = torch.optim.AdamW([*model.parameters(), *loss.parameters()], lr=0.01)
    data = torch.utils.data.TensorDataset(*pole_batches((40,))[0])
    generator = torch.Generator().manual_seed(seed) if own_generator else None
    sampler = torch.utils.data.RandomSampler(data, generator=generator)
    loader = torch.utils.data.DataLoader(data, batch_size=8, sampler=sampler)
    return make_trainer(
        model,
        loader,
        loss,
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12),
        max_epochs=max_epochs,
        gradient_accumulation_steps=2,
        tau_train_min=0.0,
        tau_train_max=0.5,
        coverage_threshold=0.999,
        coverage_patience=5,
        val_loader=pole_batches((10,)),
        **options,
    )


def everything(trainer: SCMTrainer) -> tuple[list[Tensor], Any]:
    state = trainer.state_dict()
    optimizer = state["optimizer"]["state"]
    tensors = [
        *state["model"].values(),
        *state["loss"][0].values(),
        random_parts(trainer)["torch"],
    ]
    tensors += [v for slot in optimizer.values() for v in slot.values()]
    rest = {k: state[k] for k in ("scheduler", "scale", "counters", "val_history")}
    return tensors, (
        repr(rest),
        state["last_thresholds"],
        random_parts(trainer)["python"],
    )


@pytest.mark.parametrize("own_generator", [False, True])
@pytest.mark.parametrize("amp", [None, "fp16"])
def test_a_resumed_run_is_bitwise_the_uninterrupted_one(
    tmp_path: Path, unchecked: None, own_generator: bool, amp: str | None
) -> None:
    options: dict[str, Any] = {"use_amp": True, "amp_dtype": amp} if amp else {}
    options["own_generator"] = own_generator
    whole = noisy_trainer(1, 4, **options)
    records = whole.fit()
    for stop in (1, 2, 3):
        noisy = noisy_trainer(1, stop, **options)
        noisy.fit()
        noisy.save_checkpoint(tmp_path / "run.pt")
        resumed = noisy_trainer(99, 4, **options)
        torch.rand(3)
        resumed.load_checkpoint(tmp_path / "run.pt")
        assert repr(resumed.fit()) == repr(records[5 * stop :])
        ours, theirs = everything(resumed), everything(whole)
        assert same(ours[0], theirs[0])
        assert ours[1] == theirs[1]


def test_a_hook_may_save_on_the_validation_record(tmp_path: Path, unchecked: None) -> None:
    trainer: SCMTrainer

    def hook(metrics: dict[str, float]) -> None:
        if "val_loss" in metrics:
            trainer.save_checkpoint(tmp_path / f"{metrics['epoch']:.0f}.pt")

    trainer = noisy_trainer(1, 3, own_generator=False, log_hook=hook)
    trainer.fit()
    resumed = noisy_trainer(7, 3, own_generator=False)
    resumed.load_checkpoint(tmp_path / "1.pt")
    assert resumed.epoch == 2
    resumed.fit()
    assert same(everything(resumed)[0], everything(trainer)[0])


def test_the_stop_survives_a_resume(tmp_path: Path) -> None:
    def bad_coverage(max_epochs: int) -> SCMTrainer:
        return make_trainer(
            small_model(),
            pole_batches((4,)),
            max_epochs=max_epochs,
            tau_train_min=9.0,
            tau_train_max=9.0,
            coverage_threshold=0.5,
            coverage_patience=3,
        )

    first = bad_coverage(2)
    first.fit()
    first.save_checkpoint(tmp_path / "run.pt")
    second = bad_coverage(9)
    second.load_checkpoint(tmp_path / "run.pt")
    assert len(second.fit()) == 1
    second.save_checkpoint(tmp_path / "run.pt")
    third = bad_coverage(9)
    third.load_checkpoint(tmp_path / "run.pt")
    with pytest.raises(RuntimeError, match=r"coverage stopped it.* set its trainer.stopped"):
        third.fit()
    third.stopped = False
    assert len(third.fit()) == 1


def test_the_state_of_another_optimizer_is_refused(unchecked: None) -> None:
    def trainer(optimizer: Any) -> SCMTrainer:
        model = small_model()
        made = optimizer(model.parameters(), lr=0.1)
        return make_trainer(model, finite_batches(2), optimizer=made)

    state = trainer(torch.optim.Adam).state_dict()
    for other in (torch.optim.SGD, torch.optim.AdamW):
        with pytest.raises(CheckpointError, match=f"the optimizer is {other.__name__}, the"):
            trainer(other).load_state_dict(state)


def test_a_run_that_is_done_is_in_its_folder(tmp_path: Path) -> None:
    trainer = make_trainer(small_model(), finite_batches(2), checkpoint_dir=tmp_path)
    trainer.fit()
    assert read_checkpoint(tmp_path)["counters"]["global_step"] == trainer.global_step == 2


@pytest.mark.parametrize("where", ["hook", "loss", "loader"])
def test_a_fit_that_was_broken_off_goes_on_where_it_was(where: str, unchecked: None) -> None:
    def fail() -> None:
        if broken and next(broken) == 7:
            raise OSError("something fails")

    def loss(outputs: Any, lifted: Any) -> Tensor:
        if where == "loss":
            fail()
        return fit_loss(outputs, lifted)

    def trainer() -> SCMTrainer:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Dropout(0.3), small_model())
        hook = (lambda record: fail()) if where == "hook" else None
        loader = Shuffled(fail if where == "loader" else lambda: None)
        return make_trainer(model, loader, loss, max_epochs=3, log_hook=hook)

    broken: Any = None
    whole = trainer()
    whole.fit()
    broken, ours = count(1), trainer()
    with pytest.raises(OSError, match="something fails"):
        ours.fit()
    ours.fit()
    # The forward that failed has drawn random numbers; whatever else fails changes nothing.
    assert ours.global_step == ours.micro_step == whole.micro_step == 12
    assert where == "loss" or same(weights(ours.model), weights(whole.model))


def test_skips_in_a_row_survive_a_resume(tmp_path: Path) -> None:
    x, y = pole_batches((4,))[0]

    def faulty(max_epochs: int) -> SCMTrainer:
        model, batches = small_model(), [(x * torch.nan, y)]
        return make_trainer(model, batches, max_epochs=max_epochs, max_nonfinite_steps=3)

    first, second = faulty(2), faulty(9)
    first.fit()
    first.save_checkpoint(tmp_path / "run.pt")
    second.load_checkpoint(tmp_path / "run.pt")
    with pytest.raises(NonFiniteError):
        second.fit()
    assert second.skipped_steps == 3


def test_a_load_starts_the_epoch_anew(tmp_path: Path) -> None:
    trainer = make_trainer(small_model(), pole_batches((4, 4)))
    trainer.save_checkpoint(tmp_path / "start.pt")
    trainer.train_step(pole_batches((4,))[0])
    trainer.load_checkpoint(tmp_path / "start.pt")
    trainer.save_checkpoint(tmp_path / "again.pt")
    assert trainer.last_thresholds == []
    assert len(trainer.fit()) == 2
    trainer.save_checkpoint(tmp_path / "end.pt")
    resumed = make_trainer(small_model(), pole_batches((4, 4)), tau_train_max=0.5)
    resumed.load_checkpoint(tmp_path / "end.pt")
    assert resumed.last_thresholds == trainer.last_thresholds == [1e-4, 1e-4]


class Part(SimpleNamespace):
    def __iter__(self) -> Iterator[Any]:
        return iter(())


def with_generator(where: str, generator: torch.Generator) -> Any:
    """A loader that has its generator at one of the places that torch's loaders know."""
    owner: Any = Part(generator=generator)
    for name in reversed(where.split(".")[1:]):
        owner = Part(**{name: owner})
    return owner


@pytest.mark.parametrize(
    "where",
    [
        "loader",
        "loader.sampler",
        "loader.batch_sampler",
        "loader.sampler.sampler",
        "loader.batch_sampler.sampler",
    ],
)
def test_a_loaders_generator_is_kept_wherever_it_stands(where: str) -> None:
    generator = torch.Generator()
    loader = with_generator(where, generator)
    state = random_state(loader)
    drawn = torch.rand(3, generator=generator)
    restore_random_state(state, loader)
    assert torch.equal(torch.rand(3, generator=generator), drawn)
    restore_random_state(state, None)  # a loader without one


def test_numpys_random_state_is_kept_where_there_is_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    state = random_state(None)
    drawn = np.random.rand()
    with monkeypatch.context() as without:
        without.delitem(sys.modules, "numpy")
        nothing = random_state(None)
        restore_random_state(state, None)
    assert nothing["numpy"] is None
    restore_random_state(nothing, None)
    assert np.random.rand() != drawn, "of which nothing was known"
    restore_random_state(state, None)
    assert np.random.rand() == drawn
