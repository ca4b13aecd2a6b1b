"""Optimizers that evaluate a window several times."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.loops import fit_loss, make_trainer, pole_batches, same, small_model, weights
from zeroproof.training.targets import lift_targets


def lbfgs(model: Any, **options: Any) -> torch.optim.LBFGS:
    return torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=5, **options)


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
@pytest.mark.parametrize("sizes", [(32,), (12, 5, 15)])
def test_lbfgs_trains_as_by_hand_on_the_whole_window(
    sizes: tuple[int, ...], search: str | None
) -> None:
    batches = pole_batches(sizes, dtype=torch.float64)
    ours, theirs = (small_model(dtype=torch.float64) for _ in range(2))
    optimizer = lbfgs(ours, line_search_fn=search)
    options = {"gradient_accumulation_steps": len(sizes), "max_epochs": 6}
    records = make_trainer(ours, batches, fit_loss, optimizer=optimizer, **options).fit()
    x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    by_hand = lbfgs(theirs, line_search_fn=search)

    def closure() -> Tensor:
        by_hand.zero_grad()
        loss = fit_loss(theirs(x), lift_targets(y))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    for _ in range(6):
        by_hand.step(closure)
    for a, b in zip(weights(ours), weights(theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)
    assert len(records) == 6 * len(sizes), "one record a micro-batch, not one an evaluation"
    assert records[-1]["loss"] < records[0]["loss"] / 2


def test_a_window_evaluates_its_own_micro_batches_alone() -> None:
    batches, models = pole_batches((4, 8, 6, 2), dtype=torch.float64), []
    joined = [
        tuple(torch.cat(parts) for parts in zip(*batches[i : i + 2], strict=True)) for i in (0, 2)
    ]
    for loader, n in ((batches, 2), (joined, 1)):
        models.append(small_model(dtype=torch.float64))
        options = {"gradient_accumulation_steps": n, "max_epochs": 2}
        make_trainer(models[-1], loader, fit_loss, optimizer=lbfgs(models[-1]), **options).fit()
    for a, b in zip(*map(weights, models), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


def test_a_search_that_is_undone_leaves_the_optimizers_state() -> None:
    model, calls = small_model(), [0]
    optimizer = lbfgs(model)

    def loss(outputs: Any, lifted: Any) -> Tensor:
        calls[0] += 1
        return fit_loss(outputs, lifted) * (torch.nan if calls[0] > 8 else 1.0)

    states: list[str] = []

    def note(record: dict[str, float]) -> None:
        states.append(repr(optimizer.state_dict()["state"]))

    options = {"gradient_accumulation_steps": 1, "max_epochs": 2, "log_hook": note}
    trainer = make_trainer(model, pole_batches((16,)), loss, optimizer=optimizer, **options)
    trainer.fit()
    assert (trainer.global_step, trainer.skipped_steps) == (1, 1)
    assert states[0] == states[1]


@pytest.mark.parametrize("first_bad", [1, 2, 3])
def test_a_search_that_is_not_finite_changes_nothing(first_bad: int) -> None:
    model, calls = small_model(), [0]
    before, optimizer = weights(model), lbfgs(model)

    def loss(outputs: Any, lifted: Any) -> Tensor:
        calls[0] += 1
        return fit_loss(outputs, lifted) * (torch.nan if calls[0] >= first_bad else 1.0)

    trainer = make_trainer(model, pole_batches((16,)), loss, optimizer=optimizer)
    trainer.fit()
    assert calls[0] >= first_bad
    assert (trainer.global_step, trainer.skipped_steps) == (0, 1)
    assert same(before, weights(model))
    assert not optimizer.state_dict()["state"]


def test_float16_has_no_loss_to_compare() -> None:
    model = small_model()
    with pytest.raises(ValueError, match="LBFGS compares losses, which float16's scale changes"):
        make_trainer(model, [], optimizer=lbfgs(model), use_amp=True, amp_dtype="fp16")
