"""What goes on after a hook, an error or a validation: nothing is lost, and nothing is mixed up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from properties.subjects.zeroproof.ranks import on_ranks
from tests.helpers import fit_loss, make_trainer, pole_batches, small_model, weights
from zeroproof.losses import SCMTrainingLoss
from zeroproof.training.batches import TensorBatches
from zeroproof.training.trainer import SCMTrainer

X = torch.linspace(-1, 1, 16).repeat(2, 1).T
Y = torch.arange(16.0)


def hooked(at: str, act: Any, **options: Any) -> SCMTrainer:
    """Return a trainer of 3 epochs whose hook acts on the records that have a value."""
    trainer: SCMTrainer = make_trainer(
        small_model(),
        pole_batches([4] * 3),
        fit_loss,
        max_epochs=3,
        log_hook=lambda record: act(trainer) if at in record else None,
        **options,
    )
    return trainer


def stop(trainer: SCMTrainer) -> None:
    trainer.stopped = True


def test_a_hook_may_stop_a_run_within_an_epoch() -> None:
    trainer = hooked("loss", stop)
    assert len(trainer.fit()) == 3
    assert trainer.stopped


@pytest.mark.parametrize("at", ["loss", "val_loss"])
def test_a_hook_of_rank_0_stops_all_ranks(at: str) -> None:
    def task(rank: int) -> int:
        trainer = hooked(at, stop, val_loader=pole_batches([4]))
        trainer.fit()
        return trainer.global_step

    assert on_ranks(task, 2) == [3, 3]


@pytest.mark.parametrize("call", ["state_dict", "validate"])
def test_a_hook_of_rank_0_cannot_call_for_all_ranks(call: str) -> None:
    def task(rank: int) -> str:
        trainer = hooked("loss", lambda trainer: getattr(trainer, call)())
        try:
            trainer.fit()
        except Exception as error:  # of rank 1: it has lost rank 0
            return str(error)
        return ""

    assert f"log_hook called {call}(), which every rank must make" in on_ranks(task, 2)[0]


class Failing(nn.Module):
    """Notes what it is trained on, and fails once, as a GPU without memory does."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.inner, self.at, self.seen = small_model(), at, list[float]()

    def forward(self, x: Tensor) -> Any:
        if len(self.seen) == self.at:
            self.at = -1
            raise MemoryError
        self.seen.append(float(x[0, 0]))
        return self.inner(x)


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("kind", ["list", "tensors"])
def test_after_an_error_in_an_update_its_micro_batches_are_trained_on(
    kind: str, saved: bool, tmp_path: Path
) -> None:
    loader = list(zip(X.split(4), Y.split(4), strict=True))
    tensors = TensorBatches(X, Y, batch_size=4, shuffle=False)
    model = Failing(2)
    trainer = make_trainer(model, loader if kind == "list" else tensors, fit_loss)
    with pytest.raises(MemoryError):
        trainer.fit()
    if saved:
        trainer.save_checkpoint(tmp_path / "a.pt")
        tensors.set_epoch(0)
        trainer = make_trainer(model, trainer.train_loader, fit_loss)
        trainer.load_checkpoint(tmp_path / "a.pt")
    trainer.fit()
    assert model.seen == X[::4, 0].tolist()
    assert (trainer.global_step, trainer.micro_step) == (4, 4)


def test_after_an_error_of_prepare_batch_no_micro_batch_of_tensors_is_lost() -> None:
    calls = list[int]()

    def prepare(batch: Any) -> Any:
        calls.append(len(calls))
        if len(calls) == 3:
            raise EOFError
        return batch

    loader = TensorBatches(X, Y, batch_size=4)
    trainer = make_trainer(small_model(), loader, fit_loss, prepare_batch=prepare)
    with pytest.raises(EOFError):
        trainer.fit()
    trainer.fit()
    assert (trainer.global_step, len(calls)) == (4, 5)


def test_one_loader_of_tensors_trains_and_validates(tmp_path: Path) -> None:
    loader = TensorBatches(X, Y, batch_size=4)
    trainer: SCMTrainer
    options: dict[str, Any] = {"max_epochs": 2, "val_loader": loader}

    def save(record: dict[str, float]) -> None:
        if record.get("micro_step") == 1:
            assert trainer.validate()["val_samples"] == 16
            trainer.save_checkpoint(tmp_path / "a.pt")

    trainer = make_trainer(small_model(), loader, fit_loss, log_hook=save, **options)
    trainer.fit()
    expected = weights(trainer.model)
    other = TensorBatches(X, Y, batch_size=4)
    resumed = make_trainer(small_model(1), other, fit_loss, **options | {"val_loader": other})
    resumed.load_checkpoint(tmp_path / "a.pt")
    assert resumed.validate()["val_samples"] == 16
    resumed.fit()
    assert resumed.global_step == 8
    assert all(map(torch.equal, weights(resumed.model), expected))


