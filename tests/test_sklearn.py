"""SCMRegressor: what scikit-learn asks of it, and what its targets and predictions mean."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from zeroproof.layers import ProjectiveMLP

pytest.importorskip("sklearn", reason="zeroproof.sklearn needs scikit-learn")

from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from zeroproof.sklearn import SCMRegressor, fitting
from zeroproof.sklearn.ensemble import ProjectiveEnsemble
from zeroproof.sklearn.fitting import held_out, robust_scale

EXCEPTIONS = {
    "check_sample_weight_equivalence_on_dense_data": (
        "which rows are left out and which share a batch is drawn by row, so that a row of weight "
        "2 is not exactly two rows"
    )
}
QUICK: dict[str, Any] = {"n_estimators": 2, "hidden": (16,), "learning_rate": 0.05}
QUICK |= {"max_epochs": 30, "batch_size": 100, "random_state": 0}


def regressor(**options: Any) -> SCMRegressor:
    return SCMRegressor(**(QUICK | options))


def table(rows: int = 200, noise: float = 0.1, seed: int = 0) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    x = random.uniform(-1, 1, (rows, 2))
    return x, x[:, 0] - 0.5 * x[:, 1] + noise * random.normal(size=rows)


@pytest.fixture(scope="module")
def fitted() -> SCMRegressor:
    return regressor().fit(*table())


# In a process of its own: the checks give options of wrong types to ``__init__``, which jaxtyping's
# hook, on in tests, would refuse.
SCRIPT = """
import json, sys, warnings
sys.modules["sklearn"] = None
import zeroproof
try:
    import zeroproof.sklearn
except ImportError as error:
    found = [str(error)]
