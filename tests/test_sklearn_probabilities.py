"""SCMRegressor: what it states comes true as often as it says."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

pytest.importorskip("sklearn", reason="zeroproof.sklearn needs scikit-learn")

from zeroproof.sklearn import SCMRegressor, calibration


def noisy(rows: int, seed: int) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    x = random.uniform(-1, 1, (rows, 2))
    return x, x[:, 0] - 0.5 * x[:, 1] + 0.3 * random.normal(size=rows)


def calibration_error(stated: Any, true: Any) -> float:
    """Return by how much shares miss the probabilities, in ten bins of them."""
    bins = np.minimum((10 * stated).astype(int), 9)
    return float(np.abs(np.bincount(bins, stated - true)).sum() / len(true))


@pytest.mark.parametrize("end", [-0.5, 0.0, 0.5])
def test_probabilities_come_true_also_by_bounds(censored: SCMRegressor, end: float) -> None:
    x, y = noisy(4000, seed=1)
    raw = copy.copy(censored)
    raw._spread = [np.array([0.0, 1.0])]  # the likelihood's own
    found = [model.predict_probability(x, end, np.inf) for model in (censored, raw)]
    ours, before = (calibration_error(p, y > end) for p in found)
    assert ours < 0.9 * before


@pytest.fixture(scope="module")
def censored() -> SCMRegressor:
    x, y = noisy(600, seed=0)
    model = SCMRegressor((16,), n_estimators=2, max_epochs=40, random_state=0)
    return model.fit(x, np.minimum(y, 0.5), y_upper=np.where(y > 0.5, np.inf, y))


def test_a_bound_has_the_median_level_of_what_lies_beyond_it() -> None:
    ends = torch.tensor([[0.0], [1.0], [-1.0], [0.1], [-0.1], [torch.inf]], dtype=torch.float64)
    lower, upper = ends.clone(), ends.clone()
    upper[1], lower[4] = torch.inf, -torch.inf  # > 1, < -0.1
    (exact,), (both,) = calibration.levels(lower, upper, torch.zeros(6, 1), torch.ones(6, 1))
    low = 2 / np.pi * np.arctan(0.1)
    assert_allclose(exact, [0, 0, low, 0.5, 1])
    assert_allclose(both, [0, 0, low, 0.5, (1 + low) / 2, 0.75, 1])
    upper[2] = torch.inf  # > -1 holds for -1 to 1, and half of the rest
    (_,), (both,) = calibration.levels(lower, upper, torch.zeros(6, 1), torch.ones(6, 1))
    assert_allclose(both, [0, 0, low, 0.375, (1 + low) / 2, 0.75, 1])


@pytest.fixture(scope="module")
def of_two() -> SCMRegressor:
    x, y = noisy(100, seed=0)
    model = SCMRegressor((8,), n_estimators=2, max_epochs=3, random_state=0)
    return model.fit(x, np.c_[y, -y])


def test_ends_in_one_dimension_are_one_for_each_row(of_two: SCMRegressor) -> None:
    x, _ = noisy(6, seed=1)
    low, high = np.linspace(-1, 0, 6), np.linspace(0, 1, 6)
    whole = of_two.predict_probability(x, low, high)
    for rows in (1, 2, 3):
        part = of_two.predict_probability(x[:rows], low[:rows], high[:rows])
        assert_allclose(part, whole[:rows])
    outputs = [[0.0, -0.5]], [[0.5, 0.0]]
    whole = of_two.predict_probability(x, *outputs)
    for rows in (1, 2, 3):
        assert_allclose(of_two.predict_probability(x[:rows], *outputs), whole[:rows])
    assert_allclose(
        of_two.predict_probability(x, -0.5, [0.5]), of_two.predict_probability(x, [[-0.5]], 0.5)
    )


def test_ends_that_belong_to_no_row_are_refused(of_two: SCMRegressor) -> None:
    x, _ = noisy(3, seed=1)
    message = r"upper has the shape \(2,\); .* one for each of 3 rows, .* \[\[0, 5\]\] .* 2 outputs"
    with pytest.raises(ValueError, match=message):
        of_two.predict_probability(x, -1.0, [5.0, 0.0])
    with pytest.raises(ValueError, match=r"lower has the shape \(3, 3\)"):
        of_two.predict_probability(x, np.zeros((3, 3)), 1.0)
