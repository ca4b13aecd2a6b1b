"""The two packages, each with what it offers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import torch

from properties.assertions import Unsupported
from properties.subjects.third_party.adapters.bottom import PublicBottom
from properties.subjects.third_party.adapters.checkpoints import PublicCheckpoints
from properties.subjects.third_party.adapters.coverage import (
    OneCoverage,
    PublicCoverage,
    loaded,
    one_threshold,
    outputs,
    parts,
    share,
)
from properties.subjects.third_party.adapters.decoding import PublicDecoding
from properties.subjects.third_party.adapters.losses import PublicLosses
from properties.subjects.third_party.adapters.policies import LAYER, PublicPolicies, autodiff
from properties.subjects.third_party.adapters.targets import Targets
from properties.subjects.third_party.adapters.training import SMALLEST, PublicTraining, training
from properties.subjects.third_party.adapters.updates import PublicUpdates
from properties.tensors import to_tensor
from spec.coverage import Timed
from spec.decoding import Tuples


class Public(
    PublicBottom,
    PublicCheckpoints,
    PublicCoverage,
    PublicDecoding,
    PublicLosses,
    PublicPolicies,
    PublicTraining,
    PublicUpdates,
    Targets,
):
    """What both versions offer in the same way."""

    def __init__(self) -> None:
        self._forget_default()  # The package's own is PROJECT; a clause sets those that it wants.


class Version043(Public):
    """zeroproofml 0.4.3."""

    def epoch_coverage(self, epoch: Sequence[Timed]) -> OneCoverage:
        """Return the coverage by which training stops: one that it logged, found by thresholds."""
        tau = one_threshold(epoch)

        def fit(threshold: float) -> list[dict[str, float]]:
            given = [outputs(parts(batch)) for batch, _ in epoch] or [torch.ones(1)]
            loader = [loaded(batch.first.shape[0]) for batch, _ in epoch]
            options = {"coverage_threshold": threshold, "coverage_patience": 1, "max_epochs": 2}
            logs: list[dict[str, float]] = self._trainer(given, loader, tau, **options).fit()
            return logs

        def stops(threshold: float) -> bool:
            return len(fit(threshold)) == len(epoch)

        for found in sorted({record["coverage"] for record in fit(0.0)}):
            # The first epoch is the last if and only if its coverage is below the threshold.
            if not stops(found) and stops(math.nextafter(found, 2.0)):
                return OneCoverage(share(found))
        return OneCoverage(math.nan)


class Version061(Public):
    """zeroproofml 0.6.1, where thresholds are above 0, and training stops by its validation."""

    _margin_options = MappingProxyType({"reduction": "conditional"})

    def _ends(self, low: float, high: float) -> dict[str, float]:
        """Return the options of thresholds above 0."""
        if low == 0:
            raise Unsupported("a threshold of 0")
        return super()._ends(low, high) | {"tau_infer": SMALLEST}

    def epoch_coverage(self, epoch: Sequence[Timed]) -> OneCoverage:
        tau = one_threshold(epoch)
        return OneCoverage(self._validated([batch for batch, _ in epoch], tau))

    def _config(self, case: Tuples) -> Any:
        """Return the thresholds of a case; those that are 0 in its dtype are refused."""
        if not to_tensor(case.Q).new_tensor(case.tau_infer):
            raise Unsupported("a threshold of 0, or one that rounds to it")
        return super()._config(case)

    def _forget_default(self) -> None:
        others = {k: v for k, v in autodiff.policy_registry_snapshot().items() if k != LAYER}
        autodiff.restore_policy_registry(others)

    def _newer(self, path: str) -> None:
        state = dict(training.load_checkpoint_mapping(path))
        torch.save(state | {"schema_version": state["schema_version"] + 1}, path)
