"""Batches of tensors that lie on the device already."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from properties.subjects.zeroproof.ranks import on_ranks
from tests.helpers import make_trainer, pole_batches, same, small_model, weights
from zeroproof.training import TensorBatches

X, Y = pole_batches((11,))[0]


def order(batches: TensorBatches) -> list[list[float]]:
    return [y.tolist() for _, y in batches]


def test_an_order_follows_from_seed_and_epoch_alone() -> None:
    first, second = (TensorBatches(X, Y, batch_size=4, seed=3) for _ in range(2))
    orders = []
    for epoch in range(3):
        first.set_epoch(epoch)
        torch.rand(3)
        orders.append(order(first))
        assert [len(part) for part in orders[-1]] == [4, 4, 3]
        assert sorted(y for part in orders[-1] for y in part) == sorted(Y.tolist())
    assert orders[0] != orders[1] != orders[2]
    second.set_epoch(2)
    assert order(second) == orders[2]
    assert order(TensorBatches(X, Y, batch_size=4, seed=4)) != orders[0]
    plain = TensorBatches(X, Y, batch_size=4, shuffle=False, drop_last=True)
    assert order(plain) == [Y[:4].tolist(), Y[4:8].tolist()]
    assert len(plain) == 2


def test_the_order_needs_no_default_device() -> None:
    batches = TensorBatches(X, Y, batch_size=4)
    with torch.device("meta"):  # as of torch.set_default_device
        orders = order(batches)
    assert orders == order(batches)


def test_nested_inputs_are_cut_alike() -> None:
    batches = TensorBatches({"x": [X]}, Y, batch_size=4)
    assert all(torch.equal(1 / (inputs["x"][0][:, 0] - 0.3), y) for inputs, y in batches)


def test_a_run_goes_on_inside_an_epoch_bitwise() -> None:
    def run(epochs: int, hook: Any = None) -> Any:
        loader = TensorBatches(X, Y, batch_size=3)
        return make_trainer(small_model(), loader, max_epochs=epochs, log_hook=hook)

    whole = run(3)
    whole.fit()
    for stop in (1, 4, 6):
        part = run(3)
        part.load_state_dict(stopped_state(run, stop))
        part.fit()
        assert same(weights(part.model), weights(whole.model))


def stopped_state(run: Any, stop: int) -> Any:
    """Return the state of a run after so many micro-batches."""

    class Stop(Exception): ...

    def hook(record: dict[str, float]) -> None:
        if record["micro_step"] == stop - 1:
            raise Stop

    trainer = run(3, hook)
    with pytest.raises(Stop):
        trainer.fit()
    return trainer.state_dict()


def test_a_hook_may_iterate_over_the_loader_that_trains() -> None:
    def run(hook: Any = None) -> Any:
        return make_trainer(small_model(), TensorBatches(X, Y, batch_size=3), log_hook=hook)

    def hook(record: dict[str, float]) -> None:
        assert len(list(first.train_loader)) == 4
        if record["micro_step"] == 1:
            raise EOFError

    first, second, whole = run(hook), run(), run()
    with pytest.raises(EOFError):
        first.fit()
    second.load_state_dict(first.state_dict())
    assert second.fit() == whole.fit()[2:]


@pytest.mark.parametrize("changed", [{"batch_size": 3}, {"seed": 1}, {"shuffle": False}])
def test_other_batches_are_refused_inside_an_epoch(changed: dict[str, Any]) -> None:
    x, options = torch.arange(8.0), {"batch_size": 2}
    first, other = TensorBatches(x, x, **options), TensorBatches(x, x, **options | changed)  # type: ignore[arg-type]
    batches = iter(first)
    next(batches)
    with pytest.raises(ValueError, match="inside an epoch of TensorBatches with"):
        other.load_state_dict(first.state_dict())
    assert len([first.state_dict() for _ in batches]) == 3
    other.load_state_dict(first.state_dict())  # whose epoch is over


def test_ranks_share_each_batch() -> None:
    def task(rank: int) -> list[list[float]]:
        return order(TensorBatches(X, Y, batch_size=5))

    first, second = on_ranks(task, 2)
    alone = order(TensorBatches(X, Y, batch_size=5))
    assert (len(first), len(second), len(alone)) == (2, 2, 3), "one sample is too few for two"
    for mine, other, both in zip(first, second, alone, strict=False):
        assert (both[0::2], both[1::2]) == (mine, other)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((X[:3], Y), {"batch_size": 4}, r"inputs have \[3\] samples and targets 11"),
        ((X[:0], Y[:0]), {"batch_size": 4}, "and at least one"),
        ((X, Y), {"batch_size": 0}, "batch_size must be ≥ 1"),
        ((X, Y), {"batch_size": 4, "seed": -1}, "seed must be ≥ 0, got -1"),
    ],
)
def test_what_cannot_be_cut_is_named(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TensorBatches(*arguments, **options)
