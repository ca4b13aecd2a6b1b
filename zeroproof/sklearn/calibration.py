"""How certain predictions are, and what is ⊥, by the rows that training left out."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from zeroproof.inference import choose_threshold, unit_denominator
from zeroproof.sklearn.fitting import Array, finite_part

MANY = 0.2  # share of the numbers


def central_level(end: Tensor, middle: Tensor, scale: Tensor) -> Tensor:
    """Return the level of Cauchy's central interval that just holds a number."""
    return 2 / math.pi * torch.atan((end - middle).abs() / scale)


def levels(
    lower: Tensor, upper: Tensor, middle: Tensor, scale: Tensor
) -> tuple[list[Array], list[Array]]:
    """Return for each output, in order, the levels of its numbers; then of its bounds, too."""
    end = torch.tensor(finite_part(lower.numpy(), upper.numpy()))
    level, known = central_level(end, middle, scale), end.isfinite()
    # A bound counts with the median level of the values beyond it.
    outside = torch.where(upper.isinf(), end > middle, end < middle)
    rest = torch.where(outside, (1 + level) / 2, torch.maximum(1 + level, 2 - 2 * level) / 4)
    both = torch.where(lower.isinf() == upper.isinf(), level, rest)

    def in_order(level: Tensor, rows: Tensor) -> list[Array]:
        parts = zip(level.T, rows.T, strict=True)
        return [np.array([0.0, *np.sort(part[own]), 1.0]) for part, own in parts]

    return in_order(level, known & ~(lower < upper)), in_order(both, known)


def drawn(weight: Array) -> NDArray[np.intp]:
    """Return as many numbers of rows as there are rows, each in proportion to its weight."""
    upto = np.cumsum(weight / weight.max())
    middles = upto[-1] * (np.arange(len(upto)) + 0.5) / len(upto)
    rows: NDArray[np.intp] = np.searchsorted(upto, middles)
    return rows


def threshold(P: Tensor, Q: Tensor, targets: Tensor) -> float:
    """Return the threshold of least cost; 0 if it costs many numbers, and poles look like them."""
    size, finite = unit_denominator(P, Q), targets.isfinite()
    tau = choose_threshold(P, Q, targets, unit=1.0)
    if (size[finite] < tau).sum() <= MANY * finite.sum():
        return tau
    apart = stats.ks_2samp(size[~finite], size[finite], alternative="greater")
    return tau if apart.pvalue < 0.01 else 0.0
