"""When schedulers step, and what a plateau is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LambdaLR,
    LinearLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
)

from tests.helpers import finite_batches, make_trainer, pole_batches, same, small_model, weights
from zeroproof.training.schedulers import SchedulerStepper
from zeroproof.training.trainer import TrainingConfig


def halving(step: str, **options: Any) -> list[float]:
    """The learning rates in the records of a run whose scheduler halves them."""
    model = small_model()
    optimizer = torch.optim.SGD(
        [{"params": model.body.parameters()}, {"params": model.head.parameters(), "lr": 0.5}],
        lr=1.0,
    )
    scheduler = LambdaLR(optimizer, [lambda k: 0.5**k, lambda k: 1.0])
    trainer = make_trainer(
        model,
        finite_batches(3),
        optimizer=optimizer,
        scheduler=scheduler,
        max_epochs=3,
        scheduler_step=step,
        val_loader=finite_batches(1),
        **options,
    )
    records = trainer.fit()
    assert optimizer.param_groups[1]["lr"] == 0.5, "each group has its own schedule"
    return [record["lr"] for record in records]


def test_a_scheduler_steps_after_updates_epochs_or_validations() -> None:
    assert halving("update") == [0.5**k for k in range(9)]
    assert halving("update", gradient_accumulation_steps=2)[:3] == [1.0, 1.0, 0.5]
    assert halving("epoch") == halving("val") == [1.0] * 3 + [0.5] * 3 + [0.25] * 3


@pytest.mark.parametrize(("metric", "mode"), [("val_loss", "min"), ("val_coverage", "max")])
def test_a_plateau_gets_the_metric_it_asks_for(metric: str, mode: Any) -> None:
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    scheduler = ReduceLROnPlateau(
        optimizer, mode, factor=0.5, patience=0, threshold=10.0, threshold_mode="abs"
    )
    trainer = make_trainer(
        model,
        finite_batches(2),
        optimizer=optimizer,
        scheduler=scheduler,
        max_epochs=4,
        scheduler_step="val",
        scheduler_metric=metric,
        val_loader=finite_batches(1),
    )
    trainer.fit()
    assert scheduler.best == trainer.val_history[0][metric], "nothing is better by ten"
    assert optimizer.param_groups[0]["lr"] == 0.5 * 0.5**3


def plateau(mode: Any = "min", **options: Any) -> Any:
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    given = {"optimizer": optimizer, "scheduler": ReduceLROnPlateau(optimizer, mode)}
    return make_trainer(model, finite_batches(2), **given, **options)


def test_a_plateau_without_a_metric_or_with_its_wrong_sign_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a metric; give scheduler_step='val'"):
        plateau()
    with pytest.raises(ValueError, match="'val' needs a val_loader"):
        plateau(scheduler_step="val")
    options = {"scheduler_step": "val", "val_loader": finite_batches(1)}
    with pytest.raises(ValueError, match="val_loss is better when it is smaller; make it 'min'"):
        plateau("max", **options)
    with pytest.raises(ValueError, match="val_coverage is better when it is larger; make it 'max'"):
        plateau(scheduler_metric="val_coverage", **options)
    for metric in ("val_bottom_recall", "val_denom_abs_min"):
        plateau("max", scheduler_metric=metric, **options)
    with pytest.raises(KeyError, match=r"scheduler_metric 'val_mae' is not in .* val_coverage"):
        plateau(scheduler_metric="val_mae", **options).fit()


@pytest.mark.parametrize("step", ["update", "epoch", "val"])
def test_a_state_saved_in_the_hook_holds_the_schedulers_step(
    step: str, tmp_path: Path, unchecked: None
) -> None:
    def trainer(epochs: int, hook: Any = None) -> Any:
        model = small_model()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        return make_trainer(
            model,
            pole_batches((4, 4)),
            optimizer=optimizer,
            scheduler=LambdaLR(optimizer, lambda k: 0.5**k),
            max_epochs=epochs,
            scheduler_step=step,
            val_loader=pole_batches((4,)),
            log_hook=hook,
        )

    def hook(record: dict[str, float]) -> None:
        if record.get("val_loss") is not None and record["epoch"] == 1:
            whole.save_checkpoint(tmp_path / "run.pt")

    whole = trainer(4, hook)
    whole.fit()
    resumed = trainer(4)
    resumed.load_checkpoint(tmp_path / "run.pt")
    resumed.fit()
    assert same(weights(resumed.model), weights(whole.model))


def cycle(optimizer: Any, total: int) -> Any:
    return OneCycleLR(optimizer, 0.1, total_steps=total)


def warm_up(optimizer: Any, total: int) -> Any:
    """Two steps of another scheduler, of which the second is the cycle's first."""
    parts = [LinearLR(optimizer, total_iters=2), cycle(optimizer, total)]
    return SequentialLR(optimizer, parts, milestones=[2])


