"""SCMRegressor: options of the trainer count in a fit that is continued, and in its rates."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="zeroproof.sklearn needs scikit-learn")

from tests.test_sklearn import table
from zeroproof.sklearn import SCMRegressor
from zeroproof.training import CheckpointError


def fit(random_state: Any = 0, epochs: int = 4, **options: Any) -> SCMRegressor:
    model = SCMRegressor((8,), n_estimators=2, max_epochs=epochs, random_state=random_state)
    return model.set_params(trainer_options=options).fit(*table(rows=100))


def test_a_fit_of_any_seed_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"checkpoint_dir needs a random_state, .*None; .*=0"):
        fit(None, checkpoint_dir=tmp_path)
    assert not [*tmp_path.iterdir()]
    fit(None, epochs=1, checkpoint_dir=None)


def half(epoch: int) -> dict[str, float]:
    return {"resolution": 0.5}


@pytest.mark.parametrize(
    "changed",
    [
        {"gradient_accumulation_steps": 2},
        {"max_grad_norm": 1e-3},
        {"loss_weights": {"resolution": 0.5}},
        {"loss_curriculum": half},
        {"gradient_policy": "clamp"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_other_options_make_another_fit(tmp_path: Path, changed: dict[str, Any]) -> None:
    fit(checkpoint_dir=tmp_path)
    with pytest.raises(CheckpointError, match="other rows or options"):
        fit(checkpoint_dir=tmp_path, **changed)


def test_options_that_leave_training_as_it_is_continue_it(tmp_path: Path) -> None:
    seen = list[Any]()
    whole = fit(epochs=6)
    options: dict[str, Any] = {"loss_curriculum": lambda epoch: {}}  # which cannot be pickled
    fit(checkpoint_dir=tmp_path, checkpoint_every=3, **options)
    more = {"log_hook": seen.append, "history_limit": 9, "gradient_accumulation_steps": 1}
    more |= {"loss_curriculum": lambda epoch: {}, "keep_checkpoints": 1}
    found = fit(epochs=6, checkpoint_dir=tmp_path, **more)
    assert min(record["epoch"] for record in seen) == 4
    assert len(found.history_["loss"]) == len(whole.history_["loss"]) == 6


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_the_rate_falls_to_the_end_of_half_a_cosine(micro_batches: int) -> None:
    rates = list[float]()

    def hook(record: dict[str, float]) -> None:
        rates.append(record.get("lr", math.nan))

    fit(epochs=10, gradient_accumulation_steps=micro_batches, log_hook=hook)
    assert rates[0] == 3e-3
    assert np.nanmin(rates) < 0.1 * rates[0]


def test_the_steps_of_the_scheduler_are_the_regressors_own() -> None:
    with pytest.raises(ValueError, match=r"trainer_options has \['scheduler_step'\]"):
        fit(scheduler_step="epoch")


def test_a_shorter_fit_than_the_folders_is_refused(tmp_path: Path) -> None:
    fit(epochs=4, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="a fit of 4 epochs, more than max_epochs=3; give another"):
        fit(epochs=3, checkpoint_dir=tmp_path)


def test_state_of_the_regressors_own_name_is_refused() -> None:
    options = {"extra_state": {"best": None}}
    with pytest.raises(ValueError, match="extra_state has 'best'"):
        fit(**options)
