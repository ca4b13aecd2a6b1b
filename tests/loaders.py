"""Loaders whose order comes from many places, for tests that resume."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
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

from tests.helpers import pole_batches

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

    def __getitem__(self, index: Any) -> Any:
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