def chained(optimizer: Any, total: int) -> Any:
    return ChainedScheduler([LinearLR(optimizer), cycle(optimizer, total)])


@pytest.mark.parametrize("schedule", [cycle, warm_up, chained])
def test_a_momentum_is_not_compiled_in(
    schedule: Any, monkeypatch: pytest.MonkeyPatch, unchecked: None
) -> None:
    monkeypatch.setattr(torch, "compile", lambda f, **_: f)
    trainer = scheduled(schedule, 30, compile=True)
    with pytest.raises(ValueError, match=r"\{'momentum'\} changed; .* cycle_momentum=False"):
        trainer.fit()
    assert trainer.global_step <= 3


def scheduled(schedule: Any, total: int, batches: Any = None, **options: Any) -> Any:
    """A trainer of 3 epochs of 5 micro-batches, 3 updates each, under a scheduler."""
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    options = {"max_epochs": 3, "gradient_accumulation_steps": 2} | options
    batches = finite_batches(5) if batches is None else batches
    scheduler = schedule(optimizer, total)
    return make_trainer(model, batches, optimizer=optimizer, scheduler=scheduler, **options)


@pytest.mark.parametrize(
    ("schedule", "most", "step"),
    [
        (cycle, 9, "update"),
        (cycle, 3, "epoch"),
        (cycle, 3, "val"),
        (warm_up, 7, "update"),
        (chained, 9, "update"),
    ],
)
def test_a_scheduler_that_ends_too_early_is_refused_first(
    schedule: Any, most: int, step: str
) -> None:
    options = {"scheduler_step": step, "val_loader": finite_batches(1)}
    trainer = scheduled(schedule, most, **options)
    trainer.fit()
    assert trainer.global_step == 9
    trainer = scheduled(schedule, most - 1, **options)
    message = f"ends after {most - 1} steps, but training makes {most}; give it total_steps={most}"
    with pytest.raises(ValueError, match=message):
        trainer.fit()
    assert trainer.micro_step == 0


def test_the_length_of_training_is_known_before_the_trainer() -> None:
    config, loader = TrainingConfig(max_epochs=3, gradient_accumulation_steps=2), finite_batches(5)
    planned = config.planned_updates(loader)
    trainer = scheduled(cycle, planned, loader)
    assert trainer.planned_updates == planned == 9
    assert config.planned_updates(iter(loader)) is None
    trainer.fit()
    assert trainer.global_step == planned


@pytest.mark.parametrize("step", ["update", "epoch"])
def test_a_longer_resume_is_refused_first(step: str) -> None:
    most = {"update": 6, "epoch": 2}[step]
    first = scheduled(cycle, most, max_epochs=2, scheduler_step=step)
    first.fit()
    longer = scheduled(cycle, 1000, scheduler_step=step)
    longer.load_state_dict(first.state_dict())
    with pytest.raises(ValueError, match=f"after {most} steps.*checkpoint"):
        longer.fit()
    assert longer.global_step == 6


