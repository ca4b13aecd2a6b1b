"""Checkpoints: exact resume at epoch ends, atomic writes, careful reads."""

from __future__ import annotations

import os
import pickle
import random
import signal
import sys
import time
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
    make_trainer,
    pole_batches,
    random_parts,
    same,
    small_model,
)
from zeroproof.training import checkpoint
from zeroproof.training.trainer import CheckpointError, NonFiniteError, SCMTrainer


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
    with pytest.raises(RuntimeError, match="coverage stopped it"):
        third.fit()


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


def test_saving_inside_a_window_is_refused(tmp_path: Path) -> None:
    trainer = make_trainer(small_model(), pole_batches((4, 4)), gradient_accumulation_steps=2)
    trainer.train_step(pole_batches((4,))[0])
    with pytest.raises(RuntimeError, match="1 micro-batches wait for their update; save between"):
        trainer.save_checkpoint(tmp_path / "run.pt")
    trainer.train_step(pole_batches((4,))[0])
    trainer.save_checkpoint(tmp_path / "run.pt")


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


def test_a_write_that_fails_leaves_the_old_checkpoint_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(small_model(), pole_batches((4,)), max_epochs=2)
    path = tmp_path / "folder" / "run.pt"
    trainer.save_checkpoint(path)
    old = path.read_bytes()
    trainer.fit()

    def full_disk(state: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        trainer.save_checkpoint(path)
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]


def test_a_checkpoint_replaces_the_old_one_by_a_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(small_model(), pole_batches((4,)))
    path = tmp_path / "new" / "folder" / "run.pt"
    order: list[str] = []
    sizes: list[int] = []
    fsync, replace = os.fsync, os.replace

    def flush(fd: int) -> None:
        order.append("flush")
        sizes.append(os.fstat(fd).st_size)
        fsync(fd)

    def rename(source: str, target: Path) -> None:
        order.append("rename")
        assert Path(source).parent == target.parent, "a rename within one file system"
        replace(source, target)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(os, "replace", rename)
    trainer.save_checkpoint(path)
    assert order == ["flush", "rename"]
    assert sizes == [path.stat().st_size], "all of it was flushed"
    head = {k: v for k, v in torch.load(path).items() if k in ("format", "version")}
    assert head == {"format": "zeroproof-checkpoint", "version": 3}, "as earlier files have it"


def with_generator(where: str, generator: torch.Generator) -> Any:
    """A loader that has its generator at one of the places that torch's loaders know."""
    owner: Any = SimpleNamespace(generator=generator)
    for name in reversed(where.split(".")[1:]):
        owner = SimpleNamespace(**{name: owner})
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
    state = checkpoint.random_state(loader)
    drawn = torch.rand(3, generator=generator)
    checkpoint.restore_random_state(state, loader)
    assert torch.equal(torch.rand(3, generator=generator), drawn)
    checkpoint.restore_random_state(state, None)  # a loader without one


def test_numpys_random_state_is_kept_where_there_is_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    state = checkpoint.random_state(None)
    drawn = np.random.rand()
    with monkeypatch.context() as without:
        without.delitem(sys.modules, "numpy")
        nothing = checkpoint.random_state(None)
        checkpoint.restore_random_state(state, None)
    assert nothing["numpy"] is None
    checkpoint.restore_random_state(nothing, None)
    assert np.random.rand() != drawn, "of which nothing was known"
    checkpoint.restore_random_state(state, None)
    assert np.random.rand() == drawn


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("touch hostile",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("damaged", "cannot be read as a checkpoint"),
        ("empty", "cannot be read as a checkpoint"),
        ("hostile", "cannot be read as a checkpoint"),
        ("foreign", "is not a checkpoint of zeroproof"),
        ("newer", "has version 99, this package reads version 3; upgrade"),
        ("older", "has version 1, this package reads version 3; load it with the release that"),
        ("without version", "has version None"),
        ("with a scheduler", "the other none"),
        ("with a loss", "does not fit this trainer"),
        ("other model", "does not fit this trainer"),
    ],
)
def test_a_file_that_is_no_checkpoint_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "run.pt"
    trainer = make_trainer(small_model(), pole_batches((4,)), max_epochs=2)
    trainer.save_checkpoint(path)
    if content == "damaged":
        path.write_bytes(path.read_bytes()[:-100])
    elif content == "empty":
        path.write_bytes(b"")
    elif content == "hostile":
        path.write_bytes(pickle.dumps(Hostile()))
    elif content == "foreign":
        torch.save({"model": {}}, path)
    elif content == "newer":
        torch.save(torch.load(path) | {"version": 99}, path)
    elif content == "older":
        torch.save(torch.load(path) | {"version": 1}, path)
    elif content == "without version":
        torch.save({k: v for k, v in torch.load(path).items() if k != "version"}, path)
    elif content == "with a scheduler":
        torch.save(torch.load(path) | {"scheduler": {}}, path)
    elif content == "with a loss":
        torch.save(torch.load(path) | {"loss": [{"scale": torch.ones(())}]}, path)
    else:
        other = small_model(seed=5, head="free")  # its body fits, its head does not
        make_trainer(other, pole_batches((4,))).save_checkpoint(path)
    before = everything_of(trainer)
    with pytest.raises(CheckpointError, match=message):
        trainer.load_checkpoint(path)
    assert same(everything_of(trainer), before)
    assert not (tmp_path / "hostile").exists()


def everything_of(trainer: SCMTrainer) -> list[Tensor]:
    state = trainer.state_dict()
    return [
        *(v.clone() for v in state["model"].values()),
        random_parts(trainer)["torch"],
    ]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.pt"):
        make_trainer(small_model(), []).load_checkpoint(tmp_path / "none.pt")


def test_keys_carry_no_prefix_of_a_wrapper(tmp_path: Path) -> None:
    wrapped = nn.DataParallel(small_model())
    make_trainer(wrapped, pole_batches((4,))).save_checkpoint(tmp_path / "run.pt")
    keys = torch.load(tmp_path / "run.pt")["model"].keys()
    assert keys == small_model().state_dict().keys()
    make_trainer(small_model(1), pole_batches((4,))).load_checkpoint(tmp_path / "run.pt")
    compiled = make_trainer(torch.compile(small_model(1), backend="eager"), pole_batches((4,)))
    compiled.load_checkpoint(tmp_path / "run.pt")
    assert same(list(compiled.model.parameters()), list(wrapped.parameters()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_two_hundred_kills_in_a_save_leave_a_whole_checkpoint(tmp_path: Path) -> None:
    path, draw = tmp_path / "run.pt", random.Random(0)
    weights = torch.arange(50_000.0)
    checkpoint.write_checkpoint(path, {"saves": 0, "weights": weights})
    found = set()
    for _ in range(200):
        child = os.fork()
        if not child:
            for saves in range(1, 10**6):
                checkpoint.write_checkpoint(path, {"saves": saves, "weights": weights + saves})
        time.sleep(draw.uniform(0.0, 0.01))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        state = checkpoint.read_checkpoint(path)
        assert torch.equal(state["weights"], weights + state["saves"])
        found.add(state["saves"])
    assert len(found) > 1, "the saves were never reached"
