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
    """Predict every row by a fit that has not seen it, then certify on half of them, often."""
    P, Q, y = predicted(job)
    denominator, random = unit_denominator(P, Q), torch.Generator().manual_seed(0)
    kept: dict[float, list[bool]] = {rate: [] for rate in RATES}
    for _ in range(20 if job.quick else SPLITS):
        half, rest = torch.randperm(len(y), generator=random).chunk(2)
        for rate in RATES:
            found = certify_threshold(P[half], Q[half], y[half], rate=rate, confidence=CONFIDENCE)
            singular = rest[~y[rest].isfinite()]
            seen = (denominator[singular] >= found.tau).double().mean().item()
            kept[rate].append(seen <= rate)
    return [
        Row(job.table, "", f"at most {rate:.0%}", 0, {"kept": sum(flags) / len(flags)})
        for rate, flags in kept.items()
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
