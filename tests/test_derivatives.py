"""Losses and models that differentiate with respect to their inputs, in validations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers import finite_batches, make_trainer, same, small_model, weights
from zeroproof.losses import SCMTrainingLoss

DATA = [(torch.linspace(-1, 1, 6)[:, None], torch.linspace(0, 1, 6)[:, None])]


def derivative(y: Tensor, x: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    return found


class Field(nn.Module):
    """A potential, or its force; ``log_var`` is a parameter that only the loss reads."""

    def __init__(self, forces: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
        self.net[0].bias.requires_grad_(False)
        self.forces, self.seen = forces, list[bool]()

    def forward(self, x: Tensor) -> Tensor:
        if self.forces:
            x = x.detach().requires_grad_()
        y: Tensor = self.net(x)
        return derivative(y, x) if self.forces else y


def physical(outputs: Tensor, lifted: Any, inputs: Tensor) -> Tensor:
    """The residual of y' = y."""
    return (derivative(outputs, inputs) - outputs).square().mean()


def curvature(outputs: Tensor, lifted: Any, inputs: Tensor) -> Tensor:
    return derivative(derivative(outputs, inputs), inputs).square().mean()


def fitted(outputs: Tensor, lifted: Any) -> Tensor:
    return (outputs - lifted[0]).square().mean()


def attach(batch: Any) -> Any:
    return batch[0].detach().requires_grad_(), batch[1]


def trainer_of(model: nn.Module, loss: Callable[..., Any], **options: Any) -> Any:
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.01)
    options = {"val_loader": DATA} | options
    return make_trainer(model, DATA, loss, optimizer=optimizer, **options)


@pytest.mark.parametrize(
    ("loss", "forces", "options"),
    [
        (physical, False, {"prepare_batch": attach}),
        (curvature, False, {"prepare_batch": attach}),
        (physical, False, {"val_loader": [attach(b) for b in DATA], "prepare_batch": attach}),
        (fitted, True, {}),
        (physical, False, {"prepare_batch": attach, "gradient_policy": "clamp"}),
    ],
    ids=["loss", "second derivative", "inputs that require it", "model", "policy"],
)
def test_what_differentiates_is_validated(
    loss: Callable[..., Any], forces: bool, options: dict[str, Any]
) -> None:
    model = Field(forces)
    trainer = trainer_of(model, loss, max_epochs=2, **options)
    trainer.fit()
    (x, _), (_, y) = attach(DATA[0]), DATA[0]
    given = (x,) if loss is not fitted else ()
    with torch.enable_grad():
        expected = loss(model(x), (y, torch.ones_like(y)), *given)
    assert trainer.val_history[-1]["val_loss"] == pytest.approx(expected.item(), rel=1e-6)
    assert not model.net[0].bias.requires_grad
    assert all(p.requires_grad for name, p in model.named_parameters() if name != "net.0.bias")
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_caller_without_gradients_may_validate(mode: Any) -> None:
    trainer = trainer_of(Field(), physical, prepare_batch=attach)
    expected = trainer.validate()
    with mode():
        assert trainer.validate() == expected


def test_a_validation_that_raises_leaves_what_requires_gradients() -> None:
    def fails(outputs: Tensor, lifted: Any) -> Tensor:
        raise KeyError("mine")

    model = Field()
    before = [p.requires_grad for p in model.parameters()]
    with pytest.raises(KeyError, match="mine"):
        trainer_of(model, fails).validate()
    assert [p.requires_grad for p in model.parameters()] == before
    assert torch.is_grad_enabled()


def test_a_validation_of_derivatives_changes_no_run() -> None:
    runs = []
    for validation in (None, DATA):
        model = Field()
        options = {"prepare_batch": attach, "max_epochs": 3, "val_loader": validation}
        optimizer = torch.optim.Adam(model.net[2].parameters(), lr=0.01)
        make_trainer(model, DATA, physical, optimizer=optimizer, **options).fit()
        runs.append(weights(model))
    assert same(*runs)


def test_a_parameter_that_only_the_optimizer_knows_makes_no_graph() -> None:
    log_var, attached = nn.Parameter(torch.zeros(())), list[bool]()

    def loss(outputs: Any, lifted: Any) -> Tensor:
        value = fitted(outputs, lifted) * torch.exp(-log_var) + log_var
        attached.append(value.requires_grad)
        return value

    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD([*model.parameters(), log_var], lr=0.1)
    make_trainer(model, DATA, loss, optimizer=optimizer, val_loader=DATA).fit()
    assert attached == [True, False]
    assert log_var.requires_grad


def test_the_losss_own_curriculum_is_not_the_validations() -> None:
    given: list[Any] = []

    class Loss(SCMTrainingLoss):
        def default_curriculum(self, max_epochs: int) -> Any:
            return lambda epoch: {"margin": 7.0}

        def __call__(self, outputs: Any, lifted: Any, *, loss_weights: Any = None) -> Any:
            given.append(loss_weights)
            return super().__call__(outputs, lifted)

    make_trainer(small_model(), finite_batches(1), Loss(), val_loader=finite_batches(1)).fit()
    assert given == [{"margin": 7.0}, None]
