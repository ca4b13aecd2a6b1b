"""What goes wrong on the way: it is counted or raised, and nothing is lost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers import Batch, fit_loss, make_trainer, pole_batches, same, small_model, weights

STAGES = ("input", "P", "Q", "loss", "gradient")


class Faulty(nn.Module):
    """A model whose second forward puts a number where it does not belong."""

    def __init__(self, stage: str, poison: float) -> None:
        super().__init__()
        self.inner, self.stage, self.poison, self.calls = small_model(), stage, poison, 0

    @property
    def bad(self) -> bool:
        return self.calls == 2

    def forward(self, x: Tensor) -> Batch:
        self.calls += 1
        P, Q = self.inner(x)
        if self.bad and self.stage in "PQ":
            P, Q = (
                part * self.poison if name == self.stage else part
                for name, part in (("P", P), ("Q", Q))
            )
        if self.bad and self.stage == "gradient":
            P.register_hook(lambda gradient: gradient * self.poison)
        return P, Q

    def loss(self, outputs: Batch, lifted: Batch) -> Tensor:
        loss = fit_loss(*(outputs, lifted))
        return loss * self.poison if self.bad and self.stage == "loss" else loss


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("stage", STAGES)
def test_a_fault_at_any_stage_costs_one_update(stage: str, poison: float) -> None:
    batches = pole_batches((8, 8, 8))
    model = Faulty(stage, poison)
    if stage == "input":
        batches[1] = (torch.full_like(batches[1][0], poison), batches[1][1])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    trainer = make_trainer(model, batches, model.loss, optimizer=optimizer)
    records = trainer.fit()
    assert (trainer.global_step, trainer.skipped_steps, len(records)) == (2, 1, 3)
    clean = small_model()
    optimizer = torch.optim.Adam(clean.parameters(), lr=0.01)
    make_trainer(clean, [batches[0], batches[2]], fit_loss, optimizer=optimizer).fit()
    assert same(weights(model), weights(clean)), "as if the batch had not been"


class Broken(Exception):
    """What a user's code raises."""


def failing(what: str, error: Exception) -> tuple[Any, Callable[[], None]]:
    """A trainer of 6 batches of which something fails at the fourth, and what mends it."""
    model, broken, calls = small_model(), [True], [0]

    def tick(where: str) -> None:
        if where == what:
            calls[0] += 1
            if broken and calls[0] == 4:
                raise error

    class Loader:
        def __iter__(self) -> Iterator[Batch]:
            for batch in pole_batches([8] * 6):
                tick("loader")
                yield batch

    def loss(outputs: Batch, lifted: Batch) -> Tensor:
        tick("loss")
        return fit_loss(outputs, lifted)

    def rate(step: int) -> float:
        tick("scheduler")
        return 1.0

    model.register_forward_hook(lambda *_: tick("model"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.register_step_pre_hook(lambda *_: tick("optimizer"))
    trainer = make_trainer(
        model,
        Loader(),
        loss,
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.LambdaLR(optimizer, rate),
        log_hook=lambda record: tick("hook"),
    )
    return trainer, broken.clear


@pytest.mark.parametrize("what", ["loader", "model", "loss", "optimizer", "scheduler", "hook"])
@pytest.mark.parametrize("error", [Broken("mine"), torch.OutOfMemoryError("once")])
def test_what_users_code_raises_passes_through_and_training_goes_on(
    what: str, error: Exception
) -> None:
    trainer, mend = failing(what, error)
    with pytest.raises(type(error), match=str(error)):
        trainer.fit()
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())
    mend()
    trainer.fit()
    left_out = what == "optimizer"  # whose step may have been made
    assert (trainer.global_step, trainer.micro_step) == (6 - left_out, 6)
    assert trainer.epoch == 1


def test_loaders_may_yield_anything_that_can_be_prepared() -> None:
    x, y = pole_batches((8,))[0]
    expected = small_model()
    make_trainer(expected, [(x, y)] * 2, fit_loss).fit()
    shapes: list[tuple[Any, Callable[[Any], Any]]] = [
        ({"x": x, "y": y}, lambda batch: (batch["x"], batch["y"])),
        ((x, y, torch.ones(8)), lambda batch: batch[:2]),
        (((x, {"index": 1}), y), lambda batch: (batch[0][0], batch[1])),
    ]
    for batch, prepare in shapes:
        model = small_model()
        options: dict[str, Any] = {"prepare_batch": prepare, "val_loader": [batch]}
        make_trainer(model, [batch] * 2, fit_loss, **options).fit()
        assert same(weights(model), weights(expected))
        with pytest.raises(TypeError, match="give a prepare_batch that makes one of it"):
            make_trainer(small_model(), [batch[0] if isinstance(batch, tuple) else batch]).fit()


def test_nested_inputs_reach_the_model_whole() -> None:
    x, y = pole_batches((8,))[0]

    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = small_model()

        def forward(self, inputs: dict[str, Any]) -> Any:
            (first,), second = inputs["parts"]
            return self.inner(torch.stack([first, second], dim=1))

    model, expected = Nested(), small_model()
    make_trainer(model, [({"parts": [(x[:, 0],), x[:, 1]]}, y)], fit_loss).fit()
    make_trainer(expected, [(x, y)], fit_loss).fit()
    assert same(weights(model), weights(expected))


def test_a_generator_trains_for_one_epoch_and_then_says_what_to_do() -> None:
    trainer = make_trainer(small_model(), iter(pole_batches((8, 8))), max_epochs=2)
    with pytest.raises(ValueError, match="an iterator can be read only once: pass a list"):
        trainer.fit()
    assert trainer.global_step == 2