@pytest.mark.parametrize("other", [{"two": 2.0}, {"one": 1.0, "two": 2.0}])
def test_terms_must_be_the_same_within_an_update(other: dict[str, float]) -> None:
    terms = [{"one": 1.0}, other] * 2

    def loss(outputs: Any, lifted: Any) -> Any:
        return fit_loss(outputs, lifted), terms.pop()

    options: dict[str, Any] = {"gradient_accumulation_steps": 2}
    trainer = make_trainer(small_model(), pole_batches([4] * 4), loss, **options)
    with pytest.raises(ValueError, match=r"\['one'\].* within one update"):
        trainer.fit()
    assert trainer.global_step == 0


def test_terms_are_named_in_any_order_and_weighed_where_they_are() -> None:
    def loss(outputs: Any, lifted: Any, targets: Tensor) -> Any:
        few = len(targets) == 4
        terms = {"a": 1.0, "b": 2.0} if few else {"b": 4.0, "a": 1.0}
        return fit_loss(outputs, lifted), terms | ({"c": 3.0} if few else {})

    options: dict[str, Any] = {"gradient_accumulation_steps": 2}
    trainer = make_trainer(small_model(), pole_batches([4, 4]), loss, **options)
    assert [record["loss_b"] for record in trainer.fit()] == [2.0, 2.0]
    trainer = make_trainer(
        small_model(), pole_batches([4]), loss, val_loader=pole_batches([4, 12, 4])
    )
    trainer.fit()
    found = trainer.val_history[0]
    assert (found["val_loss_a"], found["val_loss_c"]) == (1.0, 3.0)
    assert found["val_loss_b"] == pytest.approx((8 * 2.0 + 12 * 4.0) / 20)


def test_a_loop_by_hand_saves_and_validates_its_own_epoch(tmp_path: Path) -> None:
    epochs = list[tuple[bool, int]]()

    def loss(outputs: Any, lifted: Any, epoch: int) -> Tensor:
        epochs.append((torch.is_grad_enabled() and trainer.model.training, epoch))
        return fit_loss(outputs, lifted)

    batches = pole_batches([4] * 2)
    options: dict[str, Any] = {"checkpoint_dir": tmp_path, "checkpoint_every": 2}
    trainer = make_trainer(small_model(), batches, loss, val_loader=batches[:1], **options)
    for epoch in range(3):
        trainer.epoch = epoch
        trainer.start_epoch()
        for batch in batches:
            trainer.train_step(batch)
        assert trainer.validate()["epoch"] == epoch
    assert epochs == [(x, e) for e in range(3) for x in (True, True, False)]
    steps = sorted(int(path.name[5:15]) for path in tmp_path.iterdir())
    assert steps == [2, 4, 6]


def test_a_loss_may_change_the_weights_that_it_is_given() -> None:
    seen = list[float]()

    def loss(outputs: Any, lifted: Any, loss_weights: dict[str, float]) -> Tensor:
        seen.append(loss_weights.pop("mine", 0.0))
        return fit_loss(outputs, lifted)

    make_trainer(small_model(), pole_batches([4] * 3), loss, loss_weights={"mine": 5.0}).fit()
    assert seen == [5.0] * 3


def test_a_term_is_better_when_it_is_smaller_whatever_its_name() -> None:
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    options: dict[str, Any] = {"scheduler_step": "val", "val_loader": pole_batches([4])}
    options |= {"scheduler_metric": "val_loss_coverage", "optimizer": optimizer}
    make_trainer(model, [], scheduler=ReduceLROnPlateau(optimizer, mode="min"), **options)
    with pytest.raises(ValueError, match="make it 'min'"):
        make_trainer(model, [], scheduler=ReduceLROnPlateau(optimizer, mode="max"), **options)


def test_half_precision_gradients_are_clipped_by_their_norm() -> None:
    model = small_model().half()
    batches = [(x.half(), y.half()) for x, y in pole_batches([8])]

    def loss(outputs: Any, lifted: Any) -> Any:
        return 2.0**9 * SCMTrainingLoss()(outputs, lifted)[0]

    trainer = make_trainer(model, batches, loss, max_grad_norm=1.0)
    trainer.fit()
    assert (trainer.global_step, trainer.skipped_steps) == (1, 0)


class Bank(nn.Module):
    """Keeps its latest inputs in a buffer that grows."""

    bank: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.inner = small_model()
        self.register_buffer("bank", torch.zeros(0, 2))

    def forward(self, x: Tensor) -> Any:
        self.bank = torch.cat([self.bank, x.detach()])[-6:]
        return self.inner(x)


@pytest.mark.parametrize("spoiled", [0, 1, 2])
def test_a_buffer_that_grows_is_kept(spoiled: int) -> None:
    batches = pole_batches([4] * 3)
    batches[spoiled][0][0, 0] = torch.nan
    model = Bank()
    trainer = make_trainer(model, batches, fit_loss)
    trainer.fit()
    assert (trainer.global_step, trainer.skipped_steps) == (2, 1)
    assert model.bank.isfinite().all()


def test_a_model_whose_buffers_are_not_made_yet_trains() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.LazyBatchNorm1d(), nn.Linear(2, 1))
    make_trainer(model, pole_batches([4]), lambda y, lifted: y.mean()).fit()
