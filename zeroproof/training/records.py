"""Measures of a micro-batch, and the records and totals made from them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zeroproof.losses.coverage import per_sample
from zeroproof.scm.outputs import Outputs, as_tuple, is_projective, tuple_bottom
from zeroproof.training.config import LogHook

COUNTS = (
    "covered", "finite", "covered_finite", "singular", "covered_singular", "samples", "known"
)  # fmt: skip
MEASURES = (*COUNTS, "bottom_frac", "denom_sum", "denom_abs_min")


@torch.no_grad()
def measure(
    outputs: Outputs,
    finite: Bool[Tensor, "batch *outputs"],
    singular: Bool[Tensor, "batch *outputs"],
    tau: float | Tensor,
) -> Float[Tensor, " measures"]:
    """Count and measure a micro-batch's outputs, on their device.

    Args:
        outputs: a model's outputs in any form.
        finite, singular: which targets are; half-open intervals are neither.
        tau: threshold on ``|Q|`` of projective outputs.

    Returns:
        ``MEASURES`` in float64: numbers of covered samples, of those whose targets are all finite,
        and of those that are both; of those with a singular target, and of the covered ones among
        them; of all samples; of finite ``|Q|``; the fraction of elements that are ⊥; the sum of the
        finite ``|Q|`` and their minimum, ∞ if there are none.

    Meets: COV-3, STOP-6.
    """
    P, Q = as_tuple(outputs)
    bottom = tuple_bottom(P, Q, tau if is_projective(outputs) else 0.0)
    covered, finite = per_sample(~bottom), per_sample(finite)
    singular = singular.flatten(1).any(1) if singular.dim() > 1 else singular
    counted = [covered, finite, covered & finite, singular, covered & singular]
    counts = torch.stack(counted).sum(1, dtype=torch.float64)
    size = Q.abs()
    least = size.nan_to_num(nan=torch.inf, posinf=torch.inf)
    numbers = [
        counts.new_full((), len(P)),
        (size < torch.inf).sum(),
        bottom.mean(dtype=torch.float64),
        size.nan_to_num(nan=0.0, posinf=0.0).sum(dtype=torch.float64),
        least.amin() if least.numel() else counts.new_full((), torch.inf),
    ]
    return torch.cat([counts, torch.stack(numbers)])


def merge(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return a micro-batch's values, from the rows of its parts on all ranks.

    Each holds ``MEASURES``; other values are means over samples.
    """
    values = dict(rows[0])
    samples = sum(row["samples"] for row in rows)
    for name in values if len(rows) > 1 else ():
        if name == "denom_abs_min":
            values[name] = min(row[name] for row in rows)
        elif name in COUNTS or name == "denom_sum":
            values[name] = sum(row[name] for row in rows)
        else:
            values[name] = sum(row["samples"] * row[name] for row in rows) / samples
    values["denom_abs_mean"] = _ratio(values.pop("denom_sum"), values["known"])
    if not values["known"]:
        values["denom_abs_min"] = math.nan
    return values


def named_rows(names: Sequence[str], values: Sequence[float]) -> list[dict[str, float]]:
    """Split a flat list into rows, and name their values."""
    width = len(names)
    starts = range(0, len(values), width)
    return [dict(zip(names, values[start : start + width], strict=True)) for start in starts]


