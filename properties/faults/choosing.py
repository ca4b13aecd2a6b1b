"""Thresholds that are chosen wrongly."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch

from properties.faults.register import fault, zeroproof_fault
from spec import certifying, choosing
from spec.choosing import Certified, Row, intervals

HERE = "zeroproof.inference.thresholds."


def nearer_range(finite: torch.Tensor) -> float:
    """Return the distance of the quartiles, each of them the target that is nearer."""
    shares = torch.tensor([0.25, 0.75], dtype=torch.float64)
    found = finite.double() if finite.numel() else torch.zeros(1, dtype=torch.float64)
    low, high = torch.quantile(found, shares, interpolation="nearest").tolist()
    return float(high - low)


def lost(rows: Sequence[Row], tau: float) -> Fraction:
    """Return the share of the finite targets that decode to ⊥."""
    sizes = [row.size for row in rows if math.isfinite(row.target)]
    return Fraction(sum(size < tau for size in sizes), max(len(sizes), 1))


def is_finite(row: Row) -> bool:
    return math.isfinite(row.target)


def wrongly(change: Callable[[Certified], Certified]) -> Any:
    return lambda real, *a: change(real(*a))


fault("THR-1.1", "A finite target that decodes to ⊥ costs nothing.",
    cost=lambda real, rows, tau, unit: real(rows, tau, unit) - lost(rows, tau))
fault("THR-1.1", "One mean is taken over all targets.",
    cost=lambda real, rows, tau, unit: sum(row.cost(tau, unit) for row in rows) / len(rows))
fault("THR-1.1", "A target NaN is left out.",
    cost=lambda real, rows, *a: real([row for row in rows if row.target == row.target], *a))
zeroproof_fault("THR-1.1", "A quotient that overflows is taken for a number.",
    HERE + "tuple_bottom", lambda real, P, Q: torch.zeros_like(P, dtype=torch.bool))
fault("THR-1.2", "The threshold is the larger denominator of the two.",
    among=lambda real, equal: max(equal, key=lambda pair: pair[1] - pair[0])[1])
fault("THR-1.2", "Of equal costs the one below the least denominators is taken.",
    among=lambda real, equal: real(equal[:1]))
fault("THR-1.3", "Without singular targets the threshold has the least cost, too.",
    without_singular=lambda real, rows: min(
        intervals(rows), key=lambda pair: choosing.cost(rows, pair[1], Fraction(1)))[1] / 2)
zeroproof_fault("THR-1.3", "What is ⊥ at any threshold is left out.",
    HERE + "_checked", lambda real, *a: tuple(x[real(*a)[0] > 0] for x in real(*a))
        if bool((real(*a)[0] > 0).any() and real(*a)[1].all()) else real(*a))
fault("THR-1.4", "The usual unit is the interquartile range itself.",
    usual_unit=lambda real, rows: real(rows) * Fraction("1.349"))
fault("THR-1.4", "The usual unit takes singular targets for 0.",
    usual_unit=lambda real, rows: real(
        [row if is_finite(row) else row._replace(target=0.0) for row in rows]))
fault("THR-1.4", "Where the range is 0, the unit is half as large.",
    usual_unit=lambda real, rows: real(rows) / 2 if len(
        {row.target for row in rows if is_finite(row)}) == 1 else real(rows))
zeroproof_fault("THR-1.4", "Between two targets the quartile is the nearer one.",
    HERE + "_deviation", lambda real, finite: nearer_range(finite) / 1.349 or 1.0)
zeroproof_fault("THR-1.4", "The usual unit is the standard deviation.",
    HERE + "_deviation", lambda real, finite: finite.double().std(correction=0).item() or 1.0)
fault("THR-2.1", "One number more is allowed.",
    allowed=lambda real, n, *a: min(real(n, *a) + 1, n - 1) if real(n, *a) >= 0 else -1)
fault("THR-2.1", "The threshold is the denominator that has to decode to ⊥.",
    bottom_from=lambda real, row, *tuple: row.size)
fault("THR-2.2", "One number fewer is allowed.",
    allowed=lambda real, *a: max(real(*a) - 1, min(real(*a), 0)))
fault("THR-2.2", "The count is below k in Clopper and Pearson's interval of two sides.",
    allowed=lambda real, n, rate, level: real(n, rate, (1 + level) / 2))
fault("THR-2.3", "The share of errors stands for the rate.",
    certify_threshold=wrongly(lambda found: replace(found, rate=found.errors / found.rows)))
fault("THR-2.3", "Errors are those that are allowed.",
    certify_threshold=lambda real, held, rate, level=None: replace(
        real(held, rate, level),
        errors=certifying.allowed(real(held, rate, level).rows, rate, level or 0.95)))
fault("THR-2.3", "Rows are the singular ones that decode to ⊥.",
    certify_threshold=wrongly(lambda found: replace(found, rows=found.rows - found.errors)))
fault("THR-2.4", "Without finite rows the share of ⊥ is 0.",
    certify_threshold=wrongly(lambda found: replace(
        found, false_bottom=found.false_bottom if found.false_bottom >= 0 else 0.0)))
fault("THR-2.4", "The share is that of the numbers.",
    certify_threshold=wrongly(lambda found: replace(found, false_bottom=1 - found.false_bottom)))
fault("THR-2.5", "The usual confidence is 0.9.",
    certify_threshold=lambda real, held, rate, level=None: real(held, rate, level or 0.9))
fault("THR-2.6", "No number is never allowed.", allowed=lambda real, *a: real(*a) or -1)
fault("THR-2.6", "The error names one row fewer than it takes.",
    takes=lambda real, *a: real(*a) - 1)
zeroproof_fault("THR-2.6", "Too few rows give the largest threshold.",
    HERE + "_allowed", lambda real, rows, *a: 0 if rows in (1, 2) else real(rows, *a))
fault("THR-3.1", "As many errors are allowed as the rate says, without a bound.",
    allowed=lambda real, n, rate, level: int(n * rate))
zeroproof_fault("THR-3.1", "The probability is that of fewer errors than are allowed.",
    HERE + "_allowed", lambda real, rows, *a: min(real(rows, *a) + 1, rows - 1))
fault("THR-4.1", "Shapes are not compared.", check_rows=lambda real, held: None)
zeroproof_fault("THR-4.1", "Shapes are broadcast.",
    HERE + "check_same_shape", lambda real, **tensors: None)
fault("THR-4.2", "No rows have the threshold 0.",
    choose_threshold=lambda real, held, *a: real(held, *a) if held.P.values else 0.0)
fault("THR-4.3", "A negative unit is taken for its size.",
    choose_threshold=lambda real, held, unit=None: real(held, unit and abs(unit)))
zeroproof_fault("THR-4.3", "The unit 0 is taken for the usual one.",
    HERE + "check_number", lambda real, name, x, allowed: real(name, x, allowed) if x else x)
fault("THR-4.4", "A rate of 1 or more is taken for one just below.",
    certify_threshold=lambda real, held, rate, level=None: real(held, min(rate, 0.999), level))
