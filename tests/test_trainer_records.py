"""Validation, records and log hooks."""

from __future__ import annotations

import gc
import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers import (
    ValueModel,
    finite_batches,
    fit_loss,
    make_trainer,
    pole_batches,
    same,
    small_model,
    square,
)
from zeroproof.training import records
from zeroproof.training.metrics import Seen
from zeroproof.training.ranks import Ranks
from zeroproof.training.records import COUNT, ELEMENTS, RecordLog
from zeroproof.training.transfer import from_host

KEYS = {"loss", "coverage", "tau_train", "bottom_frac", "denom_abs_min", "denom_abs_mean"}


def test_log_hook_gets_every_micro_batch_as_floats_and_then_the_validation() -> None:
    seen: list[dict[str, float]] = []
    trainer = make_trainer(
        small_model(),
        finite_batches(3),
        log_hook=seen.append,
        val_loader=finite_batches(2),
        max_epochs=2,
    )
    records = trainer.fit()
    assert [s for s in seen if "loss" in s] == records
    assert ["val_loss" in s for s in seen] == [False, False, False, True] * 2
    assert all(records[i].keys() >= KEYS for i in range(6))
    assert all(type(v) is float for s in seen for v in s.values())
    assert [r["micro_step"] for r in records] == [0, 1, 2, 3, 4, 5]
    assert [r["global_step"] for r in records] == [1, 2, 3, 4, 5, 6]
    assert [s["epoch"] for s in seen] == [0, 0, 0, 0, 1, 1, 1, 1]


def test_records_arrive_in_order_and_never_very_late() -> None:
    seen: list[float] = []
    arrived: list[int] = []

    def loader() -> Iterator[Any]:
        for batch in finite_batches(3 * COUNT):
            arrived.append(len(seen))
            yield batch

    def hook(metrics: dict[str, float]) -> None:
        seen.append(metrics["micro_step"])

    make_trainer(small_model(), loader(), log_hook=hook, gradient_accumulation_steps=3).fit()
    assert seen == list(range(3 * COUNT))
    assert all(count >= index - COUNT - 2 for index, count in enumerate(arrived))


def test_large_micro_batches_are_measured_at_once() -> None:
    seen: list[int] = []
    arrived: list[int] = []

    def loader() -> Iterator[Any]:
        for _ in range(4):
            arrived.append(len(seen))
            yield torch.zeros(ELEMENTS, 2), torch.zeros(ELEMENTS)

    make_trainer(small_model(), loader(), log_hook=lambda metrics: seen.append(1)).fit()
    assert arrived == [0, 1, 2, 3]


def delivered(sizes: list[int]) -> list[int]:
    """How many records a log has delivered after each micro-batch of so many outputs."""
    seen: list[Any] = []
    log, found = RecordLog(seen.append, 1, Ranks(None)), []
    for size in sizes:
        x = torch.ones(1, size)
        log.add({"samples": 1, "global_step": 0}, Seen.of((x, x), x, 0.5, {"loss": x.sum()}))
        log.deliver_complete()
        found.append(len(seen))
    return found


def test_records_wait_for_so_many_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "SECONDS", math.inf)
    monkeypatch.setattr(records, "ELEMENTS", 10)
    assert delivered([4, 4, 4, 4]) == [0, 2, 2, 4]
    assert delivered([1] * 10) == [0] * 9 + [10]
    assert delivered([0] * 10) == [0] * 9 + [10]


