"""Records and log hooks."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from tests.helpers import (
    finite_batches,
    fit_loss,
    make_trainer,
    small_model,
    square,
)
from zeroproof.training.records import MEASURES, RecordQueue
from zeroproof.training.transfer import AsyncHostCopy, from_host

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


@pytest.mark.parametrize("skips_on_device", [False, True])
def test_records_arrive_in_order_after_their_update(skips_on_device: bool) -> None:
    seen: list[float] = []
    arrived: list[int] = []

    def loader() -> Iterator[Any]:
        for batch in finite_batches(11):
            arrived.append(len(seen))
            yield batch

    model = small_model()
    trainer = make_trainer(
        model,
        loader(),
        optimizer=torch.optim.Adam(model.parameters(), fused=True),
        log_hook=lambda record: seen.append(record["micro_step"]),
        gradient_accumulation_steps=3,
    )
    trainer.update.skips_on_device = skips_on_device  # then it is read one update later
    trainer.fit()
    assert seen == list(range(11))
    late = 1 if skips_on_device else 0
    assert arrived == [3 * max(index // 3 - late, 0) for index in range(11)]


ROW = dict.fromkeys(MEASURES, 2.0) | {"loss": 0.5}


def test_a_queue_delivers_what_it_was_given_once() -> None:
    seen: list[dict[str, float]] = []
    queue = RecordQueue(seen.append, 1)
    for step in range(3):
        queue.add({"micro_step": step}, [ROW, ROW | {"samples": 6.0, "loss": 1.5}])
    assert (seen, list(queue.records)) == ([], [])
    queue.deliver()
    queue.deliver()
    assert [record["micro_step"] for record in seen] == [0.0, 1.0, 2.0]
    assert (seen[0]["samples"], seen[0]["loss"], seen[0]["coverage"]) == (8.0, 1.25, 0.5)
    assert list(queue.records) == seen[2:]
    assert queue.totals.record()["samples"] == 24.0
    seen[2].clear()
    assert queue.records[0], "a hook gets a copy"


def test_a_queue_drops_the_rest_where_its_hook_raises() -> None:
    def hook(record: dict[str, float]) -> None:
        raise KeyError("mine")

    queue = RecordQueue(hook, 9)
    queue.add({}, [ROW])
    queue.add({}, [ROW])
    with pytest.raises(KeyError, match="mine"):
        queue.deliver()
    queue.deliver()
    assert len(queue.records) == 1


def test_numbers_from_the_host_are_exact() -> None:
    assert from_host([2.0**24 + 1], torch.device("cpu")).tolist() == [2**24 + 1]


def test_a_host_copy_is_read_as_numbers() -> None:
    assert AsyncHostCopy(torch.tensor([[1.0, 2.0]])).read() == [[1.0, 2.0]]


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

    trainer = make_trainer(small_model(), finite_batches(6), log_hook=hook)
    with pytest.raises(KeyError, match="mine"):
        trainer.fit()
    assert trainer.global_step == 2


def test_history_keeps_the_latest_records_only() -> None:
    trainer = make_trainer(small_model(), finite_batches(9), history_limit=4)
    assert [r["micro_step"] for r in trainer.fit()] == [5, 6, 7, 8]


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