def one_form(found: set[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the names of a window's rows; ValueError unless its losses have the same terms."""
    if len(found) > 1:
        terms = " and ".join(
            str([name.removeprefix("loss_") for name in names[len(MEASURES) + 1 :]])
            for names in sorted(found)
        )
        raise ValueError(
            f"loss_fn returned the terms {terms} within one update; return the same ones for each "
            "micro-batch, or use gradient_accumulation_steps=1"
        )
    return found.pop()


def _ratio(part: float, total: float) -> float:
    return part / total if total else math.nan


def _weight(name: str, values: Mapping[str, float]) -> float:
    return values["known" if name == "denom_abs_mean" else "samples"]


def as_record(values: Mapping[str, float]) -> dict[str, float]:
    """Replace the counts by coverage, finite-target coverage and recall of ⊥ (NaN for 0/0)."""
    covered, finite, both, singular, missed, samples = (values[name] for name in COUNTS[:6])
    record = {name: value for name, value in values.items() if name not in COUNTS}
    return record | {
        "samples": samples,
        "coverage": _ratio(covered, samples),
        "coverage_finite": _ratio(both, finite),
        "bottom_recall": _ratio(singular - missed, singular),
    }


class EpochTotals:
    """Sums of an epoch: counts add, minima take the minimum, the rest are sample-weighted.

    The mean of ``|Q|`` is weighted by the number of finite ``|Q|``, and that of a term by the
    samples of the micro-batches that have it.

    Meets: COV-3, VAL-1.

    Example:
        >>> totals = EpochTotals()
        >>> for n, covered in ((9, 9), (1, 0)):
        ...     counts = dict(samples=n, covered=covered, finite=n, covered_finite=covered)
        ...     totals.add(counts | dict(singular=0, covered_singular=0, loss=1.0))
        >>> totals.record()["coverage"], totals.monitored_coverage
        (0.9, 0.9)
    """

    def __init__(self) -> None:
        self._values: dict[str, float] = dict.fromkeys(COUNTS, 0.0)
        self._weights: dict[str, float] = {}

    def add(self, values: Mapping[str, float]) -> None:
        """Take a micro-batch's values, which hold all of the counts."""
        for name, value in values.items():
            if name in COUNTS:
                self._values[name] += value
            elif name == "denom_abs_min":
                known = [v for v in (self._values.get(name, math.nan), value) if v == v]
                self._values[name] = min(known, default=math.nan)
            else:
                weight = _weight(name, values)
                self._values[name] = self._values.get(name, 0.0) + (weight and weight * value)
                self._weights[name] = self._weights.get(name, 0.0) + weight

    def state_dict(self) -> dict[str, dict[str, float]]:
        """Return the sums by name, and those of weights."""
        return {"values": dict(self._values), "weights": dict(self._weights)}

    def load_state_dict(self, state: Mapping[str, Mapping[str, float]]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._values, self._weights = dict(state["values"]), dict(state["weights"])

    @property
    def monitored_coverage(self) -> float | None:
        """Coverage over samples whose targets are all finite; None without any (STOP-6)."""
        coverage = as_record(self._values)["coverage_finite"]
        return None if math.isnan(coverage) else coverage

    def record(self) -> dict[str, float]:
        """Return the epoch's record; ValueError for an epoch without samples (COV-4)."""
        values = self._values
        if not values["samples"]:
            raise ValueError("an epoch without samples has no coverage")
        weight = self._weights
        return as_record({n: _ratio(x, weight[n]) if n in weight else x for n, x in values.items()})


class RecordQueue:
    """Delivers records to the log hook in order, and keeps the latest of them.

    Args:
        hook: called with each record.
        limit: records kept in memory.

    Meets: LOG-1, LOG-2, DDP-1.
    """

    def __init__(self, hook: LogHook, limit: int) -> None:
        self._hook = hook
        self._ready: deque[dict[str, float]] = deque()
        self.records: deque[dict[str, float]] = deque(maxlen=limit)
        self.totals = EpochTotals()

    def add(self, header: Mapping[str, float], rows: Sequence[Mapping[str, float]]) -> None:
        """Take a micro-batch: what the host knows of it, and its rows on all ranks."""
        values = merge(rows)
        self.totals.add(values)
        record = dict(header) | as_record(values)
        self._ready.append({name: float(value) for name, value in record.items()})

    def deliver(self) -> None:
        """Deliver what is ready; an exception of the hook ends it, and is raised."""
        while self._ready:
            record = self._ready.popleft()
            self.records.append(record)
            try:
                self.send(record)
            except BaseException:
                self._ready.clear()
                raise

    def send(self, record: Mapping[str, float]) -> None:
        """Call the hook with a copy of a record."""
        self._hook(dict(record))
