"""SCMRegressor: a few huge numbers do not decide the scale of all others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="zeroproof.sklearn needs scikit-learn")

from zeroproof.sklearn import SCMRegressor
from zeroproof.sklearn.fitting import robust_scale


def regressor() -> SCMRegressor:
    return SCMRegressor((32,), n_estimators=2, max_epochs=40, random_state=0)


def table() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 2))
    return x, 2 * x[:, 0] + 5 + 0.1 * random.normal(size=200)


def test_the_ends_of_a_tangent_do_not_decide_the_scale_of_its_targets() -> None:
    x = np.linspace(-np.pi / 2, np.pi / 2, 201)[:, None]
    y = np.tan(x)[:, 0]
    assert abs(y[0]) > 1e16
    model = regressor().fit(x, y)
    assert model.score(x[20:-20], y[20:-20]) > 0.8


@pytest.mark.parametrize("rows", [40, 200])
def test_one_huge_cell_of_a_column_leaves_the_others_apart(rows: int) -> None:
    x, y = (part[:rows] for part in table())
    x[0] = 1e20, -1e20
    _, deviation = robust_scale(x, np.ones(rows))
    assert (deviation < 2).all()
    assert regressor().fit(x, y).score(x[1:], y[1:]) > 0.8


def test_a_column_that_differs_in_one_row_only_has_its_plain_deviation() -> None:
    column = np.zeros((200, 1))
    column[7] = 1e12
    assert robust_scale(column, np.ones(len(column)))[1] == pytest.approx(column.std())
    assert robust_scale(np.full((1, 1), 3.0), np.ones(1))[1] == [1.0]


def test_features_of_any_size_have_predictions() -> None:
    x = np.linspace(-1e-3, 1e-3, 60)[:, None]
    model = SCMRegressor((8,), n_estimators=2, max_epochs=3, random_state=0).fit(x, x[:, 0])
    for huge in (1e308, -1e308):
        assert np.isfinite(model.predict([[huge]])).all()
        assert model.predict_probability([[huge]], -np.inf, np.inf) == pytest.approx(1.0)


def test_an_output_without_a_number_has_no_score() -> None:
    x = np.linspace(-1, 1, 60)[:, None]
    model = SCMRegressor((8,), n_estimators=2, max_epochs=3, random_state=0).fit(x, x[:, 0])
    assert np.isnan(model.score(x[:2], [np.inf, np.nan]))
    assert np.isnan(model.score(x[:1], [-np.inf], y_upper=[np.inf]))
