"""SCMRegressor: what it states comes true as often as it says."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

pytest.importorskip("sklearn", reason="zeroproof.sklearn needs scikit-learn")

from zeroproof.sklearn import SCMRegressor, fitting


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
    (exact,), (both,) = fitting.levels(lower, upper, torch.zeros(6, 1), torch.ones(6, 1))
    low = 2 / np.pi * np.arctan(0.1)
    assert_allclose(exact, [0, 0, low, 0.5, 1])
    assert_allclose(both, [0, 0, low, 0.5, (1 + low) / 2, 0.75, 1])
    upper[2] = torch.inf  # > -1 holds for -1 to 1, and half of the rest
    (_,), (both,) = fitting.levels(lower, upper, torch.zeros(6, 1), torch.ones(6, 1))
    assert_allclose(both, [0, 0, low, 0.375, (1 + low) / 2, 0.75, 1])
