"""What ranks exchange, and how they wrap models and loaders."""

from __future__ import annotations

import math
import os
import signal
import socket
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from properties.subjects.zeroproof.ranks import on_ranks
from tests.helpers import make_trainer, pole_batches, small_model
from zeroproof.training import distributed
from zeroproof.training.distributed import Ranks, full_tensor


def test_what_ranks_exchange() -> None:
    def task(rank: int) -> Any:
        ranks, mine = Ranks(None), torch.tensor([1.0 + rank, 5.0])
        ranks.broadcast([mine])
        own = torch.tensor([10.0 * rank])
        gathered = [x.tolist() for x in ranks.all_gather(own)]
        objects = ranks.all_gather_object(rank)
        return ranks.rank, mine.tolist(), objects, gathered, ranks.all_reduce(own).tolist()

    rest = [1.0, 5.0], [0, 1, 2], [[0.0], [10.0], [20.0]], [30.0]
    assert on_ranks(task, 3) == [(rank, *rest) for rank in range(3)]
    alone, own = Ranks(None), torch.tensor([7.0])
    assert (alone.size, alone.all_gather_object(3)) == (1, [3])
    assert alone.all_gather(own) == [own]
    assert alone.all_reduce(own).tolist() == [7.0]


@pytest.mark.parametrize(
    ("signals", "received"),
    [((0, 0), 0), ((0, signal.SIGINT), signal.SIGINT), ((signal.SIGTERM, signal.SIGINT), 15)],
)
def test_the_faults_signals_and_gradients_of_a_window_become_those_of_all_ranks(
    signals: tuple[int, int], received: int
) -> None:
    def task(rank: int) -> Any:
        losses = [torch.tensor(1.0), torch.tensor(math.inf if rank and any(signals) else 2.0)]
        own = nn.Parameter(torch.zeros(2))
        if rank:
            own.grad = torch.tensor([2.0, 4.0])
        (fault,), heard = Ranks(None).reduce_window(losses, signals[rank], lambda: [own])
        assert own.grad is not None
        return fault.isnan().item(), heard.item(), own.grad.tolist()

    assert on_ranks(task, 2) == [(any(signals), received, [1.0, 2.0])] * 2


def test_a_script_that_torchrun_started_joins_the_others() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])

    def task(rank: int) -> Any:
        dist.destroy_process_group()
        os.environ |= {"WORLD_SIZE": "2", "RANK": str(rank), "MASTER_PORT": port}
        os.environ["MASTER_ADDR"] = "127.0.0.1"
        ranks = Ranks(torch.device("cpu"))
        again = Ranks(None)
        return ranks.all_gather_object(rank), ranks.rank, again.size, dist.get_backend()

    assert on_ranks(task, 2) == [([0, 1], rank, 2, "gloo") for rank in range(2)]


@pytest.mark.parametrize(
    ("loaders", "lengths"), [(([1, 2], [1]), "[2, 1]"), ((1, 1), "[None, None]")]
)
def test_loaders_that_are_unequal_or_unknown_are_refused_on_every_rank(
    loaders: Any, lengths: str
) -> None:
    def task(rank: int) -> str:
        ranks = Ranks(None)
        ranks.check_equal_lengths([1, 2, 3], "val_loader")
        with pytest.raises(ValueError, match="train_loader has") as caught:
            ranks.check_equal_lengths(loaders[rank], "train_loader")
        return str(caught.value)

    first, second = on_ranks(task, 2)
    assert first == second
    assert f"train_loader has {lengths} micro-batches on the 2 ranks" in first


@pytest.mark.parametrize(
    ("gpu", "device", "backend"),
    [
        (False, None, "gloo"),
        (True, None, "nccl"),
        (True, torch.device("cuda"), "nccl"),
        (True, torch.device("cpu"), "gloo"),
    ],
)
def test_ranks_with_gpus_join_by_nccl(
    gpu: bool, device: torch.device | None, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: list[str] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(dist, "init_process_group", joined.append)
    Ranks(device)
    assert joined == [backend]
    monkeypatch.setenv("WORLD_SIZE", "1")
    Ranks(device)
    assert len(joined) == 1


def test_each_rank_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks, alone = Ranks(None), Ranks(None)
    ranks.size = 2
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)  # as the user has set it
    assert ranks.own_device() == torch.device("cuda", 3)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert ranks.own_device() == torch.device("cuda", 1)
    assert alone.own_device() is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert ranks.own_device() is None


class Reducing(nn.Module):
    """A model that says when its gradients are reduced, by one of torch's two interfaces."""

    def __init__(self, interface: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.told: list[Any] = []
        told = self.told.append
        if interface == "set_requires_gradient_sync":
            self.set_requires_gradient_sync = told
        elif interface == "no_sync":
            self.no_sync = lambda: told("no_sync") or nullcontext()


def test_a_model_is_wrapped_unless_it_reduces_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped, reducing = list[Any](), nn.Identity()
    monkeypatch.setattr(
        distributed, "DistributedDataParallel", lambda *given: wrapped.append(given) or reducing
    )
    ranks, cpu, gpu = Ranks(None), torch.device("cpu"), torch.device("cuda", 1)
    plain, frozen = nn.Linear(1, 1), nn.Linear(1, 1).requires_grad_(False)
    assert ranks.wrap(plain, cpu) is plain
    ranks.size = 2
    for model in (frozen, Reducing("no_sync"), Reducing("set_requires_gradient_sync")):
        assert ranks.wrap(model, cpu) is model
    assert wrapped == []
    assert ranks.wrap(plain, cpu) is ranks.wrap(plain, gpu) is reducing
    assert wrapped == [(plain, None), (plain, [gpu])]


@pytest.mark.parametrize(
    ("interface", "told"),
    [("", []), ("no_sync", ["no_sync"]), ("set_requires_gradient_sync", [False, True])],
)
def test_gradients_are_reduced_in_a_windows_last_backward(interface: str, told: list[Any]) -> None:
    ranks, model = Ranks(None), Reducing(interface)
    with ranks.reduction(model, last=True):
        assert model.told == [], "alone there is nothing to reduce"
    ranks.size = 2
    with ranks.reduction(model, last=False), ranks.reduction(model, last=True):
        assert model.told == told


def test_a_sharded_tensor_is_gathered() -> None:
    class Sharded(Tensor):
        def full_tensor(self) -> Tensor:
            return torch.arange(3)

    assert full_tensor(torch.ones(1).as_subclass(Sharded)).tolist() == [0, 1, 2]
    x = torch.ones(1)
    assert full_tensor(x) is x


def test_loaders_and_samplers_learn_the_epoch() -> None:
    class Told(list[Any]):
        def __init__(self, batches: Any, **parts: Told) -> None:
            super().__init__(batches)
            vars(self).update(parts)
            self.epochs: list[int] = []

        def set_epoch(self, epoch: int) -> None:
            self.epochs.append(epoch)

    parts = {"sampler": Told([]), "batch_sampler": Told([])}
    loader = Told(pole_batches((4, 4)), **parts)
    make_trainer(small_model(), loader, max_epochs=3).fit()
    for part in (loader, *parts.values()):
        assert list(dict.fromkeys(part.epochs)) == [0, 1, 2]
