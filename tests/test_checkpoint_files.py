"""Checkpoint files: atomic writes, careful reads."""

from __future__ import annotations

import os
import pickle
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers import make_trainer, pole_batches, random_parts, same, small_model
from zeroproof.training import checkpoint
from zeroproof.training.trainer import CheckpointError, SCMTrainer


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
    assert head == {"format": "zeroproof-checkpoint", "version": 4}


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
        ("newer", "has version 99, not 4; upgrade zeroproof-scm"),
        ("older", "has version 3, not 4; zeroproof-scm 0.4.0 reads earlier ones"),
        ("without version", "has version None"),
        ("with a scheduler", r"has a scheduler and this trainer has none \(or the reverse\)"),
        ("with a loss", "does not fit this trainer"),
        ("other model", "does not fit this trainer"),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(
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
        torch.save(torch.load(path) | {"version": 3}, path)
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


def test_a_folder_of_an_earlier_release_is_refused_by_its_version(tmp_path: Path) -> None:
    trainer = make_trainer(small_model(), pole_batches((4,)))
    trainer.save_checkpoint(path := tmp_path / "step-0000000001.pt")
    torch.save(torch.load(path) | {"version": 3}, path)
    with pytest.raises(CheckpointError, match=r"step-0000000001.pt has version 3, not 4"):
        trainer.load_checkpoint(tmp_path)


def test_a_file_is_written_where_a_link_points_with_the_usual_mode(tmp_path: Path) -> None:
    trainer = make_trainer(small_model(), pole_batches((4,)))
    path, link = tmp_path / "run.pt", tmp_path / "latest.pt"
    link.symlink_to(path)
    umask = os.umask(0o022)
    try:
        trainer.save_checkpoint(link)
        assert (link.is_symlink(), path.stat().st_mode & 0o777) == (True, 0o644)
    finally:
        os.umask(umask)


def test_a_folder_that_is_none_is_refused_before_the_first_update(tmp_path: Path) -> None:
    (path := tmp_path / "folder").write_bytes(b"")
    trainer = make_trainer(small_model(), pole_batches((4,)), checkpoint_dir=path)
    for train in (trainer.fit, lambda: trainer.train_step(*pole_batches((4,)))):
        with pytest.raises(OSError, match=r"^checkpoint_dir .*folder cannot be written"):
            train()
        assert trainer.global_step == 0


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


def save_file(path: Path) -> None:
    """Save over a file, on and on."""
    for saves in range(1, 10**6):
        checkpoint.write_checkpoint(path, {"saves": saves, "weights": WEIGHTS + saves})


def save_folder(folder: Path) -> None:
    """Train, from the latest checkpoint on, with one after each update."""
    trainer = killed(folder)
    trainer.load_checkpoint(folder)
    trainer.fit()


def killed(folder: Path) -> SCMTrainer:
    saves: dict[str, Any] = {"checkpoint_dir": folder, "checkpoint_every": 1}
    return make_trainer(small_model(), pole_batches([4] * 9), max_epochs=10**6, **saves)


def signature(path: Path) -> Any:
    """Return what every save changes."""
    if path.is_dir():
        return max(file.name for file in path.glob("step-*.pt"))
    return path.stat().st_mtime_ns


WEIGHTS = torch.arange(50_000.0)
SAVES = {"file": save_file, "folder": save_folder}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("kills", [4, pytest.param(200, marks=pytest.mark.endurance)])
@pytest.mark.parametrize("kind", SAVES)
def test_a_kill_in_a_save_leaves_a_whole_checkpoint(
    kind: str, kills: int, tmp_path: Path, unchecked: None
) -> None:
    path, draw = tmp_path / "run", random.Random(0)
    if kind == "file":
        checkpoint.write_checkpoint(path, {"saves": 0, "weights": WEIGHTS})
    else:
        started = killed(path)
        checkpoint.write_latest(path, started.state_dict(), 1)
    found = []
    for _ in range(kills):
        before = signature(path)
        child = os.fork()
        if not child:
            try:
                SAVES[kind](path)
            finally:
                os._exit(1)
        while signature(path) == before and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.001)
        time.sleep(draw.uniform(0.0, 0.02))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        state = checkpoint.read_checkpoint(path)
        if kind == "file":
            assert torch.equal(state["weights"], WEIGHTS + state["saves"])
            found.append(state["saves"])
        else:
            reader = killed(path)
            reader.load_checkpoint(path)
            assert reader.run == started.run
            found.append(reader.micro_step)
    assert kind == "file" or found == sorted(set(found)), "what was saved stays saved"
