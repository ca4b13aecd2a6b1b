"""Optimizers of other makes."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from tests.helpers import (
    finite_batches,
    fit_loss,
    make_trainer,
    pole_batches,
    same,
    small_model,
    weights,
)


class Plain:
    """Not a torch optimizer: what a trainer needs, and no more."""

    def __init__(self, parameters: Any, **options: Any) -> None:
        self.param_groups = [{"params": list(parameters), **options}]

    def zero_grad(self) -> None:
        for p in self.param_groups[0]["params"]:
            p.grad = None

    @torch.no_grad()
    def step(self, closure: Any = None) -> float:
        for p in self.param_groups[0]["params"]:
            p.add_(p.grad, alpha=-0.1)
        return 0.5

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        pass


class Lookahead(Plain):
    """A wrapper, with the groups of what it wraps."""

    def __init__(self, inner: Optimizer) -> None:
        self.inner, self.param_groups = inner, inner.param_groups
        self.slow = [p.detach().clone() for p in inner.param_groups[0]["params"]]
        self.count = 0

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.inner.step(closure)
        self.count += 1
        if self.count % 2 == 0:
            with torch.no_grad():
                for p, slow in zip(self.param_groups[0]["params"], self.slow, strict=True):
                    p.copy_(slow.lerp_(p, 0.5))


@pytest.mark.parametrize(
    "options", [{}, {"lr": None}, {"lr": "auto"}, {"lr": torch.ones(2)}], ids=str
)
def test_a_rate_that_is_none_is_logged_as_nan(options: dict[str, Any], unchecked: None) -> None:
    model, twin, batches = small_model(), small_model(), finite_batches(3)
    trainer: Any = make_trainer(model, batches, optimizer=Plain(model.parameters(), **options))
    assert all(math.isnan(record["lr"]) for record in trainer.fit())
    make_trainer(twin, batches).fit()
    assert same(weights(model), weights(twin)), "SGD(lr=0.1) makes the same steps"


@pytest.mark.parametrize("name", ["lr", "learning_rate"])
def test_a_torch_optimizer_may_call_its_rate_otherwise(name: str) -> None:
    class Own(Optimizer):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            with torch.no_grad():
                for p in self.param_groups[0]["params"]:
                    p -= 0.25 * p.grad

    model = small_model()
    optimizer = Own(model.parameters(), {name: 0.25})
    (record,) = make_trainer(model, finite_batches(1), optimizer=optimizer).fit()
    assert record["lr"] == 0.25 if name == "lr" else math.isnan(record["lr"])


def test_a_wrapper_may_have_the_scheduler_of_what_it_wraps(unchecked: None) -> None:
    model = small_model()
    optimizer = SGD(model.parameters(), lr=0.5)
    scheduler = LambdaLR(optimizer, lambda k: 0.5**k)
    wrapper: Any = Lookahead(optimizer)
    records = make_trainer(model, finite_batches(4), optimizer=wrapper, scheduler=scheduler).fit()
    assert [record["lr"] for record in records] == [0.5, 0.25, 0.125, 0.0625]
    assert wrapper.count == 4


def test_a_step_that_needs_more_than_a_closure_is_refused() -> None:
    class Polyak(SGD):
        def step(self, closure: Any, loss: Tensor) -> None:  # type: ignore[override]
            raise NotImplementedError

    model = small_model()
    with pytest.raises(ValueError, match=r"Polyak.step\(\) needs closure, loss, and the trainer"):
        make_trainer(model, finite_batches(1), optimizer=Polyak(model.parameters(), lr=0.1))


@pytest.mark.parametrize("zeroed", [False, True])
def test_sharpness_is_evaluated_at_the_moved_weights(zeroed: bool) -> None:
    class Sharp(SGD):
        @torch.no_grad()
        def step(self, closure: Callable[[], float]) -> None:  # type: ignore[override]
            parameters = self.param_groups[0]["params"]
            norm = torch.stack([p.grad.norm() for p in parameters]).norm()
            moves = [0.5 * p.grad / norm for p in parameters]
            for p, move in zip(parameters, moves, strict=True):
                p.add_(move)
            if zeroed:
                self.zero_grad()
            with torch.enable_grad():
                closure()
            for p, move in zip(parameters, moves, strict=True):
                p.sub_(move)
            super().step()

    model, twin, batches = small_model(), small_model(), pole_batches((6, 6))
    optimizer = Sharp(model.parameters(), lr=0.1)
    make_trainer(model, batches, fit_loss, optimizer=optimizer).fit()
    by_hand = Sharp(twin.parameters(), lr=0.1)

    def evaluate(x: Tensor, y: Tensor) -> float:
        by_hand.zero_grad()
        loss = fit_loss(twin(x), (y, torch.ones_like(y)))
        loss.backward()
        return loss.item()

    for batch in batches:
        evaluate(*batch)
        by_hand.step(partial(evaluate, *batch))
    assert same(weights(model), weights(twin))


class ScheduleFree(Optimizer):
    """Schedule-free SGD: gradients at y while training, and the average x in eval mode."""

    def __init__(self, parameters: Any, lr: float = 0.1, beta: float = 0.9) -> None:
        super().__init__(parameters, {"lr": lr, "beta": beta, "k": 0, "train_mode": False})

    @torch.no_grad()
    def _mode(self, training: bool) -> None:
        for group in self.param_groups:
            if group["train_mode"] != training:
                group["train_mode"] = training
                beta = group["beta"]
                for p in group["params"]:
                    if "z" in self.state[p]:
                        p.lerp_(self.state[p]["z"], 1 - beta if training else 1 - 1 / beta)

    def train(self) -> None:
        self._mode(True)

    def eval(self) -> None:
        self._mode(False)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            if not group["train_mode"]:
                raise RuntimeError("the optimizer is in eval mode")
            part = 1 / (group["k"] + 1)
            for p in group["params"]:
                z = self.state[p].setdefault("z", p.clone())
                p.lerp_(z, part)
                p.add_(p.grad, alpha=group["lr"] * (group["beta"] * (1 - part) - 1))
                z.sub_(p.grad, alpha=group["lr"])
            group["k"] += 1


def averaging(epochs: int = 3, **options: Any) -> tuple[Any, ScheduleFree, nn.Module]:
    model = small_model()
    optimizer = ScheduleFree(model.parameters())
    options = {"max_epochs": epochs, "val_loader": pole_batches((9,), seed=1)} | options
    trainer = make_trainer(model, pole_batches((6, 6, 6)), optimizer=optimizer, **options)
    return trainer, optimizer, model


def test_an_average_is_validated_and_left_at_the_end() -> None:
    trainer, optimizer, model = averaging()
    trainer.fit()
    assert not optimizer.param_groups[0]["train_mode"]
    left = weights(model)
    assert trainer.validate()["val_loss"] == trainer.val_history[-2]["val_loss"]
    assert same(weights(model), left)
    optimizer.train()
    assert not same(weights(model), left), "those of training are others"
    trained = weights(model)
    assert trainer.validate()["val_loss"] == pytest.approx(trainer.val_history[-2]["val_loss"])
    assert same(weights(model), trained)
    assert optimizer.param_groups[0]["train_mode"]


def test_a_validation_of_an_average_changes_no_run() -> None:
    runs = []
    for options in ({}, {"val_loader": None}):
        trainer, _, model = averaging(**options)
        trainer.fit()
        runs.append(weights(model))
    assert same(*runs)


def test_an_average_resumes_bitwise(tmp_path: Any) -> None:
    whole, _, model = averaging(checkpoint_dir=tmp_path, checkpoint_every=1, keep_checkpoints=9)
    whole.fit()
    for path in sorted(tmp_path.iterdir()):
        resumed, _, other = averaging()
        resumed.load_checkpoint(path)
        if resumed.epoch < 3:
            resumed.fit()
            assert same(weights(other), weights(model))
            assert repr(resumed.val_history) == repr(whole.val_history), "NaN is not NaN"


def test_a_hook_saves_an_average_on_its_validation() -> None:
    saved: dict[str, Any] = {}

    def hook(record: dict[str, float]) -> None:
        if "val_loss" in record and record["epoch"] == 1:
            saved.update(copy.deepcopy(whole.state_dict()))

    whole, _, model = averaging(log_hook=hook)
    whole.fit()
    resumed, _, other = averaging()
    resumed.load_state_dict(saved)
    resumed.fit()
    assert same(weights(other), weights(model))


@pytest.mark.parametrize("where", ["validation", "training"])
def test_an_error_leaves_an_optimizer_in_its_mode(where: str) -> None:
    def loss(outputs: Any, lifted: Any, *, epoch: int) -> Tensor:
        if model.training == (where == "training") and optimizer.param_groups[0]["k"] > 2:
            seen.append(optimizer.param_groups[0]["train_mode"])
            raise KeyError("mine")
        return fit_loss(outputs, lifted)

    model, seen = small_model(), list[bool]()
    optimizer = ScheduleFree(model.parameters())
    trainer = make_trainer(
        model, pole_batches((6, 6, 6, 6)), loss, optimizer=optimizer,
        val_loader=pole_batches((9,)),
    )  # fmt: skip
    with pytest.raises(KeyError, match="mine"):
        trainer.fit()
    assert seen == [where == "training"]
    assert not optimizer.param_groups[0]["train_mode"], "as after every fit"
    optimizer.train()
    before = weights(model)
    if where == "validation":
        with pytest.raises(KeyError, match="mine"):
            trainer.validate()
    assert optimizer.param_groups[0]["train_mode"]
    assert same(weights(model), before)
