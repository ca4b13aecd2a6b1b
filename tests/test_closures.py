"""Optimizers that evaluate a window several times."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers import fit_loss, make_trainer, pole_batches, same, small_model, weights
from zeroproof.training.targets import lift_targets


def lbfgs(model: Any, search: str | None = None) -> torch.optim.LBFGS:
    """Return an optimizer whose first step, if it searches, is much too long."""
    lr = 20.0 if search else 0.5
    return torch.optim.LBFGS(model.parameters(), lr=lr, max_iter=5, line_search_fn=search)


def step_by_hand(optimizer: torch.optim.LBFGS, model: Any, x: Tensor, y: Tensor) -> None:
    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = fit_loss(model(x), lift_targets(y))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
@pytest.mark.parametrize("sizes", [(32,), (12, 5, 15)])
def test_lbfgs_trains_as_by_hand_on_the_whole_window(
    sizes: tuple[int, ...], search: str | None
) -> None:
    batches = pole_batches(sizes, dtype=torch.float64)
    ours, theirs = (small_model(dtype=torch.float64) for _ in range(2))
    optimizer = lbfgs(ours, search)
    options = {"gradient_accumulation_steps": len(sizes), "max_epochs": 6}
    records = make_trainer(ours, batches, fit_loss, optimizer=optimizer, **options).fit()
    x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    by_hand = lbfgs(theirs, search)

    for _ in range(6):
        step_by_hand(by_hand, theirs, x, y)
    for a, b in zip(weights(ours), weights(theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)
    assert len(records) == 6 * len(sizes), "one record a micro-batch, not one an evaluation"
    assert records[-1]["loss"] < records[0]["loss"] / 2


def test_a_window_evaluates_its_own_micro_batches_alone() -> None:
    batches = pole_batches((4, 8, 6, 2), dtype=torch.float64)
    ours, theirs = (small_model(dtype=torch.float64) for _ in range(2))
    options = {"gradient_accumulation_steps": 2, "max_epochs": 1}  # more would magnify rounding
    make_trainer(ours, batches, fit_loss, optimizer=lbfgs(ours), **options).fit()
    optimizer = lbfgs(theirs)
    for first in (0, 2):
        x, y = (torch.cat(parts) for parts in zip(*batches[first : first + 2], strict=True))
        step_by_hand(optimizer, theirs, x, y)
    for a, b in zip(weights(ours), weights(theirs), strict=True):
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


@pytest.mark.parametrize("to_none", [True, False])
def test_a_gradient_that_is_cleared_before_the_first_evaluation_is_there_after_it(
    to_none: bool,
) -> None:
    class Clearing(torch.optim.SGD):
        def step(self, closure: Any) -> None:  # type: ignore[override]
            self.zero_grad(set_to_none=to_none)
            closure()
            super().step()

    model, twin, batches = small_model(), small_model(), pole_batches((6, 6))
    make_trainer(model, batches, optimizer=Clearing(model.parameters(), lr=0.1)).fit()
    make_trainer(twin, batches, optimizer=torch.optim.SGD(twin.parameters(), lr=0.1)).fit()
    assert same(weights(model), weights(twin))
