"""When schedulers step, and what a plateau is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from tests.helpers import finite_batches, make_trainer, pole_batches, same, small_model, weights


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
    scheduler = ReduceLROnPlateau(optimizer, mode)
    return make_trainer(
        model, finite_batches(2), optimizer=optimizer, scheduler=scheduler, **options
    )


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
