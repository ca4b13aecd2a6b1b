"""RES-8 with torch's loaders: what is replayed is what was trained on, or is refused."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    Sampler,
    Subset,
    TensorDataset,
)

from tests.helpers import Noisy, make_trainer, pole_batches, same, small_model, weights
from zeroproof.training.checkpoint import CheckpointError
from zeroproof.training.trainer import SCMTrainer

SIZE, BATCH = 12, 3
DATA = TensorDataset(*pole_batches((SIZE,))[0])


class Ordered(Sampler[int]):
    """An order that a function of the sampler gives, each time it is iterated over."""

    def __init__(self, draw: Callable[[Ordered], list[int]], **own: Any) -> None:
        vars(self).update(own)
        self.draw = draw

    def __iter__(self) -> Iterator[int]:
        return iter(self.draw(self))

    def __len__(self) -> int:
        return SIZE


class Augmented(Dataset[Any]):
    """Samples with noise of a source."""

    def __init__(self, noise: Callable[[], float], **own: Any) -> None:
        vars(self).update(own)
        self.noise, self.epoch = noise, 0

    def __getitem__(self, index: int) -> Any:
        x, y = DATA[index]
        return x + self.noise(), y

    def __len__(self) -> int:
        return SIZE


class Jitter:
    """A transform with a generator of its own."""

    def __init__(self) -> None:
        self.generator = np.random.default_rng(0)

    def __call__(self) -> float:
        return float(self.generator.normal())


class Numbered(Augmented):
    """A data set whose noise follows from the epoch that it is given."""

    def __init__(self) -> None:
        super().__init__(lambda: float(self.epoch))

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


class Shared(Numbered):
    """One that is given it in shared memory."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch: Any = torch.zeros(()).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        self.epoch.fill_(epoch)


class Stream(IterableDataset[Any]):
    """Shuffles by the generator, as it goes."""

    def __init__(self, generator: Any) -> None:
        self.generator = generator

    def __iter__(self) -> Iterator[Any]:
        left = list(range(SIZE))
        while left:
            yield DATA[left.pop(self.generator.randrange(len(left)))]


class Wrapped:
    """A loader around a loader."""

    def __init__(self, loader: Any) -> None:
        self.inner = [loader]

    def __iter__(self) -> Iterator[Any]:
        for x, y in self.inner[0]:
            yield 2 * x, y


class Reused:
    """Yields one buffer, each time with other samples."""

    def __init__(self) -> None:
        self.x, self.y = torch.zeros(BATCH, 2), torch.zeros(BATCH)

    def __iter__(self) -> Iterator[Any]:
        for index in torch.randperm(SIZE).split(BATCH):
            yield self.x.copy_(DATA.tensors[0][index]), self.y.copy_(DATA.tensors[1][index])


def load(sampler: Any = None, data: Any = DATA, **options: Any) -> DataLoader[Any]:
    return DataLoader(data, BATCH, sampler=sampler, **options)


def shuffled(generator: Any) -> list[int]:
    return [int(i) for i in generator.permutation(SIZE)]


def counted(sampler: Any) -> list[int]:
    sampler.epoch += 1
    return random.Random(sampler.epoch).sample(range(SIZE), SIZE)


def distributed() -> Any:
    return DistributedSampler(DATA, num_replicas=1, rank=0)


def persistent(data: Any = DATA, **options: Any) -> DataLoader[Any]:
    return load(data=data, num_workers=1, persistent_workers=True, **options)


def numpy_state(seed: int) -> Any:
    return np.random.RandomState(seed)


EXACT: dict[str, Callable[[], Any]] = {
    "a list": lambda: pole_batches((3, 2, 3, 3)),
    "shuffle": lambda: load(shuffle=True),
    "workers": lambda: load(data=Augmented(lambda: float(torch.rand(()))), num_workers=1),
    "persistent workers": lambda: persistent(shuffle=True),
    "persistent workers, in one's own order": lambda: persistent(
        sampler=Ordered(lambda s: torch.randperm(SIZE).tolist())
    ),
    "a sampler's Python generator": lambda: load(
        Ordered(lambda s: s.own.sample(range(SIZE), SIZE), own=random.Random(0))
    ),
    "a sampler's NumPy generator": lambda: load(
        Ordered(lambda s: shuffled(s.own), own=np.random.default_rng(0))
    ),
    "a sampler's RandomState": lambda: load(Ordered(lambda s: shuffled(s.own), own=numpy_state(0))),
    "a sampler's counter": lambda: load(Ordered(counted, epoch=0)),
    "a counter of batches": lambda: DataLoader(
        DATA, batch_sampler=BatchSampler(Ordered(counted, epoch=0), BATCH, False)
    ),
    "a data set's Jitter": lambda: load(data=Augmented(Jitter())),
    "a subset's Jitter": lambda: load(data=Subset(Augmented(Jitter()), range(9))),
    "an iterable's generator": lambda: load(data=Stream(random.Random(0))),
    "a loader in a loader": lambda: Wrapped(load(data=Stream(random.Random(0)))),
    "noise between the model's": lambda: load(
        data=Augmented(lambda: random.random() + float(torch.rand(())) + np.random.random()),
        shuffle=True,
    ),
    "one buffer": Reused,
    "set_epoch": lambda: load(distributed()),
    "set_epoch of a batch sampler's": lambda: DataLoader(
        DATA, batch_sampler=BatchSampler(distributed(), BATCH, False)
    ),
    "set_epoch of a sampler's": lambda: DataLoader(
        DATA, sampler=BatchSampler(distributed(), BATCH, False), batch_size=None
    ),
    "set_epoch of a data set": lambda: load(data=Numbered()),
    "set_epoch of a subset's": lambda: load(data=Subset(Numbered(), range(9))),
    "set_epoch in shared memory": lambda: persistent(Shared()),
}


def hidden() -> Any:
    generator = random.Random(0)
    return load(Ordered(lambda s: generator.sample(range(SIZE), SIZE)))


def in_place() -> Any:
    order = list(range(SIZE))
    return load(Ordered(lambda s: random.shuffle(order) or order))  # type: ignore[func-returns-value]


REFUSED: dict[str, Callable[[], Any]] = {
    "a generator in a closure": hidden,
    "an order shuffled in place": in_place,
    "noise of persistent workers": lambda: persistent(Augmented(lambda: float(torch.rand(())))),
    "a Jitter in persistent workers": lambda: persistent(Augmented(Jitter())),
    "an iterable of global numbers": lambda: load(data=Stream(random)),
}


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


@pytest.mark.parametrize("at", ["inside", "at the end", "between"])
@pytest.mark.parametrize("kind", EXACT)
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
        state = tmp_path / f"step-{done:010d}.pt"
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
        trained(REFUSED[kind], 9, 3, tmp_path / f"step-{done:010d}.pt")


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


def test_what_a_hand_loop_trains_on_is_not_the_loaders() -> None:
    first, other = (make_trainer(small_model(), pole_batches((4,) * 4)) for _ in range(2))
    for batch in pole_batches((4, 4), seed=3):
        first.train_step(batch)
    other.load_state_dict(first.state_dict())
    assert other.tau_generator.getstate() == first.tau_generator.getstate()
    assert len(other.fit()) == 4


def test_a_large_data_set_is_not_walked() -> None:
    data = [(torch.ones(2), torch.ones(()))] * 100_000
    own = Ordered(lambda s: list(range(SIZE)))
    own.around = own  # type: ignore[attr-defined]
    trainer = make_trainer(small_model(), DataLoader(data, BATCH, sampler=own))  # type: ignore[arg-type]
    assert len(trainer.fit()) == SIZE // BATCH
