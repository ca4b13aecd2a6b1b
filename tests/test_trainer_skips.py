"""Updates that are skipped: which, how they count, and what float16's scale makes of them."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers import (
    fit_loss,
    hand_written,
    make_trainer,
    pole_batches,
    same,
    set_scale,
    small_model,
    weights,
)
from zeroproof.training.scaler import LossScale
from zeroproof.training.trainer import NonFiniteError


@pytest.mark.parametrize("where", ["inputs", "loss"])
def test_one_nan_batch_changes_nothing_and_is_counted(where: str) -> None:
    batches = pole_batches((8, 8, 8))
    if where == "inputs":
        batches[1][0][3, 1] = torch.nan
        loss = fit_loss
    else:

        def loss(outputs: Any, lifted: Any) -> Tensor:
            return fit_loss(outputs, lifted) * (torch.nan if len(lifted[0]) == 7 else 1.0)

        batches[1] = (batches[1][0][:7], batches[1][1][:7])
    model, twin = small_model(), small_model()
    trainer = make_trainer(
        model, batches, loss, optimizer=torch.optim.Adam(model.parameters(), lr=0.01)
    )
    records = trainer.fit()
    hand_written(twin, [batches[0], batches[2]], lr=0.01)
    assert same(weights(model), weights(twin)), "the optimizer's state must not move either"
    assert trainer.skipped_steps == 1
    assert trainer.global_step == 2
    assert [r["skipped"] for r in records] == [0.0, 1.0, 1.0]
    assert [r["loss"] == r["loss"] for r in records] == [True, False, True]


def test_skipped_updates_are_told_once_at_the_end_of_their_epoch() -> None:
    (x, y), *good = pole_batches([8] * 4)
    message = "2 of the epoch's 5 updates were skipped, .*NaN in the inputs"
    with pytest.warns(UserWarning, match=message) as told:
        make_trainer(small_model(), [(x * torch.nan, y)] * 2 + good, max_epochs=3).fit()
    assert len(told) == 1


def test_falls_of_float16s_scale_are_not_told() -> None:
    trainer = make_trainer(
        small_model(), pole_batches((8,)), steep_loss, use_amp=True, amp_dtype="fp16"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.fit()
    assert trainer.skipped_steps == 1


class Overflow(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * torch.inf


def steep_loss(outputs: Any, lifted: Any) -> Tensor:
    """A finite loss with an infinite gradient."""
    result: Tensor = Overflow.apply(fit_loss(outputs, lifted))  # type: ignore[no-untyped-call]
    return result


def test_a_gradient_that_overflows_is_skipped_though_the_loss_is_finite() -> None:
    model = small_model()
    before = weights(model)
    records = (trainer := make_trainer(model, pole_batches((8,)), steep_loss)).fit()
    assert same(weights(model), before)
    assert (trainer.skipped_steps, records[0]["skipped"], trainer.global_step) == (1, 1.0, 0)


@pytest.mark.parametrize("amp_dtype", [None, "bf16", "fp16"])
def test_max_nonfinite_steps_in_a_row_raise_an_error_that_names_the_step(
    amp_dtype: str | None,
) -> None:
    x, y = pole_batches((8,))[0]
    bad = (torch.full_like(x, torch.nan), y)
    options: dict[str, Any] = {"amp_dtype": amp_dtype, "use_amp": True} if amp_dtype else {}
    model = small_model()
    seen: list[dict[str, float]] = []
    trainer = make_trainer(
        model,
        [(x, y), bad, bad, (x, y), bad, bad, bad, (x, y)],
        max_nonfinite_steps=3,
        log_hook=seen.append,
        **options,
    )
    if amp_dtype == "fp16":
        set_scale(trainer, 1.0)
    with pytest.raises(NonFiniteError, match="3 updates in a row were skipped at global step 2"):
        trainer.fit()
    assert trainer.skipped_steps == 5
    assert len(seen) == 7, "the record of the last skipped micro-batch must arrive"
    assert seen[-1]["skipped"] == 5
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_a_float16_scalers_skips_do_not_count_while_its_scale_falls() -> None:
    def loss(outputs: tuple[Tensor, Tensor], lifted: Any) -> Tensor:
        return fit_loss(outputs, lifted)

    model = small_model()
    trainer = make_trainer(
        model,
        pole_batches([8] * 40),
        loss,
        use_amp=True,
        amp_dtype=torch.float16,
        max_nonfinite_steps=2,
    )
    set_scale(trainer, 2.0**40)  # overflows float16 until it has fallen far
    trainer.fit()
    assert trainer.skipped_steps > 2
    assert trainer.global_step == 40 - trainer.skipped_steps > 0


@pytest.mark.parametrize(("scale", "counted"), [(1.0, 1), (1.5, 0), (4.0, 0)])
def test_a_float16_scalers_skip_counts_once_the_scale_cannot_fall(
    scale: float, counted: int
) -> None:
    trainer = make_trainer(
        small_model(), pole_batches((8,)), steep_loss, use_amp=True, amp_dtype="fp16"
    )
    set_scale(trainer, scale)
    trainer.fit()
    assert trainer.skipped_steps == 1
    assert trainer.update.skipped_in_row == counted
    assert trainer.update.scale.value == max(scale / 2, 1.0)


def test_a_nan_loss_does_not_lower_a_float16_scalers_scale() -> None:
    x, y = pole_batches((8,))[0]
    trainer = make_trainer(
        small_model(), [(x, y), (x * torch.nan, y)], use_amp=True, amp_dtype="fp16"
    )
    set_scale(trainer, 8.0)
    trainer.fit()
    assert trainer.update.scale.value == 8.0


def test_the_loss_scale_grows_after_2000_updates_and_falls_at_once() -> None:
    scale, yes, no = LossScale(torch.device("cpu")), torch.tensor(True), torch.tensor(False)

    def apply(count: int) -> float:
        for _ in range(count):
            assert not scale.update(yes, no)
        return float(scale.value)

    assert apply(1999) == 2.0**16
    assert scale.update(no, yes)
    assert scale.value == 2.0**15
    assert not scale.update(no, no), "a loss that is not finite says nothing about it"
    assert apply(1999) == 2.0**15
    assert apply(1) == 2.0**16
    assert apply(1999) == 2.0**16
    assert apply(1) == 2.0**17
    for number, after in ((2.0**127, 2.0**127), (1.0, 2.0)):
        scale.load_state_dict({"scale": number, "streak": 1999})
        assert apply(1) == after
    scale.load_state_dict({"scale": 1.0, "streak": 7})
    assert not scale.update(no, yes), "it cannot fall any further"
    assert scale.state_dict() == {"scale": 1.0, "streak": 0}
    assert isinstance(scale.value, Tensor)
    assert isinstance(scale.update(yes, no), Tensor)


@pytest.mark.parametrize("amp_dtype", [None, "fp16"])
def test_a_norm_that_overflows_ends_in_an_error_under_any_precision(amp_dtype: str | None) -> None:
    class Steep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.k = nn.Parameter(torch.zeros(8))

        def forward(self, outputs: Any, lifted: Any) -> Tensor:
            return fit_loss(outputs, lifted) + 1e25 * self.k.sum()

    model, loss = small_model(), Steep()
    optimizer = torch.optim.SGD([*model.parameters(), *loss.parameters()], lr=0.1)
    options: dict[str, Any] = {"use_amp": True, "amp_dtype": amp_dtype} if amp_dtype else {}
    batches = pole_batches([4] * 200)
    trainer = make_trainer(
        model, batches, loss, optimizer=optimizer, max_nonfinite_steps=3, **options
    )
    with pytest.raises(NonFiniteError, match="3 updates in a row"):
        trainer.fit()
    assert trainer.global_step == 0


@pytest.mark.parametrize("faulty", [0, 1])
def test_a_loss_that_is_not_finite_is_skipped_though_its_gradient_is(faulty: int) -> None:
    sizes = (5, 4)

    def loss(outputs: Any, lifted: Any) -> Tensor:
        return fit_loss(outputs, lifted) + (torch.inf if len(lifted[0]) == sizes[faulty] else 0.0)

    model = small_model()
    before = weights(model)
    trainer = make_trainer(model, pole_batches(sizes), loss, gradient_accumulation_steps=2)
    trainer.fit()
    assert (trainer.skipped_steps, trainer.global_step) == (1, 0)
    assert same(weights(model), before)


@pytest.mark.parametrize("amp_dtype", [None, "bf16", "fp16"])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_skip_on_the_device_is_a_skip_on_the_host(
    amp_dtype: str | None, accumulation: int
) -> None:
    """The path of fused optimizers on CUDA, which learns of a skip one update later."""
    (x, y), *good = pole_batches([8] * 9)
    batches = [*good[:3], (x * torch.nan, y), *good[3:]]

    def loss(outputs: Any, lifted: Any, *, global_step: int) -> Any:
        return fit_loss(outputs, lifted), {"step": torch.tensor(float(global_step))}

    runs = []
    for on_device in (False, True):
        model, seen = small_model(), list[dict[str, float]]()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)
        trainer = make_trainer(
            model,
            batches,
            loss,
            optimizer=optimizer,
            scheduler=torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9),
            gradient_accumulation_steps=accumulation,
            max_epochs=3,
            log_hook=seen.append,
            use_amp=amp_dtype is not None,
            **({"amp_dtype": amp_dtype} if amp_dtype else {}),
        )
        set_scale(trainer, 2.0**10)
        trainer.update.skips_on_device = on_device
        trainer.fit()
        assert trainer.skipped_steps == 3
        runs.append((weights(model), repr(seen), repr(trainer.state_dict()["counters"])))
    assert same(runs[0][0], runs[1][0])
    assert runs[0][1:] == runs[1][1:]


def test_too_many_skips_on_the_device_end_in_the_same_error() -> None:
    (x, y), *_ = pole_batches((8,))
    model = small_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)
    trainer = make_trainer(
        model, [(x, y), *[(x * torch.nan, y)] * 9], optimizer=optimizer, max_nonfinite_steps=3
    )
    trainer.update.skips_on_device = True
    with pytest.raises(NonFiniteError, match="3 updates in a row were skipped at global step 1"):
        trainer.fit()
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert [record["skipped"] for record in trainer.records.records][:4] == [0.0, 1.0, 2.0, 3.0]
