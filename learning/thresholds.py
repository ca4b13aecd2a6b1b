"""Whether a certified threshold keeps its word on rows that it has not seen."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from learning.censored import SCHEDULES
from learning.data import assay
from learning.fits import network, train_projective
from learning.jobs import Job, Row
from zeroproof import LossConfig
from zeroproof.inference import certify_threshold, unit_denominator

FOLDS, SPLITS = 5, 1000
RATES, CONFIDENCE = (0.02, 0.05, 0.1), 0.95


def measure(job: Job) -> list[Row]:
    """Predict every row by a fit that has not seen it, then certify on many draws of half as many.

    What is certified is the rate in the population that rows are drawn from: here all rows, from
    which half as many are drawn with replacement. The rate on the other half of a split is that
    rate and the chance of some hundred rows, of which no certificate can speak.
    """
    P, Q, y = predicted(job)
    falsely, random = unit_denominator(P, Q), torch.Generator().manual_seed(0)
    kept: dict[tuple[float, str], list[bool]] = {}

    def rate_of(rows: Tensor, tau: float) -> float:
        singular = rows[~y[rows].isfinite()]
        return (falsely[singular] >= tau).double().mean().item()

    for _ in range(20 if job.quick else SPLITS):
        drawn = torch.randint(len(y), (len(y) // 2,), generator=random)
        half, rest = torch.randperm(len(y), generator=random).chunk(2)
        cases = {"of all rows": (drawn, torch.arange(len(y))), "of the other half": (half, rest)}
        for rate in RATES:
            for name, (own, other) in cases.items():
                word = {"rate": rate, "confidence": CONFIDENCE}
                found = certify_threshold(P[own], Q[own], y[own], **word)
                kept.setdefault((rate, name), []).append(rate_of(other, found.tau) <= rate)
    return [
        Row(job.table, "", f"at most {rate:.0%} {name}", 0, {"kept": sum(flags) / len(flags)})
        for (rate, name), flags in kept.items()
    ]


def predicted(job: Job) -> tuple[Tensor, Tensor, Tensor]:
    """Return tuples of all compounds, each by a fit to the folds that it is not in, and labels."""
    data, schedule = assay(), SCHEDULES["assay"]
    if job.quick:
        schedule = replace(schedule, epochs=2)
    order = torch.randperm(len(data.y), generator=torch.Generator().manual_seed(0))
    folds, parts = order.chunk(FOLDS), list[tuple[Tensor, Tensor]]()
    for fold in folds:
        train = order[~torch.isin(order, fold)]
        scaled = data.scaled(train)
        model = network(data.x.shape[1], 0, "gated")
        train_projective(model, scaled.rows(train).points(), schedule, 0, LossConfig(fit="chordal"))
        with torch.no_grad():
            parts.append(model(scaled.x[fold]))
    P, Q = (torch.cat(part) for part in zip(*parts, strict=True))
    return P, Q, data.y[torch.cat(folds)]
