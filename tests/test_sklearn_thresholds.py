"""SCMRegressor: which rows decide what is a pole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

pytest.importorskip("sklearn", reason="zeroproof.sklearn needs scikit-learn")

from sklearn.utils import check_random_state

from zeroproof.sklearn import SCMRegressor
from zeroproof.sklearn.calibration import drawn, threshold
from zeroproof.sklearn.fitting import held_out

ROWS, POLE = 201, 100
INF = torch.inf


def left_out(seed: int) -> bool:
    """Whether one of two networks leaves out the row of the pole."""
    drawn = int(check_random_state(seed).randint(2**31 - 1))
    return bool(held_out(ROWS, 2, 0.2, None, drawn)[POLE].any())


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("held", [True, False])
def test_a_pole_counts_whether_a_network_left_it_out_or_not(held: bool, outputs: int) -> None:
    seed = next(seed for seed in range(99) if left_out(seed) == held)
    x = np.linspace(-1, 1, ROWS)[:, None]
    with np.errstate(divide="ignore"):
        x[POLE] = 0.0
        y = np.repeat(1 / x, outputs, axis=1)
    y[:, 1:] = x + 2
    model = SCMRegressor((32, 32), n_estimators=2, max_epochs=30, random_state=seed)
    model.set_params(shared_denominator=False).fit(x, y)
    assert (model.tau_ > 0).tolist() == [True, *[False] * (outputs - 1)]
    assert model.predict_bottom([[0.0]]).ravel()[0]
    assert not model.predict_bottom([[0.5]]).any()


@pytest.mark.parametrize("junk", [np.nan, 1e3])
def test_rows_of_next_to_no_weight_decide_neither_thresholds_nor_intervals(junk: float) -> None:
    random = np.random.default_rng(0)
    x, good = random.uniform(-1, 1, (300, 1)), np.arange(300) < 150
    y = np.where(good, x[:, 0] + 0.1 * random.normal(size=300), junk)

    def width(weight: float) -> float:
        model = SCMRegressor((16,), n_estimators=2, max_epochs=20, random_state=0)
        model.fit(x, y, sample_weight=np.where(good, 1.0, weight))
        assert not model.predict_bottom(x).any()
        low, high = model.predict_interval(x)
        return float(np.median(high - low))

    assert width(1e-9) < 2 * width(0.0)


def test_rows_are_drawn_by_weight() -> None:
    assert drawn(np.full(7, 1e300)).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert drawn(np.array([1e-9, 1.0, 1.0, 2.0])).tolist() == [1, 2, 3, 3]
    weight = np.random.default_rng(0).uniform(0.5, 2.0, 1000)
    counts = np.bincount(drawn(weight), minlength=1000)
    assert_allclose(counts, weight / weight.mean(), atol=1.0)


def test_ranges_are_numbers_that_a_threshold_can_cost() -> None:
    x = np.linspace(-1, 1, 301)[:, None]
    y = np.where(abs(x) < 0.05, np.nan, 1 / np.where(x == 0, 1.0, x))[:, 0]
    spread = 0.05 * abs(y)
    model = SCMRegressor((32,), n_estimators=2, max_epochs=60, random_state=0)
    model.fit(x, y - spread, y_upper=y + spread)
    lost = model.predict_bottom(x)
    assert lost[np.isnan(y)].mean() > 0.5
    assert lost[np.isfinite(y)].mean() < 0.1


def test_infinities_that_the_inputs_do_not_tell_cost_no_numbers() -> None:
    random = np.random.default_rng(3)
    x = random.uniform(-1, 1, (300, 1))
    y = x[:, 0] + 0.1 * random.normal(size=300)
    y[random.permutation(300)[:6]] = np.inf
    model = SCMRegressor((16,), n_estimators=4, max_epochs=20, random_state=0).fit(x, y)
    assert model.tau_.tolist() == [0.0]
    assert not model.predict_bottom(x).any()
    Q, y = torch.tensor([[0.0, 0.9, 0.8, 0.7], [INF, 1.1, 1.2, 1.4]])
    few = threshold(torch.ones(4), Q, y)
    assert 0.0 < few < 0.5, "which costs no number"
