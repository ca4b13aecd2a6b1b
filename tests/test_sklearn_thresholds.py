"""SCMRegressor: which rows decide what is a pole."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="zeroproof.sklearn needs scikit-learn")

from sklearn.utils import check_random_state

from zeroproof.sklearn import SCMRegressor
from zeroproof.sklearn.fitting import held_out

ROWS, POLE = 201, 100


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
