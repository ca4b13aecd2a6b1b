"""Steps that leave something infinite or NaN, buffers of skipped updates, and what stays set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim.lr_scheduler import LambdaLR

from tests.helpers import (
    Batch,
    Pair,
    fit_loss,
    make_trainer,
    pole_batches,
    set_scale,
    small_model,
)
from zeroproof.training.checkpoint import read_checkpoint
from zeroproof.training.trainer import NonFiniteError

NAN, INF = torch.nan, torch.inf


class Embedded(nn.Module):
    """Embeds the sign of a feature; the rows beyond the second are never used."""

    def __init__(self, *, sparse: bool = False) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.rows, self.inner = nn.Embedding(5, 2, sparse=sparse), small_model()

    def forward(self, x: Tensor) -> Any:
        return self.inner(x + self.rows((x[:, 0] > 0).long()))


class Half(nn.Module):
    """A model whose weights are float16."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small_model(dtype=torch.float16)

    def forward(self, x: Tensor) -> Any:
        return self.inner(x.half())


ADAM = torch.optim.Adam
GROUP = {"weight_decay": 1e30, "lr": 1e30}
BROKEN: dict[str, tuple[Callable[[], nn.Module], Callable[[Any], Any], str]] = {
    "float16": (Half, lambda p: ADAM(p, 1e-3), "keep it in float32, and give mixed_precision"),
    "eps=0": (Embedded, lambda p: ADAM(p, 1e-3, eps=0), "'rows.weight' of the model.*eps is 0"),
    "tiny eps": (Embedded, lambda p: ADAM(p, 1e-3, eps=1e-300), "eps is 1e-300"),
    "foreach": (Embedded, lambda p: ADAM(p, 1e-3, eps=0, foreach=True), "eps is 0"),
    "fused": (Embedded, lambda p: ADAM(p, 1e-3, eps=0, fused=True), "eps is 0"),
    "rmsprop": (Embedded, lambda p: torch.optim.RMSprop(p, 1e-3, eps=0), "eps is 0"),
    "decay": (Embedded, lambda p: torch.optim.SGD(p, **GROUP), "its rate is 1e.30; lower it"),
    "huge rate": (Embedded, lambda p: torch.optim.SGD(p, 3e38), "its rate is 3e.38; lower it"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_step_to_nan_is_said_before_anything_is_saved_or_validated(
    case: str, tmp_path: Path
) -> None:
    made, optimizer_of, message = BROKEN[case]
    model, records = made(), list[dict[str, float]]()
    trainer = make_trainer(
        model,
        pole_batches([8] * 3),
        fit_loss,
        optimizer=optimizer_of(model.parameters()),
        val_loader=pole_batches([4]),
        log_hook=records.append,
        checkpoint_dir=tmp_path,
        checkpoint_every=2,
    )
    with pytest.raises(NonFiniteError, match=message):
        trainer.fit()
    assert not list(tmp_path.iterdir()), "no checkpoint holds what is not finite"
    assert not [record for record in records if "val_loss" in record]
    for call in (trainer.validate, trainer.state_dict, lambda: trainer.save_checkpoint("x")):
        with pytest.raises(NonFiniteError, match=message):
            call()


@pytest.mark.parametrize("rate", [INF, NAN])
@pytest.mark.parametrize("kind", ["epoch", "skips"])
def test_a_rate_that_is_not_finite_is_the_cause(rate: float, kind: str) -> None:
    """At the end of an epoch, or once the losses are NaN for too long."""
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    trainer = make_trainer(
        model,
        pole_batches([8] * 6),
        fit_loss,
        optimizer=optimizer,
        scheduler=LambdaLR(optimizer, lambda step: rate if step else 1.0),
        max_nonfinite_steps=3 if kind == "skips" else 10,
    )
    with pytest.raises(NonFiniteError, match=f"'body.0.weight' of the model.*rate is {rate}; look"):
        trainer.fit()


def test_a_parameter_of_neither_is_named_by_its_group() -> None:
    model, free = small_model(), nn.Parameter(torch.ones(2))

    def loss(outputs: Any, lifted: Any) -> Tensor:
        return fit_loss(outputs, lifted) + free[0]

    optimizer = ADAM([{"params": model.parameters()}, {"params": [free], "eps": 0.0}])
    trainer = make_trainer(model, pole_batches([8]), loss, optimizer=optimizer)
    with pytest.raises(NonFiniteError, match="parameter 0 of the optimizer's group 1"):
        trainer.fit()


def test_what_is_infinite_from_the_start_or_frozen_is_no_fault() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = small_model()
            self.mask = nn.Parameter(torch.tensor([0.0, -INF]))
            self.frozen = nn.Parameter(torch.tensor([NAN]), requires_grad=False)

        def forward(self, x: Tensor) -> Any:
            return self.inner(x * self.mask.exp())

    model = Masked()
    trainer = make_trainer(model, pole_batches([8] * 2), fit_loss, max_epochs=2)
    trainer.fit()
    trainer.state_dict()
    assert trainer.global_step == 4
    with torch.no_grad():
        model.mask[0] = NAN
    with pytest.raises(NonFiniteError, match="'mask' of the model"):
        trainer.state_dict()


def test_huge_finite_parameters_are_finite() -> None:
    model = Embedded()
    nn.init.constant_(model.rows.weight, 3e38)
    trainer = make_trainer(model, [], fit_loss)
    assert trainer.state_dict()["counters"]["global_step"] == 0


class Normed(nn.Module):
    """Has running statistics, a mask of −∞, and a buffer that each forward replaces."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.inner = nn.BatchNorm1d(2), small_model()
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("mask", torch.tensor([0.0, -INF]))

    def forward(self, x: Tensor) -> Any:
        self.seen = 0.5 * self.seen + x.detach().mean()
        return self.inner(self.norm(x) + self.mask.exp())


class Averaging(nn.Module):
    """A loss that keeps an average of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("average", torch.zeros(()))

    def forward(self, outputs: Batch, lifted: Batch) -> Tensor:
        loss = fit_loss(*(outputs, lifted))
        self.average.mul_(0.5).add_(loss.detach())
        return loss


def faulty_batches() -> list[Batch]:
    """Four batches, of which the second has one NaN cell."""
    batches = pole_batches([8] * 4)
    batches[1][0][3, 1] = NAN
    return batches


SETTINGS: list[dict[str, Any]] = [
    {},
    {"gradient_accumulation_steps": 2},
    {"use_amp": True, "amp_dtype": "bf16"},
    {"use_amp": True, "amp_dtype": "fp16"},
]


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_buffers_survive_a_nan_cell(options: dict[str, Any], on_device: bool) -> None:
    model, loss = Normed(), Averaging()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, fused=True)
    trainer = make_trainer(model, faulty_batches(), loss, optimizer=optimizer, **options)
    set_scale(trainer, 2.0**10)
    trainer.update.skips_on_device = on_device
    trainer.fit()
    assert trainer.skipped_steps == 1
    assert model.mask.tolist() == [0.0, -INF]
    for buffer in (model.norm.running_mean, model.norm.running_var, model.seen, loss.average):
        assert torch.isfinite(buffer).all()
        assert buffer.any(), "the other updates count"


def test_only_what_is_not_finite_returns_to_its_value() -> None:
    model, twin = Normed(), Normed()
    batches = faulty_batches()
    make_trainer(model, batches[:2], fit_loss).fit()
    make_trainer(twin, batches[:1], fit_loss).fit()
    ours, clean = model.norm.running_mean, twin.norm.running_mean
    assert ours[1] == clean[1], "the value from before"
    assert ours[0] != clean[0], "which the forward moved"
    assert model.seen == twin.seen


def test_a_buffer_that_grows_costs_the_others_nothing() -> None:
    class Growing(Normed):
        def forward(self, x: Tensor) -> Any:
            self.mask = torch.cat([self.mask, torch.zeros(2)])
            return self.inner(self.norm(x))

    model, twin = Growing(), Normed()
    batches = faulty_batches()
    make_trainer(model, batches[:2], fit_loss).fit()
    make_trainer(twin, batches[:1], fit_loss).fit()
    ours, clean = model.norm.running_mean, twin.norm.running_mean
    assert (ours[1], ours[0] != clean[0]) == (clean[1], True)


def test_a_half_precision_gradient_may_have_a_norm_beyond_its_dtype() -> None:
    class Levels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.levels = nn.Parameter(torch.ones(4, dtype=torch.float16))

        def forward(self, x: Tensor) -> Any:
            return self.levels.float().sum().expand(len(x)), torch.ones(len(x))

    def steep(outputs: Any, lifted: Any) -> Tensor:
        return 6e4 * outputs[0].mean()

    model = Levels()
    trainer = make_trainer(model, pole_batches([8]), steep, max_grad_norm=1.0)
    trainer.fit()
    assert model.levels.tolist() == pytest.approx([0.95] * 4, abs=1e-3)


@pytest.mark.parametrize("kind", ["instance", "spectral", "lbfgs"])
def test_buffers_of_other_kinds_survive_a_nan_cell(kind: str) -> None:
    inner = nn.Linear(2, 2)
    if kind == "spectral":
        inner = spectral_norm(inner)
    norm = nn.InstanceNorm1d(1, track_running_stats=True) if kind == "instance" else nn.Identity()
    model = Pair(
        nn.Sequential(nn.BatchNorm1d(2), nn.Unflatten(1, (1, 2)), norm, nn.Flatten(), inner)
    )
    optimizer = torch.optim.LBFGS(model.parameters(), 0.1) if kind == "lbfgs" else None
    trainer = make_trainer(model, faulty_batches(), fit_loss, optimizer=optimizer)
    trainer.fit()
    assert trainer.skipped_steps == 1
    assert all(torch.isfinite(buffer).all() for buffer in model.buffers())


@pytest.mark.parametrize("kind", ["expanded", "sparse"])
def test_a_buffer_that_no_forward_can_write_to_is_left_alone(kind: str) -> None:
    fixed = torch.eye(2).to_sparse() if kind == "sparse" else torch.ones(1, 2).expand(3, 2)
    model = Normed()
    model.register_buffer("fixed", fixed)
    trainer = make_trainer(model, faulty_batches(), fit_loss, val_loader=faulty_batches()[:1])
    trainer.fit()
    assert trainer.skipped_steps == 1
    assert model.fixed is fixed
    assert torch.isfinite(model.norm.running_mean).all()


def test_a_search_that_recovers_leaves_finite_buffers() -> None:
    model = Normed()
    optimizer = torch.optim.LBFGS(model.parameters(), 0.1, max_iter=3)
    calls = [0]

    def spoil(module: nn.Module, inputs: Any) -> Any:
        calls[0] += 1
        return (inputs[0] * NAN,) if calls[0] == 3 else None

    model.register_forward_pre_hook(spoil)
    make_trainer(model, pole_batches([8]), fit_loss, optimizer=optimizer).fit()
    assert calls[0] >= 3
    assert torch.isfinite(model.norm.running_mean).all()


def test_a_checkpoint_of_a_sound_run_is_read(tmp_path: Path) -> None:
    trainer = make_trainer(Normed(), faulty_batches(), fit_loss)
    trainer.fit()
    trainer.save_checkpoint(tmp_path / "x.pt")
    state = read_checkpoint(tmp_path / "x.pt")["model"]
    assert torch.isfinite(state["norm.running_mean"]).all()
