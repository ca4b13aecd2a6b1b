"""RES-8 by ``SCMTrainer``: orders of a ``DataLoader`` from every source."""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    Sampler,
    Subset,
    TensorDataset,
)  # fmt: skip

from properties.subjects.scripted import seed_everything
from properties.subjects.tasks import mean_square
from properties.subjects.zeroproof.scripted import trainer_of
from properties.subjects.zeroproof.unchecked import unchecked
from spec.replay import BATCHES, EPOCHS, Replayed, Samples
from zeroproof.training.checkpoint import CheckpointError

SIZE = 3 * BATCHES


class Drawn(Sampler[int]):
    """Draws its order by a function of itself."""

    def __init__(self, draw: Callable[[Any], Iterable[int]], **own: Any) -> None:
        vars(self).update(own)
        self.draw = draw

    def __iter__(self) -> Iterator[int]:
        self.count = getattr(self, "count", 0) + 1
        yield from self.draw(self)

    def __len__(self) -> int:
        return SIZE


class Eager(Sampler[list[int]]):
    """A batch sampler that draws the order of a whole epoch when its iteration begins."""

    def __init__(self) -> None:
        self.own = random.Random(0)

    def __iter__(self) -> Iterator[list[int]]:
        order = _sample(self.own)
        return iter([order[i : i + 3] for i in range(0, SIZE, 3)])

    def __len__(self) -> int:
        return BATCHES


class Numbers(Dataset[Any]):
    """Samples that say which they are; in an order of its own, if it has a generator."""

    def __init__(self, first: int = 0, target: int = 1, since: int = 0, **generators: Any) -> None:
        self.first, self.target, self.generators = first, float(target), generators
        self.since = since
        self.order = list(range(SIZE))

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if self.generators and index == 0:
            self.order = _sample(self.generators["own"])
        first = self.first * (index >= self.since)
        sample = torch.full((2,), float(first + self.order[index]))
        return sample, torch.tensor([self.target])

    def __len__(self) -> int:
        return SIZE


def _sample(*generators: Any) -> list[int]:
    """Return an order that each of the generators has shuffled."""
    found = list(range(SIZE))
    for generator in generators:
        if isinstance(generator, torch.Generator):
            found = [found[i] for i in torch.randperm(SIZE, generator=generator).tolist()]
        else:
            generator.shuffle(found)
    return found


def _loader(source: str, other: bool) -> Any:
    first, target = 99 * (other and "data" in source), 1 + (other and "data" not in source)
    since = 3 * source.endswith("on")
    hidden, data, own = random.Random(0), Numbers(first, target, since), random.Random(0)
    numpy: Any = sys.modules.get("numpy")
    several = [own, torch.Generator(), *([numpy.random.RandomState(0)] if numpy else [])]
    if source == "other targets":
        return [{"inputs": x, "targets": y} for x, y in DataLoader(data, 3)]
    if source == "list" or source.endswith("on"):
        return list(DataLoader(data, 3))
    if source.endswith("at fetches"):
        return DataLoader(data, 3, sampler=Drawn(lambda _: map(hidden.randrange, [SIZE] * SIZE)))
    if source.startswith("global generator"):
        draw_one: Callable[[], Any] = partial(random.randrange, SIZE)
        if source.endswith("torch"):
            draw_one = partial(torch.randint, SIZE, ())
        if source.endswith("NumPy") and numpy:
            draw_one = partial(numpy.random.randint, SIZE)
        drawn = Drawn(lambda _: (int(draw_one()) for _ in data.order))
        return DataLoader(data, 3, sampler=drawn)  # which draws at fetches, as dropout does between
    if source == "set_epoch of the sampler":
        return DataLoader(data, 3, sampler=DistributedSampler(data, num_replicas=1, rank=0))
    if source == "generator of the data set":
        return DataLoader(Numbers(first, own=numpy.random.default_rng(0) if numpy else own), 3)
    if source == "other data" and numpy:  # which is not only in tensors
        return DataLoader(data, 3, collate_fn=lambda rows: [
            numpy.stack([x.numpy() for x in column]) for column in zip(*rows, strict=True)
        ])  # fmt: skip
    if source == "batch sampler of begun workers":
        workers: Any = {"num_workers": 1, "multiprocessing_context": "fork"}
        return DataLoader(data, batch_sampler=Eager(), persistent_workers=True, **workers)
    draw: dict[str, Callable[[Any], list[int]]] = {
        "generators of the sampler": lambda sampler: _sample(*several),
        "counter of the sampler": lambda sampler: _sample(random.Random(sampler.count)),
    }
    order = draw.get(source, lambda _: _sample(hidden))
    return DataLoader(data, 3, sampler=Drawn(order, several=several, count=0))