del sys.modules["sklearn"]
from sklearn.utils.estimator_checks import check_estimator
from zeroproof.sklearn import SCMRegressor
from zeroproof.sklearn.ensemble import ProjectiveEnsemble
model = SCMRegressor((16,), n_estimators=1, max_epochs=8, batch_size=64, learning_rate=0.1)
warnings.simplefilter("ignore")
results = check_estimator(model, on_skip=None, on_fail=None)
failed = {r["check_name"]: repr(r["exception"]) for r in results if r["status"] == "failed"}
print(json.dumps([*found, len(results), failed]))
"""


def test_it_passes_the_checks_of_scikit_learn_but_those_listed_and_is_imported_lazily() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    message, number, failed = json.loads(done.stdout.splitlines()[-1])
    assert "pip install 'zeroproof-scm[apps]'" in message
    assert number > 40
    assert set(failed) == set(EXCEPTIONS), failed


def test_half_of_the_probability_lies_below_a_prediction(fitted: SCMRegressor) -> None:
    x, _ = table(seed=1)
    predicted = fitted.predict(x)
    assert_allclose(fitted.predict_probability(x, -np.inf, predicted), 0.5)
    for level in (0.0, 0.5, 0.9):
        lower, upper = fitted.predict_interval(x, level)
        below = fitted.predict_probability(x, lower, predicted)
        assert_allclose(fitted.predict_probability(x, predicted, upper), below, atol=1e-9)
        assert_allclose(below, level / 2, atol=1e-9)
    assert_allclose(fitted.predict_probability(x, -np.inf, np.inf), 1.0)


def test_intervals_hold_what_they_say(fitted: SCMRegressor) -> None:
    x, y = table(rows=2000, seed=1)
    for level, low, high in ((0.5, 0.4, 0.62), (0.9, 0.85, 0.96), (0.95, 0.91, 0.99)):
        lower, upper = fitted.predict_interval(x, level)
        assert low < ((lower <= y) & (y <= upper)).mean() < high
    assert fitted.score(x, y) > 0.9


@pytest.mark.parametrize("pole", [np.inf, -np.inf, np.nan])
def test_points_at_infinity_are_predicted_as_no_number(pole: float) -> None:
    x = np.linspace(-1, 1, 200)[:, None]
    y = np.where(abs(x) < 0.1, pole, 1 / x)[:, 0]
    model = regressor(hidden=(32, 32), max_epochs=50).fit(x, y)
    bottom = model.predict_bottom(x)
    assert (bottom == ~np.isfinite(y)).mean() > 0.95
    assert_array_equal(np.isnan(model.predict(x)), bottom)
    assert np.median(abs(model.predict(x) - y)[np.isfinite(y) & ~bottom]) < 0.2


def test_without_points_at_infinity_every_prediction_is_a_number() -> None:
    x = np.linspace(-1, 1, 200)[:, None]
    model = regressor().fit(x, 1 / (x[:, 0] - 0.3))
    assert model.tau_ == [0.0]
    assert np.isfinite(model.predict(np.linspace(-3, 3, 2001)[:, None])).all()


def test_bounds_are_intervals_and_what_lies_beyond_the_limits_is_no_number() -> None:
    x, y = table(300, noise=0.05)
    lower, upper = np.minimum(y, 0.4), np.where(y > 0.4, np.inf, y)
    model = regressor(limits=(-np.inf, 0.4)).fit(x, lower, y_upper=upper)
    predicted = model.predict(x)
    assert ((predicted == np.inf) == (y > 0.4)).mean() > 0.9
    assert_array_equal(model.predict_bottom(x), predicted == np.inf)
    free = model.set_params(limits=None).predict(x)
    assert free[y > 0.6].mean() > 0.5  # the bound alone says nothing of how far beyond
    assert model.score(x, lower, y_upper=upper) > 0.9


def test_outputs_that_share_a_denominator_have_their_pole_together() -> None:
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (300, 2))
    away = np.abs(x[:, 0]) > 0.05
    y = np.where(away[:, None], np.c_[1 + x[:, 1], x[:, 1]] / x[:, :1], np.inf)
    model = regressor(hidden=(32, 32), max_epochs=50).fit(x, y)
    assert model.predict(x).shape == model.predict_interval(x)[0].shape == (300, 2)
    found = model.predict(x)[away]
    assert np.nanmedian(abs(found - y[away])) < 0.3
    assert model.tau_.shape == (2,)
    one = regressor(max_epochs=2).fit(x, y[:, :1].clip(-9, 9))
    assert one.predict(x).shape == (300,)


def test_a_row_without_weight_is_not_seen_and_weights_decide() -> None:
    x, y = table()
    junk = np.r_[np.ones(200), np.zeros(50)]
    with_junk = np.r_[x, np.full((50, 2), 1e6)], np.r_[y, np.full(50, 1e9)]
    first = regressor(max_epochs=5).fit(x, y, sample_weight=np.ones(200))
    second = regressor(max_epochs=5).fit(*with_junk, sample_weight=junk)
    assert_array_equal(first.predict(x), second.predict(x))
    both, labels = np.tile(x, (2, 1)), np.repeat([0.0, 1.0], 200)
    for heavy in (0.0, 1.0):
        weight = np.where(labels == heavy, 9.0, 1.0)
        model = regressor(max_epochs=15, batch_size=200)
        predicted = model.fit(both, labels, sample_weight=weight).predict(x)
        assert np.abs(predicted - heavy).mean() < 0.2


def test_groups_are_left_out_together() -> None:
    groups = np.arange(200) % 20
    held = held_out(200, 5, 0.2, groups, seed=0)
    for member in held.T:
        assert member.sum() == 40
        assert not set(groups[member]) & set(groups[~member])


def test_units_change_nothing() -> None:
    x, y = table()
    first = regressor(max_epochs=5).fit(x, y)
    second = regressor(max_epochs=5).fit(8 * x, 1024 * y)
    assert_array_equal(1024 * first.predict(x), second.predict(8 * x))


def test_a_seed_decides_everything_and_the_global_random_state_is_left_alone() -> None:
    x, y = table()
    before = torch.random.get_rng_state()
    first, second, other = (regressor(max_epochs=3, random_state=s).fit(x, y) for s in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert_array_equal(first.predict(x), second.predict(x))
    assert (first.predict(x) != other.predict(x)).any()


def test_the_best_epoch_is_kept_and_training_stops_after_it() -> None:
    x, y = table(noise=2.0)
    model = regressor(n_iter_no_change=5, max_epochs=300).fit(x, y)
    losses = model.history_["val_loss"]
    assert model.best_epoch_ == 1 + int(np.argmin(losses))
    assert len(losses) == len(model.history_["loss"]) == model.best_epoch_ + 5


def test_first_weights_shrink_less_the_more_rows_there_are() -> None:
    network, usual = ProjectiveEnsemble(1, 12, 1), {"learning_rate": 0.1, "weight_decay": None}
    for rows, share in ((40, 6e-4), (240, 6e-4), (1000, 1.44e-4), (10**6, 1e-4)):
        first = fitting.adam(network, rows, usual).param_groups[0]
        assert first["weight_decay"] == pytest.approx(share / 0.1)


def test_it_works_in_pipelines_searches_and_cross_validation() -> None:
    x, y = table(100)
    upper = np.where(y > 0.5, np.inf, y)
    pipeline = make_pipeline(StandardScaler(), regressor(max_epochs=4))
    search = GridSearchCV(pipeline, {"scmregressor__hidden": [(4,), (8,)]}, cv=2)
    search.fit(x, np.minimum(y, 0.5), scmregressor__y_upper=upper)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    found = cross_val_predict(pipeline, x, y, cv=3)
    assert np.isfinite(found).all()
    model = clone(pipeline).fit(x, y)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(x), model.predict(x))


def test_columns_have_names() -> None:
    pandas = pytest.importorskip("pandas", reason="names of columns need pandas")
    x, y = table(60)
    frame = pandas.DataFrame(x, columns=["dose", "age"])
    model = regressor(max_epochs=2).fit(frame, pandas.Series(y))
    assert list(model.feature_names_in_) == ["dose", "age"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"age": "weight"}))


def test_heavy_tails_and_constants_do_no_harm() -> None:
    x, y = table()
    x = np.c_[x, np.full(200, 0.1), np.where(np.arange(200) % 50, 0.0, 1e12)]
    y[:5] = 1e8
    model = regressor().fit(x, y)
    assert model.score(x[5:], y[5:]) > 0.8
    constant = regressor(max_epochs=10).fit(x, np.full(200, 3.0)).predict(x)
    assert np.median(abs(constant - 3.0)) < 0.3
    centre, deviation = robust_scale(x, np.ones(len(x)))
    assert centre[2] == 0.1
    assert deviation[2] == 1.0
    assert deviation[3] > 1e9


def test_scores_are_those_of_scikit_learn_for_numbers(fitted: SCMRegressor) -> None:
    x, y = table(seed=2)
    weight = np.random.default_rng(0).uniform(size=200)
    assert_allclose(fitted.score(x, y), r2_score(y, fitted.predict(x)))
    expected = r2_score(y, fitted.predict(x), sample_weight=weight)
    assert_allclose(fitted.score(x, y, sample_weight=weight), expected)
    y[:3] = [np.inf, -np.inf, np.nan]
    assert_allclose(fitted.score(x, y), r2_score(y[3:], fitted.predict(x[3:])))


TARGETS = np.zeros(20)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ({"y": np.full(20, np.inf)}, {}, "no finite target"),
        ({"y": TARGETS, "y_upper": TARGETS - 1}, {}, "y ≤ y_upper"),
        ({"y": TARGETS * np.nan, "y_upper": TARGETS}, {}, "or both be NaN"),
        ({"y": TARGETS, "y_upper": TARGETS[:9]}, {}, "inconsistent numbers of samples"),
        ({"y": TARGETS.reshape(10, 2)}, {}, "inconsistent numbers of samples"),
        ({"y": np.zeros((20, 2)), "y_upper": np.ones((20, 2))}, {}, "shared_denominator=False"),
        ({"y": TARGETS, "sample_weight": -np.ones(20)}, {}, "Negative values"),
        ({"y": TARGETS, "groups": np.zeros(9)}, {}, "inconsistent numbers of samples"),
        ({"y": TARGETS}, {"max_epochs": -1}, "max_epochs must be ≥ 1"),
    ],
)
def test_errors_name_what_is_wrong(
    arguments: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        regressor(**options).fit(np.zeros((20, 2)), **arguments)


def test_levels_and_ends_are_checked(fitted: SCMRegressor) -> None:
    x, _ = table(10)
    with pytest.raises(ValueError, match="level must be"):
        fitted.predict_interval(x, 1.0)
    for ends in ((1.0, 0.0), (np.nan, 1.0)):
        with pytest.raises(ValueError, match="NaN"):
            fitted.predict_probability(x, *ends)


def test_an_ensemble_is_its_networks_side_by_side() -> None:
    torch.manual_seed(3)
    options: dict[str, Any] = {"hidden": (8, 8), "shared_denominator": True}
    networks = [ProjectiveMLP(3, 2, **options) for _ in range(4)]
    torch.manual_seed(3)
    x = torch.linspace(-1, 1, 15).view(5, 3)
    P, Q = ProjectiveEnsemble(4, 3, 2, **options)((x, torch.ones(5, 4)))
    for member, network in enumerate(networks):
        torch.testing.assert_close((P[:, member], Q[:, member]), network(x))
