"""Accumulation, clipping, schedulers and precision."""

from __future__ import annotations

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
from zeroproof.losses import SCMTrainingLoss

F64 = torch.float64


@pytest.mark.parametrize(
    "sizes", [(4, 4, 4, 4, 4), (7, 1, 3, 12, 5), (1, 30, 2, 2, 9), (2, 4, 2, 4, 2)]
)
def test_five_micro_batches_by_two_make_three_updates_of_concatenated_batches(
    sizes: tuple[int, ...],
) -> None:
    batches = pole_batches(sizes, dtype=F64)
    model, twin = small_model(dtype=F64), small_model(dtype=F64)
    trainer = make_trainer(
        model,
        batches,
        fit_loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=0.01),
        gradient_accumulation_steps=2,
    )
    trainer.fit()
    assert trainer.global_step == 3
    windows = [batches[0:2], batches[2:4], batches[4:5]]
    joined = [(torch.cat([x for x, _ in w]), torch.cat([y for _, y in w])) for w in windows]
    hand_written(twin, joined, lr=0.01)
    for ours, theirs in zip(weights(model), weights(twin), strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)


def test_without_options_training_is_bitwise_the_hand_written_loop() -> None:
    batches = pole_batches((16, 16, 3))
    model, twin = small_model(), small_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    make_trainer(model, batches, fit_loss, optimizer=optimizer).fit()
    hand_written(twin, batches, lr=0.01)
    assert same(weights(model), weights(twin))


def test_a_losss_own_parameter_gets_the_windows_mean_gradient_too() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones((), dtype=F64))

        def forward(self, outputs: Any, lifted: Any) -> Tensor:
            return self.scale * fit_loss(outputs, lifted)

    batches = pole_batches((5, 2), dtype=F64)
    moved = []
    for accumulation, data in (
        (2, batches),
        (1, [tuple(map(torch.cat, zip(*batches, strict=True)))]),
    ):
        model, loss = small_model(dtype=F64), Scaled()
        optimizer = torch.optim.SGD([*model.parameters(), *loss.parameters()], lr=1.0)
        make_trainer(
            model, data, loss, optimizer=optimizer, gradient_accumulation_steps=accumulation
        ).fit()
        moved.append(loss.scale.item())
    assert moved[0] == pytest.approx(moved[1], abs=1e-12)
    assert moved[0] != 1.0


def test_no_gradient_crosses_an_epoch() -> None:
    batches = pole_batches((4, 4, 4))
    model = small_model()
    trainer = make_trainer(model, batches, gradient_accumulation_steps=2, max_epochs=2)
    for p in model.parameters():
        p.grad = torch.full_like(p, 1e3)
    trainer.fit()
    assert trainer.global_step == 4
    assert all(p.grad is None for p in model.parameters())
    fresh = small_model()
    make_trainer(fresh, batches, gradient_accumulation_steps=2, max_epochs=2).fit()
    assert same(weights(model), weights(fresh))


def test_gradients_outside_the_optimizer_or_outside_the_modules_end_with_their_window() -> None:
    model, outside = small_model(), nn.Parameter(torch.ones(()))
    batches = pole_batches((4, 5))

    def loss(outputs: Any, lifted: Any) -> Tensor:
        # The parameter of a loss that is no module; the second window does not reach it.
        return fit_loss(outputs, lifted) * (outside if len(lifted[0]) == 4 else 1.0)

    optimizer = torch.optim.SGD([*model.head.parameters(), outside], lr=0.1, momentum=0.9)
    trainer = make_trainer(model, batches, loss, optimizer=optimizer)
    trainer.train_step(batches[0])
    after_one = outside.item()
    trainer.train_step(batches[1])
    assert after_one != 1.0
    assert outside.item() == after_one, "without a gradient even momentum moves nothing"
    assert outside.grad is None
    assert all(p.grad is None for p in model.parameters()), "the body is in no optimizer"


def test_the_logged_loss_is_the_micro_batchs_own() -> None:
    batches = pole_batches((4, 4))
    model = small_model()
    expected = [fit_loss(model(x), (y, torch.ones_like(y))).item() for x, y in batches]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    records = make_trainer(
        model, batches, fit_loss, optimizer=optimizer, gradient_accumulation_steps=2
    ).fit()
    assert [r["loss"] for r in records] == expected


