"""What a micro-batch shows, and how an epoch sums it up."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from zeroproof.losses.coverage import per_sample
from zeroproof.scm.outputs import Outputs, as_tuple, bottom_mask

_COUNTS = ("samples", "covered", "finite", "covered_finite", "rejected_singular")


def measure(outputs: Outputs, Y_d: Tensor, tau: float | Tensor) -> dict[str, Tensor]:
    """Count and measure a micro-batch's outputs, on their device.

    Args:
        outputs: the model's outputs, samples along the first dimension.
        Y_d: lifted denominators of the targets; 0 marks a singular one.
        tau: the micro-batch's threshold on ``|Q|``.

    Returns:
        Scalars by name: the counts of samples, of covered ones, of those whose targets are all
        finite, of the covered and of the ⊥ ones among either kind; the fraction of ⊥ elements;
        and the minimum and mean of the finite ``|Q|``, NaN where there is none.

    Meets: COV-1, COV-2, STOP-6.
    """
    bottom = bottom_mask(outputs, tau)
    covered, finite = per_sample(~bottom), per_sample(Y_d != 0)
    size = as_tuple(outputs)[1].detach().abs()
    if not size.numel():  # samples without outputs are covered, and have no smallest |Q|
        size = size.new_full((1,), math.nan)
    known = size < torch.inf
    smallest = torch.where(known, size, torch.inf).amin()
    return {
        "covered": covered.count_nonzero(),
        "finite": finite.count_nonzero(),
        "covered_finite": (covered & finite).count_nonzero(),
        "rejected_singular": (~(covered | finite)).count_nonzero(),
        "bottom_frac": bottom.count_nonzero() / bottom.numel(),
        "denom_abs_min": torch.where(smallest < torch.inf, smallest, math.nan),
        "denom_abs_mean": torch.where(known, size, 0.0).sum() / known.count_nonzero(),
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def as_record(values: Mapping[str, float]) -> dict[str, float]:
    """Replace the counts by coverage, finite-target coverage and recall of ⊥ (NaN for 0/0)."""
    singular = values["samples"] - values["finite"]
    return {name: value for name, value in values.items() if name not in _COUNTS} | {
        "samples": values["samples"],
        "coverage": _ratio(values["covered"], values["samples"]),
        "coverage_finite": _ratio(values["covered_finite"], values["finite"]),
        "bottom_recall": _ratio(values["rejected_singular"], singular),
    }


class EpochTotals:
    """Sums of an epoch: counts add, minima take the minimum, the rest are sample-weighted.

    Meets: COV-3, VAL-1.

    Example:
        >>> totals = EpochTotals()
        >>> for n, covered in ((9, 9), (1, 0)):
        ...     totals.add(dict(samples=n, covered=covered, finite=n, covered_finite=covered,
        ...                     rejected_singular=0, loss=1.0))
        >>> totals.record()["coverage"], totals.monitored_coverage
        (0.9, 0.9)
    """

    def __init__(self) -> None:
        self._values: dict[str, float] = dict.fromkeys(_COUNTS, 0.0)

    def add(self, values: Mapping[str, float]) -> None:
        """Take a micro-batch's values, which hold all of the counts."""
        samples = values["samples"]
        for name, value in values.items():
            if name in _COUNTS:
                self._values[name] += value
            elif name == "denom_abs_min":
                known = [v for v in (self._values.get(name, math.nan), value) if v == v]
                self._values[name] = min(known, default=math.nan)
            else:
                self._values[name] = self._values.get(name, 0.0) + samples * value

    @property
    def monitored_coverage(self) -> float | None:
        """Coverage over samples whose targets are all finite; None without any (STOP-6)."""
        coverage = as_record(self._values)["coverage_finite"]
        return None if math.isnan(coverage) else coverage

    def record(self) -> dict[str, float]:
        """Return the epoch's record; ValueError for an epoch without samples (COV-4)."""
        samples = self._values["samples"]
        if not samples:
            raise ValueError("the loader yielded no samples, so the epoch has no coverage")
        return as_record(
            {
                name: value if name in _COUNTS or name == "denom_abs_min" else value / samples
                for name, value in self._values.items()
            }
        )
