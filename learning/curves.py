"""Networks that learn curves with poles, with and without noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from learning.data import CURVES, GRID, LARGEST, Array, chordal_error, sample_curve
from learning.fits import Ensemble, Loss, Schedule, circle, squares, train_plain, train_projective
from learning.jobs import Job, Row
from zeroproof import LossConfig

SCHEDULE = Schedule(epochs=1500, batch=160, rate=1e-2)
QUICK = replace(SCHEDULE, epochs=20)
NOISES = {"exact": 0.0, "2 % noise": 0.02}
CLIP = 20.0
FITS = {"likelihood": LossConfig(fit="likelihood"), "chordal": LossConfig(fit="chordal")}
# Each regression's loss, its outputs, and how they decode.
REGRESSIONS: dict[str, tuple[Loss, int, Callable[[Tensor], Tensor]]] = {
    "regression on the circle": (
        circle,
        2,
        lambda out: (torch.atan2(out[..., 1], out[..., 0]) / 2).tan(),
    ),
    "MLP, clipped targets": (
        squares(lambda y: y.clamp(-CLIP, CLIP) / CLIP),
        1,
        lambda out: out[..., 0] * CLIP,
    ),
    "MLP, asinh of targets": (
        squares(lambda y: y.clamp(-LARGEST, LARGEST).asinh()),
        1,
        lambda out: out[..., 0].sinh(),
    ),
}


def measure(job: Job) -> list[Row]:
    """Fit all curves and seeds in every way, each way at once; return the errors on the grid."""
    members = [(curve, seed) for curve in CURVES for seed in job.seeds]
    samples = [sample_curve(curve, seed, NOISES[job.case]) for curve, seed in members]
    x, y = (torch.stack(part, 1) for part in zip(*samples, strict=True))
    schedule = QUICK if job.quick else SCHEDULE
    grid = torch.tensor(GRID).float()[:, None, None].expand(-1, len(members), 1)
    found = dict[str, Array]()
    for fit, loss in FITS.items():
        model = Ensemble(_starts(members), 1)
        train_projective(model, (x, y), schedule, 0, loss)
        with torch.no_grad():
            P, Q = (part.double() for part in model(grid))
        found[fit] = (P / Q).T.numpy()
    for method, (squared, outputs, decode) in REGRESSIONS.items():
        model = Ensemble(_starts(members), 1, outputs)
        train_plain(model, (x, y), schedule, 0, squared)
        with torch.no_grad():
            found[method] = decode(model(grid).double()).T.numpy()
    return [
        Row(job.table, f"{curve}, {job.case}", method, seed, chordal_error(curve, values))
        for method, predicted in found.items()
        for (curve, seed), values in zip(members, predicted, strict=True)
    ]


def _starts(members: list[tuple[str, int]]) -> list[int]:
    """Return different seeds of weights for all members."""
    return [seed * len(CURVES) + list(CURVES).index(curve) for curve, seed in members]
