"""Counts of coverage that go wrong."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from properties.faults.register import fault, zeroproof_fault
from spec import Array
from spec.coverage import EpochCoverage, Predicted, Timed
from spec.formats import nearest


def _mean(coverage: Callable[..., EpochCoverage], epoch: Sequence[Timed]) -> float:
    return sum(coverage([timed]).coverage for timed in epoch) / len(epoch)


def _with_first_targets(batch: Predicted) -> Predicted:
    size = math.prod(batch.targets.shape[1:])
    return replace(batch, targets=Array.of(batch.targets.values[:: size or 1]))


fault("COV-1.1", "Only NaN is ⊥, so that ±∞ is a prediction.",
      bottom_mask=lambda real, batch, tau: tuple(bottom and not (batch.form == "value" and
          math.isinf(x)) for bottom, x in zip(real(batch, tau), batch.first.values, strict=True)))
fault("COV-1.1", "With a mask, a payload of NaN is a prediction.",
    bottom_mask=lambda real, batch, tau: (tuple(flag != 0 for flag in batch.second.values)
        if batch.form in ("pair", "carrier") else real(batch, tau)))
fault("COV-1.1", "A mask is ignored.",
    bottom_mask=lambda real, batch, tau: real(batch if batch.form == "tuple"
        else replace(batch, form="value"), tau))
fault("COV-1.2", "Only the denominator decides.",
      bottom_mask=lambda real, batch, tau: real(replace(batch, first=batch.first.full(1.0,
          batch.first)) if batch.form == "tuple" else batch, tau))
fault("COV-1.2", "τ is rounded to the outputs' dtype before it is compared.",
    bottom_mask=lambda real, batch, tau: real(batch, nearest(batch.second.dtype, tau)))
fault("COV-1.2", "τ is ignored.", bottom_mask=lambda real, batch, tau: real(batch, 0.0))
zeroproof_fault("COV-1.2", "A quotient that overflows is a prediction.",
    "zeroproof.scm.outputs._has_finite_quotient",
    lambda real, P, Q, size: torch.maximum(P.abs(), size) < torch.inf)
fault("COV-2.1", "Coverage is a fraction of elements.",
    batch_coverage=lambda real, batch, tau:
        (real(batch, tau) and 1 - sum(batch.bottoms(tau)) / max(len(batch.bottoms(tau)), 1)))
fault("COV-2.2", "Coverage is rounded to percents.",
    batch_coverage=lambda real, *a: round(real(*a), 2))
fault("COV-2.3", "A mask of another shape is broadcast.",
    batch_coverage=lambda real, batch, tau:
        real(replace(batch, second=replace(batch.second, shape=batch.first.shape)), tau))
fault("COV-2.3", "A mask of a flag per sample is broadcast to its outputs.",
    batch_coverage=lambda real, batch, tau: 1.0
        if batch.second.shape == (batch.first.shape[0], *(1,) * (len(batch.first.shape) - 1))
        else real(batch, tau))
fault("COV-3.1", "An epoch's coverage is the mean of its micro-batches'.",
    epoch_coverage=lambda real, epoch: replace(real(epoch), coverage=_mean(real, epoch)))
fault("COV-3.1", "An epoch's coverage is its last micro-batch's.",
    epoch_coverage=lambda real, epoch: real(epoch[-1:]))
fault("COV-3.2", "Micro-batches are measured at the τ of the first of them.",
    epoch_coverage=lambda real, epoch: real([(batch, epoch[0][1]) for batch, _ in epoch]))
fault("COV-4.1", "Coverage is a percentage.",
    epoch_coverage=lambda real, epoch: replace(real(epoch), coverage=100 * real(epoch).coverage))
fault("COV-4.2", "An epoch without samples has coverage 1.",
    epoch_coverage=lambda real, epoch: (real(epoch) if epoch else EpochCoverage(1.0, 1.0, 1.0)))
fault("COV-4.3", "A micro-batch without samples has coverage 1.",
    batch_coverage=lambda real, batch, tau: (real(batch, tau) if batch.first.shape[0] else 1.0))
fault("COV-5.1", "An interval is finite if its lower end is.",
    interval_coverage=lambda real, batch, upper, tau:
        replace(real(batch, upper, tau), finite=real(batch, batch.targets, tau).finite))
fault("COV-5.2", "An interval up to ∞ is singular.",
    interval_coverage=lambda real, batch, upper, tau: replace(real(batch, upper, tau),
        recall=real(replace(batch, targets=upper), upper, tau).recall))
zeroproof_fault("COV-5.2", "An interval that is not finite is singular.",
    "zeroproof.scm.arcs.kinds", lambda real, lifted: (real(lifted)[0], ~real(lifted)[0]))
fault("COV-5.3", "Samples with an open interval are left out of coverage.",
    interval_coverage=lambda real, *a: replace(real(*a), coverage=real(*a).finite))
fault("STOP-6.1", "The stop watches all samples, also those that are meant to be ⊥.",
    epoch_coverage=lambda real, epoch: replace(real(epoch), finite=real(epoch).coverage))
fault("STOP-6.1", "An epoch with singular targets alone counts as fully covered.",
    epoch_coverage=lambda real, epoch: replace(real(epoch), finite=min(1.0, real(epoch).finite)))
fault("STOP-6.1", "Only the first target of each sample counts.",
    epoch_coverage=lambda real, epoch:
        real([(_with_first_targets(batch), tau) for batch, tau in epoch]))
fault("STOP-6.2", "An epoch without finite targets clears the counter.",
    watch=lambda real, coverages, *a: real([1.0 if c is None else c for c in coverages], *a))
fault("STOP-6.3", "The coverage that is reported leaves out singular targets.",
    epoch_coverage=lambda real, epoch: replace(real(epoch), coverage=real(epoch).finite))
fault("STOP-6.4", "The recall is the fraction of ⊥ among all samples.",
    epoch_coverage=lambda real, epoch: replace(real(epoch), recall=1 - real(epoch).coverage))
