"""Thresholds from held-out rows: the one of least cost, and one whose bound holds."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from zeroproof.inference import certify_threshold, choose_threshold, unit_denominator

INF = math.inf


def drawn(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    P, Q = torch.randn(2, rows, generator=generator, dtype=torch.float64)
    return P, Q


@pytest.mark.parametrize("seed", range(20))
def test_the_threshold_has_the_smallest_cost_of_all(seed: int) -> None:
    P, Q = (4 * x for x in drawn(12, seed))
    P, Q = P.round(), Q.round()  # some are equal, and some are poles
    size = unit_denominator(P, Q).nan_to_num(0.0).tolist()
    y = [(0.0, INF, math.nan)[i % 3] if i < 7 else 0.5 for i in range(12)]

    def cost(tau: float) -> float:
        finite = [
            1.0 if d < tau or not q else abs(p / q - m) / 0.25
            for p, q, d, m in zip(P.tolist(), Q.tolist(), size, y, strict=True)
            if math.isfinite(m)
        ]
        singular = [d >= tau for d, m in zip(size, y, strict=True) if not math.isfinite(m)]
        return sum(finite) / len(finite) + sum(singular) / len(singular)

    edges = sorted({0.0, 1.0, *size})
    middles = {(a + b) / 2: b - a for a, b in itertools.pairwise(edges)}
    least = min(map(cost, middles))
    widest = max(width for tau, width in middles.items() if cost(tau) < least + 1e-9)
    chosen = choose_threshold(P, Q, torch.tensor(y, dtype=torch.float64), unit=0.25)
    assert cost(chosen) == pytest.approx(least)
    assert middles[chosen] == widest


def test_one_singular_target_weighs_as_much_as_all_finite_ones() -> None:
    P, Q = torch.tensor([4.0, 3.0, 0.0, 2.0]), torch.tensor([1.0, 1.0, 1.0, 1.0])
    y = torch.tensor([4.0, 3.0, 0.0, INF])
    chosen = choose_threshold(P, Q, y, unit=1.0)
    above, below = 1.0, 1 / math.sqrt(5)  # all but the last row, the one that has to go
    assert chosen == pytest.approx((above + below) / 2)
    assert choose_threshold(P, Q, y, unit=100.0) == chosen


def test_without_singular_targets_the_threshold_lies_below_every_denominator() -> None:
    P, Q = torch.tensor([0.0, 3.0]), torch.tensor([1.0, 4.0])
    assert choose_threshold(P, Q, torch.zeros(2)) == pytest.approx(0.4)


def test_the_unit_is_a_robust_deviation_of_the_finite_targets() -> None:
    P, Q = drawn(200, 0)
    y = 3 * torch.randn(200, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y[:50] = INF
    low, high = torch.quantile(y[50:], torch.tensor([0.25, 0.75], dtype=torch.float64)).tolist()
    given = choose_threshold(P, Q, y, unit=(high - low) / 1.349)
    assert choose_threshold(P, Q, y) == pytest.approx(given)


def test_a_certified_rate_holds_as_often_as_promised() -> None:
    confidence, rate, rows = 0.95, 0.05, 150
    kept = 0
    for seed in range(1000):
        # Of unit denominators that are uniform in [0, 1], the share 1 - tau decodes to a number.
        uniform = torch.rand(rows, generator=torch.Generator().manual_seed(seed)).double()
        P, Q = (1 - uniform * uniform).sqrt(), uniform
        y = torch.full_like(P, INF)
        found = certify_threshold(P, Q, y, rate=rate, confidence=confidence)
        kept += 1 - found.tau <= rate
        assert found.errors == 2, "of 150 trials at 0.05, two or fewer have a chance of 0.018"
    assert kept / 1000 == pytest.approx(0.982, abs=0.015)


def test_a_certificate_says_what_it_costs_and_what_it_would_take() -> None:
    size = torch.arange(1, 101).double() / 101
    P, Q = (1 - size * size).sqrt(), size
    y = torch.where(torch.arange(100) < 60, INF, 0.0).double()
    found = certify_threshold(P, Q, y, rate=0.05, confidence=0.9)
    assert (found.rows, found.errors, found.false_bottom) == (60, 0, 0.0)
    assert found.tau == pytest.approx(60 / 101)
    message = "60 held-out singular rows cannot certify a rate of 0.01 at confidence 0.9, which"
    with pytest.raises(ValueError, match=message + " takes at least 230"):
        certify_threshold(P, Q, y, rate=0.01, confidence=0.9)
    for wrong in ({"rate": 0.0}, {"rate": 0.1, "confidence": 1.0}):
        with pytest.raises(ValueError, match=r"must be in \(0, 1\)"):
            certify_threshold(P, Q, y, **wrong)
    with pytest.raises(ValueError, match="there are no rows"):
        choose_threshold(P[:0], Q[:0], y[:0])