def test_max_grad_norm_clips_the_update() -> None:
    batches = pole_batches((8,))
    steps = []
    for limit in (None, 1e-3):
        model = small_model()
        before = weights(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        make_trainer(model, batches, fit_loss, optimizer=optimizer, max_grad_norm=limit).fit()
        moved = [a - b for a, b in zip(weights(model), before, strict=True)]
        steps.append(torch.cat([m.flatten() for m in moved]).norm().item())
    assert steps[0] > 2e-3
    assert steps[1] == pytest.approx(1e-3, rel=1e-3)


def test_an_optimizers_own_way_to_clear_gradients_is_its_own() -> None:
    class Own(torch.optim.SGD):
        cleared = 0

        def zero_grad(self, set_to_none: bool = True) -> None:
            self.cleared += 1
            super().zero_grad(set_to_none)

    model = small_model()
    optimizer = Own(model.parameters(), lr=0.1)
    trainer = make_trainer(model, pole_batches((4, 4, 4)), optimizer=optimizer)
    optimizer.cleared = 0
    trainer.fit()
    assert optimizer.cleared == 1 + 3, "before the first window, and after each"


def test_the_scheduler_and_global_step_advance_only_on_applied_updates() -> None:
    x, y = pole_batches((8,))[0]
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    trainer = make_trainer(
        model,
        [(x, y)] * 4 + [(x * torch.nan, y)] * 2,
        optimizer=optimizer,
        scheduler=scheduler,
        gradient_accumulation_steps=2,
    )
    records = trainer.fit()
    assert (trainer.global_step, trainer.micro_step) == (2, 6)
    assert optimizer.param_groups[0]["lr"] == 0.25
    assert [r["lr"] for r in records] == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize("amp_dtype", [torch.float16, torch.bfloat16])
def test_mixed_precision_runs_the_model_in_the_dtype_asked_for_and_the_loss_in_float32(
    amp_dtype: torch.dtype,
) -> None:
    seen: dict[str, torch.dtype] = {}
    model = small_model(head="free")
    model.body[0].register_forward_hook(lambda m, i, o: seen.update(model=o.dtype))

    def loss(outputs: tuple[Tensor, Tensor], lifted: tuple[Tensor, Tensor]) -> Tensor:
        product = torch.eye(2) @ torch.eye(2)
        seen.update(loss=outputs[0].dtype, autocast=product.dtype)
        return fit_loss(outputs, lifted)

    trainer = make_trainer(
        model, pole_batches((8, 8)), loss, mixed_precision=True, amp_dtype=amp_dtype
    )
    trainer.fit()
    assert seen == {"model": amp_dtype, "loss": torch.float32, "autocast": torch.float32}
    assert (trainer.update.scale is not None) == (amp_dtype == torch.float16)


def test_with_amp_off_the_run_is_bitwise_that_without_the_option() -> None:
    runs = []
    for options in ({}, {"mixed_precision": False, "amp_dtype": "bf16"}, {"use_amp": False}):
        model = small_model()
        make_trainer(model, pole_batches((8, 8)), **options).fit()
        runs.append(weights(model))
    assert same(runs[0], runs[1])
    assert same(runs[0], runs[2])


@pytest.mark.parametrize("inside", [{}, {"mixed_precision": True, "amp_dtype": "bf16"}])
def test_a_run_inside_an_autocast_sees_its_own_steps(inside: dict[str, Any]) -> None:
    first, second = (small_model(), small_model())
    make_trainer(first, pole_batches((8,) * 4), mixed_precision=True, amp_dtype="bf16").fit()
    with torch.autocast("cpu", torch.bfloat16):  # which keeps its copies of weights to its end
        make_trainer(second, pole_batches((8,) * 4), **inside).fit()
    assert same(weights(first), weights(second))


def test_use_amp_is_mixed_precision() -> None:
    runs = []
    for name in ("use_amp", "mixed_precision"):
        model = small_model()
        make_trainer(model, pole_batches((8, 8)), amp_dtype="bf16", **{name: True}).fit()
        runs.append(weights(model))
    plain = small_model()
    make_trainer(plain, pole_batches((8, 8))).fit()
    assert same(runs[0], runs[1])
    assert not same(runs[0], weights(plain))


def test_a_loss_without_gradient_is_named() -> None:
    def loss(outputs: tuple[Tensor, Tensor], lifted: Any) -> Tensor:
        return outputs[0].detach().sum()

    with pytest.raises(ValueError, match="the loss has no gradient"):
        make_trainer(small_model(), pole_batches((4,)), loss).fit()
    with torch.no_grad(), pytest.raises(ValueError, match=r"torch\.no_grad\(\)"):
        make_trainer(small_model(), pole_batches((4,))).fit()


def test_train_step_by_hand_equals_fit() -> None:
    batches = pole_batches((4, 4, 4, 4, 4))
    model, twin = small_model(), small_model()
    options = {"gradient_accumulation_steps": 2, "tau_train_min": 0.1, "tau_train_max": 0.5}
    by_hand = make_trainer(model, batches, SCMTrainingLoss(), **options)
    windows = batches[:2], batches[2:4], batches[4:]
    records = [by_hand.train_step(*window) for window in windows]
    fitted = make_trainer(twin, batches, SCMTrainingLoss(), **options).fit()
    assert repr(records) == repr([fitted[1], fitted[3], fitted[4]]), "of each window the last"
    assert repr(list(by_hand.records.records)) == repr(fitted)
    assert same(weights(model), weights(twin))


@pytest.mark.parametrize("options", [{"gradient_accumulation_steps": 4}, {"amp_dtype": "fp16"}])
def test_clipping_sees_the_windows_own_gradient(options: dict[str, Any]) -> None:
    batches = pole_batches([8] * 4)
    moves = []
    for limit in (None, 1e3, 1e-3):
        model = small_model()
        before = weights(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        amp = {"use_amp": True} if "amp_dtype" in options else {}
        trainer = make_trainer(
            model,
            batches if not amp else batches[:1],
            fit_loss,
            optimizer=optimizer,
            max_grad_norm=limit,
            **options,
            **amp,
        )
        if amp:
            set_scale(trainer, 2.0**12)
        trainer.fit()
        moved = [a - b for a, b in zip(weights(model), before, strict=True)]
        moves.append(torch.cat([m.flatten() for m in moved]).norm().item())
    assert moves[0] == pytest.approx(moves[1], rel=1e-3), "a high limit clips nothing"
    assert moves[2] == pytest.approx(1e-3, rel=1e-2)