def test_the_rest_of_a_run_is_what_counts(tmp_path: Path) -> None:
    whole = scheduled(cycle, 9, checkpoint_dir=tmp_path, checkpoint_every=1, keep_checkpoints=9)
    whole.fit()
    for path in tmp_path.iterdir():
        resumed = scheduled(cycle, 9)
        resumed.load_checkpoint(path)
        if resumed.epoch < 3:
            resumed.fit()
        assert resumed.global_step == 9
        assert same(weights(resumed.model), weights(whole.model))


@pytest.mark.parametrize(
    "schedule",
    [
        lambda optimizer, total: CosineAnnealingLR(optimizer, total),
        lambda optimizer, total: CosineAnnealingWarmRestarts(optimizer, total),
        lambda optimizer, total: PolynomialLR(optimizer, total),
        lambda optimizer, total: LinearLR(optimizer, total_iters=total),
        lambda optimizer, total: LambdaLR(optimizer, lambda k: max(0.0, 1 - k / total)),
    ],
)
def test_schedulers_that_do_not_end_are_taken(schedule: Any) -> None:
    trainer = scheduled(schedule, 2)
    trainer.fit()
    assert trainer.global_step == 9


def test_skipped_updates_take_no_steps_of_a_scheduler() -> None:
    batches = finite_batches(5)
    batches[2][0].fill_(torch.nan)
    trainer = scheduled(cycle, 9, batches)
    trainer.fit()
    assert (trainer.skipped_steps, trainer.scheduler.scheduler.last_epoch) == (3, 6)


def test_an_epoch_of_skipped_updates_is_no_wrong_order_of_calls() -> None:
    batches = [(inputs * torch.nan, targets) for inputs, targets in finite_batches(2)]
    trainer = scheduled(cycle, 1, batches, max_epochs=1, scheduler_step="epoch")
    trainer.fit()
    assert (trainer.skipped_steps, trainer.scheduler.scheduler.last_epoch) == (1, 1)


def test_a_loader_without_a_length_is_not_judged() -> None:
    class Stream:
        def __iter__(self) -> Any:
            return iter(finite_batches(5))

    trainer = scheduled(cycle, 9, Stream())
    assert trainer.planned_updates is None
    trainer.fit()
    assert trainer.global_step == 9


def test_a_scheduler_of_another_optimizer_is_refused() -> None:
    model = small_model()
    first, second = (torch.optim.SGD(model.parameters(), lr=0.1) for _ in range(2))
    with pytest.raises(ValueError, match="rates of another optimizer"):
        make_trainer(model, finite_batches(1), optimizer=first, scheduler=cycle(second, 9))


def test_a_plateau_refuses_a_metric_that_is_nan() -> None:
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    (x, y), *_ = finite_batches(1)
    for loader, metric in (([(x * torch.nan, y)], "val_loss"), ([(x, y)], "val_bottom_recall")):
        mode: Any = "min" if metric == "val_loss" else "max"
        trainer = make_trainer(
            model,
            finite_batches(2),
            optimizer=optimizer,
            scheduler=ReduceLROnPlateau(optimizer, mode, patience=0),
            scheduler_step="val",
            scheduler_metric=metric,
            val_loader=loader,
        )
        with pytest.raises(ValueError, match=f"'{metric}' is nan, which would cut the rate"):
            trainer.fit()
        assert optimizer.param_groups[0]["lr"] == 0.5


def test_a_validation_that_is_due_counts_in_a_schedulers_length() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    config = TrainingConfig(max_epochs=3, scheduler_step="val", val_loader=[])
    stepper = SchedulerStepper(cycle(optimizer, 2), config, optimizer)
    stepper.check_length([], 1, 0, due=False)
    with pytest.raises(ValueError, match="ends after 2 steps, but training makes 3"):
        stepper.check_length([], 1, 0, due=True)