class ZeroProofReplays:
    """Checkpoints of ``SCMTrainer``, loaded into one with a loader made again."""

    def replay(self, source: str, at: int) -> Replayed:
        with tempfile.TemporaryDirectory() as folder, unchecked():
            whole, error = self._trained_on(_loader(source, False), 1)
            ends = EPOCHS if at % BATCHES else at // BATCHES
            self._trained_on(_loader(source, False), 1, folder, epochs=ends)
            other = _loader(source, source.startswith("other"))
            if source == "batch sampler of begun workers":
                list(other)
            resumed, error = self._trained_on(other, 2, folder, at)
        return Replayed(whole, resumed, error)

    def _trained_on(
        self, loader: Any, seed: int, folder: str = "", at: int = 0, epochs: int = EPOCHS
    ) -> tuple[list[Samples], str]:
        seed_everything(seed)
        layer, seen = nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 1)), list[Samples]()

        def loss(outputs: Tensor, lifted: Any, inputs: Tensor) -> Tensor:
            seen.append(tuple(int(x) for x in torch.cat([inputs[:, 0], lifted[0][:, 0]])))
            random.random()  # between fetches, as dropout draws
            if numpy := sys.modules.get("numpy"):
                numpy.random.random()
            return mean_square(outputs, lifted)

        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        saves: Any = {"checkpoint_dir": folder, "checkpoint_every": 1, "keep_checkpoints": 99}
        given = layer, optimizer, loss, loader
        saves = {} if at or not folder else saves
        saves["prepare_batch"] = lambda given: tuple(
            map(torch.as_tensor, given.values() if isinstance(given, dict) else given)
        )
        trainer = trainer_of(*given, max_epochs=epochs, **saves)
        if at:
            trainer.load_checkpoint(next(Path(folder).glob(f"step-{at:010d}*.pt")))
        try:
            trainer.fit()
        except CheckpointError as error:
            return seen, str(error)
        if epochs < EPOCHS:  # between two epochs, where the loader is known to be exhausted
            trainer.save_checkpoint(next(Path(folder).glob(f"step-{BATCHES * epochs:010d}*.pt")))
        return seen, ""

    def epochs_told(self, place: str) -> list[int]:
        told = dict[int, None]()
        data: Any = Numbers()
        sampler: Any = Drawn(lambda _: list(range(SIZE)))
        batch_sampler: Any = BatchSampler(sampler, 3, drop_last=False)
        part = {
            "sampler": sampler, "sampler of the batch sampler": sampler, "data set": data,
            "sampler of the sampler": sampler, "data set of the data set": data,
            "batch sampler": batch_sampler,
        }.get(place)  # fmt: skip
        data = Subset(data, range(SIZE)) if place == "data set of the data set" else data
        loader: Any = DataLoader(data, 3, sampler=sampler)
        if "batch sampler" in place:
            loader = DataLoader(data, batch_sampler=batch_sampler)
        if place == "sampler of the sampler":
            tensors = TensorDataset(torch.ones(SIZE, 2), torch.ones(SIZE, 1))
            loader = DataLoader(tensors, batch_size=None, sampler=batch_sampler)
        (part or loader).set_epoch = lambda epoch: told.update({epoch: None})
        with unchecked():
            self._trained_on(loader, 1)
        return list(told)
