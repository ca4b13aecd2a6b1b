"""RES-8 with torch's loaders: what is replayed is what was trained on, or is refused."""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, ConcatDataset, DataLoader, Subset

from tests.helpers import Noisy, make_trainer, pole_batches, same, small_model, weights
from tests.loaders import (
    BATCH,
    EXACT,
    REFUSED,
    SIZE,
    Numbered,
    Ordered,
    Wrapped,
    load,
    persistent,
)
from zeroproof.training.checkpoint import CheckpointError
from zeroproof.training.trainer import SCMTrainer


def saved(folder: Path, done: int) -> Path:
    return next(folder.glob(f"step-{done:010d}*.pt"))


def trained(
    kind: Callable[[], Any], seed: int, epochs: int, state: Any = None, **options: Any
) -> tuple[list[Any], SCMTrainer]:
    """Train from a state, or from the start; return the inputs trained on, and the trainer."""
    random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
    seen: list[Any] = []

    def prepare(batch: Any) -> Any:
        seen.append(batch[0].tolist())
        return batch

    model = Noisy()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    trainer = make_trainer(
        model, kind(), optimizer=optimizer, max_epochs=epochs, prepare_batch=prepare, **options
    )
    if state is not None:
        trainer.load_checkpoint(state)
        random.random(), np.random.random(), torch.rand(3)
    trainer.fit()
    return seen, trainer


@pytest.mark.parametrize(
    ("kind", "at"),
    [(kind, at) for kind in EXACT for at in ("inside", "between")]
    + [(kind, "at the end") for kind in ("shuffle", "persistent workers", "a sampler's counter")],
)
def test_it_goes_on_with_what_follows(kind: str, at: str, tmp_path: Path, unchecked: None) -> None:
    if at == "between":
        first, trainer = trained(EXACT[kind], 1, 2)
        trainer.save_checkpoint(tmp_path / "between")
        state = tmp_path / "between"
    expected, whole = trained(
        EXACT[kind], 1, 3, checkpoint_dir=tmp_path, checkpoint_every=1, keep_checkpoints=99
    )
    epoch = len(expected) // 3
    done = {"inside": epoch + 2, "at the end": 2 * epoch, "between": 2 * epoch}[at]
    if at != "between":
        state = saved(tmp_path, done)
    elif first != expected[:done]:
        pytest.fail("two runs differ")
    found, resumed = trained(EXACT[kind], 9, 3, state)
    assert found == expected[done:]
    assert same(weights(resumed.model), weights(whole.model))


@pytest.mark.parametrize("done", [7, 8])
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_repeated_is_refused(
    kind: str, done: int, tmp_path: Path, unchecked: None
) -> None:
    saves = {"checkpoint_dir": tmp_path, "checkpoint_every": 1, "keep_checkpoints": 99}
    trained(REFUSED[kind], 1, 3, **saves)
    with pytest.raises(CheckpointError, match=r"does not repeat .* a loader with a state_dict"):
        trained(REFUSED[kind], 9, 3, saved(tmp_path, done))


@pytest.mark.parametrize("epochs", [1, 2])
@pytest.mark.parametrize("sizes", [(4,) * 4, (4, 4)], ids=["other", "shorter"])
def test_other_data_are_refused(sizes: Any, epochs: int) -> None:
    first = make_trainer(small_model(), pole_batches((4,) * 4, seed=1), max_epochs=epochs)
    first.fit()
    other = make_trainer(small_model(1), pole_batches(sizes, seed=2), max_epochs=3)
    other.load_state_dict(first.state_dict())
    before = weights(other.model)
    for _ in range(2):
        with pytest.raises(CheckpointError, match="load the model alone"):
            other.fit()
    assert same(weights(other.model), before)


def test_persistent_workers_cannot_be_given_the_epoch() -> None:
    with pytest.raises(ValueError, match=r"set_epoch of Numbered .* persistent_workers=False"):
        make_trainer(small_model(), persistent(Numbered()))


class Told(Ordered):
    """A sampler that keeps the epochs it is given."""

    def __init__(self) -> None:
        super().__init__(lambda s: list(range(SIZE)))
        self.told: list[int] = []

    def set_epoch(self, epoch: int) -> None:
        self.told += [epoch] if epoch not in self.told else []


class ToldData(Numbered):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[int] = []

    def set_epoch(self, epoch: int) -> None:
        self.told += [epoch] if epoch not in self.told else []


TOLD: dict[str, Callable[[Any, Any], Any]] = {
    "sampler": lambda sampler, data: load(sampler, data),
    "batch sampler": lambda sampler, data: DataLoader(
        data, batch_sampler=BatchSampler(sampler, BATCH, False)
    ),
    "sampler's sampler": lambda sampler, data: DataLoader(
        data, batch_size=None, sampler=BatchSampler(sampler, BATCH, False)
    ),
    "subset": lambda sampler, data: load(sampler, Subset(data, range(SIZE))),
    "concatenated": lambda sampler, data: load(sampler, ConcatDataset([data])),
    "workers": lambda sampler, data: load(sampler, data, num_workers=1),
    "loader's loader": lambda sampler, data: Wrapped(load(sampler, data)),
}


@pytest.mark.parametrize("kind", TOLD)
def test_every_part_is_told_the_epoch(kind: str) -> None:
    sampler, data = Told(), ToldData()
    trainer = make_trainer(small_model(), TOLD[kind](sampler, data), max_epochs=3)
    trainer.fit()
    assert sampler.told == data.told == [0, 1, 2]


def test_a_trainer_is_freed_with_its_last_reference() -> None:
    # Left to the garbage collector, persistent workers may lose their queues before they are told
    # to end; torch then waits five seconds for each.
    trainer = make_trainer(small_model(), persistent(shuffle=True))
    trainer.fit()
    freed = weakref.ref(trainer)
    del trainer
    assert freed() is None


def test_what_a_hand_loop_trains_on_is_not_the_loaders() -> None:
    first, other = (
        make_trainer(small_model(), pole_batches((4,) * 4), max_epochs=e) for e in (1, 2)
    )
    first.fit()
    for batch in pole_batches((4, 4), seed=3):
        first.train_step(batch)
    assert first.loader.done == 0
    other.load_state_dict(first.state_dict())
    assert len(other.fit()) == 4


def test_a_large_data_set_is_not_walked() -> None:
    data = [(torch.ones(2), torch.ones(()))] * 100_000
    own = Ordered(lambda s: list(range(SIZE)))
    own.around = own  # type: ignore[attr-defined]
    trainer = make_trainer(small_model(), DataLoader(data, BATCH, sampler=own))  # type: ignore[arg-type]
    assert len(trainer.fit()) == SIZE // BATCH
