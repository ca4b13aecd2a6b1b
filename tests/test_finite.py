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
    same,
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
    """Has running statistics, a mask of −∞, and a buffer that each forward makes anew."""

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


def modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


@pytest.mark.parametrize("what", ["epochs", "validation", "error"])
def test_a_frozen_batch_norm_stays_in_eval_mode(what: str) -> None:
    model, seen = Normed(), list[list[bool]]()
    model.norm.eval()
    expected = modes(model)
    model.norm.register_forward_pre_hook(lambda *_: seen.append(modes(model)))
    options = {"val_loader": pole_batches([4])} if what == "validation" else {}
    batches: list[Any] = pole_batches([8] * 2)
    trainer = make_trainer(model, batches, fit_loss, max_epochs=3, **options)
    if what == "error":
        batches.append("no batch")
        with pytest.raises(TypeError):
            trainer.fit()
        batches.pop()
    trainer.fit()
    in_training = [x for x in seen if x[0]]
    assert len(in_training) >= 6
    assert all(x == expected for x in in_training)
    assert modes(model) == expected
    assert model.norm.num_batches_tracked == 0


def test_a_model_in_eval_mode_is_trained_in_train_mode() -> None:
    model = Normed().eval()
    make_trainer(model, pole_batches([8]), fit_loss).fit()
    assert all(modes(model))
    assert model.norm.num_batches_tracked == 1


def test_a_parameter_that_is_frozen_in_mid_run_stays_as_it_is() -> None:
    model, seen = small_model(), list[list[Tensor]]()
    body = list(model.body.parameters())  # type: ignore[operator, union-attr]

    def hook(record: dict[str, float]) -> None:
        for parameter in body:
            parameter.requires_grad_(not 2 <= record["micro_step"] < 5)
        seen.append([p.detach().clone() for p in body])

    make_trainer(model, pole_batches([8] * 8), fit_loss, log_hook=hook).fit()
    moved = [not same(seen[i], seen[i + 1]) for i in range(7)]
    assert moved == [True, True, False, False, False, True, True]


class Bag(nn.Module):
    """Embeds features as numbers of rows, in an embedding or a bag, beside dense layers."""

    def __init__(self, kind: str, sparse: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        layer = nn.Embedding if kind == "embedding" else nn.EmbeddingBag
        self.rows, self.inner = layer(6, 2, sparse=sparse), small_model()

    def forward(self, x: Tensor) -> Any:
        rows = self.rows((x * 3 + 3).long().clamp(0, 5))
        return self.inner(rows.sum(1) if rows.dim() == 3 else rows)


SPARSE: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.5),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.1),
}


@pytest.mark.parametrize("kind", ["embedding", "bag"])
@pytest.mark.parametrize("optimizer", SPARSE)
@pytest.mark.parametrize("options", [*SETTINGS, {"max_grad_norm": 0.01}], ids=str)
@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_sparse_gradients_train_as_dense_ones(
    kind: str, optimizer: str, options: dict[str, Any]
) -> None:
    runs = []
    for sparse in (True, False):
        model = Bag(kind, sparse)
        trainer = make_trainer(
            model,
            pole_batches([8] * 4),
            fit_loss,
            optimizer=SPARSE[optimizer](model.parameters()),
            **options,
        )
        set_scale(trainer, 2.0**10)
        trainer.fit()
        assert trainer.skipped_steps == 0
        runs.append(list(model.parameters()))
    for ours, dense in zip(*runs, strict=True):
        torch.testing.assert_close(ours, dense)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_sparse_adam_trains_and_a_fault_is_skipped() -> None:
    model = Bag("embedding", True)
    optimizer = torch.optim.SparseAdam(model.rows.parameters(), 0.1)
    before = model.rows.weight.detach().clone()

    def loss(outputs: Any, lifted: Any, *, global_step: int) -> Tensor:
        return fit_loss(outputs, lifted) * (1.0 if global_step else INF)

    trainer = make_trainer(model, pole_batches([8]), loss, optimizer=optimizer)
    trainer.fit()
    assert trainer.skipped_steps == 1
    assert torch.equal(before, model.rows.weight)
    make_trainer(model, pole_batches([8]), fit_loss, optimizer=optimizer).fit()
    assert not torch.equal(before, model.rows.weight)


def test_a_checkpoint_of_a_sound_run_is_read(tmp_path: Path) -> None:
    trainer = make_trainer(Normed(), faulty_batches(), fit_loss)
    trainer.fit()
    trainer.save_checkpoint(tmp_path / "x.pt")
    state = read_checkpoint(tmp_path / "x.pt")["model"]
    assert torch.isfinite(state["norm.running_mean"]).all()
