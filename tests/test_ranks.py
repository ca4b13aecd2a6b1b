"""Processes that train together, forked here; ``test_torchrun.py`` starts them as a user would."""

from __future__ import annotations

import math
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from properties.subjects.zeroproof.ranks import on_ranks
from tests.helpers import fit_loss, make_trainer, pole_batches, small_model, weights
from zeroproof.training import ranks as module
from zeroproof.training import records
from zeroproof.training.ranks import Ranks, whole
from zeroproof.training.trainer import CheckpointError, SCMTrainer

SIZES = (8, 6, 4, 8)


def shared(rank: int, ranks: int, sizes: Sequence[int] = SIZES, **options: Any) -> SCMTrainer:
    """Return a rank's trainer, on its share of the samples of 2 epochs of some micro-batches."""
    batches = [(x[rank::ranks], y[rank::ranks]) for x, y in pole_batches(sizes)]
    return make_trainer(small_model(rank), batches, fit_loss, max_epochs=2, **options)


def test_what_ranks_tell_each_other() -> None:
    def task(rank: int) -> Any:
        ranks, mine = Ranks(None), torch.tensor([1.0 + rank, 5.0])
        ranks.align([mine])
        own = torch.tensor([10.0 * rank])
        stacked = ranks.stack(own).tolist()
        return ranks.rank, mine.tolist(), ranks.share(rank), stacked, ranks.sum(own).tolist()

    rest = [1.0, 5.0], [0, 1, 2], [[0.0], [10.0], [20.0]], [30.0]
    assert on_ranks(task, 3) == [(rank, *rest) for rank in range(3)]
    alone, own = Ranks(None), torch.tensor([7.0])
    assert (alone.size, alone.share(3), alone.stack(own).tolist()) == (1, [3], [[7.0]])
    assert alone.sum(own).tolist() == [7.0]


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
        return ranks.share(rank), ranks.rank, again.size, dist.get_backend()

    assert on_ranks(task, 2) == [([0, 1], rank, 2, "gloo") for rank in range(2)]


@pytest.mark.parametrize(("loaders", "told"), [(([1, 2], [1]), "[2, 1]"), ((1, 1), "[None, None]")])
def test_loaders_that_are_unequal_or_unknown_are_refused_on_every_rank(
    loaders: Any, told: str
) -> None:
    def task(rank: int) -> str:
        ranks = Ranks(None)
        ranks.equal_lengths(None, "val_loader")
        ranks.equal_lengths([1, 2, 3], "val_loader")
        with pytest.raises(ValueError, match="train_loader has") as caught:
            ranks.equal_lengths(loaders[rank], "train_loader")
        return str(caught.value)

    first, second = on_ranks(task, 2)
    assert first == second
    assert f"train_loader has {told} micro-batches on the 2 ranks" in first


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
    assert ranks.own_device() == torch.device("cuda", 0)
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
        module, "DistributedDataParallel", lambda *given: wrapped.append(given) or reducing
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
    [("", []), ("no_sync", ["no_sync"]), ("set_requires_gradient_sync", [True, False])],
)
def test_gradients_are_reduced_where_it_is_wanted(interface: str, told: list[Any]) -> None:
    ranks, model = Ranks(None), Reducing(interface)
    with ranks.reduction(model, lambda: False):
        assert model.told == [], "alone there is nothing to reduce"
    ranks.size = 2
    with ranks.reduction(model, lambda: True), ranks.reduction(model, lambda: False):
        assert model.told == told


def test_a_sharded_tensor_is_gathered() -> None:
    class Sharded(Tensor):
        def full_tensor(self) -> Tensor:
            return torch.arange(3)

    assert whole(torch.ones(1).as_subclass(Sharded)).tolist() == [0, 1, 2]
    x = torch.ones(1)
    assert whole(x) is x


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


@pytest.mark.parametrize(
    ("sent", "raised"),
    [
        ([signal.SIGTERM], "SystemExit"),
        ([signal.SIGINT], "KeyboardInterrupt"),
        ([signal.SIGINT, signal.SIGTERM], "SystemExit"),
    ],
)
def test_a_signal_to_one_rank_stops_all_at_one_update(
    tmp_path: Path, sent: list[signal.Signals], raised: str
) -> None:
    def task(rank: int) -> Any:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        trainer = shared(rank, len(sent) + 1, (6,) * 9, checkpoint_dir=tmp_path)

        def end(*_: object) -> None:
            if trainer.global_step == 2 and rank > 0:
                os.kill(os.getpid(), sent[rank - 1])

        trainer.window.optimizer.register_step_post_hook(end)
        try:
            trainer.fit()
        except (KeyboardInterrupt, SystemExit) as error:
            return type(error).__name__, trainer.global_step, summed(trainer)
        return "nothing", trainer.global_step, summed(trainer)

    first, *others = on_ranks(task, len(sent) + 1)
    assert others == [first] * len(sent)
    assert first[0] == raised
    assert 3 <= first[1] <= 4
    first = first[1:]
    assert [path.name for path in tmp_path.iterdir()] == [f"step-{first[0]:010d}.pt"]


def summed(trainer: SCMTrainer) -> list[Any]:
    return [w.tolist() for w in weights(trainer.model)]


