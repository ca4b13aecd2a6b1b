"""What a micro-batch shows, and how an epoch sums it up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zeroproof.scm.outputs import Outputs, as_tuple, is_projective, least_size, tuple_bottom
from zeroproof.training.transfer import Number, number, to_vector

# Keys of a mapping, which are in order and quick to look up.
_COUNTS = dict.fromkeys(("samples", "covered", "finite", "covered_finite", "rejected_singular"))

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
    Y_d: Float[Tensor, "block batch *outputs"],
    taus: Sequence[Number],
) -> Float[Tensor, "block measures"]:
    """Count and measure the outputs of several micro-batches, on their device.

    Args:
        P, Q: outputs as tuples.
        Y_d: lifted denominators of the targets; 0 marks a singular one.
        taus: each micro-batch's threshold on ``|Q|``; a tensor only where there is one.

    Returns:
        A row of ``MEASURES`` for each micro-batch, in float64: the counts of covered samples, of
        those whose targets are all finite, of the covered and of the ⊥ ones among either kind; of
        ⊥ and of all elements; and number, sum and minimum of the finite ``|Q|``, ∞ where there is
        none.

    Meets: COV-3, STOP-6.
    """
    size = Q.abs()
    tau = taus[0] if len(set(taus)) == 1 else _thresholds(taus, size)
    sound = ~tuple_bottom(P, Q, tau)
    covered, finite = _of_samples(sound), _of_samples(Y_d.bool())
    both, known = covered & finite, size < torch.inf
    found = [flags.flatten(1).sum(1) for flags in (covered, finite, both, sound, known)]
    n_covered, n_finite, n_both, n_sound, n_known = found
    neither = covered.shape[1] - n_covered - n_finite + n_both
    all_of = torch.full_like(n_sound, size[0].numel())
    counts = n_covered, n_finite, n_both, neither, all_of - n_sound, all_of, n_known
    total = size.nan_to_num(0.0, 0.0).flatten(1).sum(1)
    least = size.nan_to_num(torch.inf, torch.inf).flatten(1)
    if not least.shape[1]:  # samples without outputs
        least = least.new_full((len(least), 1), torch.inf)
    parts = torch.stack(counts, dim=1), torch.stack([total, least.amin(1)], dim=1)
    return torch.cat([part.double() for part in parts], dim=1)


def _of_samples(flags: Bool[Tensor, "block batch *outputs"]) -> Bool[Tensor, "block batch"]:
    return flags.flatten(2).all(2) if flags.dim() > 2 else flags


def _thresholds(taus: Sequence[Number], like: Tensor) -> Tensor:
    least = [least_size(float(tau), like.dtype) for tau in taus]
    return to_vector(least, like).view(-1, *[1] * (like.dim() - 1))


class Seen(NamedTuple):
    """What is seen of a micro-batch: to be measured together with others, or measured already."""

    names: tuple[str, ...]
    """The names of the scalars, which are the loss and what else is to be logged."""
    tau: Number
    """The threshold on ``|Q|``."""
    arrays: tuple[Tensor, ...]
    """``P``, ``Q`` and ``Y_d`` of one shape, none of them with its graph; or a row of values."""
    scalars: tuple[Number, ...]

    @classmethod
    def of(cls, outputs: Outputs, Y_d: Tensor, tau: Number, scalars: Mapping[str, Number]) -> Seen:
        """Look at a model's outputs, whose ``Y_d`` are the lifted targets' denominators."""
        P, Q = as_tuple(outputs)
        tau = tau if is_projective(outputs) else 0.0
        if Y_d.shape != P.shape:  # what counts is which samples have a singular target
            finite = Y_d.reshape(len(P), -1).all(1).to(P.dtype)
            Y_d = finite.view(-1, *[1] * (P.dim() - 1)).expand_as(P)
        parts = tuple(number(x) if isinstance(x, Tensor) else x for x in scalars.values())
        # A block of all three has one dtype, in which a quotient must overflow as in that of P, Q.
        return cls(tuple(scalars), tau, (P.detach(), Q.detach(), Y_d.to(P.dtype)), parts)

    @property
    def kind(self) -> Any:
        """Return what is alike for all that can be measured together, beside the names."""
        return self.arrays[0].shape, [x.dtype for x in self.arrays]

    def row(self) -> Float[Tensor, " values"]:
        """Measure, and return ``MEASURES`` and scalars, in float64."""
        return _rows([x[None] for x in self.arrays], [self.tau], self.scalars)[0]


def _rows(
    arrays: Sequence[Tensor], taus: Sequence[Number], scalars: Sequence[Number]
) -> Float[Tensor, "block values"]:
    P, Q, Y_d = arrays
    measured = measure(P, Q, Y_d, taus)
    return torch.cat([measured, to_vector(scalars, measured).view(len(taus), -1)], dim=1)


class Block:
    """Micro-batches that are alike, to be measured together.

    They are copied here. To hold what their forwards made would scatter the memory that the next
    ones get, which costs more.

    Args:
        seen: the first of them.
        capacity: how many there may be.
    """

    def __init__(self, seen: Seen, capacity: int) -> None:
        dtype = reduce(torch.promote_types, (x.dtype for x in seen.arrays))
        samples, *outputs = seen.arrays[0].shape
        self.kind, self.capacity, self._samples = seen.kind, capacity, samples
        shape = capacity, len(seen.arrays) * samples, *outputs
        self._arrays = torch.empty(shape, dtype=dtype, device=seen.arrays[0].device)
        self._places = self._arrays.unbind()
        self.clear()

    def clear(self) -> None:
        """Make room."""
        self._taus, self._scalars = list[Number](), list[Number]()

    def __len__(self) -> int:
        return len(self._taus)

    def add(self, seen: Seen) -> None:
        """Take another one."""
        torch.cat(seen.arrays, out=self._places[len(self._taus)])
        self._taus.append(seen.tau)
        self._scalars += seen.scalars

    def rows(self) -> Float[Tensor, "block values"]:
        """Return ``MEASURES`` and scalars of each."""
        arrays = self._arrays[: len(self)]
        if not self._scalars:
            return arrays  # which are rows
        parts = arrays.view(len(self), 3, self._samples, *arrays.shape[2:])
        return _rows(parts.unbind(1), self._taus, self._scalars)


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
