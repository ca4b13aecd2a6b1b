"""What the estimator refuses, and how it says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="zeroproof.sklearn needs scikit-learn")

from tests.test_sklearn import table
from zeroproof.sklearn import SCMRegressor


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"limits": (3, 1)}, r"limits must be two numbers .* got \(3, 1\)"),
        ({"limits": (0.0,)}, "limits must be two numbers"),
        ({"limits": (np.nan, 1.0)}, "limits must be two numbers"),
        ({"limits": np.array([0.0, 1.0])}, "limits must be two numbers"),
        ({"n_estimators": 0}, "n_estimators must be ≥ 1, got 0"),
        ({"weight_decay": -1.0}, r"weight_decay must be in \[0, ∞\)"),
        ({"trainer_options": {"max_epochs": 3}}, r"trainer_options has \['max_epochs'\]"),
    ],
)
def test_parameters_that_cannot_be_meant_are_refused_before_training(
    params: dict[str, Any], message: str, unchecked: None
) -> None:
    with pytest.raises(ValueError, match=message):
        SCMRegressor(**params).fit(*table(rows=20))


def test_rows_whose_ends_cross_are_named() -> None:
    x, y = table(rows=20)
    upper = np.where(np.arange(20) == 7, y - 1, y)
    with pytest.raises(ValueError, match="does not in 1 rows, the first is row 7"):
        SCMRegressor().fit(x, y, upper)
