"""SCMRegressor: a fit that was broken off continues exactly; hooks and mixed targets."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

pytest.importorskip("sklearn", reason="zeroproof.sklearn needs scikit-learn")

from sklearn.exceptions import NotFittedError

from zeroproof.sklearn import SCMRegressor, fitting, regressor
from zeroproof.training import CheckpointError


def table() -> tuple[Any, Any, Any]:
    """200 rows: numbers, bounds and poles."""
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (200, 2))
    y = x[:, 0] - 0.5 * x[:, 1] + 0.1 * random.normal(size=200)
    upper, lower = np.where(y > 0.7, np.inf, y), np.minimum(y, 0.7)
    lower[:5] = upper[:5] = np.nan
    return x, lower, upper


def fit(folder: Path | None, epochs: int = 6, hook: Any = None, shift: float = 0.0) -> SCMRegressor:
    x, lower, upper = table()
    options = {"checkpoint_dir": folder, "log_hook": hook}
    model = SCMRegressor((8,), n_estimators=2, max_epochs=epochs, random_state=0)
    model.set_params(trainer_options=options)
    x[0] += shift
    return model.fit(x, lower, y_upper=upper)


def assert_same(one: SCMRegressor, other: SCMRegressor) -> None:
    x = table()[0]
    assert_array_equal(one.predict(x), other.predict(x))
    assert_array_equal(one.predict_interval(x), other.predict_interval(x))
    assert one.history_ == other.history_
    assert one.best_epoch_ == other.best_epoch_


def interrupted_after(records: int) -> Callable[[dict[str, float]], None]:
    seen = list[dict[str, float]]()

    def hook(record: dict[str, float]) -> None:
        seen.append(record)
        if len(seen) == records:
            os.kill(os.getpid(), signal.SIGINT)

    return hook


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("records", [1, 5, 8, 9, 20])
def test_an_interrupted_fit_continues_exactly(
    tmp_path: Path, records: int, foreground: None
) -> None:
    whole = fit(None)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, hook=interrupted_after(records))
    seen = list[dict[str, float]]()
    assert_same(fit(tmp_path, hook=seen.append), whole)
    assert min(record.get("micro_step", 99) for record in seen) >= records * 7 // 8 - 1
    assert_same(fit(tmp_path), whole)  # there is nothing left to train


def test_a_longer_fit_continues_with_the_rates_of_its_own_length(tmp_path: Path) -> None:
    rates = list[float]()

    def hook(record: dict[str, float]) -> None:
        rates.append(record.get("lr", np.nan))

    short = fit(tmp_path)
    longer = fit(tmp_path, epochs=12, hook=hook)
    for name in ("loss", "val_loss"):
        assert longer.history_[name][:6] == short.history_[name]
        assert len(longer.history_[name]) == 12
    whole = list[float]()
    fit(None, epochs=12, hook=lambda record: whole.append(record.get("lr", np.nan)))
    assert_array_equal(rates[1:], whole[-len(rates) + 1 :])
    assert (np.diff([rate for rate in whole if rate == rate]) < 0).all()
    with pytest.raises(CheckpointError, match="other rows or options"):
        fit(tmp_path, epochs=12, shift=1.0)


def test_what_was_best_is_kept_with_the_losses() -> None:
    best, other = (fitting.EarlyStopping(9, "same", None) for _ in range(2))
    best.history, best.weights = {"loss": [3.0], "val_loss": [2.0]}, {"weight": 1.0}
    other.load_state_dict(best.state_dict())
    assert (other.history, other.weights) == (best.history, best.weights)


def test_training_is_saved_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = list[int]()
    monkeypatch.setattr(fitting, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    fit(tmp_path, hook=lambda record: found.append(len(list(tmp_path.glob("*.pt")))))
    assert max(found) > 1


def test_a_pole_without_a_sign_may_stand_beside_intervals() -> None:
    x = np.linspace(-1, 1, 200)[:, None]
    lower = np.where(abs(x) < 0.1, np.nan, 1 / x)[:, 0]
    upper = np.where(lower > 5, np.inf, lower)
    lower = np.where(lower > 5, 5, lower)
    model = SCMRegressor((32, 32), n_estimators=2, max_epochs=60, random_state=0)
    model.fit(x, lower, y_upper=upper)
    assert (model.predict_bottom(x) == np.isnan(lower)).mean() > 0.9
    assert np.isfinite(model.score(x, lower, y_upper=upper))
    exact = np.c_[lower, 2 * lower]
    exact[np.isnan(exact)] = np.inf
    both = [SCMRegressor((8,), n_estimators=2, max_epochs=2, random_state=0) for _ in range(2)]
    both[0].fit(x, exact)
    both[1].fit(x, exact, y_upper=exact)  # with no interval among them the outputs may share
    assert_array_equal(*(model.predict(x) for model in both))


@pytest.mark.parametrize("broken", ["hook", "check_params", "threshold"])
def test_a_fit_that_is_broken_off_leaves_no_model(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*parts: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    x, lower, upper = table()
    model = fit(None, epochs=2)
    assert np.isfinite(model.predict_interval(x)).all()
    if broken == "hook":
        model.set_params(trainer_options={"log_hook": stop})
    else:
        monkeypatch.setattr(regressor, broken, stop)
    with pytest.raises(KeyboardInterrupt):
        model.fit(100 * x, 1000 * lower, y_upper=1000 * upper)
    for method in (model.predict, model.predict_bottom, model.predict_interval):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            method(x)
    assert not hasattr(model, "tau_")
    never = SCMRegressor((8,), max_epochs=2, trainer_options={"log_hook": stop})
    with pytest.raises(KeyboardInterrupt):
        never.fit(x, lower, y_upper=upper)
    with pytest.raises(NotFittedError):
        never.predict(x)
