"""Validation: what it measures, and that it leaves no trace."""

from __future__ import annotations

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
    assert "val_loss" not in trainer.records.records[-1]


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
    model.register_forward_hook(lambda m, i, o: graphs.append(any(x.requires_grad for x in o)))
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


def test_a_losss_own_curriculum_is_for_epochs_of_fit() -> None:
    class Narrowing:
        def default_curriculum(self, max_epochs: int) -> Any:
            return lambda epoch: {"fit": 1.0 + epoch}

        def __call__(self, outputs: Any, lifted: Any, *, loss_weights: Any = None) -> Tensor:
            given.append(loss_weights)
            return fit_loss(outputs, lifted)

    given: list[Any] = []
    batches = finite_batches(1)
    trainer = make_trainer(small_model(), batches, Narrowing(), max_epochs=2, val_loader=batches)
    trainer.train_step(*batches)
    trainer.fit()
    assert given == [None, {"fit": 1.0}, None, {"fit": 2.0}, None]
    with pytest.raises(ValueError, match=r"train_step\(\) takes the micro-batches"):
        trainer.train_step()
