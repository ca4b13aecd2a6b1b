"""Thresholds from held-out rows: what THR's properties do not try, as many rows and shapes."""

from __future__ import annotations

import math

import pytest
import torch

from zeroproof.inference import certify_threshold, choose_threshold
from zeroproof.inference.thresholds import _deviation

INF = math.inf


def test_rows_have_any_shape() -> None:
    P, Q = torch.randn(2, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.where(Q.abs() < 0.5, INF, P / Q)
    parts, matrices = (P, Q, y), [x.view(8, 5) for x in (P, Q, y)]
    assert choose_threshold(*matrices) == choose_threshold(*parts)
    found = certify_threshold(*matrices, rate=0.3)
    assert found == certify_threshold(*parts, rate=0.3)


# As exact rational arithmetic counts them.
@pytest.mark.parametrize(("rows", "rate", "errors"), [(5000, 0.01, 38), (1000, 0.999, 996)])
def test_many_rows_are_counted_exactly(rows: int, rate: float, errors: int) -> None:
    Q = torch.arange(1.0, rows + 1).double() / rows
    found = certify_threshold(torch.ones_like(Q), Q, torch.full_like(Q, INF), rate=rate)
    assert found.errors == errors


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 1000])
def test_the_unit_of_an_error_is_from_quartiles(rows: int) -> None:
    y = torch.randn(rows, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    low, high = torch.quantile(y, torch.tensor([0.25, 0.75], dtype=torch.float64)).tolist()
    assert _deviation(y) == ((high - low) / 1.349 or 1.0)


def test_more_rows_than_a_quantile_of_torch_takes() -> None:
    y = torch.arange(2.0**24 + 1, dtype=torch.float64)
    assert _deviation(y) == 2.0**23 / 1.349


def test_a_bound_that_few_rows_cannot_give_says_how_many_do() -> None:
    ones = torch.ones(60)
    message = "60 held-out singular rows cannot certify a rate of 0.01 at confidence 0.9, which"
    with pytest.raises(ValueError, match=message + " takes at least 230"):
        certify_threshold(ones, ones, ones * INF, rate=0.01, confidence=0.9)
    for rate, confidence in (
        (0.25, 0.578125),
        (0.1, 0.271),
        (0.4, 0.784),
        (0.3, 0.6),
        (0.05, 0.95),
    ):
        for rows in range(1, 70):  # as many as refuse must not be told to be enough
            try:
                certify_threshold(
                    *[ones[:1].expand(rows)] * 2,
                    ones[:1].expand(rows) * INF,
                    rate=rate,
                    confidence=confidence,
                )
            except ValueError as error:
                takes = int(str(error).split("at least ")[1].split(";")[0])
                continue
            assert takes == rows
            break
    with pytest.raises(ValueError, match="there are no rows"):
        choose_threshold(ones[:0], ones[:0], ones[:0])