def test_records_wait_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(start=100.0, step=0.125)
    monkeypatch.setattr(records.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(records, "SECONDS", 0.25)
    assert delivered([1] * 9) == [0, 0, 0, 4, 4, 4, 4, 8, 8]


def test_terms_may_come_and_go() -> None:
    def loss(outputs: Any, lifted: Any, *, global_step: int) -> Any:
        value = fit_loss(outputs, lifted)
        if global_step % 2:
            return value, {"odd": float(global_step)}
        return value, {"even": torch.tensor(global_step)}

    found = make_trainer(small_model(), finite_batches(5), loss).fit()
    terms = [{k: v for k, v in r.items() if k in ("loss_even", "loss_odd")} for r in found]
    assert terms == [{f"loss_{'odd' if k % 2 else 'even'}": float(k)} for k in range(5)]


def test_a_hook_that_raises_stops_training_with_its_own_error() -> None:
    def hook(metrics: dict[str, float]) -> None:
        if metrics["micro_step"] == 1:
            raise KeyError("mine")

    trainer = make_trainer(small_model(), finite_batches(3 * COUNT), log_hook=hook)
    with pytest.raises(KeyError, match="mine"):
        trainer.fit()
    assert trainer.global_step <= COUNT


def test_history_keeps_the_latest_records_only() -> None:
    trainer = make_trainer(small_model(), finite_batches(9), history_limit=4)
    assert [r["micro_step"] for r in trainer.fit()] == [5, 6, 7, 8]


def test_validation_is_weighted_by_samples_and_uses_the_midpoint() -> None:
    model = small_model()
    taus: list[float] = []

    def loss(outputs: Any, lifted: Any, *, tau: float) -> Tensor:
        taus.append(tau)
        return fit_loss(outputs, lifted)

    val = finite_batches(1, 9) + finite_batches(1, 1)
    trainer = make_trainer(
        model, finite_batches(1), loss, val_loader=val, tau_train_min=0.01, tau_train_max=0.03
    )
    trainer.fit()
    with torch.no_grad():
        losses = [fit_loss(model(x), (y, torch.ones_like(y))).item() for x, y in val]
        smallest = min(model(x)[1].abs().min().item() for x, _ in val)
    record = trainer.val_history[0]
    assert record["val_loss"] == pytest.approx(0.9 * losses[0] + 0.1 * losses[1], rel=1e-6)
    assert record["val_denom_abs_min"] == smallest
    assert taus[1:] == [0.02, 0.02]
    assert (record["val_tau"], record["epoch"], record["global_step"]) == (0.02, 0, 1)
    assert trainer.validate() == trainer.val_history[1] == record
    assert "val_loss" not in trainer.log.records[-1]
    assert from_host([2.0**24 + 1], torch.device("cpu")).tolist() == [2**24 + 1], "counts are exact"


def test_validation_covers_the_epochs_samples() -> None:
    model = ValueModel()
    model.bottoms = [0, 0, 2]
    val = finite_batches(1, 30) + finite_batches(1, 2)
    trainer = make_trainer(model, finite_batches(1), square, val_loader=val)
    trainer.fit()
    assert trainer.val_history[0]["val_coverage"] == 30 / 32
    assert trainer.val_history[0]["val_samples"] == 32


class Restless(nn.Module):
    """Dropout, running statistics and a buffer that counts forwards in any mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop, self.model = nn.BatchNorm1d(2), nn.Dropout(0.5), small_model()
        self.register_buffer("forwards", torch.zeros(()))

    def forward(self, x: Tensor) -> Any:
        self.forwards = self.forwards + 1  # another tensor, not another value
        return self.model(self.drop(self.norm(x)))


@pytest.mark.parametrize("raises", [False, True])
def test_training_with_validation_is_bitwise_training_without(raises: bool) -> None:
    def val_loader(shared: torch.Generator) -> Any:
        data = torch.utils.data.TensorDataset(torch.rand(8, 2), torch.rand(8))
        sampler = torch.utils.data.RandomSampler(data, generator=shared)
        return torch.utils.data.DataLoader(data, batch_size=4, sampler=sampler)

    class Broken:
        def __iter__(self) -> Iterator[Any]:
            torch.rand(3)
            yield torch.rand(4, 2), torch.rand(4)
            raise OSError("disk")

    data = torch.utils.data.TensorDataset(*pole_batches((24,))[0])
    runs = []
    for validate in (False, True):
        torch.manual_seed(1)
        model = Restless()
        frozen = model.norm
        shared = torch.Generator().manual_seed(5)
        sampler = torch.utils.data.RandomSampler(data, generator=shared)
        loader = torch.utils.data.DataLoader(data, batch_size=8, sampler=sampler)
        options: dict[str, Any] = {}
        if validate:
            options["val_loader"] = Broken() if raises else val_loader(shared)
        torch.manual_seed(2)
        trainer = make_trainer(model, loader, max_epochs=1 if raises else 3, **options)
        if validate and raises:
            with pytest.raises(OSError, match="disk"):
                trainer.fit()
        else:
            trainer.fit()
        assert frozen.training
        state = [v.clone() for v in model.state_dict().values()]
        runs.append([*state, torch.get_rng_state()])
    assert same(runs[0], runs[1])


class Counting(nn.Module):
    """Counts its calls in a buffer, whatever its mode."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small_model()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Any:
        self.calls += 1
        return self.inner(x)


def test_validation_leaves_buffers_that_a_forward_counts_in() -> None:
    model = Counting()
    make_trainer(model, pole_batches((4, 4)), val_loader=pole_batches((4,) * 5)).fit()
    assert model.calls == 2


def test_validation_restores_each_submodules_mode_and_needs_no_graph() -> None:
    model = Restless()
    model.register_buffer("leaf", torch.zeros((), requires_grad=True))
    graphs: list[bool] = []
    model.register_forward_hook(lambda *_: graphs.append(torch.is_grad_enabled()))
    trainer = make_trainer(model, finite_batches(1), val_loader=finite_batches(1))
    model.train()
    model.norm.eval()
    trainer.validate()
    assert model.training
    assert not model.norm.training
    assert model.drop.training
    assert graphs == [False]
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("drawn_on", ["train", "val"])
def test_validation_restores_the_generators_of_both_loaders(drawn_on: str) -> None:
    class Loader:
        def __init__(self, draws_on: torch.Generator | None = None) -> None:
            self.generator, self.draws_on = torch.Generator(), draws_on

        def __iter__(self) -> Iterator[Any]:
            torch.rand(3, generator=self.draws_on or self.generator)
            yield from finite_batches(1)

    train = Loader()
    val = Loader(train.generator if drawn_on == "train" else None)
    trainer = make_trainer(small_model(), train, val_loader=val)
    before = [loader.generator.get_state() for loader in (train, val)]
    trainer.validate()
    assert same([loader.generator.get_state() for loader in (train, val)], before)


def test_validate_needs_a_loader() -> None:
    with pytest.raises(ValueError, match="val_loader"):
        make_trainer(small_model(), finite_batches(1)).validate()


def test_memory_is_flat_over_many_steps() -> None:
    sizes: list[int] = []
    counted = 0

    def hook(metrics: dict[str, float]) -> None:
        nonlocal counted
        counted += 1
        if counted % 100 == 0:
            gc.collect()
            sizes.append(len(gc.get_objects()))

    batches = finite_batches(50)
    trainer = make_trainer(
        nn.Linear(2, 1), batches, square, max_epochs=10, log_hook=hook, history_limit=50
    )
    trainer.fit()
    assert len(sizes) == 5
    assert max(sizes[1:]) - min(sizes[1:]) < 100, "an object a step would be 100 a reading"
