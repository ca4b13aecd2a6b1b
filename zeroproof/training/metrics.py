"""What a micro-batch shows, and how an epoch sums it up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from zeroproof.scm.outputs import Outputs, as_tuple, is_projective, tuple_bottom
from zeroproof.training.transfer import from_host

_COUNTS = ("samples", "covered", "finite", "covered_finite", "rejected_singular")

MEASURES = (
    "covered",
    "finite",
    "covered_finite",
    "rejected_singular",
    "bottoms",
    "elements",
    "known",
    "denom_sum",
    "denom_abs_min",
)


def measure(
    P: Float[Tensor, "block batch *outputs"],
    Q: Float[Tensor, "block batch *outputs"],
    Y_d: Float[Tensor, "block batch *targets"],
    taus: Float[Tensor, " block"],
) -> Float[Tensor, "block measures"]:
    """Count and measure the outputs of several micro-batches, on their device.

    Args:
        P, Q: outputs as tuples.
        Y_d: lifted denominators of the targets; 0 marks a singular one.
        taus: each micro-batch's threshold on ``|Q|``.

    Returns:
        A row of ``MEASURES`` for each micro-batch: the counts of covered samples, of those
        whose targets are all finite, of the covered and of the ⊥ ones among either kind; of ⊥ and
        of all elements; and number, sum and minimum of the finite ``|Q|``, ∞ where there is none.

    Meets: COV-1, COV-2, STOP-6.
    """
    block, samples = P.shape[:2]
    size = Q.abs().reshape(block, samples, -1)
    tau = taus.reshape(-1, *[1] * (Q.dim() - 1))
    bottom = tuple_bottom(P, Q, tau).reshape(size.shape)
    covered = ~bottom.any(2)
    finite = (Y_d.reshape(block, samples, -1) != 0).all(2)
    counts = [covered, finite, covered & finite, ~(covered | finite)]
    known = torch.isfinite(size)
    finite_size = torch.where(known, size, 0.0).sum((1, 2))
    least = torch.where(known, size, torch.inf).flatten(1)
    if not least.shape[1]:  # samples without outputs
        least = least.new_full((block, 1), torch.inf)
    number = torch.full_like(finite_size, size[0].numel())
    columns = [*(flags.sum(1) for flags in counts), bottom.sum((1, 2)), number, known.sum((1, 2))]
    return torch.stack([*columns, finite_size, least.amin(1)], dim=1)


class Seen(NamedTuple):
    """What is seen of a micro-batch: to be measured together with others, or measured already."""

    names: tuple[str, ...]
    """The names of the scalars, which are the loss and what else is to be logged."""
    tau: float | Tensor
    """The threshold on ``|Q|``."""
    arrays: tuple[Tensor, ...]
    """``P``, ``Q`` and ``Y_d``, none of them with its graph; or a row of :func:`rows`."""
    scalars: tuple[Tensor, ...]

    @classmethod
    def of(
        cls, outputs: Outputs, Y_d: Tensor, tau: float | Tensor, scalars: Mapping[str, Tensor]
    ) -> Seen:
        """Look at a model's outputs, whose ``Y_d`` are the lifted targets' denominators."""
        P, Q = as_tuple(outputs)
        tau = tau if is_projective(outputs) else 0.0
        parts = (torch.as_tensor(x).detach() for x in scalars.values())
        return cls(tuple(scalars), tau, (P.detach(), Q.detach(), Y_d), tuple(parts))

    @property
    def kind(self) -> Any:
        """Return what is alike for all that can be measured together, beside the names."""
        return [(x.shape, x.dtype) for x in self.arrays]


def rows(seen: Sequence[Seen]) -> Float[Tensor, "block values"]:
    """Return ``MEASURES`` and scalars of micro-batches whose scalars have the same names."""
    found = []
    for _, group in groupby(seen, key=lambda one: one.kind):
        alike = list(group)
        arrays = [torch.stack(parts) for parts in zip(*(x.arrays for x in alike), strict=True)]
        if len(arrays) == 1:
            found.append(arrays[0])
            continue
        P, Q, Y_d = arrays
        tau = alike[0].tau
        if isinstance(tau, Tensor):
            taus = tau[None]  # of a compiled step, which measures one
        else:
            taus = from_host([float(one.tau) for one in alike], P.device)
        scalars = torch.stack([x for one in alike for x in one.scalars])
        # Counts stay exact.
        dtype = torch.promote_types(scalars.dtype, torch.float32)
        parts = measure(P, Q, Y_d, taus), scalars.view(len(alike), -1)
        found.append(torch.cat([part.to(dtype) for part in parts], dim=1))
    return torch.cat(found)


def pooled(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return what a micro-batch shows, from the rows of its parts on all ranks.

    Each holds ``MEASURES`` and ``samples``; what else it holds is a mean over samples.
    """
    values = dict(rows[0])
    if len(rows) > 1:
        samples = sum(row["samples"] for row in rows)
        for name in values:
            if name == "denom_abs_min":
                values[name] = min(row[name] for row in rows)
            elif name == "samples" or name in MEASURES:
                values[name] = sum(row[name] for row in rows)
            else:
                values[name] = sum(row["samples"] * row[name] for row in rows) / samples
    known = values.pop("known")
    values["bottom_frac"] = _ratio(values.pop("bottoms"), values.pop("elements"))
    values["denom_abs_mean"] = _ratio(values.pop("denom_sum"), known)
    if not known:
        values["denom_abs_min"] = math.nan
    return values


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

    def state_dict(self) -> dict[str, float]:
        """Return the sums by name."""
        return dict(self._values)

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Put back what :meth:`state_dict` returned."""
        self._values = dict(state)

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