def test_ranks_with_unequal_shares_train_as_one() -> None:
    def task(rank: int) -> Any:
        trainer = shared(rank, 2, (9, 7, 5, 9), gradient_accumulation_steps=2)
        trainer.fit()
        return summed(trainer)

    alone = shared(0, 1, (9, 7, 5, 9), gradient_accumulation_steps=2)
    alone.fit()
    for found in on_ranks(task, 2):
        for ours, theirs in zip(found, summed(alone), strict=True):
            assert torch.allclose(torch.tensor(ours), torch.tensor(theirs), atol=1e-6)


def test_a_fault_of_one_rank_skips_the_update_of_all() -> None:
    def task(rank: int) -> Any:
        calls = []

        def loss(outputs: Any, lifted: Any) -> Tensor:
            calls.append(1)
            return fit_loss(outputs, lifted) + (math.inf if len(calls) == 2 and rank else 0.0)

        batches = [(x[rank::2], y[rank::2]) for x, y in pole_batches(SIZES)]
        trainer = make_trainer(small_model(), batches, loss)
        trainer.fit()
        return trainer.global_step, trainer.window.skipped, summed(trainer)

    first, second = on_ranks(task, 2)
    assert first == second
    assert first[:2] == (3, 1)


class Offset(nn.Module):
    """A fit whose own parameter only the first rank reaches."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.v, self.rank = nn.Parameter(torch.tensor(1.0 + rank)), rank

    def forward(self, outputs: Any, lifted: Any) -> Tensor:
        return fit_loss(outputs, lifted) + (self.v if self.rank == 0 else 0.0)


def test_a_losss_own_parameter_is_that_of_rank_0_and_averaged() -> None:
    def task(rank: int) -> float:
        model, loss = small_model(), Offset(rank)
        optimizer = torch.optim.SGD([*model.parameters(), *loss.parameters()], lr=0.5)
        batches = [(x[rank::2], y[rank::2]) for x, y in pole_batches((8,))]
        make_trainer(model, batches, loss, optimizer=optimizer).fit()
        return loss.v.item()

    assert on_ranks(task, 2) == [0.75, 0.75], "the slope is 1 for half of the samples"


def test_an_optimizer_with_a_closure_trains_on_ranks_as_on_one() -> None:
    def task(rank: int, ranks: int = 2) -> Any:
        model = small_model(dtype=torch.float64)
        batches = pole_batches((9, 7, 8), dtype=torch.float64)
        mine = [(x[rank::ranks], y[rank::ranks]) for x, y in batches]
        optimizer = torch.optim.LBFGS(
            model.parameters(), lr=20.0, max_iter=4, line_search_fn="strong_wolfe"
        )
        trainer = make_trainer(
            model, mine, fit_loss, optimizer=optimizer, gradient_accumulation_steps=3
        )
        trainer.fit()
        return summed(trainer)

    expected = task(0, 1)
    for found in on_ranks(task, 2):
        for ours, theirs in zip(found, expected, strict=True):
            assert torch.allclose(torch.tensor(ours), torch.tensor(theirs), atol=1e-6)


@pytest.mark.parametrize("name", ["train_loader", "val_loader"])
def test_unequal_loaders_end_a_run_before_its_epoch(name: str) -> None:
    def task(rank: int) -> str:
        few = pole_batches((4, 4))[rank:]
        batches = few if name == "train_loader" else pole_batches((4, 4))
        with pytest.raises(ValueError, match=f"^{name} has") as caught:
            make_trainer(small_model(), batches, fit_loss, val_loader=few).fit()
        return str(caught.value)

    first, second = on_ranks(task, 2)
    assert first == second


def test_ranks_measure_together_whatever_their_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    def task(rank: int) -> list[dict[str, float]]:
        batches = [(x[rank::2], y[rank::2]) for x, y in pole_batches((9, 7, 5, 9, 7))]
        return make_trainer(small_model(), batches, fit_loss).fit()

    together = on_ranks(task, 2)
    monkeypatch.setattr(records, "ELEMENTS", 9)  # one micro-batch of rank 0, two of rank 1
    assert repr(on_ranks(task, 2)) == repr(together)  # where NaN equals NaN
    assert repr(together[0]) == repr(together[1])


def test_ranks_go_on_from_a_checkpoint_each_at_its_own_place(tmp_path: Path) -> None:
    def whole(rank: int) -> Any:
        trainer = shared(rank, 2)
        trainer.fit()
        return [w.tolist() for w in weights(trainer.model)]

    def parts(rank: int) -> Any:
        seen: list[Any] = []
        options: dict[str, Any] = {"checkpoint_dir": tmp_path, "checkpoint_every": 3}
        first = shared(rank, 2, log_hook=seen.append, **options)
        first.fit()
        assert len(seen) == (8 if rank == 0 else 0), "rank 0 alone reports"
        second = shared(rank, 2)
        second.load_checkpoint(tmp_path / "step-0000000003.pt")
        assert len(second.state_dict()["position"]["ranks"]) == 2
        second.fit()
        return [w.tolist() for w in weights(second.model)]

    expected = on_ranks(whole, 2)
    assert on_ranks(parts, 2) == expected
    assert expected[0] == expected[1]
    with pytest.raises(CheckpointError, match="it is the state of 2 ranks, and here are 1"):
        shared(0, 1).load_checkpoint(tmp_path)
