"""Processes that train together, forked here; ``test_torchrun.py`` starts them as a user would."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from properties.subjects.zeroproof.ranks import on_ranks
from tests.helpers import fit_loss, make_trainer, pole_batches, small_model, weights
from zeroproof.training.trainer import CheckpointError, SCMTrainer

SIZES = (8, 6, 4, 8)


def shared(rank: int, ranks: int, sizes: Sequence[int] = SIZES, **options: Any) -> SCMTrainer:
    """Return a rank's trainer, on its share of the samples of 2 epochs of some micro-batches."""
    batches = [(x[rank::ranks], y[rank::ranks]) for x, y in pole_batches(sizes)]
    return make_trainer(small_model(rank), batches, fit_loss, max_epochs=2, **options)


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

        trainer.update.optimizer.register_step_post_hook(end)
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
    assert [path.name[:-16] for path in tmp_path.iterdir()] == [f"step-{first[0]:010d}"]


def test_a_signal_that_ended_a_fit_does_not_end_the_next_one() -> None:
    def task(rank: int) -> int:
        model = small_model()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
        trainer = make_trainer(model, pole_batches(SIZES)[rank::2], fit_loss, optimizer=optimizer)
        trainer.update.skips_on_device = True  # as on a GPU: an outcome is read one update late
        trainer.update.signal = signal.SIGTERM
        trainer.fit()
        return trainer.global_step

    assert on_ranks(task, 2) == [2, 2]


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
        return trainer.global_step, trainer.skipped_steps, summed(trainer)

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


@pytest.mark.parametrize("owned", [True, False], ids=["of the loss", "of neither"])
def test_a_parameter_beside_the_models_is_that_of_rank_0_and_averaged(owned: bool) -> None:
    def task(rank: int) -> float:
        model, loss = small_model(), Offset(rank)
        optimizer = torch.optim.SGD([*model.parameters(), *loss.parameters()], lr=0.5)
        batches = [(x[rank::2], y[rank::2]) for x, y in pole_batches((8,))]
        make_trainer(model, batches, loss if owned else loss.forward, optimizer=optimizer).fit()
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


def test_the_records_of_ranks_are_those_of_one_process_whatever_their_shares() -> None:
    def task(rank: int, ranks: int = 2) -> list[dict[str, float]]:
        batches = [(x[rank::ranks], y[rank::ranks]) for x, y in pole_batches((9, 7, 5, 9, 7))]
        options: dict[str, Any] = {"gradient_accumulation_steps": 2, "tau_train_max": 0.5}
        return make_trainer(small_model(), batches, fit_loss, **options).fit()

    first, second = on_ranks(task, 2)
    assert repr(first) == repr(second)  # where NaN equals NaN
    for ours, alone in zip(first, task(0, 1), strict=True):
        assert ours == pytest.approx(alone, rel=1e-5, nan_ok=True)


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
        second.load_checkpoint(next(tmp_path.glob("step-0000000003-*.pt")))
        assert len(second.state_dict()["position"]["ranks"]) == 2
        second.fit()
        return [w.tolist() for w in weights(second.model)]

    expected = on_ranks(whole, 2)
    assert on_ranks(parts, 2) == expected
    assert expected[0] == expected[1]
    with pytest.raises(CheckpointError, match="saved with 2 ranks; this run has 1"):
        shared(0, 1).load_checkpoint(tmp_path)
